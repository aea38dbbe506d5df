// The page's frame: embedded files, tables, settings, contents, and the sections one after the other.
'use strict';

const ORDER = ['check', 'affine', 'ladder', 'draw', 'outliers', 'calibration', 'faults', 'claims', 'provenance'];
const sections = {};
const registerSection = section => { sections[section.id] = section; };

// ---- embedded files ---------------------------------------------------------------------------------------------

const blobs = new Map(); // name -> Promise of its bytes
const embedded = name => document.querySelector(`script[data-blob="${name}"]`);

// The bytes of an embedded file, unpacked once.
function blob(name) {
  if (!blobs.has(name)) blobs.set(name, unpackBlob(name));
  return blobs.get(name);
}
const json = async name => JSON.parse(new TextDecoder().decode(await blob(name)));

// The program's tables as the page's HTML holds them: {name: {title, columns, rows: [{column: text}], notes, facts}};
// facts: those of the notes that are in the CSV file; origin: what says that the table is of another run, or null.
function readTables() {
  const tables = {};
  for (const table of document.querySelectorAll('table[data-table]')) {
    const columns = [...table.querySelectorAll('thead th')].map(cell => cell.textContent);
    const rows = [...table.tBodies[0].rows].map(row => Object.fromEntries([...row.cells].map((cell, i) => [columns[i], cell.textContent])));
    const frame = table.closest('details');
    tables[table.dataset.table] = {columns, rows, title: frame.querySelector('.title').textContent, origin: frame.querySelector('.reference'),
      notes: [...frame.querySelectorAll('.notes li')].map(note => note.textContent),
      facts: [...frame.querySelectorAll('.notes li.fact')].map(note => note.textContent)};
  }
  return tables;
}

// A cell of a table as an element that says which one it is. suffix: such as '%'.
function tableCell(ctx, table, row, column, suffix = '') {
  const text = ctx.tables[table].rows[row][column];
  return el('span', {'data-cell': `${table}/${row}/${column}`}, suffix === '%' ? t('unit.percent', {value: cellText(text)}) : cellText(text) + suffix);
}

// "Ours: measured on CPU ..., network ..." of a table of another run.
const originText = ({dataset: {cpu, accuracy, bytes}}) => t('frame.reference', {cpu, accuracy: cellText(accuracy), bytes: cellText(bytes)});

// Says above what is shown of a table that it is of another run, where it is.
function originNotice(root, ctx, table) {
  const origin = ctx.tables[table]?.origin;
  if (origin) root.append(el('p', {class: 'notice origin'}, originText(origin)));
}

// Where a table is missing: the commands that bring it.
const missingNotice = ({facts}) => el('p', {class: 'notice'}, ...rich(t('frame.missing', {command: facts.remedy})));

// ---- settings ---------------------------------------------------------------------------------------------------

// What the reader chose last time; a browser that keeps nothing for files starts anew each time.
const kept = {
  get(name) { try { return localStorage.getItem(`mnistq.${name}`); } catch { return null; } },
  set(name, value) { try { localStorage.setItem(`mnistq.${name}`, value); } catch { /* then not */ } },
};

function applyTheme(theme) {
  if (theme === 'light' || theme === 'dark') document.documentElement.dataset.theme = theme;
  else delete document.documentElement.dataset.theme;
}

function buildSettings(rebuild) {
  const root = document.getElementById('settings');
  root.replaceChildren();
  dropdown(root, {label: t('frame.language'), value: language, options: [{value: 'en', text: 'English'}, {value: 'fr', text: 'Français'},
    {value: 'de', text: 'Deutsch'}], onchange: value => { language = value; kept.set('language', value); rebuild(); }});
  dropdown(root, {label: t('frame.theme'), value: kept.get('theme') ?? 'auto',
    options: ['auto', 'light', 'dark'].map(value => ({value, text: t(`frame.theme.${value}`)})),
    onchange: value => { kept.set('theme', value); applyTheme(value); }});
}

// ---- the frame --------------------------------------------------------------------------------------------------

function buildContents() {
  const nav = document.getElementById('contents');
  const here = ORDER.filter(id => sections[id]);
  const entries = [...here.map(id => [id, t(`section.${id}`)]), ['tables', t('frame.tables.short')]];
  nav.setAttribute('aria-label', t('frame.contents'));
  nav.hidden = false;
  nav.replaceChildren(el('ol', {}, entries.map(([id, text]) => el('li', {}, el('a', {href: `#${id}`}, text)))));
}

