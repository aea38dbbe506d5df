// Section 3: what one draws, by mouse and keyboard, a photo, test images; the answers and the trace of a neuron.
'use strict';
const {spawnSync} = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');
const zlib = require('node:zlib');
const {assert, folder, open, results, run, test} = require('./browser.js');

const model = path.join(results, 'models', 'int8-per-channel.safetensors');
const frames = page => page.evaluate(() => new Promise(resolve => requestAnimationFrame(() => requestAnimationFrame(() => requestAnimationFrame(resolve)))));
const answers = page => page.locator('#draw td.answer').allTextContents();
const status = page => page.locator('#draw-status').textContent();
const clear = async page => { await page.locator('#draw .controls button').first().click(); await frames(page); };

// The gray pixels of a canvas, from its red channel.
const gray = (page, selector) => page.locator(selector).evaluate(canvas => {
  const {data} = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
  return Array.from({length: data.length / 4}, (_, i) => data[4 * i]);
});
const seen = page => gray(page, '#draw .seen canvas');

function writePgm(name, pixels, side) {
  const file = path.join(folder, name);
  fs.writeFileSync(file, Buffer.concat([Buffer.from(`P5 ${side} ${side} 255\n`), Buffer.from(pixels)]));
  return file;
}

// 8-bit gray PNG.
function writePng(name, pixels, side) {
  const chunk = (type, data) => {
    const body = Buffer.concat([Buffer.from(type), data]), head = Buffer.alloc(4), tail = Buffer.alloc(4);
    head.writeUInt32BE(data.length);
    tail.writeUInt32BE(crc32(body));
    return Buffer.concat([head, body, tail]);
  };
  const header = Buffer.alloc(13);
  header.writeUInt32BE(side, 0);
  header.writeUInt32BE(side, 4);
  header[8] = 8;
  const rows = Buffer.concat(Array.from({length: side}, (_, y) => Buffer.concat([Buffer.from([0]), Buffer.from(pixels.slice(y * side, (y + 1) * side))])));
  const file = path.join(folder, name);
  fs.writeFileSync(file, Buffer.concat([Buffer.from('\x89PNG\r\n\x1a\n', 'latin1'), chunk('IHDR', header), chunk('IDAT', zlib.deflateSync(rows)), chunk('IEND', Buffer.alloc(0))]));
  return file;
}
function crc32(bytes) {
  let crc = ~0;
  for (const byte of bytes) {
    crc ^= byte;
    for (let i = 0; i < 8; i++) crc = crc & 1 ? crc >>> 1 ^ 0xedb88320 : crc >>> 1;
  }
  return ~crc >>> 0;
}

function mnistq(...args) {
  const done = spawnSync(process.env.MNISTQ, args, {encoding: 'utf8'});
  assert.equal(done.status, 0, done.stderr);
  return done.stdout;
}

// What `mnistq predict --show` prints of 28 x 28 bytes: two characters a pixel, ten shades.
const shades = bytes => Array.from({length: 28}, (_, y) => '  |' + bytes.slice(28 * y, 28 * y + 28).map(b => ' .:-=+*#%@'[Math.trunc(b * 9 / 255)].repeat(2)).join('') + '|').join('\n');

