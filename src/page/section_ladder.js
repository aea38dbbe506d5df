// Section 2: the ladder. Every rung of the program's table, accuracy against bits, a number's bits in each format, and
// the weights of one neuron before and after.
'use strict';

// ternary, bitnet and binary have no number in their names: 1 to 1.6 bits.
const rungBits = rung => Number(/\d+/.exec(rung.format)?.[0] ?? 1);
const bitsText = bits => bits > 1 ? t('ladder.of.bits', {bits: num(bits)}) : t('ladder.of.one');
const rungName = rung => rung.method === '-' ? rung.format : `${rung.format} · ${rung.method}`;

// A blockwise format has its own shape: one scale a tensor, a row, 56 weights, or what ggml, MX and NF4 do.
const rungShape = rung => rung.format.endsWith('/tensor') ? 2 : rung.format.endsWith('/row') ? 0 : /\/\d+$/.test(rung.format) ? 1 : 3;

// The family of a rung's method, for the small charts: the first that fits.
const RUNG_FAMILIES = [['QAT', /QAT|LSQ/], ['ggml', /ggml|importance/], ['floats', /FP8|MX|NVFP4/], ['NF4', /NF4/], ['HQQ', /HQQ/],
  ['corrected', /bias correction|AdaRound/], ['GPTQ', /GPTQ/], ['AWQ', /AWQ/], ['signs', /TWN|BitNet|XNOR/],
  ['least squares grid', /least squares/], ['int8', /static|dynamic|LLM/]];
const rungFamily = rung => RUNG_FAMILIES.find(([, names]) => names.test(rung.method))?.[0] ?? 'round to nearest';

// The most accurate of points, the first of several; null of none.
const bestOf = points => points.reduce((best, p) => best && best.y >= p.y ? best : p, null);

function rungPoint(ctx, index) {
  const rung = ctx.tables.ladder.rows[index];
  return {index, name: rungName(rung), x: Number(rung.bits_per_weight), xText: cellText(rung.bits_per_weight), y: Number(rung.accuracy_percent),
    text: cellText(rung.accuracy_percent), error: Number(rung.standard_error), cell: `ladder/${index}/accuracy_percent`};
}

// How many images the tables are about.
const tested = ctx => cellText(ctx.tables.exercise?.rows[0].n ?? '');

// ---- the slider through the rungs -------------------------------------------------------------------------------

