// Section 5: what the activations' ranges were taken from, and what the clamp cuts where they are too narrow.

const CLIP_MOST = 300; // percent of the range that was seen
const CALIBRATION_COUNTS = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512];
const CALIBRATION_BINS = 60;

// Indices of the calibration images of a set: {kind: 'count', count} evenly spaced, {kind: 'class', digit}, {kind: 'inverted'}.
function calibrationIndices(ctx, set) {
  const {count, labels} = ctx.calibration, all = Array.from({length: count}, (_, i) => i);
  if (set.kind === 'class') return all.filter(i => labels[i] === set.digit);
  if (set.kind === 'inverted') return all;
  return Array.from({length: Math.min(set.count, count)}, (_, i) => Math.floor(i * count / Math.min(set.count, count)));
}

// Whether a set is what the int8 file was calibrated on.
const isOriginal = (ctx, set) => set.kind === 'count' && set.count === ctx.calibration.count;

// The ranges of every layer's activations over a set: the file's own, or the observer's, a slice of images after the other.
function* rangesOver(ctx, set) {
  const {engine, models, calibration} = ctx, indices = calibrationIndices(ctx, set), ranges = [];
  if (isOriginal(ctx, set)) return fileAffines(ctx).map(({scale, zeroPoint}) => ({lo: -scale * zeroPoint, hi: scale * (255 - zeroPoint)}));
  let images = calibration.images;
  if (set.kind === 'inverted') {
    const bytes = new Uint8Array(calibration.count * images.size);
    for (let i = 0; i < calibration.count; i++) bytes.set(images.pixels(i).map(pixel => 255 - pixel), i * images.size);
    images = engine.images(bytes);
  }
  try {
    for (let first = 0; first < indices.length; first += BATCH) {
      engine.calibrate(models.fp32, images, indices.slice(first, first + BATCH)).forEach(({lo, hi}, l) => {
        ranges[l] = ranges[l] ? {lo: Math.min(lo, ranges[l].lo), hi: Math.max(hi, ranges[l].hi)} : {lo, hi};
      });
      yield;
    }
  } finally {
    if (images !== calibration.images) images.free();
  }
  return ranges;
}

// What a layer's outputs are on the test images in fp32, in bins; a ReLU's zeros are counted apart.
function* activationHistogram(ctx, layer) {
  const known = ctx.memory.activations ??= [];
  if (known[layer]) return known[layer];
  const {engine, models, test} = ctx, width = models.fp32.widths[layer], values = new Float32Array(test.count * width);
  for (let first = 0; first < test.count; first += BATCH) {
    values.set(engine.activations(models.fp32, test.images, first, Math.min(BATCH, test.count - first), layer), first * width);
    yield;
  }
  const others = values.filter(value => value !== 0);
  return known[layer] = {...engine.histogram(others, CALIBRATION_BINS), zeros: values.length - others.length, count: values.length};
}

