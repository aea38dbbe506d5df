// The frame of the page's tests in Chromium: test(NAME, async BODY) for each, then run(). Prints TAP; a test fails by
// throwing. test(NAME, [TABLE, ...], BODY) is skipped where the page has no such tables. What a body gets from open(): a Playwright page on the page's file, which notes what must not happen.
'use strict';
const assert = require('node:assert/strict');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const zlib = require('node:zlib');
const {pathToFileURL} = require('node:url');
const {chromium} = require('playwright-core');

const results = path.resolve(process.env.RESULTS);
const file = path.join(results, 'page.html');
const html = fs.readFileSync(file, 'utf8');
const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'mnistq-page.'));
const tests = [];
let browser = null;

const test = (name, ...rest) => tests.push({name, body: rest.pop(), tables: rest[0] ?? []});

// Opens the page, or another file, and waits until every section is built. page.noted: its console lines, errors, requests.
async function open({address = file, width = 1400, height = 900, scheme = 'light', ready = true, before, ...context} = {}) {
  const opened = await browser.newContext({viewport: {width, height}, colorScheme: scheme, acceptDownloads: true, ...context});
  const page = await opened.newPage();
  page.noted = {console: [], requests: []};
  page.on('console', message => page.noted.console.push(message.text()));
  page.on('pageerror', error => page.noted.console.push(String(error)));
  page.on('request', request => page.noted.requests.push(request.url().slice(0, 100)));
  if (before) await page.addInitScript(before);
  await page.goto(pathToFileURL(address).href);
  if (ready) await page.waitForFunction(() => document.documentElement.dataset.ready, null, {timeout: 60000});
  return page;
}

// The same page with one byte of an embedded file changed: change(bytes as they are stored) in place.
function changedPage(name, change) {
  const found = new RegExp(`(data-blob="${name}"[^>]*>)([^<]*)`).exec(html);
  assert(found, `${name} is embedded`);
  const bytes = zlib.inflateSync(Buffer.from(found[2], 'base64'));
  change(bytes);
  const to = path.join(folder, `${name.replace('/', '-')}.html`);
  fs.writeFileSync(to, html.replace(found[0], () => found[1] + zlib.deflateSync(bytes).toString('base64')));
  return to;
}

// The file of a table: that of the results, or of the reference, as `mnistq page` takes them.
const csvFile = name => [results, path.resolve('results/reference/mnist')].map(place => path.join(place, `${name}.csv`)).find(fs.existsSync);

// A CSV file of the program: [{column: cell}].
function readCsv(name) {
  const lines = fs.readFileSync(csvFile(name), 'utf8').split('\n').filter(line => line && line[0] !== '#');
  const cells = line => [...line.matchAll(/("(?:[^"]|"")*"|[^,]*)(,|$)/g)].slice(0, line.endsWith(',') ? undefined : -1)
    .map(found => found[1].replace(/^"|"$/g, '').replaceAll('""', '"'));
  const columns = cells(lines[0]);
  return lines.slice(1).map(line => Object.fromEntries(cells(line).map((cell, i) => [columns[i], cell])));
}

async function run() {
  browser = await chromium.launch({executablePath: process.env.CHROMIUM, args: process.getuid?.() === 0 ? ['--no-sandbox'] : []});
  const chosen = tests.filter(({name}) => name.includes(process.env.ONLY ?? ''));
  console.log(`1..${chosen.length}`);
  let failed = 0;
  for (const [i, {name, body, tables}] of chosen.entries()) {
    const lacking = tables.filter(table => !html.includes(`data-table="${table}"`));
    if (lacking.length) {
      console.log(`ok ${i + 1} - ${name} # SKIP this page has no table ${lacking.join(', ')}`);
      continue;
    }
    try {
      await body();
      console.log(`ok ${i + 1} - ${name}`);
    } catch (error) {
      failed++;
      console.log(`not ok ${i + 1} - ${name}`);
      console.log(String(error.stack ?? error).split('\n').slice(0, 30).map(line => `# ${line}`).join('\n'));
    } finally {
      for (const context of browser.contexts()) await context.close();
    }
  }
  await browser.close();
  fs.rmSync(folder, {recursive: true});
  process.exitCode = failed ? 1 : 0;
}

module.exports = {assert, changedPage, csvFile, file, folder, open, readCsv, results, run, test};