// Marks the entry of the section that one reads.
function followReader() {
  const mark = live(() => {
    const links = [...document.querySelectorAll('#contents a')];
    const passed = links.filter(link => (document.querySelector(link.hash)?.getBoundingClientRect().top ?? Infinity) < 0.35 * innerHeight);
    const now = passed.at(-1);
    for (const link of links) {
      if (link !== now) link.removeAttribute('aria-current');
      else if (!link.hasAttribute('aria-current')) {
        link.setAttribute('aria-current', 'true');
        const list = link.closest('ol');
        list.scrollLeft = link.offsetLeft - list.offsetLeft - 0.4 * list.clientWidth;
      }
    }
  });
  // A link to a table opens it.
  const open = () => { const target = location.hash && document.getElementById(location.hash.slice(1)); if (target?.tagName === 'DETAILS') target.open = true; };
  addEventListener('hashchange', open);
  addEventListener('scroll', mark, {passive: true});
  addEventListener('resize', mark);
}

function notice(text, bad = false) {
  const element = document.getElementById('notice');
  element.textContent = text ?? '';
  element.hidden = !text;
  element.classList.toggle('bad', bad);
}

// Builds every section anew in the current language, one a task, so that the first ones show at once.
let building = 0;
async function buildSections(ctx) {
  const mine = ++building;
  const root = document.getElementById('sections');
  const frames = ORDER.filter(id => sections[id]).map(id => {
    const heading = el('h2', {id: `${id}-title`}, el('span', {class: 'number'}, String(ORDER.indexOf(id))), t(`section.${id}`));
    return el('section', {id, 'aria-labelledby': `${id}-title`}, heading);
  });
  root.replaceChildren(...frames);
  for (const frame of frames) {
    await new Promise(resolve => setTimeout(resolve));
    if (mine !== building) return;
    try {
      await sections[frame.id].build(frame, ctx);
    } catch (error) {
      frame.append(el('p', {class: 'notice bad'}, t('frame.section.failed', {error: error.message})));
    }
  }
  // What the address names was not there before, and charts find their height in the frame after.
  await new Promise(resolve => setTimeout(resolve, 100));
  if (mine !== building) return;
  const target = location.hash && document.getElementById(location.hash.slice(1));
  if (target) {
    if (target.tagName === 'DETAILS') target.open = true;
    target.scrollIntoView({behavior: 'instant'});
  }
  document.documentElement.dataset.ready = language; // for tests, and for those who print
}

function translateFrame() {
  document.documentElement.lang = language;
  for (const element of document.querySelectorAll('[data-t]')) element.replaceChildren(...rich(t(element.dataset.t)));
  for (const origin of document.querySelectorAll('.reference')) origin.textContent = originText(origin);
}

async function start(ctx) {
  for (const element of document.querySelectorAll('[data-blob]')) blob(element.dataset.blob).catch(() => {}); // all at once
  ctx.facts = await json('facts');
  ctx.questions = embedded('questions') ? await json('questions') : null;
  ctx.engine = await Engine.start(await blob('wasm'));
  ctx.models = {};
  ctx.broken = {}; // name -> why this model does not open; the self-check says so
  for (const name of Object.keys(ctx.facts.models)) {
    try {
      ctx.models[name] = ctx.engine.open(await blob(`model/${name}`));
    } catch (error) {
      ctx.broken[name] = error.message;
    }
  }
  for (const set of ['test', 'calibration']) {
    if (!embedded(`${set}/images`)) continue;
    const images = ctx.engine.images(await blob(`${set}/images`));
    ctx[set] = {images, labels: await blob(`${set}/labels`), count: images.count};
  }
}

async function boot() {
  const wish = kept.get('language') ?? navigator.language.slice(0, 2);
  if (TEXTS[wish]) language = wish;
  applyTheme(kept.get('theme'));
  const ctx = {tables: readTables(), memory: {}};
  const rebuild = async () => {
    translateFrame();
    buildSettings(rebuild);
    buildContents();
    if (ctx.error) notice(t('frame.failed', {error: ctx.error}), true);
    else if (ctx.engine) await buildSections(ctx);
  };
  await rebuild();
  followReader();
  notice(t('frame.loading'));
  try {
    await start(ctx);
    notice(null);
  } catch (error) {
    ctx.error = error.message;
  }
  await rebuild();
}
