// Section 2: the ladder at a glance, the methods of as many bits, and the codes of a neuron.
'use strict';
const {assert, open, readCsv, run, test} = require('./browser.js');

const frames = page => page.evaluate(() => new Promise(resolve => requestAnimationFrame(() => requestAnimationFrame(() => requestAnimationFrame(resolve)))));
const bitsOf = row => Number(/\d+/.exec(row.format)?.[0] ?? 1);
const isTrained = row => /QAT|LSQ/.test(row.method);
const figureOf = (page, title) => page.locator('#ladder figure.chart', {has: page.locator('figcaption', {hasText: title})}).first();

// The rows of a dot chart as one sees them, from the top: {name, value}; no text may touch another.
const rowsOf = figure => figure.evaluate(chart => {
  const texts = [...chart.querySelectorAll('svg text:not(.axis)')].map(text => ({text: text.textContent, box: text.getBoundingClientRect()}));
  const touching = texts.flatMap((a, i) => texts.slice(i + 1).filter(b => a.box.left < b.box.right - 1 && b.box.left < a.box.right - 1 &&
    a.box.top < b.box.bottom - 3 && b.box.top < a.box.bottom - 3).map(b => `${a.text} / ${b.text}`)); // 3: a box is higher than its letters
  const lines = texts.filter(({text}) => text.includes(' · '));
  return {touching, rows: lines.map(({text, box}) => ({name: text, value: Number(texts.filter(other => /^\d+\.\d+$/.test(other.text))
    .sort((a, b) => Math.abs(a.box.top - box.top) - Math.abs(b.box.top - box.top))[0].text)}))};
});

for (const width of [1400, 390]) {
  test(`every number of bits: all its methods, apart, and the best marked, ${width} px`, ['ladder'], async () => {
    const page = await open({width}), table = readCsv('ladder').filter(row => bitsOf(row) < 10);
    const of = bits => table.filter(row => bitsOf(row) === bits);
    const best = rows => Math.max(...rows.map(row => Number(row.accuracy_percent)));
    const options = page.locator('#ladder .controls').first().locator('.choice').first().locator('label');
    const several = (await options.allTextContents()).map(Number);
    assert.deepEqual(several, [...new Set(table.map(bitsOf))].sort((a, b) => b - a));
    for (const [i, bits] of several.entries()) {
      await options.nth(i).locator('input').check();
      await frames(page);
      const {touching, rows} = await rowsOf(figureOf(page, 'Accuracy of every method'));
      assert.deepEqual(touching, [], `${bits} bits`);
      assert.equal(rows.length, of(bits).length, `${bits} bits`);
      const stars = rows.filter(({name}) => name.startsWith('★ '));
      assert.deepEqual(stars.map(({value}) => value), [best(of(bits).filter(row => !isTrained(row)))]);
    }
    const {touching, rows} = await rowsOf(figureOf(page, 'The best of each number of bits'));
    assert.deepEqual(touching, []);
    assert.deepEqual(rows.map(({value}) => value), several.flatMap(bits => [false, true].map(trained => of(bits).filter(row => isTrained(row) === trained)))
      .filter(some => some.length).map(best));
  });
}

test('a neuron in a format of integers has its codes, all of the grid', async () => {
  const page = await open();
  const [bits, method] = [1, 2].map(i => page.locator('#ladder .controls').nth(i).locator('.choice').first());
  for (const [chosen, codes] of [['4', 16], ['3', 8], ['2', 4]]) {
    await bits.locator('label', {hasText: new RegExp(`^${chosen}$`)}).locator('input').check();
    await frames(page);
    await method.locator('label', {hasText: `int${chosen}/row · round to nearest`}).locator('input').check();
    await frames(page);
    assert(await page.locator('#ladder .pictures figure').nth(2).isVisible(), `${chosen} bits`);
    const distinct = Number(await page.locator('#ladder [data-figure="distinct"]').textContent());
    assert(distinct <= codes && distinct >= codes - 1, `${distinct} values of ${chosen} bits`);
  }
});

run();
