// Section 6: the integer engine with one mistake switched on, and what it leaves behind.

const FAULT_BATCH = 8; // images of a step: a broken layer is worked out code by code, some 10 ms for them

// In words, in the reader's language; the engine's own in English.
const faultText = (fault, part) => TEXTS[language]?.[`fault.${fault.name}.${part}`] ?? fault[part];

// Runs a fault over so many test images in steps, progress(share) after each, which may return false to stop: then null. Else {classes, logits, first, layers}: of
// every layer how many codes are wrong, by how much at most, how often each code comes, and what the clamp cut.
function* runFault(ctx, model, name, layer, progress, images = ctx.test.count) {
  const {engine, test} = ctx, classes = new Uint8Array(images), logits = new Float32Array(images * model.classes);
  const batch = name === 'none' ? BATCH : FAULT_BATCH;
  let first = null, layers = null;
  for (let i = 0; i < images; i += batch) {
    const some = engine.faulty(model, name, layer, test.images, i, Math.min(batch, images - i));
    classes.set(some.classes, i);
    logits.set(some.logits, i * model.classes);
    first ??= some.first;
    layers = layers ? layers.map((sum, l) => addSymptoms(sum, some.layers[l])) : some.layers;
    if (progress?.((i + batch) / images) === false) return null;
    yield;
  }
  return {classes, logits, first, layers};
}

function addSymptoms(a, b) {
  const sum = key => a[key] + b[key];
  return {codes: sum('codes'), wrong: sum('wrong'), cut: sum('cut'), signal: sum('signal'), noise: sum('noise'),
    lowest: Math.min(a.lowest, b.lowest), highest: Math.max(a.highest, b.highest),
    right: a.right.map((n, i) => n + b.right[i]), broken: a.broken.map((n, i) => n + b.broken[i])};
}

// The networks that take faults: the file, and one whose activations are symmetric, so that no zero point is 0.
function faultNetwork(ctx, name) {
  if (name === 'asymmetric') return ctx.models.int8;
  return ctx.memory.symmetric ??= ctx.engine.convert(ctx.models.fp32, fileAffines(ctx).map(({scale, zeroPoint}) => {
    const shown = ctx.engine.affine({lo: -scale * zeroPoint, hi: scale * (255 - zeroPoint), symmetric: true});
    return {scale: shown.scale, zeroPoint: 128, qmin: 1}; // eq. 4, shifted by 128
  }), true);
}

// What a run shows: a table with a row a layer, bars of SQNR, the codes of a layer before and after, the first wrong code.
// update(run, network), with healthy the run without fault.
function symptomsView(root, ctx) {
  const {engine} = ctx, view = el('div', {class: 'symptoms'});
  root.append(view);
  const layers = ctx.models.int8.layers;
  const table = dataTable(view, {caption: t('faults.table'), columns: ['layer', 'wrong', 'difference', 'sqnr', 'cut'].map(column => t(`faults.table.${column}`))});
  const charts = el('div', {class: 'columns'});
  view.append(charts);
  const codeCharts = Array.from({length: layers}, (_, l) => {
    const at = el('div');
    charts.append(at);
    return lineChart(at, {title: t(l + 1 < layers ? 'faults.codes' : 'faults.codes.logits', {layer: l + 1}), x: {label: t('faults.codes.x'), lo: 0, hi: 255, ticks: [0, 64, 128, 192, 255]},
      y: {label: t('faults.codes.y'), lo: 0.8, log: true}, series: [{name: t('faults.sound'), shape: 4, dots: false, points: [{x: 0, y: 1}]}]});
  });
  const first = el('div', {class: 'first-wrong'});
  view.append(first);
  return {
    view,
    update(run, network) {
      const rows = run.layers.slice(1).map((layer, i) => [t(i + 1 < layers ? 'faults.layer' : 'faults.logits', {layer: i + 1}),
        percent(100 * layer.wrong / layer.codes, 2), layer.wrong ? `${withSign(layer.lowest)}\u00a0…\u00a0${withSign(layer.highest)}` : '0',
        layer.wrong ? decibel(engine.decibels(layer.signal, layer.noise)) : t('faults.equal'), percent(100 * layer.cut / layer.codes, 2)]);
      table.update(rows);
      codeCharts.forEach((chart, i) => {
        const {right, broken} = run.layers[i + 1];
        const line = (name, counts, shape) => ({name, shape, dots: false, steps: true, points: Array.from(counts, (y, x) => ({x, y: Math.max(y, 0.8), text: num(y)}))});
        chart.update({y: {label: t('faults.codes.y'), lo: 0.8, hi: Math.max(...right, ...broken) * 1.3, log: true},
          series: [line(t('faults.sound'), right, 0), line(t('faults.broken'), broken, 1)]});
      });
      showFirst(first, ctx, run.first, network);
    }
  };
}

