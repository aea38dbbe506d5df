// What sections are made of: elements, controls, equations, pictures, and charts in SVG that are laid out by the width of
// their container, so that text keeps its size on a telephone. JavaScript places things here; it computes no result.
'use strict';

// ---- elements ---------------------------------------------------------------------------------------------------

const NAMESPACES = {svg: 'http://www.w3.org/2000/svg', math: 'http://www.w3.org/1998/Math/MathML'};

// An element with attributes; 'on' adds listeners, and false, null and undefined leave an attribute out.
function make(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (name === 'on') for (const [event, listener] of Object.entries(value)) element.addEventListener(event, listener);
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(name, value === true ? '' : value);
  }
  element.append(...children.flat(Infinity).filter(child => child !== null && child !== undefined));
  return element;
}
const el = (tag, attributes, ...children) => make(document.createElement(tag), attributes, children);
const svg = (tag, attributes, ...children) => make(document.createElementNS(NAMESPACES.svg, tag), attributes, children);
const mathml = (tag, ...children) => make(document.createElementNS(NAMESPACES.math, tag), {}, children);

// Text with code between backticks.
const rich = text => text.split('`').map((part, i) => i % 2 ? el('code', {}, part) : part);

// MathML from tokens: numbers, operators and names by their look, and what frac(), sub() and group() return.
function mathTokens(tokens) {
  return tokens.flat(Infinity).map(token => {
    if (typeof token !== 'string') return token;
    if (/^[−+]?[\d.,\s\u202f\u00a0’]*\d/.test(token)) return mathml('mn', token);
    return mathml(/^[\p{L}]+$/u.test(token) ? 'mi' : 'mo', token);
  });
}
const group = (...tokens) => mathml('mrow', ...mathTokens(tokens));
const frac = (above, below) => mathml('mfrac', group(above), group(below));
const sub = (base, below) => mathml('msub', group(base), group(below));
const sup = (base, above) => mathml('msup', group(base), group(above));

// <p class=equation>: its name, then the tokens. Returns {update(...tokens), name(text)}.
function equation(root, name, ...tokens) {
  const formula = mathml('math', group(tokens));
  formula.setAttribute('displaystyle', 'true');
  const label = el('span', {class: 'name'}, name);
  root.append(el('p', {class: 'equation'}, label, formula));
  return {update: (...next) => formula.replaceChildren(group(next)), name: text => { label.textContent = text; }};
}

// ---- controls ---------------------------------------------------------------------------------------------------

let made = 0; // ids that tie labels to their controls
const newId = () => `e${++made}`;

// A range with its value beside it, in words for screen readers too. text(value) -> string.
function slider(root, {label, min, max, step = 1, value, text = num, oninput}) {
  const id = newId();
  const output = el('output', {for: id});
  const input = el('input', {type: 'range', id, min, max, step, value});
  const show = () => {
    output.textContent = text(Number(input.value));
    input.setAttribute('aria-valuetext', output.textContent);
  };
  input.addEventListener('input', () => { show(); oninput?.(Number(input.value)); });
  root.append(el('div', {class: 'slider'}, el('label', {for: id}, label), output, input));
  show();
  return {input, get value() { return Number(input.value); }, set(next) { input.value = next; show(); }};
}

// A few alternatives side by side. options: [{value, text}].
function choice(root, {label, options, value, onchange}) {
  const name = newId();
  const inputs = options.map(option => el('input', {type: 'radio', name, value: option.value, checked: option.value === value,
    on: {change: () => onchange?.(option.value)}}));
  root.append(el('fieldset', {class: 'choice'}, el('legend', {}, label),
    el('div', {}, options.map((option, i) => el('label', {}, inputs[i], el('span', {}, option.text))))));
  return {get value() { return options[inputs.findIndex(input => input.checked)]?.value; },
    set(next) { inputs.forEach((input, i) => { input.checked = options[i].value === next; }); }};
}

// Many alternatives, in a list that opens.
function dropdown(root, {label, options, value, onchange}) {
  const id = newId();
  const input = el('select', {id, on: {change: () => onchange?.(options[input.selectedIndex].value)}},
    options.map(option => el('option', {selected: option.value === value}, option.text)));
  root.append(el('div', {class: 'field'}, el('label', {for: id}, label), input));
  return {input, get value() { return options[input.selectedIndex].value; },
    set(next) { input.selectedIndex = options.findIndex(option => option.value === next); }};
}

