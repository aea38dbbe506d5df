// The README's pictures of the page, from the page of browser.sh's folder: with its environment,
// node tests/page/screenshots.js FOLDER
'use strict';
const path = require('node:path');
const {open, run, test} = require('./browser.js');

const folder = process.argv[2];

// From the first element to the last one, with a margin.
async function picture(page, name, first, last) {
  await page.evaluate(() => { document.getElementById('contents').hidden = true; });
  const [from, to] = [await first.boundingBox(), await last.boundingBox()];
  const scroll = await page.evaluate(() => scrollY);
  await page.screenshot({path: path.join(folder, `page-${name}.png`), fullPage: true,
    clip: {x: 30, y: from.y + scroll - 20, width: 1040, height: to.y + to.height - from.y + 40}});
}

test('the affine map', async () => {
  const page = await open({width: 1100, deviceScaleFactor: 0.78});
  await page.waitForSelector('[data-check="good"]');
  await picture(page, 'affine', page.locator('#affine figure').first(), page.locator('#affine .aligned'));
});

test('a digit drawn', async () => {
  const page = await open({width: 1100, deviceScaleFactor: 0.78, reducedMotion: 'reduce'});
  await page.waitForSelector('[data-check="good"]');
  await page.locator('#draw .controls button').first().click();
  const pad = page.locator('.pad');
  await pad.scrollIntoViewIfNeeded();
  const box = await pad.boundingBox();
  const at = (x, y) => page.mouse.move(box.x + x * box.width, box.y + y * box.height, {steps: 12});
  await at(0.25, 0.22);
  await page.mouse.down();
  await at(0.73, 0.22);
  await at(0.43, 0.84);
  await page.mouse.up();
  await page.waitForFunction(() => document.querySelector('#draw td.answer').textContent === '7');
  await picture(page, 'draw', page.locator('#draw .panel').first(), page.locator('#draw table').first());
});

run();
