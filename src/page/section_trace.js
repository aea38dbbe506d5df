// Section 3, one neuron with every number: eq. 5 and 6 as the integer engine works them out.

const TRACE_MODELS = ['int8', 'int8_per_tensor'];
const TRACE_TERMS = 6; // terms shown in the equation's table; the others are in the full table

// The terms of a sum as rows of a table: where the input comes from, both codes, and what they add.
function termRows(terms, zeroPoint, side) {
  return terms.map(({k, x, w, product}) => [side ? t('trace.pixel', {row: Math.floor(k / side), column: k % side}) : String(k),
    String(x), num(w), zeroPoint ? `(${x} − ${zeroPoint}) · ${bracket(w)}` : `${x} · ${bracket(w)}`, num(product)]);
}
const bracket = value => value < 0 ? `(${num(value)})` : num(value);

// Eq. 5 and 6 with the numbers of a trace in them.
function traceEquations(root, trace) {
  const {sum, bias, acc, zeroPoint, multiplier, right, rounded, code, lowest, highest: most, exact} = trace;
  const factor = trace.inputScale * trace.weightScale / trace.outputScale;
  equation(root, t('trace.eq5'), sub('acc', 'c'), '=', sub('∑', 'k'), '(', sub('x', 'k'), '−', sub('z', 'x'), ')', sub('w', 'k'), '+', 'b', '=',
    num(sum), bias < 0 ? '−' : '+', num(Math.abs(bias)), '=', num(acc));
  equation(root, t('trace.scale'), 'M', '=', frac([sub('s', 'x'), sub('s', 'w')], sub('s', 'y')), '=',
    frac([num(trace.inputScale), '·', num(trace.weightScale)], num(trace.outputScale)), '=', num(factor), '=',
    num(multiplier), '·', sup('2', [num(-right)]));
  equation(root, t('trace.eq6'), num(acc), '·', 'M', '=', num(exact, 4), '→', num(rounded), ',',
    sub('y', 'q'), '=', 'clamp', '(', num(zeroPoint), '+', bracket(rounded), ';', num(lowest), ';', num(most), ')', '=', num(code));
  root.append(el('p', {class: 'small soft'}, t('trace.rounding', {m: num(multiplier), right, half: num(trace.half), product: trace.product.toLocaleString(language), shift: num(trace.shift)})));
}

// The panel. show(image, layer, neuron): the neuron of one of the integer models.
function buildTrace(root, ctx) {
  const {engine, models} = ctx;
  const view = el('div', {class: 'panel', id: 'trace', tabindex: -1});
  root.append(view);
  view.append(el('h3', {}, t('trace.title')), el('p', {}, ...rich(t('trace.lead'))));
  const controls = el('div', {class: 'controls'}), body = el('div');
  view.append(controls, body);
  let now = null, name = TRACE_MODELS[0], byHand = false, waiting = 0;
  const layers = Array.from({length: models.int8.layers}, (_, l) => ({value: l + 1, text: layerText(ctx, l + 1)}));
  choice(controls, {label: t('trace.model'), value: name, options: TRACE_MODELS.map(value => ({value, text: t(`trace.model.${value}`)})),
    onchange: value => { name = value; render(); }});
  const layerChoice = choice(controls, {label: t('trace.where'), value: 1, options: layers, onchange: layer => go(layer, 0)});
  const neuronSlider = slider(controls, {label: t('trace.neuron'), min: 0, max: 255, value: 0, oninput: neuron => go(now.layer, neuron)});
  const go = (layer, neuron) => { if (now) { byHand = true; now = {...now, layer, neuron}; render(); } };

  const render = live(() => {
    if (!now) return;
    const {image, layer, neuron} = now, model = models[name], last = layer === model.layers;
    const trace = engine.trace(model, image, layer - 1, neuron);
    const real = engine.layer(models.fp32, image, layer).values[neuron];
    const side = layer === 1 ? Math.round(Math.sqrt(model.widths[0])) : 0;
    const terms = trace.terms.filter(term => term.product !== 0).sort((a, b) => Math.abs(b.product) - Math.abs(a.product));
    neuronSlider.input.max = model.widths[layer] - 1;
    neuronSlider.set(neuron);
    layerChoice.set(layer);
    body.replaceChildren();
    body.append(el('p', {}, t(last ? 'trace.of.logit' : 'trace.of', {layer, neuron, inputs: model.widths[layer - 1], terms: terms.length})));
    const picture = el('div', {class: 'trace-picture'}), list = el('div', {});
    body.append(el('div', {class: 'columns'}, list, picture));
    const columns = [t('trace.input'), t('trace.x'), t('trace.w'), t('trace.product'), '='];
    dataTable(list, {caption: t('trace.largest', {count: Math.min(TRACE_TERMS, terms.length), of: terms.length}), columns,
      rows: termRows(terms.slice(0, TRACE_TERMS), trace.inputZeroPoint, side)});
    const products = new Float32Array(model.widths[layer - 1]);
    for (const {k, product} of trace.terms) products[k] = product;
    const width = side || 16;
    pixels(picture, width, Math.ceil(products.length / width), products, {signed: true, label: t('trace.picture'), caption: t(side ? 'trace.picture.ink' : 'trace.picture')});
    traceEquations(body, trace);
    body.append(el('dl', {class: 'figures'},
      el('div', {}, el('dt', {}, t('trace.code')), el('dd', {'data-trace': 'code'}, num(trace.code))),
      el('div', {}, el('dt', {}, t('trace.real')), el('dd', {}, num(trace.value, 4))),
      el('div', {}, el('dt', {}, t('trace.fp32')), el('dd', {}, num(real, 4))),
      el('div', {}, el('dt', {}, t('trace.apart')), el('dd', {}, t('trace.steps', {steps: withSign((trace.value - real) / trace.outputScale, 2)})))));
    const all = el('details', {}, el('summary', {}, t('trace.all', {count: terms.length})));
    all.addEventListener('toggle', () => {
      if (all.open && all.children.length === 1) dataTable(all, {caption: t('trace.all', {count: terms.length}), columns,
        rows: termRows([...terms].sort((a, b) => a.k - b.k), trace.inputZeroPoint, side)});
    });
    body.append(all);
  });
  return {
    view,
    show(image, layer, neuron) {
      byHand = true;
      now = {image, layer, neuron};
      render();
    },
    // Another image: the neuron that was picked, or else the logit that won; once the image stays, not at each stroke piece.
    follow(image, winner) {
      now = byHand ? {...now, image} : {image, layer: models.int8.layers, neuron: winner};
      clearTimeout(waiting);
      waiting = setTimeout(render, 150);
    }
  };
}
