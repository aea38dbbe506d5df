// Section 1: the affine map. A range with two handles on the values of a real layer, its buckets, the staircase and the
// sawtooth of errors, eq. 1 to 4 with their numbers, and the lesson's five weights.
'use strict';

const FIVE_WEIGHTS = [-0.42, -0.11, 0, 0.23, 0.51]; // the lesson's

// The values to choose from: {key, text, values()}.
function affineSources(ctx) {
  const {fp32} = ctx.models;
  const sources = [];
  for (let layer = 1; layer <= fp32.layers; layer++) {
    sources.push({key: `w${layer}`, text: t('affine.weights', {layer}), values: () => ctx.engine.weights(fp32, layer - 1)});
  }
  for (let layer = 0; layer <= fp32.layers; layer++) {
    const key = layer === 0 ? 'affine.pixels' : layer === fp32.layers ? 'affine.logits' : 'affine.activations';
    const {images, count} = ctx.calibration;
    sources.push({key: `a${layer}`, text: t(key, {layer, count: num(count)}), log: true,
      values: () => ctx.engine.activations(fp32, images, 0, count, layer)});
  }
  return sources;
}

// Three significant digits, which is what a scale needs.
const short = value => num(Number(value.toPrecision(3)));
const inBrackets = text => text.startsWith('−') ? ['(', text, ')'] : [text];

// The runs of equal codes over xs: [{code, back, first, last, from, to}] in the units of xs: the value read back, the first
// and the last x of the run, and its ends halfway to its neighbours.
function bucketRuns(xs, {codes, back}) {
  const runs = [];
  for (let i = 0; i < xs.length; i++) {
    if (i === 0 || codes[i] !== codes[i - 1]) runs.push({code: codes[i], back: back[i], first: xs[i], from: i ? (xs[i] + xs[i - 1]) / 2 : xs[i]});
    runs.at(-1).last = xs[i];
    runs.at(-1).to = i + 1 < xs.length ? (xs[i] + xs[i + 1]) / 2 : xs[i];
  }
  return runs;
}

// Stripes behind the bars, one a bucket, with its code where there is room; what is clamped is marked.
function drawBuckets(area, state) {
  const [light, dark, clamped] = ['', '', ''];
  const paths = {light, dark, clamped};
  const longest = Math.max(...state.runs.map(({code}) => num(code).length)); // codes stand in all buckets, or in none
  for (const {code, from, to} of state.runs) {
    const cut = [Math.max(from, state.floor), Math.min(to, state.ceiling)].map(area.x);
    paths[code & 1 ? 'dark' : 'light'] += `M${cut[0]},${area.top}H${cut[1]}V${area.bottom}H${cut[0]}z`;
    if (area.x(state.map.scale) - area.x(0) < 0.62 * area.font * (longest + 0.6)) continue;
    area.root.append(svg('text', {class: 'axis', x: (cut[0] + cut[1]) / 2, y: area.top + 1.2 * area.font, 'text-anchor': 'middle'}, num(code)));
  }
  for (const [from, to] of [[state.domain[0], state.floor], [state.ceiling, state.domain[1]]]) {
    if (to > from) paths.clamped += `M${area.x(from)},${area.top}H${area.x(to)}V${area.bottom}H${area.x(from)}z`;
  }
  area.root.prepend(...Object.entries(paths).map(([name, d]) => svg('path', {class: `bucket ${name}`, d})));
}