// The codes of all layers that the program computes for 28 x 28 bytes: an IDX data set of one image.
function programCodes(bytes) {
  const data = fs.mkdtempSync(path.join(folder, 'data.'));
  const images = Buffer.concat([Buffer.from([0, 0, 8, 3, 0, 0, 0, 10, 0, 0, 0, 28, 0, 0, 0, 28]), ...Array(10).fill(Buffer.from(bytes))]);
  const labels = Buffer.from([0, 0, 8, 1, 0, 0, 0, 10, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
  for (const split of ['train', 't10k']) {
    fs.writeFileSync(path.join(data, `${split}-images-idx3-ubyte`), images);
    fs.writeFileSync(path.join(data, `${split}-labels-idx1-ubyte`), labels);
  }
  const file = path.join(data, 'codes.csv');
  mnistq('eval', model, '--data', data, '--codes', file);
  return fs.readFileSync(file, 'utf8').split('\n').filter(line => line && line[0] !== '#');
}

// Moves the mouse over the pad along points, as if it were 280 x 280, in small steps.
async function draw(page, points) {
  const pad = page.locator('.pad');
  await pad.scrollIntoViewIfNeeded();
  const box = await pad.boundingBox();
  const at = ([x, y]) => [box.x + x * box.width / 280, box.y + y * box.height / 280];
  await page.mouse.move(...at(points[0]));
  await page.mouse.down();
  for (const point of points.slice(1)) await page.mouse.move(...at(point), {steps: 15});
  await page.mouse.up();
  await frames(page);
}
const SEVEN = [[70, 60], [205, 60], [120, 235]];

test('a 7 drawn with the mouse is a 7, and the program sees the same bytes and codes', async () => {
  const page = await open();
  await clear(page);
  assert.deepEqual(await answers(page), ['–', '–', '–', '–']);
  await draw(page, SEVEN);
  assert.deepEqual((await answers(page)).slice(0, 3), ['7', '7', '7']);
  const digit = await seen(page), drawn = await gray(page, '.pad');
  assert(drawn.filter(byte => byte > 128).length > 800);
  const shown = mnistq('predict', model, writePgm('stroke.pgm', drawn, 140), '--show');
  assert(shown.includes(shades(digit)), shown);
  assert.match(shown, /stroke\.pgm: 7/);
  const codes = await page.locator('#draw .answers tbody tr').evaluateAll(rows => rows.slice(1, 11).map(row => row.cells[2].querySelector('.value').textContent));
  const [columns, first] = programCodes(digit).slice(0, 2).map(line => line.split(','));
  assert.deepEqual(codes, first.slice(columns.indexOf('fc3_0')));
  const all = await page.evaluate(async bytes => {
    const engine = await Engine.start(await blob('wasm')), int8 = engine.open(await blob('model/int8'));
    return [1, 2, 3].flatMap(layer => [...engine.layer(int8, new Uint8Array(bytes), layer).codes]);
  }, digit);
  assert.equal(all.length, 522);
  assert.deepEqual(all.map(String), first.slice(columns.indexOf('fc1_0')));
  assert.deepEqual(page.noted.console, []);
});

test('a digit drawn with the keyboard', async () => {
  const page = await open();
  await clear(page);
  await page.locator('.pad').focus();
  for (let i = 0; i < 7; i++) await page.keyboard.press('ArrowLeft');
  await page.keyboard.press('Space');
  assert.match(await page.locator('#draw .unseen').textContent(), /Column 7, row 7, pen down/);
  for (let i = 0; i < 13; i++) await page.keyboard.press('ArrowRight');
  for (let i = 0; i < 16; i++) {
    await page.keyboard.press('ArrowDown');
    if (i % 2) await page.keyboard.press('ArrowLeft');
  }
  await page.keyboard.press('Space');
  await frames(page);
  assert.match(await page.locator('#draw .unseen').textContent(), /pen up/);
  assert.deepEqual((await answers(page)).slice(0, 3), ['7', '7', '7']);
  await page.keyboard.press('Delete');
  await frames(page);
  assert.equal(await status(page), 'The pad is empty.');
  assert.deepEqual(await answers(page), ['–', '–', '–', '–']);
});

test('touch draws, and the page does not scroll away under the finger', async () => {
  const page = await open({width: 390, hasTouch: true});
  await clear(page);
  await page.locator('.pad').scrollIntoViewIfNeeded();
  assert.equal(await page.locator('.pad').evaluate(pad => getComputedStyle(pad).touchAction), 'none');
  const box = await page.locator('.pad').boundingBox(), touch = await page.context().newCDPSession(page);
  const at = (x, y) => [{x: box.x + x * box.width / 280, y: box.y + y * box.height / 280}];
  await touch.send('Input.dispatchTouchEvent', {type: 'touchStart', touchPoints: at(140, 40)});
  for (let y = 40; y <= 240; y += 10) await touch.send('Input.dispatchTouchEvent', {type: 'touchMove', touchPoints: at(140, y)});
  await touch.send('Input.dispatchTouchEvent', {type: 'touchEnd', touchPoints: []});
  await frames(page);
  assert.equal((await answers(page))[0], '1');
});

test('a photo: dark ink on paper, as `mnistq predict` reads the same file', async () => {
  const page = await open();
  const side = 300, pixels = new Array(side * side).fill(235);
  const dot = (x, y) => { for (let j = -9; j <= 9; j++) for (let i = -9; i <= 9; i++) if (i * i + j * j < 85) pixels[(y + j) * side + x + i] = 30; };
  for (let i = 0; i <= 100; i++) { dot(90 + i, 70); dot(190 - Math.round(i * 0.7), 70 + Math.round(i * 1.6)); }
  const photo = writePng('photo.png', pixels, side);
  await page.locator('#draw-photo').setInputFiles(photo);
  await page.waitForFunction(() => /photo\.png, 300 × 300/.test(document.getElementById('draw-status').textContent));
  assert.deepEqual((await answers(page)).slice(0, 3), ['7', '7', '7']);
  assert(mnistq('predict', model, photo, '--show').includes(shades(await seen(page))));
  const text = path.join(folder, 'notes.png');
  fs.writeFileSync(text, 'no picture');
  await page.locator('#draw-photo').setInputFiles(text);
  await page.waitForFunction(() => /notes\.png: the browser cannot read/.test(document.getElementById('draw-status').textContent));
  const empty = writePng('empty.png', new Array(900).fill(200), 30);
  await page.locator('#draw-photo').setInputFiles(empty);
  await page.waitForFunction(() => /nothing is drawn on it/.test(document.getElementById('draw-status').textContent));
  assert.deepEqual(page.noted.console, []);
});

test('doubts of the program are told', async () => {
  const page = await open();
  await clear(page);
  await draw(page, [[90, 2], [70, 150], [210, 150], [170, 90], [172, 250]]);
  const doubted = await page.locator('#draw-doubts li').allTextContents();
  const warned = spawnSync(process.env.MNISTQ, ['predict', model, writePgm('rim.pgm', await gray(page, '.pad'), 140)], {encoding: 'utf8'});
  const warnings = [...warned.stderr.matchAll(/warning: (.*)/g)].map(found => found[1]);
  assert(warnings.length > 0, warned.stderr);
  for (const warning of warnings) assert(doubted.some(text => text.endsWith(warning)), `${warning} in ${doubted}`);
});

test('test images, and those that the models disagree on', async () => {
  const page = await open();
  const buttons = page.locator('#draw .controls').first().locator('button');
  await buttons.nth(1).click();
  await frames(page);
  assert.equal(await status(page), 'Test image 1, a 2.');
  assert.deepEqual(await seen(page), await page.evaluate(async () => [...(await blob('test/images')).slice(784, 1568)]));
  await buttons.nth(2).click();
  await page.waitForFunction(() => /Number 1 of \d+ on which/.test(document.getElementById('draw-status').textContent), null, {timeout: 30000});
  assert(new Set(await answers(page)).size > 1);
});

test('a neuron is followed: clicked, by the keyboard, and the numbers add up to the engine’s code', async () => {
  const page = await open();
  const strip = page.locator('#draw .strip').nth(1);
  await strip.focus();
  await page.keyboard.press('ArrowRight');
  await page.keyboard.press('ArrowDown');
  await page.keyboard.press('Enter');
  await frames(page);
  assert.match(await page.locator('#trace').textContent(), /Layer 1, neuron 65\./);
  const code = Number(await page.locator('[data-trace="code"]').textContent());
  assert.match(await strip.getAttribute('aria-valuetext'), new RegExp(`Neuron 65: code ${code},`));
  await page.locator('#draw button.plain').first().click();
  await frames(page);
  assert.match(await page.locator('#trace').textContent(), /Layer 3, the logit of class 0\./);
  assert.equal(await page.locator('[data-trace="code"]').textContent(), await page.locator('#draw button.plain').first().textContent());
  await page.locator('#trace details summary').click();
  const whole = text => Number(text.replace('−', '-').replaceAll(',', ''));
  const products = await page.locator('#trace details tbody tr').evaluateAll(rows => rows.map(row => [...row.cells].map(cell => cell.textContent)));
  for (const [, x, w, , product] of products) assert.equal(whole(x) * whole(w), whole(product));
  const [, sum, sign, bias, acc] = /=(−?[\d,]+)([−+])([\d,]+)=(−?[\d,]+)$/.exec(await page.locator('#trace math').first().textContent());
  assert.equal(products.reduce((all, row) => all + whole(row[4]), 0), whole(sum));
  assert.equal(whole(sum) + (sign === '+' ? 1 : -1) * whole(bias), whole(acc));
});

run();
