// Sections 4 to 7: outliers, calibration, faults, claims, questions and the game.
'use strict';
const {spawnSync} = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');
const {assert, folder, open, readCsv, results, run, test} = require('./browser.js');

const model = name => path.join(results, 'models', `${name}.safetensors`);
const verdict = (page, at) => page.waitForFunction(([at]) => ['yes', 'no'].includes(document.querySelector(`${at} .verdict`).dataset.verdict), [at], {timeout: 60000})
  .then(() => page.locator(`${at} .verdict`).first().textContent());
const figure = (page, at, key) => page.locator(`${at} [data-figure="${key}"]`).first().textContent();
const number = text => Number(text.replace('−', '-').replaceAll(',', '').match(/-?[\d.]+/)[0]);

// Waits until text of selector is another than before; work that is still running ends first.
async function change(page, selector, action) {
  const before = await page.locator(selector).first().textContent();
  await action();
  await page.waitForFunction(([selector, before]) => document.querySelector(selector).textContent !== before, [selector, before], {timeout: 60000});
  return page.locator(selector).first().textContent();
}

// The test images of the page as an IDX data set, for the program: {data, count}.
async function pageImages(page) {
  const [images, labels] = await page.evaluate(async () => [[...await blob('test/images')], [...await blob('test/labels')]]);
  const data = fs.mkdtempSync(path.join(folder, 'data.'));
  const size = Buffer.alloc(4);
  size.writeUInt32BE(labels.length);
  for (const split of ['train', 't10k']) {
    fs.writeFileSync(path.join(data, `${split}-images-idx3-ubyte`), Buffer.concat([Buffer.from([0, 0, 8, 3]), size, Buffer.from([0, 0, 0, 28, 0, 0, 0, 28]), Buffer.from(images)]));
    fs.writeFileSync(path.join(data, `${split}-labels-idx1-ubyte`), Buffer.concat([Buffer.from([0, 0, 8, 1]), size, Buffer.from(labels)]));
  }
  return {data, count: labels.length};
}

function evaluate(...args) {
  const done = spawnSync(process.env.MNISTQ, ['eval', ...args, '--json'], {encoding: 'utf8'});
  assert.equal(done.status, 0, done.stderr);
  return JSON.parse(done.stdout).rows[0];
}

test('outliers: x 1 gives the file’s codes, x 100 ruins one scale for all, clipping cures', async () => {
  const page = await open(), tensor = '[data-scheme="int8_per_tensor"]', channel = '[data-scheme="int8"]';
  const buttons = page.locator('#outliers .panel button');
  for (const at of [tensor, channel]) assert.match(await verdict(page, at), /✓ The file’s own codes: 522,000 compared/);
  const [whole, each] = [number(await figure(page, tensor, 'accuracy')), number(await figure(page, channel, 'accuracy'))];
  await change(page, `${channel} [data-figure="error"]`, () => buttons.nth(0).click()); // it may change no answer
  assert(number(await figure(page, tensor, 'accuracy')) < whole - 5);
  assert(number(await figure(page, channel, 'accuracy')) > each - 1);
  assert(number(await figure(page, tensor, 'error')) < 3);
  assert(number(await figure(page, channel, 'error')) > 15);
  await change(page, `${tensor} [data-figure="accuracy"]`, () => buttons.nth(1).click());
  assert(number(await figure(page, tensor, 'accuracy')) > whole - 1);
  await buttons.nth(2).click();
  for (const at of [tensor, channel]) assert.match(await verdict(page, at), /✓ The file’s own codes/);
  const choices = page.locator('#outliers .choice input');
  for (const i of [0, 2, 4]) {
    await choices.nth(i).check();
    for (const at of [tensor, channel]) assert.match(await verdict(page, at), /✓ The file’s own codes/, `choice ${i}`);
  }
  assert.deepEqual(page.noted.console, []);
});

test('outliers: the lines of the chart are the program’s cells', async () => {
  const page = await open();
  await verdict(page, '[data-scheme="int8"]');
  const summary = page.locator('#outliers figure.chart summary');
  await summary.click();
  await page.waitForSelector('#outliers figure.chart [data-cell]', {state: 'attached'});
  const cells = await page.locator('#outliers figure.chart [data-cell]').evaluateAll(all => all.map(cell => [cell.dataset.cell, cell.textContent]));
  assert.equal(cells.length, 14);
  const table = readCsv('pitfalls-outlier');
  for (const [cell, text] of cells) {
    const [, row, column] = cell.split('/');
    assert.equal(Number(text), Number(table[row][column]), cell);
  }
});