function buildRange(root, ctx) {
  const {engine} = ctx;
  const sources = affineSources(ctx);
  const state = ctx.memory.affine ??= {source: 'w1', bits: 4, symmetric: false, x: 0.2};
  const controls = el('div', {class: 'controls'});
  root.append(controls);

  const choose = () => {
    const source = sources.find(s => s.key === state.source);
    state.values = source.values();
    state.log = source.log;
    state.histogram = engine.histogram(state.values, 160);
    const {lo, hi} = state.histogram;
    const rim = 0.45 * (hi - lo);
    state.domain = [Math.min(lo, 0) - rim, Math.max(hi, 0) + rim];
  };
  const fit = () => {
    state.lo = Math.min(0, state.histogram.lo);
    state.hi = Math.max(0, state.histogram.hi);
  };
  const lesson = () => Object.assign(state, {lo: -0.5, hi: 0.5});

  // Everything that depends on the range, from the engine.
  const compute = () => {
    if (state.symmetric) state.hi = -(state.lo = -Math.max(-state.lo, state.hi));
    const map = state.map = engine.affine({lo: state.lo, hi: state.hi, bits: state.bits, symmetric: state.symmetric});
    const [from, to] = state.domain;
    const count = Math.max(2800, 2 ** state.bits * 64);
    state.xs = Float32Array.from({length: count + 1}, (unused, i) => from + (to - from) * i / count);
    state.runs = bucketRuns(state.xs, engine.quantize(state.xs, map));
    const ends = engine.quantize([-1e30, 1e30], map).back;
    state.floor = Math.max(from, ends[0] - map.scale / 2);
    state.ceiling = Math.min(to, ends[1] + map.scale / 2);
    const all = engine.quantize(state.values, map);
    state.sqnr = engine.sqnr(state.values, all.back);
    const met = new Uint8Array(map.qmax - map.qmin + 1);
    const beyond = map.scale * 0.50001;
    state.clamped = 0;
    for (let i = 0; i < state.values.length; i++) {
      met[all.codes[i] - map.qmin] = 1;
      if (Math.abs(state.values[i] - all.back[i]) > beyond) state.clamped++;
    }
    state.used = met.reduce((sum, one) => sum + one, 0);
    state.probe = engine.quantize([state.x], map);
  };

  const inDomain = value => Math.min(state.domain[1], Math.max(state.domain[0], value));
  const rangeHandle = (end, min, max) => ({
    label: t(`affine.handle.${end}`), value: () => state[end], min, max,
    step: () => (state.domain[1] - state.domain[0]) / 200, text: short,
    oninput: value => {
      state[end] = value;
      if (state.symmetric) state[end === 'lo' ? 'hi' : 'lo'] = -value;
      refresh();
    },
  });
  const zero = () => 0;
  const tiny = () => (state.domain[1] - state.domain[0]) * 1e-3;
  choose();
  if (state.lo === undefined) Object.assign(state, {lo: FIVE_WEIGHTS[0], hi: FIVE_WEIGHTS.at(-1)}); // lesson() has a tie at 4 bits
  compute();

  dropdown(controls, {label: t('affine.source'), value: state.source, options: sources.map(({key, text}) => ({value: key, text})),
    onchange: value => { state.source = value; choose(); fit(); state.x = inDomain(state.x); refresh(); }});
  const bits = choice(controls, {label: t('affine.bits'), value: state.bits, options: [2, 3, 4, 5, 6, 7, 8].map(value => ({value, text: num(value)})),
    onchange: value => { state.bits = value; refresh(); }});
  const symmetric = choice(controls, {label: t('affine.kind'), value: state.symmetric, options: [{value: false, text: t('affine.asymmetric')},
    {value: true, text: t('affine.symmetric')}], onchange: value => { state.symmetric = value; refresh(); }});
  controls.append(el('button', {type: 'button', on: {click: () => { fit(); refresh(); }}}, t('affine.fit')),
    el('button', {type: 'button', on: {click: () => {
      if (state.domain[0] > -0.5 || state.domain[1] < 0.5) { state.source = 'w1'; choose(); source.set('w1'); }
      lesson();
      bits.set(state.bits = 8);
      symmetric.set(state.symmetric = false);
      refresh();
    }}}, t('affine.lesson')));
  const source = {set: value => { controls.querySelector('select').selectedIndex = sources.findIndex(s => s.key === value); }};

  const axis = () => ({label: t('affine.axis.x'), lo: state.domain[0], hi: state.domain[1]});
  const counted = () => ({title: t('affine.histogram', {what: sources.find(s => s.key === state.source).text}), ...state.histogram,
    x: axis(), y: {label: t(state.log ? 'affine.axis.log' : 'affine.axis.count'), log: state.log,
      hi: state.histogram.counts.reduce((a, b) => Math.max(a, b), 1) * (state.log ? 4 : 1.15)}});
  const histogram = histogramChart(root, {...counted(), height: 300, over: area => drawBuckets(area, state),
    handles: [rangeHandle('lo', () => state.domain[0], () => -tiny()), rangeHandle('hi', tiny, () => state.domain[1])]});
  const figures = figureList(root, ['scale', 'zero', 'bound', 'codes', 'clamped', 'sqnr'].map(key => [key, t(`affine.figure.${key}`)]));

  const pair = el('div', {class: 'columns aligned'});
  root.append(pair);
  const codeRows = () => ({columns: [t('affine.table.code'), t('affine.table.back'), t('affine.table.from'), t('affine.table.to')],
    rows: state.runs.map(({code, back, from, to}) => [num(code), num(back), short(from), short(to)])});
  const curve = y => state.runs.flatMap(run => [run.first, run.last].map(x => ({x, y: y(x, run.back)}))); // straight in between
  const stairs = () => ({x: axis(), y: {label: t('affine.axis.back'), lo: state.domain[0], hi: state.domain[1]},
    series: [{name: t('affine.series.x'), shape: 4, dash: true, dots: false, points: state.domain.map(x => ({x, y: x}))},
      {name: t('affine.series.back'), shape: 0, dots: false, points: curve((x, back) => back)}]});
  const probe = {label: t('affine.handle.x'), value: () => state.x, min: () => state.domain[0], max: () => state.domain[1],
    step: () => (state.domain[1] - state.domain[0]) / 200, text: short, oninput: value => { state.x = value; refresh(); }};
  const staircase = lineChart(pair, {title: t('affine.staircase'), ...stairs(), table: codeRows, height: 300,
    handles: [probe]});
  const teeth = () => ({x: axis(), y: {label: t('affine.axis.error'), lo: -1.6 * state.map.scale, hi: 1.6 * state.map.scale},
    bands: [{from: state.floor, to: state.ceiling}],
    marks: [{y: state.map.scale / 2, text: `s/2 = ${short(state.map.scale / 2)}`}, {y: -state.map.scale / 2}],
    series: [{name: t('affine.series.error'), shape: 1, dots: false, points: curve((x, back) => x - back)}]});
  const sawtooth = lineChart(pair, {title: t('affine.sawtooth'), ...teeth(), table: codeRows, height: 300, handles: [probe]});

  root.append(el('h3', {}, t('affine.equations')), el('p', {}, t('affine.equations.text')));
  const equations = ['3', '3', '2', '1'].map(number => equation(root, `(${number})`));
  const namesOf = {scale: equations[0], zero: equations[1], code: equations[2], back: equations[3]};

  const show = () => {
    const {scale, zeroPoint, qmin, qmax} = state.map;
    figures.set('scale', short(scale));
    figures.set('zero', num(zeroPoint));
    figures.set('bound', `± ${short(scale / 2)}`);
    figures.set('codes', num(state.used), t('affine.of', {all: num(qmax - qmin + 1)}));
    figures.set('clamped', num(state.clamped), t('affine.of', {all: num(state.values.length)}));
    figures.set('sqnr', `${num(state.sqnr, 1)} dB`);
    const [s, z, lo, hi, least, most, x, q] = [short(scale), ...[zeroPoint].map(v => num(v)), short(state.lo), short(state.hi), num(qmin), num(qmax),
      short(state.x), num(state.probe.codes[0])];
    namesOf.scale.name(state.symmetric ? '(4)' : '(3)');
    namesOf.zero.name(state.symmetric ? '(4)' : '(3)');
    if (state.symmetric) {
      namesOf.scale.update('s', '=', frac([mathml('mi', 'absmax')], sub('q', 'max')), '=', frac(hi, most), '=', s);
      namesOf.zero.update('z', '=', '0');
    } else {
      namesOf.scale.update('s', '=', frac([mathml('mi', 'hi'), '−', mathml('mi', 'lo')], [sub('q', 'max'), '−', sub('q', 'min')]), '=',
        frac([hi, '−', inBrackets(lo)], [most, '−', inBrackets(least)]), '=', s);
      namesOf.zero.update('z', '=', 'round', '(', sub('q', 'min'), '−', frac([mathml('mi', 'lo')], 's'), ')', '=', 'round', '(', least, '−',
        frac(lo, s), ')', '=', z);
    }
    namesOf.code.update('q', '=', 'clamp', '(', 'round', '(', frac('x', 's'), ')', '+', 'z', ',', sub('q', 'min'), ',', sub('q', 'max'), ')', '=',
      'clamp', '(', 'round', '(', frac(x, s), ')', '+', inBrackets(z), ',', least, ',', most, ')', '=', q);
    namesOf.back.update('x', '≈', 's', '(', 'q', '−', 'z', ')', '=', s, '×', '(', q, '−', inBrackets(z), ')', '=', short(state.probe.back[0]));
  };
  const refresh = live(() => {
    compute();
    histogram.update(counted());
    staircase.update(stairs());
    sawtooth.update(teeth());
    show();
  });
  show();
}