// A list of figures with names. entries: [key, name]; set(key, text, small, bad), where text may be an element.
function figureList(root, entries) {
  const list = el('dl', {class: 'figures'}), cells = {};
  for (const [key, name] of entries) list.append(el('div', {}, el('dt', {}, name), cells[key] = el('dd', {'data-figure': key}, '–')));
  root.append(list);
  return {
    list,
    set(key, text, small, bad = false) {
      cells[key].replaceChildren(text, small ? el('small', {}, ' ', small) : '');
      cells[key].classList.toggle('bad', bad);
    },
  };
}

// ---- tables and pictures ----------------------------------------------------------------------------------------

// A table that scrolls in its own frame. columns: texts; rows: cells, each a text or an element. Returns {update(rows)}.
function dataTable(root, {caption, columns, rows = []}) {
  const body = el('tbody');
  const heads = columns.map(column => el('th', {scope: 'col'}, column));
  const numeric = cell => /^[−+±]?[\d.,\s\u202f\u00a0’]+%?$/.test(cell?.textContent ?? cell);
  const fill = next => {
    // A column is flush right, head and all, where most of its cells are numbers.
    const right = columns.map((column, i) => 2 * next.filter(row => numeric(row[i])).length > next.length);
    body.replaceChildren(...next.map(row => el('tr', {}, row.map((cell, i) => el('td', {class: right[i] && 'number'}, cell)))));
    heads.forEach((head, i) => head.classList.toggle('number', right[i]));
  };
  fill(rows);
  root.append(el('div', {class: 'scroll', tabindex: 0, role: 'group', 'aria-label': caption},
    el('table', {}, el('thead', {}, el('tr', {}, heads)), body)));
  return {update: fill};
}

// A picture of width x height values, row by row. signed: blue below 0, white at 0, orange above, up to max either way;
// else black to white from 0 to max. label: what it shows. Returns {update(values, max)}.
function pixels(root, width, height, values, {signed = false, max, label, caption} = {}) {
  const canvas = el('canvas', {width, height, role: 'img', 'aria-label': label});
  const words = el('figcaption', {}, caption);
  const figure = el('figure', {class: 'pixels'}, canvas, words);
  root.append(figure);
  const update = (next, limit = max) => {
    const context = canvas.getContext('2d');
    const image = context.createImageData(width, height);
    const top = limit ?? (next.reduce((most, value) => Math.max(most, Math.abs(value)), 0) || 1);
    for (let i = 0; i < width * height; i++) {
      const share = Math.max(-1, Math.min(1, next[i] / top));
      const towards = signed ? (share < 0 ? [0, 84, 166] : [196, 78, 0]) : [255, 255, 255];
      const from = signed ? 255 : 0;
      for (let c = 0; c < 3; c++) image.data[4 * i + c] = from + (towards[c] - from) * Math.abs(share);
      image.data[4 * i + 3] = 255;
    }
    context.putImageData(image, 0, 0);
  };
  if (values) update(values);
  return {canvas, figure, caption: words, update};
}

// ---- time -------------------------------------------------------------------------------------------------------

// work, run at most once a frame, with the arguments of the last call.
function live(work) {
  let latest = null;
  return (...parameters) => {
    const waiting = latest !== null;
    latest = parameters;
    if (!waiting) requestAnimationFrame(() => { const now = latest; latest = null; work(...now); });
  };
}

// Runs a generator in slices of under 12 ms with the page free between them; done(what it returned), failed(error).
// Returns a function that stops it.
function slices(work, done, failed = error => { throw error; }) {
  const channel = new MessageChannel();
  let stopped = false;
  const end = () => { stopped = true; channel.port1.close(); };
  channel.port1.onmessage = () => {
    if (stopped) return;
    try {
      for (const from = performance.now(); performance.now() - from < 10;) {
        const step = work.next();
        if (step.done) { end(); done?.(step.value); return; }
      }
      channel.port2.postMessage(0);
    } catch (error) { end(); failed(error); }
  };
  channel.port2.postMessage(0);
  return end;
}