function buildRungs(root, ctx) {
  const {rows} = ctx.tables.ladder;
  const state = ctx.memory.ladder ??= {rung: 0, bits: 4, zoom: true};
  const longest = rows.findIndex(rung => rung.format === 'f32' && rung.method === 'one more epoch');
  const longer = longest < 0 ? null : rungPoint(ctx, longest); // what QAT is to be compared with
  const panel = el('div', {class: 'panel'});
  originNotice(root, ctx, 'ladder');
  root.append(panel);
  const show = () => {
    const rung = rows[state.rung];
    const cell = (column, suffix) => rung[column] === '' ? '–' : tableCell(ctx, 'ladder', state.rung, column, suffix);
    const seven = Number(rung.bits_per_weight) / 8 * 7;
    figures.set('bits', cell('bits_per_weight'));
    figures.set('file', cell('file_bytes'));
    figures.set('seven', `${num(seven, seven < 10 ? 2 : 1)} GB`);
    figures.set('accuracy', cell('accuracy_percent', '%'), el('span', {}, '± ', cell('standard_error')));
    for (const column of ['changed', 'fixed', 'broken']) figures.set(column, cell(column));
    figures.set('sqnr', cell('weight_sqnr_db', ' dB'));
    const isLonger = longer && rungFamily(rung) === 'QAT';
    apart.replaceChildren(...isLonger ? [t('ladder.longer.rung'), ' ', tableCell(ctx, 'ladder', longer.index, 'accuracy_percent', '%'), '.'] : []);
    arithmetic.textContent = t('ladder.arithmetic', {arithmetic: rung.arithmetic, speed: cellText(rung.speed)});
    refresh();
  };
  slider(panel, {label: t('ladder.rung'), min: 0, max: rows.length - 1, value: state.rung, text: index => rungName(rows[index]),
    oninput: index => { state.rung = index; show(); }});
  const figures = figureList(panel, ['bits', 'file', 'seven', 'accuracy', 'changed', 'fixed', 'broken', 'sqnr'].map(key => [key, t(`ladder.figure.${key}`)]));
  const arithmetic = el('p', {class: 'soft'}), apart = el('p');
  panel.append(apart, arithmetic, el('p', {class: 'small soft'}, t('ladder.figure.note', {count: tested(ctx)})));

  const points = rows.map((rung, index) => rungPoint(ctx, index));
  const isTrained = p => rungFamily(rows[p.index]) === 'QAT';
  const few = points.filter(p => rungBits(rows[p.index]) < 10);
  const several = [8, 6, 5, 4, 3, 2, 1].filter(bits => few.some(p => rungBits(rows[p.index]) === bits));
  const ofBits = bits => few.filter(p => rungBits(rows[p.index]) === bits);
  const row = p => ({name: p.name, value: p.y, error: p.error, text: p.text, cell: p.cell, strong: p.index === state.rung});
  const fp32 = Number(rows[0].accuracy_percent);
  const reference = {x: fp32, text: `${rows[0].format} ${cellText(rows[0].accuracy_percent)}`, above: true};
  const marks = [reference, ...longer ? [{x: longer.y, text: t('ladder.longer'), above: true, start: true}] : []];

  // The whole ladder at a glance: the best of each number of bits.
  root.append(el('h3', {}, t('ladder.best')), el('p', {}, t('ladder.best.text')));
  const winners = several.flatMap(bits => [false, true].map(trained => ({bits, series: Number(trained),
    best: bestOf(ofBits(bits).filter(p => isTrained(p) === trained))}))).filter(({best}) => best);
  const overview = () => ({title: t('ladder.best'), x: {label: t('ladder.axis.accuracy'), lo: Math.min(...winners.map(({best}) => best.y - best.error)) - 0.2,
    hi: Math.max(...winners.map(({best}) => best.y + best.error)) + 0.1}, marks,
    rows: winners.map(({bits, series, best}) => ({...row(best), name: `${bitsText(bits)}: ${best.name}`, series}))});
  const bests = dotChart(root, {...overview(), label: t('ladder.method'),
    legend: ['made', 'trained'].map((key, series) => ({series, name: t(`ladder.best.${key}`)}))});

  // All methods of as many bits, one a row.
  root.append(el('h3', {}, t('ladder.compare')), el('p', {}, t('ladder.compare.text'), ...longer ? [' ', t('ladder.longer.text')] : []));
  const controls = el('div', {class: 'controls'});
  root.append(controls);
  choice(controls, {label: t('ladder.bits'), value: state.bits, options: several.map(value => ({value, text: num(value)})),
    onchange: value => { state.bits = value; refresh(); }});
  choice(controls, {label: t('ladder.zoom'), value: state.zoom, options: [true, false].map(value => ({value, text: t(`ladder.zoom.${value}`)})),
    onchange: value => { state.zoom = value; refresh(); }});
  // What the points span, zoomed at most 2.5% below fp32; the upper end is the same in all charts.
  const span = seen => ({lo: Math.max(Math.min(...seen.map(p => p.y - p.error)) - 0.05, state.zoom ? fp32 - 2.5 : 0),
    hi: Math.max(...few.map(p => p.y + p.error)) + 0.05});
  const bestHere = () => bestOf(ofBits(state.bits).filter(p => !isTrained(p)));
  const compare = () => ({title: t('ladder.chart.methods', {bits: bitsText(state.bits)}), x: {label: t('ladder.axis.accuracy'), ...span(ofBits(state.bits))}, marks,
    rows: ofBits(state.bits).map(p => ({...row(p), name: p === bestHere() ? `★ ${p.name}` : p.name, series: rungShape(rows[p.index])}))});
  const blocks = [[2, 'tensor'], [0, 'row'], [1, 'group'], [3, 'other']].map(([series, key]) => ({series, name: t(`ladder.block.${key}`)}));
  const methods = dotChart(root, {...compare(), label: t('ladder.method'), legend: blocks});

  // The same over bits, a chart a family, the others behind it.
  root.append(el('h3', {}, t('ladder.families')), el('p', {}, t('ladder.families.text')));
  const grid = el('div', {class: 'multiples'});
  root.append(grid);
  const families = [...new Set(few.map(p => rungFamily(rows[p.index])))];
  const series = family => {
    const mine = few.filter(p => rungFamily(rows[p.index]) === family);
    const shapes = [...new Set(mine.map(p => rungShape(rows[p.index])))];
    return [{name: '', shape: 4, faint: true, line: false, points: few.filter(p => !mine.includes(p)).map(({x, y}) => ({x, y}))},
      ...shapes.map(shape => ({name: '', shape, line: false, points: mine.filter(p => rungShape(rows[p.index]) === shape)
        .map(p => ({...p, strong: p.index === state.rung}))}))];
  };
  const small = family => ({title: t(`ladder.family.${family}`), x: {label: t('ladder.axis.bits'), lo: 0.7, hi: 9, ticks: [1, 2, 3, 4, 6, 8]},
    y: {label: t('ladder.axis.accuracy'), ...span(few)}, marks: [{y: fp32}, ...longer && family === 'QAT' ? [{y: longer.y, text: t('ladder.longer'), middle: true}] : []], series: series(family), height: 170,
    table: () => ({columns: [t('ladder.method'), t('ladder.axis.bits'), t('ladder.axis.accuracy'), t('chart.error')],
      rows: few.filter(p => rungFamily(rows[p.index]) === family).map(p => [p.name, p.xText, twinCell(p.text, p.cell), num(p.error, 2)])})});
  const charts = families.map(family => ({family, chart: lineChart(grid, small(family))}));
  const refresh = live(() => {
    bests.update(overview());
    methods.update(compare());
    for (const {family, chart} of charts) chart.update(small(family));
  });
  show();
}