// The lesson's list of five weights, symmetric, beside what it prints for them.
function buildFive(root, ctx) {
  const {engine} = ctx;
  const state = ctx.memory.five ??= {weights: [...FIVE_WEIGHTS], bits: 8};
  const {lesson} = ctx.facts;
  const printed = {codes: lesson['five-codes'].split(', '), back: lesson['five-values'].split(', ')};
  root.append(el('h3', {}, t('five.title')), el('p', {}, t('five.text')));
  const controls = el('div', {class: 'controls'});
  root.append(controls);
  const bits = choice(controls, {label: t('affine.bits'), value: state.bits, options: [2, 3, 4, 5, 6, 7, 8].map(value => ({value, text: num(value)})),
    onchange: value => { state.bits = value; show(); }});
  const inputs = state.weights.map((weight, i) => el('input', {type: 'number', step: '0.01', value: weight, 'aria-label': t('five.weight', {i: i + 1}),
    on: {input: () => { state.weights[i] = Number(inputs[i].value) || 0; show(); }}}));
  controls.append(el('button', {type: 'button', on: {click: () => {
    FIVE_WEIGHTS.forEach((weight, i) => { inputs[i].value = state.weights[i] = weight; });
    bits.set(state.bits = 8);
    show();
  }}}, t('five.reset')));
  const table = dataTable(root, {caption: t('five.title'),
    columns: ['weight', 'code', 'back', 'error', 'printed.code', 'printed.back'].map(key => t(`five.column.${key}`))});
  const last = el('p');
  root.append(last);
  const show = () => {
    const most = Math.max(...state.weights.map(Math.abs));
    const map = engine.affine({lo: -most, hi: most, bits: state.bits, symmetric: true});
    const {codes, back} = engine.quantize(state.weights, map);
    const same = state.bits === 8 && state.weights.every((weight, i) => weight === FIVE_WEIGHTS[i]);
    const error = state.weights.map((weight, i) => Math.abs(weight - back[i]));
    table.update(state.weights.map((weight, i) => [inputs[i], num(codes[i]), num(back[i], 4), num(error[i], 5),
      same ? cellText(printed.codes[i]) : '–', same ? cellText(printed.back[i]) : '–']));
    last.textContent = t('five.scale', {scale: num(map.scale, 6), most: num(Math.max(...error), 5)})
      + (same ? ` ${t('five.printed', {error: cellText(lesson['five-error'])})}` : '');
  };
  show();
}

registerSection({id: 'affine', build(root, ctx) {
  root.append(el('p', {class: 'lead'}, t('affine.lead')), el('p', {}, t('affine.text')));
  buildRange(root, ctx);
  buildFive(root, ctx);
}});