test('calibration: 512 images and 100% give the file’s codes, and nothing else does', async () => {
  const page = await open(), at = '#calibration', sliders = page.locator('#calibration input[type="range"]');
  assert.match(await verdict(page, at), /✓ The file’s own codes: 522,000 compared/);
  const accuracy = number(await figure(page, at, 'accuracy'));
  await change(page, `${at} [data-figure="saturated"]`, () => sliders.nth(1).fill('30'));
  assert.equal(await page.locator(`${at} .verdict`).getAttribute('data-verdict'), 'none');
  assert(number(await figure(page, at, 'saturated')) > 0.5);
  assert(number(await figure(page, at, 'sqnr')) < 30);
  await change(page, `${at} [data-figure="saturated"]`, () => sliders.nth(1).fill('2'));
  assert(number(await figure(page, at, 'accuracy')) < accuracy - 1);
  await page.locator(`${at} button`).click();
  assert.match(await verdict(page, at), /✓ The file’s own codes/);
  await change(page, `${at} [data-figure="sqnr"]`, () => sliders.nth(0).fill('0'));
  assert.equal(await page.locator(`${at} .verdict`).getAttribute('data-verdict'), 'none');
  await sliders.nth(0).fill('9');
  assert.match(await verdict(page, at), /✓/);
  const choices = page.locator(`${at} .choice`).first().locator('input');
  await change(page, `${at} [data-figure="sqnr"]`, () => choices.nth(2).check());
  await change(page, `${at} [data-figure="sqnr"]`, () => choices.nth(1).check());
  await page.locator(`${at} .choice`).nth(1).locator('input').nth(8).check();
  await choices.nth(0).check();
  assert.match(await verdict(page, at), /✓/);
  for (const layer of [1, 2]) {
    await page.locator(`${at} .choice`).nth(2).locator('input').nth(layer).check();
    assert.match(await verdict(page, at), /✓/);
  }
  assert.deepEqual(page.noted.console, []);
});

test('calibration: the handle on the histogram, by mouse and keyboard', async () => {
  const page = await open(), handle = page.locator('#calibration .handle'), output = page.locator('#calibration output').nth(1);
  await verdict(page, '#calibration');
  await handle.focus();
  for (let i = 0; i < 5; i++) await page.keyboard.press('ArrowLeft');
  await page.waitForFunction(() => document.querySelectorAll('#calibration output')[1].textContent === '95%');
  await handle.scrollIntoViewIfNeeded();
  const grip = await handle.locator('.grip').boundingBox(), svg = await page.locator('#calibration .chart svg').last().boundingBox();
  await page.mouse.move(grip.x + grip.width / 2, grip.y + grip.height / 2);
  await page.mouse.down();
  await page.mouse.move(svg.x + svg.width / 2, grip.y + 20, {steps: 10});
  await page.mouse.up();
  await page.waitForFunction(() => { const share = parseInt(document.querySelectorAll('#calibration output')[1].textContent, 10); return share > 40 && share < 60; });
  assert.match(await handle.getAttribute('aria-valuetext'), new RegExp(`, ${await output.textContent()} of what was seen`));
});