// ---- the bits of a number ---------------------------------------------------------------------------------------

function buildBits(root, ctx) {
  const {engine} = ctx;
  const state = ctx.memory.bits ??= {x: '0.1'};
  const range = engine.histogram(engine.weights(ctx.models.fp32, 0), 1);
  const most = Math.max(-range.lo, range.hi);
  root.append(el('h3', {}, t('bits.title')), el('p', {}, t('bits.text', {most: num(most, 4)})));
  const id = newId();
  const input = el('input', {type: 'text', id, inputmode: 'decimal', value: state.x, on: {input: () => { state.x = input.value; show(); }}});
  const places = el('div', {class: 'bits'});
  root.append(el('div', {class: 'field'}, el('label', {for: id}, t('bits.number')), input), places);
  const looks = {sign: 3, exponent: 0, mantissa: 1, code: 2};
  const line = (name, fields, value) => [el('span', {}, name), el('span', {class: 'row'}, fields.map(field =>
    el('span', {class: `word c${looks[field.name]}`, title: t(`bits.${field.name}`)}, field.bits))), el('span', {class: 'value'}, value)];
  const show = () => {
    const x = Number(state.x.replace(',', '.').replace('−', '-'));
    const floats = ['fp32', 'fp16', 'bf16', 'fp8_e4m3', 'fp8_e5m2'].map(format => {
      const {fields, value} = engine.bits(format, x);
      return line(format.replace('_', ' '), fields, num(value));
    });
    const integers = [8, 4].map(bits => {
      const {codes, back} = engine.quantize([x], engine.affine({lo: -most, hi: most, bits, symmetric: true}));
      const word = (codes[0] & (2 ** bits - 1)).toString(2).padStart(bits, '0');
      return line(`int${bits}`, [{name: 'code', bits: word}], `${num(codes[0])} → ${num(back[0])}`);
    });
    places.replaceChildren(...[...floats, ...integers].flat());
  };
  root.append(el('ul', {class: 'legend'}, Object.entries(looks).map(([name, look]) => el('li', {},
    svg('svg', {viewBox: '-8 -8 16 16', 'aria-hidden': true}, svg('path', {class: `line c${look}`, d: 'M-8,0H8'})), t(`bits.${name}`)))));
  show();
}

