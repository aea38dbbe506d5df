// Section 4: one weight is made larger, and what one scale for all weights makes of the others.

const OUTLIER_MOST = 100; // times itself
const OUTLIER_SCHEMES = ['int8_per_tensor', 'int8'];

// The place of the lowest or highest weight of a layer.
function extremeWeight(weights, sign) {
  let at = 0;
  for (let i = 1; i < weights.length; i++) if (sign * weights[i] > sign * weights[at]) at = i;
  return at;
}

// The largest |weight|, one place left out.
function largestBut(weights, at) {
  let most = 0;
  for (let i = 0; i < weights.length; i++) if (i !== at && Math.abs(weights[i]) > most) most = Math.abs(weights[i]);
  return most;
}

// The rows of the program's table for a layer and sign, without repair: [{k, accuracy}] of a granularity.
function outlierPoints(ctx, weights, granularity) {
  const name = 'pitfalls-outlier', table = ctx.tables[name];
  return (table?.rows ?? []).map((row, index) => ({row, index}))
    .filter(({row}) => row.weights === weights && row.granularity === granularity && row.repair === 'none' && row.arithmetic === 'integer')
    .map(({row, index}) => ({x: Number(row.k), y: Number(row.accuracy_percent), text: cellText(row.accuracy_percent),
      cell: `${name}/${index}/accuracy_percent`}));
}