test('faults: none is the model, others are what the program’s engine does', async () => {
  const page = await open(), at = '#faults', select = page.locator('#faults select');
  const names = await select.locator('option').evaluateAll(options => options.map(option => option.textContent.split(':')[0]));
  const listed = spawnSync(process.env.MNISTQ, ['eval', '--break', 'list', model('int8-per-channel')], {encoding: 'utf8'}).stdout;
  assert(names.length > 20);
  for (const name of names) assert(listed.includes(name), name);
  await select.selectOption({index: 0});
  assert.match(await verdict(page, at), /✓ Nothing is broken/);
  assert.match(await figure(page, at, 'changed'), /^0 of 1,000/);
  const {data, count} = await pageImages(page);
  const healthy = evaluate(model('int8-per-channel'), '--data', data);
  assert.equal(number(await figure(page, at, 'accuracy')), Number((100 * healthy.correct / count).toFixed(1)));
  for (const name of ['truncation', 'int16-wrap', 'rolled-scales', 'relu-on-logits']) {
    await change(page, '#faults-what', () => select.selectOption({index: names.indexOf(name)}));
    await page.waitForFunction(() => document.querySelector('#faults progress').hidden, null, {timeout: 60000});
    assert.match(await verdict(page, at), /✗ Codes are wrong/);
    const apart = await page.locator('#faults .symptoms tbody tr').first().locator('td').nth(2).textContent();
    if (name === 'truncation') assert.equal(apart, '−1\u00a0…\u00a00', 'codes are right or 1 too low');
    const broken = evaluate(model('int8-per-channel'), '--data', data, '--break', name);
    assert.equal(number(await figure(page, at, 'accuracy')), Number((100 * broken.correct / count).toFixed(1)), name);
  }
  const rows = await page.locator('#faults .symptoms table').first().locator('tbody tr').evaluateAll(all => all.map(row => [...row.cells].map(cell => cell.textContent)));
  assert.deepEqual(rows.map(row => row[1]).slice(0, 2), ['0.00%', '0.00%'], 'ReLU on the logits leaves hidden layers alone');
  assert.match(await page.locator('#faults .first-text').textContent(), /Test image 0, a 7: layer 3, neuron \d gives code \d+ and should give \d+/);
  await page.locator('#faults .choice').first().locator('input').nth(1).check();
  await page.waitForFunction(() => /Not one code is wrong/.test(document.querySelector('#faults .verdict').textContent), null, {timeout: 60000});
  assert.deepEqual(page.noted.console, []);
});

test('faults: the first wrong code is the first, and a zero point shows where there is one', async () => {
  const page = await open(), select = page.locator('#faults select');
  const pick = name => select.evaluate((element, wanted) => {
    element.selectedIndex = [...element.options].findIndex(option => option.textContent.startsWith(`${wanted}:`));
    element.dispatchEvent(new Event('change'));
  }, name);
  await pick('no-zero-point');
  await page.waitForFunction(() => /leaves no trace/.test(document.querySelector('#faults .verdict').textContent), null, {timeout: 60000});
  await page.locator('#faults .choice').nth(1).locator('input').nth(1).check();
  await page.waitForFunction(() => /Codes are wrong/.test(document.querySelector('#faults .verdict').textContent), null, {timeout: 60000});
  assert.match(await page.locator('#faults .first-text').textContent(), /layer 1, neuron \d+ gives/);
  assert(number(await figure(page, '#faults', 'accuracy')) < 50);
});

test('faults and doubts have their words in every language', async () => {
  const page = await open();
  const missing = await page.evaluate(async () => {
    const engine = await Engine.start(await blob('wasm'));
    const keys = [...engine.faults().flatMap(({name}) => [`fault.${name}.what`, `fault.${name}.signature`]), ...engine.doubtTexts().map(text => `doubt.${text}`)];
    return ['fr', 'de'].flatMap(other => {
      const own = Object.keys(TEXTS[other]).filter(key => /^(fault|doubt)\./.test(key));
      return [...keys.filter(key => !own.includes(key)), ...own.filter(key => !keys.includes(key))].map(key => `${other} ${key}`);
    });
  });
  assert.deepEqual(missing, []);
});

test('claims: each once in section 7 and once where it belongs, every cell the CSV’s', async () => {
  const page = await open(), audit = readCsv('audit');
  const cells = await page.evaluate(() => [...document.querySelectorAll('details')].forEach(one => { one.open = true; }) ??
    [...document.querySelectorAll('#sections [data-cell^="audit/"]')].map(cell => [cell.dataset.cell, cell.textContent, cell.closest('section').id]));
  for (const column of ['claim', 'claimed', 'ours', 'explanation'])
    audit.forEach((row, i) => {
      const found = cells.filter(([cell]) => cell === `audit/${i}/${column}`);
      assert.equal(found.length, 2, `${row.id} ${column}`);
      for (const [, text] of found) assert.equal(text, row[column]);
      assert.equal(found.filter(([, , id]) => id === 'claims').length, 1);
    });
  const shown = await page.locator('#claims .figures dd').evaluateAll(all => all.slice(0, 3).map(cell => parseInt(cell.textContent, 10)));
  assert.deepEqual(shown, ['reproduced', 'reproduced with a difference', 'does not reproduce'].map(text => audit.filter(row => row.verdict === text).length));
  await page.locator('#claims .choice input').nth(3).check();
  const left = await page.locator('#claims [data-cell$="/claim"]').count();
  assert.equal(left, shown[2]);
});

