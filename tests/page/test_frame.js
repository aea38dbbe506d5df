// The page as a whole, and its sections 0, 1, 2 and 8.
'use strict';
const {spawnSync} = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');
const axe = fs.readFileSync(require.resolve('axe-core/axe.min.js'), 'utf8');
const {assert, changedPage, csvFile, file, folder, open, readCsv, results, run, test} = require('./browser.js');

const checked = page => page.waitForSelector('[data-check="good"], [data-check="bad"]', {timeout: 60000});
const openAll = page => page.evaluate(() => document.querySelectorAll('details').forEach(details => { details.open = true; }));
const frames = page => page.evaluate(() => new Promise(resolve => requestAnimationFrame(() => requestAnimationFrame(resolve))));

test('one request, no console line, the self-check green with its count', async () => {
  const page = await open();
  const ready = await page.evaluate(() => performance.now());
  const state = await checked(page);
  const facts = await page.evaluate(() => json('facts'));
  assert.equal(await state.getAttribute('data-check'), 'good', await state.textContent());
  const integer = Object.values(facts.models).filter(model => model.digests).length;
  const codes = await page.evaluate(async () => Object.values((await json('facts')).models).filter(model => model.digests).length);
  assert.equal(codes, integer);
  assert.match(await state.textContent(), new RegExp(`${integer} integer models on ${facts.test.toLocaleString('en')} images`));
  await page.evaluate(() => scrollTo(0, document.body.scrollHeight));
  await frames(page);
  assert.deepEqual(page.noted.console, []);
  assert.equal(page.noted.requests.length, 1, page.noted.requests.join(' '));
  console.log(`# all sections built after ${Math.round(ready)} ms, ${fs.statSync(file).size} bytes`);
});

test('one changed byte of an integer model: red, with model, layer and image', async () => {
  const page = await open({address: changedPage('model/int4', bytes => {
    const head = Number(bytes.readBigUInt64LE(0));
    const [from, to] = JSON.parse(bytes.subarray(8, 8 + head))['fc2.weight'].data_offsets;
    bytes[8 + head + ((from + to) >> 1)] ^= 0x44;
  })});
  const state = await checked(page);
  assert.equal(await state.getAttribute('data-check'), 'bad');
  assert.match(await state.textContent(), /int4\.safetensors differs first in layer \d, image \d+/);
});

test('one changed byte of any other model: red', async () => {
  const page = await open({address: changedPage('model/int2', bytes => { bytes[bytes.length - 5] ^= 1; })});
  const state = await checked(page);
  assert.equal(await state.getAttribute('data-check'), 'bad');
  assert.match(await state.textContent(), /int2\.safetensors is not the file/);
});

test('a model that does not open: red, with the line, and the rest of the page is there', async () => {
  const page = await open({address: changedPage('model/int2_qat', bytes => { bytes[3] = 0xff; })});
  const state = await checked(page);
  assert.equal(await state.getAttribute('data-check'), 'bad');
  assert.match(await state.textContent(), /int2-qat\.safetensors does not open: \S+/);
  assert(await page.$('#affine .handle'));
});

test('every slider moves by the keyboard and says its value', async () => {
  const page = await open();
  const sliders = await page.$$('[role="slider"], input[type="range"]');
  assert(sliders.length >= 6, `${sliders.length} sliders`);
  for (const slider of sliders) {
    if (!await slider.isVisible()) continue;
    const read = () => slider.evaluate(element => [element.value ?? element.getAttribute('aria-valuenow'), element.getAttribute('aria-valuetext'),
      element.getAttribute('aria-label') ?? element.labels?.[0]?.textContent, element.closest('section').id]);
    const before = await read();
    assert(before[1] && before[2], `${before}: no text or name`);
    await slider.focus();
    await page.keyboard.press('ArrowRight');
    await frames(page);
    const right = await read();
    await page.keyboard.press('ArrowLeft');
    await page.keyboard.press('ArrowLeft');
    await frames(page);
    const left = await read();
    assert(right[0] !== before[0] || left[0] !== before[0], `${before} does not move`);
    assert.notEqual(right[0], left[0], `${before} does not move both ways`);
    assert(await slider.evaluate(element => element === document.activeElement), `${before} loses the focus`);
  }
  assert.deepEqual(page.noted.console, []);
});