registerSection({id: 'outliers', build(root, ctx) {
  const {engine, models, test} = ctx, fp32 = models.fp32;
  const memory = ctx.memory.outliers ??= {layer: Math.min(1, fp32.layers - 1), sign: -1, power: 0, clip: 0};
  root.append(el('p', {class: 'lead'}, t('outliers.lead')));
  const panel = el('div', {class: 'panel'});
  root.append(panel);
  const controls = el('div', {class: 'controls'});
  panel.append(controls);
  let weights = engine.weights(fp32, memory.layer), at = extremeWeight(weights, memory.sign), pictures = [];
  const where = el('p', {class: 'small soft'});

  choice(controls, {label: t('outliers.layer'), value: memory.layer, options: Array.from({length: fp32.layers}, (_, l) => ({value: l, text: layerText(ctx, l + 1)})),
    onchange: value => { memory.layer = value; choose(); }});
  choice(controls, {label: t('outliers.weight'), value: memory.sign, options: [{value: -1, text: t('outliers.lowest')}, {value: 1, text: t('outliers.highest')}],
    onchange: value => { memory.sign = value; choose(); }});
  panel.append(where);
  const sliders = el('div', {class: 'controls'});
  panel.append(sliders);
  const factorOf = power => power === 100 ? OUTLIER_MOST : OUTLIER_MOST ** (power / 100);
  const factor = slider(sliders, {label: t('outliers.factor'), min: 0, max: 100, value: memory.power,
    text: power => t('outliers.times', {factor: num(factorOf(power), 1), weight: num(weights[at] * factorOf(power), 3)}),
    oninput: power => { memory.power = power; update(); }});
  const limitOf = clipped => largestBut(weights, at) * (1 - (clipped - 1) / 100); // 1: where the other weights end
  const clip = slider(sliders, {label: t('outliers.clip'), min: 0, max: 95, value: memory.clip,
    text: value => value === 0 ? t('outliers.clip.none') : t('outliers.clip.at', {limit: num(limitOf(value), 3)}),
    oninput: value => { memory.clip = value; update(); }});
  panel.append(el('div', {class: 'controls'},
    el('button', {type: 'button', on: {click() { set(100, 0); }}}, t('outliers.worst')),
    el('button', {type: 'button', on: {click() { set(memory.power, 1); }}}, t('outliers.cure')),
    el('button', {type: 'button', on: {click() { set(0, 0); }}}, t('outliers.reset'))));
  const set = (power, clipped) => {
    memory.power = power;
    memory.clip = clipped;
    factor.set(power);
    clip.set(clipped);
    update();
  };
  const fp32Line = el('p', {});
  root.append(fp32Line);
  const columns = el('div', {class: 'columns'});
  root.append(columns);
  const sides = OUTLIER_SCHEMES.map(name => {
    const side = el('div', {'data-scheme': name});
    columns.append(side);
    side.append(el('h3', {}, t(`outliers.${name}`)));
    const picture = el('div', {class: 'residual'});
    side.append(picture);
    const caption = el('p', {class: 'small soft'});
    side.append(caption);
    const figures = figureList(side, [['accuracy', t('outliers.accuracy')], ['error', t('outliers.error')], ['scale', t('outliers.scale')], ['changed', t('outliers.changed')]]);
    return {name, picture, caption, figures, verdict: verdictLine(side)};
  });
  originNotice(root, ctx, 'pitfalls-outlier');
  const chart = lineChart(root, chartOptions());
  root.append(el('p', {class: 'small soft'}, ...rich(t('outliers.chart.note'))));

  function chartOptions(k, accuracies = []) {
    const rows = `fc${memory.layer + 1}, ${memory.sign < 0 ? 'negative' : 'positive'}`;
    const series = OUTLIER_SCHEMES.map((name, i) => ({name: t(`outliers.${name}.table`), shape: i,
      points: outlierPoints(ctx, rows, i ? 'per-channel' : 'per-tensor')})).filter(one => one.points.length);
    const own = OUTLIER_SCHEMES.map((name, i) => ({name: t(`outliers.${name}.live`), shape: i + 2, line: false,
      points: accuracies[i] === undefined ? [] : [{x: k, y: accuracies[i], strong: true}]}));
    return {title: t('outliers.chart'), unit: '%', x: {label: t('outliers.chart.x'), lo: 1, hi: OUTLIER_MOST, log: true, ticks: [1, 2, 5, 10, 20, 50, 100]},
      y: {label: t('outliers.chart.y'), lo: series.length ? undefined : 0, hi: 100}, series: [...series, ...own]};
  }

  // Another weight: its place, the pictures' sizes, and what is wrong with the others at x 1.
  function choose() {
    weights = engine.weights(fp32, memory.layer);
    at = extremeWeight(weights, memory.sign);
    const [inputs, outputs] = [fp32.widths[memory.layer], fp32.widths[memory.layer + 1]];
    where.textContent = t('outliers.where', {layer: memory.layer + 1, output: Math.floor(at / inputs), input: at % inputs,
      weight: num(weights[at], 4), rows: outputs, columns: inputs});
    pictures = sides.map(({picture, name}) => {
      picture.replaceChildren();
      return pixels(picture, inputs, outputs, null, {signed: true, label: t('outliers.residual', {scheme: t(`outliers.${name}`)})});
    });
    factor.set(memory.power);
    clip.set(memory.clip);
    update();
  }

  // The network with its outlier, as int8 in both ways: first what is seen at once, then what takes all images.
  function* measure(setting) {
    const {layer, at: place, weights: before, value, limit} = setting, untouched = value === before[place] && !limit;
    const row = Math.floor(place / fp32.widths[layer]), column = place % fp32.widths[layer];
    const made = [], accuracies = [], networks = [];
    const keep = model => { made.push(model); return model; };
    try {
      const grown = keep(engine.withWeight(fp32, layer, row, column, value));
      const cut = limit ? keep(engine.clipWeights(grown, layer, limit)) : grown;
      const wanted = Float32Array.from(before);
      wanted[place] = 0;
      let most = 0;
      for (const name of OUTLIER_SCHEMES) {
        yield;
        const network = keep(engine.convert(cut, fileAffines(ctx), name === 'int8')), back = engine.weights(network, layer);
        back[place] = 0;
        const residual = back.map((w, i) => w - wanted[i]);
        if (name === OUTLIER_SCHEMES[0]) most = residual.reduce((a, b) => Math.max(a, Math.abs(b)), 0);
        networks.push({name, network, residual, sqnr: engine.sqnr(wanted, back), scales: engine.weightScales(network, layer)});
      }
      yield;
      if (setting !== newest && setting.layer !== newest.layer) return; // its pictures have another size by now
      networks.forEach((network, i) => showWeights(i, network, most, row));
      for (const [i, {name, network}] of networks.entries()) {
        const predicted = yield* classesOf(ctx, network), score = engine.score(test.labels, predicted);
        accuracies[i] = score.accuracy;
        sides[i].figures.set('accuracy', ...accuracyText(score));
        const file = yield* answersOf(ctx, name);
        sides[i].figures.set('changed', num(engine.score(test.labels, predicted, file.classes).changed), t('outliers.changed.of', {count: num(test.count)}));
        if (setting !== newest) continue; // another verdict is on its way
        if (untouched) {
          const {same, codes} = yield* sameCodes(ctx, network, name);
          if (setting === newest) sides[i].verdict.set(same, t(same ? 'outliers.same' : 'outliers.differs', {codes: num(codes)}));
        } else {
          sides[i].verdict.set(null, t('outliers.moved'));
        }
      }
      chart.update(chartOptions(value / before[place], accuracies));
      const score = engine.score(test.labels, yield* classesOf(ctx, grown));
      fp32Line.textContent = t('outliers.fp32', {accuracy: accuracyText(score).join(' ')});
    } finally {
      made.forEach(model => engine.close(model));
    }
  }
  const start = latest(measure, null, error => sides.forEach(side => side.verdict.set(false, error.message)));
  let newest = null;
  const begin = live(start);
  function update() {
    newest = {layer: memory.layer, at, weights, value: memory.power === 0 ? weights[at] : weights[at] * factorOf(memory.power),
      limit: memory.clip === 0 ? 0 : limitOf(memory.clip)};
    sides.forEach(side => side.verdict.set(null, t('verdict.running')));
    begin(newest);
  }

  function showWeights(i, {residual, sqnr, scales}, most, row) {
    const {caption, figures, name} = sides[i];
    pictures[i].update(residual, most || 1);
    caption.textContent = t('outliers.shades', {most: num(most, 5)});
    figures.set('error', decibel(sqnr));
    figures.set('scale', num(scales[name === 'int8' ? row : 0], 5), t(name === 'int8' ? 'outliers.scale.row' : 'outliers.scale.all', {row}));
  }
  choose();
}});