// The first wrong code with the sum that it should have come from.
function showFirst(root, ctx, first, network) {
  root.replaceChildren();
  root.append(el('h3', {}, t('faults.first')));
  if (!first) {
    root.append(el('p', {class: 'first-text'}, t('faults.first.none')));
    return;
  }
  const {image, layer, neuron, code, expected} = first, pixels28 = ctx.test.images.pixels(image);
  const trace = ctx.engine.trace(network, pixels28, layer - 1, neuron);
  const picture = el('div', {class: 'first-image'}), text = el('div');
  root.append(el('div', {class: 'first-row'}, picture, text));
  pixels(picture, 28, 28, pixels28, {max: 255, label: t('draw.test', {index: image, label: ctx.test.labels[image]})});
  text.append(el('p', {class: 'first-text'}, t('faults.first.is', {image, label: ctx.test.labels[image], layer, neuron, code, expected})));
  equation(text, t('faults.right'), 'acc', '=', num(trace.sum), trace.bias < 0 ? '−' : '+', num(Math.abs(trace.bias)), '=', num(trace.acc));
  equation(text, '', 'acc', '·', 'M', '=', num(trace.exact, 4), '→', num(trace.rounded), '+', sub('z', 'y'), '=', num(trace.rounded), '+', num(trace.zeroPoint), '→', num(expected));
  text.append(el('p', {class: 'small soft'}, t('faults.first.note')));
}

registerSection({id: 'faults', build(root, ctx) {
  const {engine, models, test} = ctx, all = engine.faults();
  const memory = ctx.memory.faults ??= {name: 'truncation', layer: 0, network: 'asymmetric', chosen: false};
  root.append(el('p', {class: 'lead'}, t('faults.lead')));
  const panel = el('div', {class: 'panel'});
  root.append(panel);
  const controls = el('div', {class: 'controls'});
  panel.append(controls);
  dropdown(controls, {label: t('faults.fault'), value: memory.name, options: all.map(fault => ({value: fault.name, text: t('faults.option', {name: fault.name, what: faultText(fault, 'what')})})),
    onchange: name => {
      memory.name = name;
      if (!memory.chosen) where.set(memory.layer = -1); // not every mistake shows in layer 1
      update();
    }});
  const where = choice(controls, {label: t('faults.where'), value: memory.layer, options: [-1, ...Array.from({length: models.int8.layers}, (_, l) => l)]
    .map(value => ({value, text: value < 0 ? t('faults.all') : layerText(ctx, value + 1)})), onchange: layer => { memory.layer = layer; memory.chosen = true; update(); }});
  choice(controls, {label: t('faults.network'), value: memory.network, options: ['asymmetric', 'symmetric'].map(value => ({value, text: t(`faults.network.${value}`)})),
    onchange: network => { memory.network = network; update(); }});
  const what = el('p', {id: 'faults-what'}), progress = el('progress', {max: 1, value: 0, hidden: true, 'aria-label': t('faults.progress')});
  panel.append(what, progress);
  const figures = figureList(panel, [['accuracy', t('faults.accuracy')], ['sqnr', t('faults.sqnr')], ['changed', t('faults.changed')]]);
  const verdict = verdictLine(panel);
  const symptoms = symptomsView(root, ctx);
  const program = el('div');
  root.append(program);

  // The program's own numbers of this fault, on all test images.
  function showProgram(name) {
    program.replaceChildren();
    const table = 'pitfalls-quiet', rows = (ctx.tables[table]?.rows ?? []).map((row, index) => ({row, index})).filter(({row}) => row.fault === name);
    if (!rows.length) return;
    program.append(el('h3', {}, t('faults.program')));
    originNotice(program, ctx, table);
    const columns = ['network', 'different_percent', 'largest_difference', 'logit_sqnr_db', 'accuracy_percent', 'changed'];
    dataTable(program, {caption: t('faults.program'), columns: columns.map(column => t(`faults.program.${column}`)),
      rows: rows.map(({index}) => columns.map(column => tableCell(ctx, table, index, column)))});
  }
  let newest = null;
  function* measure(setting) {
    const {name, layer, network} = setting, model = faultNetwork(ctx, network);
    const reference = yield* answersOf(ctx, 'fp32');
    const known = ctx.memory.healthy ??= {};
    known[network] ??= yield* runFault(ctx, model, 'none', -1);
    const healthy = known[network];
    const run = yield* runFault(ctx, model, name, layer, share => { progress.value = share; return setting === newest; });
    if (!run) return;
    progress.hidden = true;
    const score = engine.score(test.labels, run.classes, healthy.classes), before = engine.score(test.labels, healthy.classes);
    figures.set('accuracy', percent(score.accuracy), t('faults.before', {value: percent(before.accuracy)}), score.accuracy < before.accuracy - 1);
    figures.set('sqnr', decibel(engine.sqnr(reference.logits, run.logits)), t('faults.before', {value: decibel(engine.sqnr(reference.logits, healthy.logits))}));
    figures.set('changed', num(score.changed), t('faults.changed.of', {count: num(test.count), fixed: score.fixed, broken: score.broken}));
    const same = run.layers.every(one => one.wrong === 0);
    verdict.set(name === 'none' ? same : same ? null : false, t(name === 'none' ? 'faults.none' : same ? 'faults.no-trace' : 'faults.trace'));
    symptoms.update(run, model);
  }
  const start = latest(measure, null, error => verdict.set(false, error.message));
  function update() {
    const fault = all.find(({name}) => name === memory.name);
    what.replaceChildren(el('strong', {}, faultText(fault, 'what')), ' · ', t('faults.signature', {signature: faultText(fault, 'signature')}));
    showProgram(fault.name);
    verdict.set(null, t('verdict.running'));
    progress.value = 0;
    progress.hidden = false;
    newest = {...memory};
    start(newest);
  }
  update();
}});