test('the range: the lesson’s example, equations and figures follow the handles', async () => {
  const page = await open();
  const section = page.locator('#affine');
  await section.getByRole('button', {name: 'The lesson’s example'}).click();
  await frames(page);
  const scale = () => section.locator('[data-figure="scale"]').textContent();
  assert.equal(await scale(), '0.00392'); // 1 / 255, eq. 3
  assert.match(await section.locator('.equation').first().textContent(), /0\.5−\(−0\.5\)255−0=0\.00392/);
  const handle = section.getByRole('slider', {name: 'Upper end of the range'});
  const box = await handle.locator('.grip').boundingBox();
  await page.mouse.move(box.x + box.width / 2, box.y + box.height / 2);
  await page.mouse.down();
  await page.mouse.move(box.x + box.width / 2 + 120, box.y + box.height / 2, {steps: 4});
  await page.mouse.up();
  await frames(page);
  assert(Number(await scale()) > 0.0042, await scale());
  await section.getByRole('radio', {name: 'symmetric', exact: true}).check();
  await frames(page);
  assert.equal(await section.locator('[data-figure="zero"]').textContent(), '0');
  assert.match(await section.locator('.equation').first().textContent(), /^\(4\).*127/);
});

test('the staircase stays within half a step, as its own table tells', async () => {
  const page = await open();
  const {scale, worst, codes} = await page.evaluate(async () => {
    const engine = await Engine.start(await blob('wasm'));
    const map = engine.affine({lo: -0.5, hi: 0.5, bits: 4});
    const xs = Float32Array.from({length: 1001}, (unused, i) => -0.46 + 0.92 * i / 1000);
    const {back} = engine.quantize(xs, map);
    return {scale: map.scale, worst: Math.max(...xs.map((x, i) => Math.abs(x - back[i]))), codes: map.qmax - map.qmin + 1};
  });
  assert(worst > 0.45 * scale && worst <= 0.5001 * scale, `${worst} of ${scale}`);
  const figure = page.locator('#affine figure', {hasText: 'The staircase'});
  await figure.locator('summary').click();
  await page.waitForFunction(() => document.querySelectorAll('#affine .aligned figure')[0].querySelectorAll('tbody tr').length > 0);
  assert.equal(await figure.locator('tbody tr').count(), codes);
});