registerSection({id: 'calibration', build(root, ctx) {
  const {engine, models, test} = ctx, fp32 = models.fp32, layers = fp32.layers;
  const memory = ctx.memory.calibration ??= {kind: 'count', count: 512, digit: 1, layer: 1, clip: 100};
  const file = fileAffines(ctx);
  root.append(el('p', {class: 'lead'}, t('calibration.lead')));
  const panel = el('div', {class: 'panel'});
  root.append(panel);
  const controls = el('div', {class: 'controls'});
  panel.append(controls);
  choice(controls, {label: t('calibration.on'), value: memory.kind,
    options: ['count', 'class', 'inverted'].map(value => ({value, text: t(`calibration.on.${value}`)})),
    onchange: value => { memory.kind = value; showControls(); update(); }});
  const count = slider(controls, {label: t('calibration.count'), min: 0, max: CALIBRATION_COUNTS.length - 1, value: CALIBRATION_COUNTS.indexOf(memory.count),
    text: i => t('calibration.images', {count: CALIBRATION_COUNTS[i]}), oninput: i => { memory.count = CALIBRATION_COUNTS[i]; update(); }});
  const classAt = el('div');
  controls.append(classAt);
  choice(classAt, {label: t('calibration.class'), value: memory.digit, options: Array.from({length: fp32.classes}, (_, digit) => ({value: digit, text: String(digit)})),
    onchange: digit => { memory.digit = digit; update(); }});
  const showControls = () => {
    count.input.closest('.slider').hidden = memory.kind !== 'count';
    classAt.hidden = memory.kind !== 'class';
  };
  showControls();
  const clipControls = el('div', {class: 'controls'});
  panel.append(clipControls);
  choice(clipControls, {label: t('calibration.layer'), value: memory.layer,
    options: Array.from({length: layers}, (_, l) => ({value: l + 1, text: layerText(ctx, l + 1)})),
    onchange: layer => { memory.layer = layer; update(); }});
  const clip = slider(clipControls, {label: t('calibration.clip'), min: 2, max: CLIP_MOST, value: memory.clip, text: value => percent(value, 0),
    oninput: value => { memory.clip = value; update(); }});
  clipControls.append(el('button', {type: 'button', on: {click() { memory.clip = 100; clip.set(100); update(); }}}, t('calibration.reset')));
  const figures = figureList(panel, [['accuracy', t('calibration.accuracy')], ['saturated', t('calibration.saturated')],
    ['sqnr', t('calibration.sqnr')], ['changed', t('calibration.changed')]]);
  const verdict = verdictLine(panel);

  const seen = {ranges: null, histogram: null, set: ''}; // what the chart shows
  const highestSeen = () => seen.ranges?.[memory.layer].hi ?? 1;
  const highestCode = () => highestSeen() * memory.clip / 100;
  const setClip = value => {
    memory.clip = Math.round(100 * value / highestSeen());
    clip.set(memory.clip);
    update();
  };
  const chart = histogramChart(root, {title: t('calibration.chart'), x: {label: t('calibration.chart.x'), lo: 0, hi: 1},
    y: {label: t('calibration.chart.y'), log: true}, lo: 0, hi: 1, counts: [1], series: 0,
    handles: [{label: t('calibration.handle'), value: highestCode, min: () => 0.02 * highestSeen(), max: () => CLIP_MOST / 100 * highestSeen(),
      step: () => highestSeen() / 100, text: value => t('calibration.handle.at', {value: num(value, 2), percent: percent(memory.clip, 0)}), oninput: setClip}]});
  const note = el('p', {class: 'small soft'});
  root.append(note);
  const table = dataTable(root, {caption: t('calibration.table'),
    columns: ['layer', 'lo', 'hi', 'scale', 'zero', 'cut'].map(column => t(`calibration.table.${column}`))});

  function drawChart() {
    const {histogram} = seen;
    if (!histogram) return;
    const lo = Math.min(0, histogram.lo), hi = Math.max(histogram.hi, highestCode(), highestSeen()) * 1.02;
    chart.update({lo: histogram.lo, hi: histogram.hi, counts: histogram.counts, x: {label: t('calibration.chart.x'), lo, hi},
      bands: histogram.hi > highestCode() ? [{from: highestCode(), to: histogram.hi}] : [],
      marks: [{x: highestSeen(), text: t('calibration.chart.seen')}]});
    note.textContent = t('calibration.chart.note', {zeros: percent(100 * histogram.zeros / histogram.count), count: num(histogram.count)});
  }

  function* measure(setting) {
    const key = [setting.kind, setting.kind === 'count' ? setting.count : setting.digit].join();
    const original = isOriginal(ctx, setting);
    if (seen.set !== key) {
      seen.ranges = yield* rangesOver(ctx, setting);
      seen.set = key;
    }
    seen.histogram = yield* activationHistogram(ctx, setting.layer);
    drawChart();
    const affines = seen.ranges.map(({lo, hi}, l) => {
      if (original && (setting.clip === 100 || l !== setting.layer)) return file[l];
      const share = l === setting.layer ? setting.clip / 100 : 1;
      return engine.affine({lo: lo * share, hi: hi * share});
    });
    yield;
    const network = engine.convert(fp32, affines, true);
    try {
      const run = yield* runFault(ctx, network, 'none', -1);
      const reference = yield* answersOf(ctx, 'fp32'), healthy = yield* answersOf(ctx, 'int8');
      const score = engine.score(test.labels, run.classes, healthy.classes);
      figures.set('accuracy', ...accuracyText(score));
      figures.set('changed', num(score.changed), t('calibration.changed.of', {count: num(test.count)}));
      figures.set('sqnr', decibel(engine.sqnr(reference.logits, run.logits)));
      figures.set('saturated', percent(100 * run.layers[setting.layer].cut / run.layers[setting.layer].codes, 3), t('calibration.saturated.of', {layer: setting.layer}));
      table.update(affines.map((affine, l) => [l === 0 ? t('calibration.pixels') : l < layers ? t('faults.layer', {layer: l}) : t('faults.logits'), num(affine.scale * (0 - affine.zeroPoint), 3),
        num(affine.scale * (255 - affine.zeroPoint), 3), num(affine.scale, 6), num(affine.zeroPoint), percent(100 * run.layers[l].cut / run.layers[l].codes, 3)]));
      if (setting !== newest) return; // another verdict is on its way
      if (!original || setting.clip !== 100) return verdict.set(null, t('calibration.moved'));
      const {same, codes} = yield* sameCodes(ctx, network, 'int8');
      if (setting === newest) verdict.set(same, t(same ? 'calibration.same' : 'calibration.differs', {codes: num(codes)}));
    } finally {
      engine.close(network);
    }
  }
  const start = latest(measure, null, error => verdict.set(false, error.message));
  let newest = null;
  const begin = live(start);
  function update() {
    newest = {...memory};
    verdict.set(null, t('verdict.running'));
    drawChart();
    begin(newest);
  }
  update();
}});