// ---- one neuron's weights ---------------------------------------------------------------------------------------

// What is shown at so many bits: formats to which the engine rounds fp32, and models of this file, each with its rung.
const NEURON_METHODS = {
  8: [{model: 'int8_per_tensor', rung: ['int8/tensor', 'static']}, {model: 'int8', rung: ['int8/row', 'static']}],
  4: [{format: 'int4/tensor'}, {format: 'int4/row'}, {format: 'int4/56'}, {format: 'nf4', rung: ['nf4', 'NF4']}, {format: 'q4_0', rung: ['q4_0', 'ggml']},
    {model: 'int4', rung: ['int4/row', 'W4A8, GPTQ']}],
  3: [{format: 'int3/row'}, {format: 'int3/56'}],
  2: [{format: 'int2/row'}, {format: 'int2/56'}, {model: 'int2_qat', rung: ['int2/row', 'W2A8, QAT']}],
};

// The codes of a row [inputs] of weights rounded to nearest in format, by the engine's eq. 8 for each block; null unless
// they stand for after, bit for bit: formats with other grids have none to show.
function rowCodes(engine, format, layer, before, after) {
  const [, bits, block] = /^int(\d)\/(\w+)$/.exec(format ?? '') ?? [];
  if (!bits) return null;
  const size = block === '56' ? 56 : before.length;
  const codes = new Float32Array(before.length);
  for (let from = 0; from < before.length; from += size) {
    const part = before.subarray(from, from + size);
    const found = engine.quantize(part, engine.grid(block === 'tensor' ? layer : part, Number(bits)));
    if (found.back.some((value, i) => value !== after[from + i])) return null;
    codes.set(found.codes, from);
  }
  return codes;
}