test('five weights: what the lesson prints, and beside it what comes out', async () => {
  const page = await open();
  const table = page.locator('#affine .scroll', {has: page.locator('input')});
  const column = async i => (await table.locator(`tbody td:nth-child(${i})`).allTextContents()).map(text => text.replace('−', '-'));
  const printed = readCsv('audit').find(row => row.id === 'five-codes');
  assert.equal((await column(5)).join(', '), printed.claimed);
  assert.equal((await column(2)).join(', '), printed.ours.replace(/ .*\(.*/, ''));
  await table.locator('input').first().fill('-1.02');
  assert.deepEqual(await column(2), ['-127', '-14', '0', '29', '64']); // s = 1.02 / 127, ties to even
  assert.deepEqual(await column(5), ['–', '–', '–', '–', '–']);
});

test('every number from a table equals its CSV cell, in charts, figures and lists', async () => {
  const page = await open();
  await checked(page);
  await openAll(page);
  const rungs = readCsv('ladder').length;
  const slider = page.locator('#ladder input[type="range"]').first();
  const seen = new Set();
  for (let rung = 0; rung < rungs; rung++) {
    await frames(page);
    const cells = await page.$$eval('[data-cell]', all => all.map(element => [element.dataset.cell, element.textContent]));
    for (const [address, text] of cells) {
      const [table, row, column] = address.split('/');
      const cell = readCsvOnce(table)[row][column];
      const plain = text !== cell && /^[−+]?[\d,]+(\.\d+)?( dB|%)?$/.test(text) ? text.replaceAll(',', '').replace('−', '-').replace(/ dB|%$/, '') : text;
      assert.equal(plain, cell, `${address} shows ${text}`);
      seen.add(address);
    }
    await slider.focus();
    await page.keyboard.press('ArrowRight');
  }
  for (let rung = 0; rung < rungs; rung++) assert(seen.has(`ladder/${rung}/accuracy_percent`) && seen.has(`ladder/${rung}/file_bytes`), `rung ${rung}`);
  assert(seen.size > 200, `${seen.size} cells`);
  console.log(`# ${seen.size} cells compared`);
});
const known = {};
const readCsvOnce = name => known[name] ??= readCsv(name);

test('the points of a chart stand where their numbers are', async () => {
  const page = await open();
  const wrong = await page.evaluate(() => {
    const figure = [...document.querySelectorAll('#ladder figure')].find(element => /every method/.test(element.textContent));
    const labels = [...figure.querySelectorAll('text.axis')].map(text => [Number(text.textContent), Number(text.getAttribute('x'))]).filter(([v]) => v > 0);
    const [[v0, x0], [v1, x1]] = [labels[0], labels.at(-1)];
    const texts = [...figure.querySelectorAll('svg:last-of-type text')].filter(text => text.getAttribute('text-anchor') === 'end' && /^\d+\.\d+$/.test(text.textContent));
    const shapes = [...figure.querySelectorAll('.shape')].filter(shape => !shape.closest('.legend'));
    return shapes.map((shape, i) => {
      const box = shape.getBBox();
      return Math.abs(v0 + (box.x + box.width / 2 - x0) / (x1 - x0) * (v1 - v0) - Number(texts[i].textContent));
    }).filter(difference => !(difference < 0.01));
  });
  assert.deepEqual(wrong, []);
});

test('the bits of a number', async () => {
  const page = await open();
  const field = page.locator('#ladder').getByLabel('A number');
  const words = async row => page.locator('#ladder .bits .row').nth(row).locator('.word').allTextContents();
  await field.fill('-6.5');
  assert.deepEqual(await words(0), ['1', '10000001', '10100000000000000000000']);
  assert.deepEqual(await words(1), ['1', '10001', '1010000000']);
  assert.deepEqual(await words(2), ['1', '10000001', '1010000']);
  assert.deepEqual(await words(3), ['1', '1001', '101']);
  await field.fill('70000');
  assert.match(await page.locator('#ladder .bits .value').nth(1).textContent(), /^∞$/);
});

for (const scheme of ['light', 'dark']) {
  test(`no axe violation in ${scheme}`, async () => {
    const page = await open({scheme});
    await checked(page);
    await openAll(page);
    await frames(page);
    await page.evaluate(axe);
    const found = await page.evaluate(() => globalThis.axe.run(document, {resultTypes: ['violations']}));
    assert(found.passes.length > 20);
    assert.deepEqual(found.violations.map(({id, nodes}) => `${id}: ${nodes.slice(0, 3).map(node => node.html.slice(0, 160)).join(' | ')}`), []);
  });
}

for (const width of [360, 390, 1920]) {
  test(`${width} px: nothing overflows, no text under 11 px`, async () => {
    for (const language of ['en', 'fr', 'de']) {
      const page = await open({width, before: `try { localStorage.setItem('mnistq.language', '${language}'); } catch {}`});
      assert.equal(await page.evaluate(() => document.documentElement.lang), language);
      await checked(page);
      await openAll(page);
      await frames(page);
      const found = await page.evaluate(() => {
        const wide = [], tiny = [];
        const limit = document.documentElement.clientWidth + 1;
        const held = element => {
          for (let up = element.parentElement; up && up !== document.body; up = up.parentElement) {
            if (getComputedStyle(up).overflowX !== 'visible' && up.namespaceURI.endsWith('xhtml')) return true;
          }
          return false;
        };
        for (const element of document.querySelectorAll('body *')) {
          if (!element.checkVisibility() || element.closest('math')) continue;
          const box = element.getBoundingClientRect();
          if (box.width && (box.right > limit || box.left < -1) && !held(element) && !element.matches('.skip')) wide.push(`${element.tagName} ${element.className.baseVal ?? element.className} in ${element.closest('section')?.id}: ${Math.round(box.left)} to ${Math.round(box.right)}`);
          const words = [...element.childNodes].some(node => node.nodeType === 3 && node.data.trim());
          if (!words) continue;
          const scale = element.ownerSVGElement ? element.getScreenCTM().a : 1;
          const size = parseFloat(getComputedStyle(element).fontSize) * scale;
          if (size < 11) tiny.push(`${element.tagName} ${size.toFixed(1)} px in ${element.closest('section')?.id}: ${element.textContent.slice(0, 30)}`);
        }
        return {wide, tiny: tiny.slice(0, 9), scroll: document.documentElement.scrollWidth - document.documentElement.clientWidth};
      });
      assert.deepEqual(found, {wide: [], tiny: [], scroll: 0}, language);
      await page.context().close();
    }
  });
}

test('three languages with the same texts, numbers in their way', async () => {
  const page = await open();
  const texts = await page.evaluate(() => TEXTS);
  const marks = text => (text.match(/\{\w+\}/g) ?? []).sort().join();
  const engineOwn = key => /^(fault\..*\.(what|signature)|doubt\..*)$/.test(key); // the engine has the English ones
  for (const other of ['fr', 'de']) {
    assert.deepEqual(Object.keys(texts[other]).filter(key => !engineOwn(key)).sort(), Object.keys(texts.en).filter(key => !engineOwn(key)).sort());
    for (const key of Object.keys(texts.en)) assert.equal(marks(texts[other][key]), marks(texts.en[key]), `${other} ${key}`);
  }
  await page.getByLabel('Language').selectOption('Deutsch');
  await page.waitForFunction(() => document.documentElement.dataset.ready === 'de');
  assert.equal(await page.locator('#affine h2').textContent(), '1Die affine Abbildung');
  assert.match(await page.locator('#affine [data-figure="scale"]').textContent(), /^0,0\d+$/);
  await page.getByLabel('Sprache').selectOption('Français');
  await page.waitForFunction(() => document.documentElement.dataset.ready === 'fr');
  assert.match(await page.locator('#affine [data-figure="scale"]').textContent(), /^0,0\d+$/);
  assert.deepEqual(await page.$$eval('#sections > section', all => all.map(section => section.textContent).join(' ').match(/\b(affine|ladder|check|draw|frame)\.[a-z.]+/g)), null);
  assert.deepEqual(page.noted.console, []);
});

test('an address with #faults opens there, also in another language', async () => {
  const page = await open();
  const top = () => page.locator('#faults').evaluate(section => Math.abs(section.getBoundingClientRect().top));
  await page.evaluate(() => { location.hash = 'faults'; });
  await page.reload();
  await page.waitForFunction(() => document.documentElement.dataset.ready);
  assert(await top() < 200, `${await top()} pixels off`);
  await page.evaluate(() => { delete document.documentElement.dataset.ready; scrollTo({top: 0, behavior: 'instant'}); });
  await page.getByLabel('Language').selectOption('Deutsch');
  await page.waitForFunction(() => document.documentElement.dataset.ready === 'de');
  assert(await top() < 200, `${await top()} pixels off in German`);
});

test('QAT is shown beside fp32 after one more epoch', ['ladder'], async () => {
  const page = await open();
  const figure = page.locator('#ladder .multiples figure', {hasText: 'Quantization-aware training'});
  assert.equal(await figure.locator('line.mark').count(), 2);
  const rows = readCsv('ladder'), longer = rows.findIndex(row => row.method === 'one more epoch');
  await page.locator('#ladder input[type="range"]').first().fill(String(rows.findIndex(row => row.method === 'QAT')));
  assert.equal(await page.locator(`#ladder .panel [data-cell="ladder/${longer}/accuracy_percent"]`).textContent(), `${rows[longer].accuracy_percent}%`);
});

test('colours: as the system, or as one chooses', async () => {
  const page = await open({scheme: 'dark'});
  const paper = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
  const dark = await paper();
  await page.getByLabel('Colours').selectOption('Light');
  const light = await paper();
  assert.notEqual(light, dark);
  await page.getByLabel('Colours').selectOption('Dark');
  assert.equal(await paper(), dark);
});

test('without script: it says so, and every table is there', async () => {
  const page = await open({javaScriptEnabled: false, ready: false});
  assert.match(await page.locator('noscript').first().innerText(), /Without JavaScript/);
  for (const name of ['exercise', 'ladder', 'audit']) {
    await page.locator(`#table-${name} > summary`).click();
    assert.equal(await page.locator(`[data-table="${name}"] tbody tr`).count(), readCsv(name).length);
    assert(await page.locator(`[data-table="${name}"] tbody td`).first().isVisible());
  }
});

test('without WebAssembly: it says so, and every table is there', async () => {
  const page = await open({before: 'delete globalThis.WebAssembly;', ready: false});
  await page.waitForSelector('#notice.bad');
  assert.match(await page.locator('#notice').textContent(), /does not run here .*WebAssembly/);
  await page.locator('#table-ladder > summary').click();
  assert.equal(await page.locator('[data-table="ladder"] tbody tr').count(), readCsv('ladder').length);
  assert.deepEqual(page.noted.console, []);
});

test('hostile model files are refused with the program’s line, a good one opens', async () => {
  const page = await open();
  const good = fs.readFileSync(path.join(results, 'models/int8-per-channel.safetensors'));
  const bad = {
    empty: Buffer.alloc(0),
    cut: good.subarray(0, 1000),
    long: Buffer.concat([good, Buffer.from('x')]),
    header: Buffer.concat([Buffer.from([255, 255, 255, 255, 255, 255, 255, 127]), good.subarray(8)]),
    scale: Buffer.from(good.toString('latin1').replace('"dtype":"F32"', '"dtype":"I32"'), 'latin1'),
    text: Buffer.from('not a model\n'),
  };
  const input = page.locator('#check input[type="file"]');
  for (const [name, bytes] of Object.entries(bad)) {
    fs.writeFileSync(path.join(folder, `${name}.safetensors`), bytes);
    const native = spawnSync(path.resolve(process.env.MNISTQ), ['eval', `${name}.safetensors`, '--data', 'digits'], {cwd: folder, encoding: 'utf8'});
    assert.equal(native.status, 1, name);
    await page.evaluate(() => { document.querySelector('.drop-answer').textContent = ''; });
    await input.setInputFiles(path.join(folder, `${name}.safetensors`));
    await page.waitForFunction(() => document.querySelector('.drop-answer').textContent);
    assert.equal(await page.locator('.drop-answer').textContent(), native.stderr.trim(), name);
  }
  await input.setInputFiles(path.join(results, 'models/int8-per-channel.safetensors'));
  await page.waitForFunction(() => /784 → /.test(document.querySelector('.drop-answer').textContent));
  assert.match(await page.locator('.drop-answer').textContent(), /are right: \d+\.\d+%/);
  const gguf = path.join(folder, 'fp32.gguf');
  assert.equal(spawnSync(process.env.MNISTQ, ['export', path.join(results, 'models/fp32.safetensors'), '--format', 'gguf', '--out', gguf]).status, 0);
  await input.setInputFiles(gguf);
  await page.waitForFunction(() => /^fp32\.gguf: fp32, 784 → .* are right/.test(document.querySelector('.drop-answer').textContent));
});

test('downloads are the program’s own bytes', async () => {
  const page = await open();
  const models = name => path.join(results, 'models', name);
  const files = {'ladder.csv': csvFile('ladder'), 'audit.csv': csvFile('audit'), 'exercise.csv': csvFile('exercise'),
    'int8-per-channel.safetensors': models('int8-per-channel.safetensors'), 'fp32.safetensors': models('fp32.safetensors')};
  for (const [name, place] of Object.entries(files)) {
    const [download] = await Promise.all([page.waitForEvent('download'), page.locator('#provenance').getByRole('button', {name, exact: true}).click()]);
    assert.equal(download.suggestedFilename(), name);
    assert.deepEqual(fs.readFileSync(await download.path()), fs.readFileSync(place), name);
  }
  const offered = await page.locator('#provenance button').allTextContents();
  for (const name of Object.keys(await page.evaluate(() => readTables()))) assert(offered.includes(`${name}.csv`), name);
  assert.deepEqual(page.noted.console, []);
});

test('it prints: no controls, nothing cut off at the side; motion is reduced where asked', async () => {
  const page = await open({reducedMotion: 'reduce'});
  assert.equal(await page.evaluate(() => getComputedStyle(document.documentElement).scrollBehavior), 'auto');
  await page.emulateMedia({media: 'print'});
  assert.equal(await page.locator('#contents').isVisible(), false);
  assert.equal(await page.locator('#affine button').first().isVisible(), false);
  assert((await page.pdf({format: 'A4'})).length > 100000);
});

test('dragging the range, with 200,704 weights quantized anew at each step: frames a second', async () => {
  const page = await open();
  await checked(page);
  const handle = page.locator('#affine').getByRole('slider', {name: 'Upper end of the range'});
  await handle.scrollIntoViewIfNeeded();
  const box = await handle.locator('.grip').boundingBox();
  const [x, y] = [box.x + box.width / 2, box.y + box.height / 2];
  await page.evaluate(() => {
    globalThis.times = [];
    globalThis.drawn = 0;
    const note = now => { globalThis.times.push(now); requestAnimationFrame(note); };
    requestAnimationFrame(note);
    new MutationObserver(() => { globalThis.drawn++; }).observe(document.querySelector('#affine [data-figure="scale"]'), {childList: true});
  });
  await page.mouse.move(x, y);
  await page.mouse.down();
  const until = Date.now() + 2000;
  for (let i = 0; Date.now() < until; i++) await page.mouse.move(x - 100 + 100 * Math.cos(i / 6), y);
  await page.mouse.up();
  const {times, drawn} = await page.evaluate(() => ({times: globalThis.times, drawn: globalThis.drawn}));
  assert(drawn > 5, `${drawn} drawings`);
  const apart = times.slice(1).map((time, i) => time - times[i]).sort((a, b) => a - b);
  console.log(`# range: ${(1000 * apart.length / (times.at(-1) - times[0])).toFixed(1)} frames a second, median ${apart[apart.length >> 1].toFixed(1)} ms`);
});

run();