test('six questions: an answer is judged and can be revealed, and other numbers come', async () => {
  const page = await open();
  for (let round = 0; round < 3; round++) {
    const items = page.locator('.questions > li');
    assert.equal(await items.count(), 6);
    const of = await items.locator('label > span').allTextContents();
    assert.equal(new Set(of).size, 6, 'each of another image: none tells another answer');
    for (let i = 0; i < 6; i++) {
      const item = items.nth(i), answer = await item.locator('[data-answer]').getAttribute('data-answer');
      await item.locator('input').fill(String(Number(answer) * 1.2 + 3));
      await item.locator('button').click();
      assert.match(await item.locator('.answer-verdict').textContent(), /✗/);
      await item.locator('input').fill(answer);
      await item.locator('input').press('Enter');
      assert.match(await item.locator('.answer-verdict').textContent(), /✓ right/);
      await item.locator('summary').click();
      assert(!/[{}]|undefined|NaN/.test(await item.textContent()), await item.textContent());
    }
    await page.locator('#claims button', {hasText: 'Another image'}).click();
  }
});

test('the game: symptoms, wrong and right diagnoses, the explanation', async () => {
  const page = await open();
  for (let seed = 1; seed <= 2; seed++) {
    await page.locator('#game-start').click();
    await page.waitForFunction(n => document.querySelector('#game-panel p').textContent.startsWith(`Case ${n}:`), seed, {timeout: 60000});
    const buttons = page.locator('.diagnoses button');
    assert.equal(await buttons.count(), 5);
    assert.match(await page.locator('#game-panel .first-text').textContent(), /gives code/);
    let right = false;
    for (let i = 0; i < 5 && !right; i++) {
      await buttons.nth(i).click();
      const said = await page.locator('.diagnosis').textContent();
      right = said.startsWith('✓ Yes');
      assert(right || said.startsWith('✗ No. That one would be told by: '), said);
      if (right) assert(said.includes(await buttons.nth(i).getAttribute('data-fault')) && said.includes('mnistq eval'));
    }
    assert(right);
  }
  assert.match(await page.locator('#claims').textContent(), /of 2 named at the first attempt/);
  assert.deepEqual(page.noted.console, []);
});

// Drags a slider to and fro for two seconds; the frames' times in milliseconds, sorted.
async function dragged(page, slider) {
  await slider.scrollIntoViewIfNeeded();
  const box = await slider.boundingBox(), y = box.y + box.height / 2;
  await page.evaluate(() => {
    window.frameTimes = [];
    let last = performance.now();
    const note = now => { window.frameTimes.push(now - last); last = now; window.frame = requestAnimationFrame(note); };
    window.frame = requestAnimationFrame(note);
  });
  await page.mouse.move(box.x + 0.5 * box.width, y);
  await page.mouse.down();
  const until = Date.now() + 2000;
  for (let i = 0; Date.now() < until; i++) await page.mouse.move(box.x + box.width * (0.5 + 0.45 * Math.sin(i / 6)), y);
  await page.mouse.up();
  return page.evaluate(() => { cancelAnimationFrame(window.frame); return window.frameTimes.slice(2).sort((a, b) => a - b); });
}

test('dragging stays at 30 frames a second with all images', async () => {
  const page = await open();
  await verdict(page, '[data-scheme="int8"]');
  await verdict(page, '#calibration');
  for (const [name, slider] of [['outlier', page.locator('#outliers input[type="range"]').first()], ['clip', page.locator('#calibration input[type="range"]').nth(1)]]) {
    report(name, await dragged(page, slider));
  }
  await page.locator('#draw .controls button').first().click();
  report('pad', await dragged(page, page.locator('.pad')));
  function report(name, times) {
    const at = share => times[Math.floor(share * (times.length - 1))];
    const rate = 1000 * times.length / times.reduce((a, b) => a + b, 0);
    console.log(`# ${name}: ${rate.toFixed(1)} frames a second, median ${at(0.5).toFixed(1)} ms, 95% ${at(0.95).toFixed(1)} ms, longest ${at(1).toFixed(1)} ms`);
    assert(at(0.5) < 1000 / 30, `${name}: median frame of ${at(0.5)} ms`);
  }
});

run();