function buildNeuron(root, ctx) {
  const {engine, models, test} = ctx;
  const state = ctx.memory.neuron ??= {bits: 4, method: 1, neuron: 0};
  const inputs = models.fp32.widths[0];
  const side = Math.round(Math.sqrt(inputs));
  const original = engine.weights(models.fp32, 0);
  const methodsOf = bits => NEURON_METHODS[bits].filter(({model}) => !model || models[model]).map(method => {
    const [format, name] = method.rung ?? [method.format, 'round to nearest'];
    const index = (ctx.tables.ladder?.rows ?? []).findIndex(rung => rung.format === format && rung.method === name);
    return {...method, index, text: rungName({format, method: name})};
  });
  root.append(el('h3', {}, t('neuron.title')), el('p', {}, t('neuron.text')));
  const controls = el('div', {class: 'controls'});
  const second = el('div', {class: 'controls'});
  root.append(controls, second);
  const chosen = () => methodsOf(state.bits)[state.method];

  let shown = null; // {model, mine: to be closed, weights, codes, scales}
  let stop = null;
  let reference = null; // fp32's answers
  const choose = () => {
    stop?.();
    if (shown?.mine) engine.close(shown.model);
    const {model: name, format} = chosen();
    const model = name ? models[name] : engine.coded(models.fp32, format);
    shown = {model, mine: !name, weights: engine.weights(model, 0), codes: engine.weightCodes(model, 0)};
    measured.replaceChildren(t('neuron.measuring'));
    stop = slices((function* () {
      reference ??= yield* classesOf(ctx, models.fp32);
      return engine.score(test.labels, yield* classesOf(ctx, model), reference);
    })(), score => measured.replaceChildren(t('neuron.measured', {count: num(score.count), correct: num(score.correct), changed: num(score.changed),
      fixed: num(score.fixed), broken: num(score.broken)})));
    const {index} = chosen();
    table.replaceChildren(...(index < 0 ? [] : [t('neuron.table', {count: tested(ctx)}), ' ', tableCell(ctx, 'ladder', index, 'accuracy_percent', '%'), ' ± ',
      tableCell(ctx, 'ladder', index, 'standard_error'), ' · ', t('ladder.figure.changed'), ' ', tableCell(ctx, 'ladder', index, 'changed'),
      ctx.tables.ladder.origin && ` · ${originText(ctx.tables.ladder.origin)}`].filter(Boolean)));
    show();
  };
  const offerMethods = () => {
    second.replaceChildren();
    choice(second, {label: t('ladder.method'), value: state.method, options: methodsOf(state.bits).map(({text}, value) => ({text, value})),
      onchange: value => { state.method = value; choose(); }});
  };
  choice(controls, {label: t('ladder.bits'), value: state.bits, options: [8, 4, 3, 2].map(value => ({value, text: num(value)})),
    onchange: value => { state.bits = value; state.method = Math.min(1, methodsOf(value).length - 1); offerMethods(); choose(); }});
  slider(controls, {label: t('neuron.neuron'), min: 0, max: models.fp32.widths[1] - 1, value: state.neuron, text: num,
    oninput: value => { state.neuron = value; show(); }});
  offerMethods();

  const places = el('div', {class: 'pictures'});
  root.append(places);
  const keys = ['fp32', 'back', 'codes', 'residual'];
  const pictures = Object.fromEntries(keys.map(key => [key, pixels(places, side, side, null, {signed: true, label: t(`neuron.${key}`), caption: ' '})]));
  const figures = figureList(root, ['distinct', 'sqnr'].map(key => [key, t(`neuron.${key}`)]));
  const measured = el('span');
  const table = el('span');
  root.append(el('p', {}, measured), el('p', {}, table));

  const show = live(() => {
    const cut = values => values.subarray(state.neuron * inputs, (state.neuron + 1) * inputs);
    const [before, after] = [cut(original), cut(shown.weights)];
    const residual = before.map((value, i) => value - after[i]);
    const most = values => values.reduce((top, value) => Math.max(top, Math.abs(value)), 0);
    const caption = (key, value) => {
      pictures[key].caption.textContent = t(`neuron.${key}`) + (value === null ? '' : t('neuron.scale', {most: value}));
    };
    const top = most(before);
    pictures.fp32.update(before, top);
    pictures.back.update(after, top);
    pictures.residual.update(residual, most(residual) || 1);
    caption('fp32', num(top, 3));
    caption('back', num(top, 3));
    caption('residual', num(most(residual), 4));
    const codes = shown.codes ? Float32Array.from(cut(shown.codes)) : rowCodes(engine, chosen().format, original, before, after);
    pictures.codes.figure.hidden = !codes;
    if (codes) {
      pictures.codes.update(codes, most(codes) || 1);
      caption('codes', num(most(codes)));
    }
    figures.set('distinct', num(new Set(after).size));
    figures.set('sqnr', `${num(engine.sqnr(before, after), 1)} dB`);
  });
  choose();
}

registerSection({id: 'ladder', build(root, ctx) {
  root.append(el('p', {class: 'lead'}, t('ladder.lead')), el('p', {}, t('ladder.text')));
  if (ctx.tables.ladder) buildRungs(root, ctx);
  else root.append(missingNotice(ctx));
  buildBits(root, ctx);
  buildNeuron(root, ctx);
}});
