// Section 3, what comes out: the answers of four models side by side, and what their hidden layers hold.

const ANSWER_MODELS = ['fp32', 'int8', 'int4', 'int2'];

// A strip of a layer's values whose neurons can be picked: with the pointer, or with arrow keys and Enter.
// pick(neuron) is called; text(neuron) says what is there. Returns {update(values, max), mark(neuron)}.
function neuronStrip(root, {label, width, signed = false, pick, text}) {
  const columns = width > 128 ? 64 : Math.min(32, width), rows = Math.ceil(width / columns);
  const frame = el('div', {class: 'strip', tabindex: 0, role: 'slider', 'aria-label': label, 'aria-valuemin': 0, 'aria-valuemax': width - 1});
  const picture = pixels(frame, columns, rows, null, {signed, label: ''});
  picture.canvas.removeAttribute('role');
  picture.canvas.setAttribute('aria-hidden', 'true');
  const marker = el('span', {class: 'marker', hidden: true});
  frame.firstChild.append(marker);
  root.append(frame);
  let at = 0;
  const say = () => {
    frame.setAttribute('aria-valuenow', at);
    frame.setAttribute('aria-valuetext', text(at));
    frame.title = text(at);
  };
  const move = neuron => {
    at = Math.min(width - 1, Math.max(0, neuron));
    say();
    marker.hidden = false;
    marker.style.left = `${100 * (at % columns) / columns}%`;
    marker.style.top = `${100 * Math.floor(at / columns) / rows}%`;
    marker.style.width = `${100 / columns}%`;
    marker.style.height = `${100 / rows}%`;
  };
  const under = event => {
    const box = picture.canvas.getBoundingClientRect();
    const x = Math.floor((event.clientX - box.left) * columns / box.width), y = Math.floor((event.clientY - box.top) * rows / box.height);
    return Math.min(columns - 1, Math.max(0, x)) + columns * Math.min(rows - 1, Math.max(0, y));
  };
  frame.addEventListener('click', event => { move(under(event)); pick(at); });
  frame.addEventListener('pointermove', event => { frame.title = text(Math.min(width - 1, under(event))); });
  frame.addEventListener('keydown', event => {
    const step = {ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns, PageUp: -columns, PageDown: columns,
      Home: -width, End: width}[event.key];
    if (event.key === 'Enter' || event.key === ' ') pick(at);
    else if (step) move(at + step);
    else return;
    event.preventDefault();
  });
  return {mark: move, update(values, max) { picture.update(values, max); say(); }};
}

// What every layer of every model gives for an image: [model][layer], layers from 1 on; layer 0 stays empty.
function layersOf(ctx, image) {
  return Object.fromEntries(ANSWER_MODELS.map(name => {
    const model = ctx.models[name], layers = [null];
    for (let l = 1; l <= model.layers; l++) layers.push(ctx.engine.layer(model, image, l));
    return [name, layers];
  }));
}

// The table of answers: a row a class, a column a model.
function answersTable(root, ctx, classes, pick) {
  const heads = ANSWER_MODELS.map(name => el('th', {scope: 'col', class: 'number'}, t(`draw.model.${name}`)));
  const answers = ANSWER_MODELS.map(() => el('td', {class: 'answer number'}));
  const cells = Array.from({length: classes}, (_, digit) => ANSWER_MODELS.map(name => {
    const value = el('span', {class: 'value'}), change = el('span', {class: 'change'}), bar = el('span', {class: 'share'});
    const inside = ctx.models[name].integer
      ? el('button', {type: 'button', class: 'plain', title: t('draw.trace.logit', {digit}), on: {click: () => pick(digit)}}, value) : value;
    return {value, change, bar, cell: el('td', {class: 'logit number'}, inside, change, el('span', {class: 'track'}, bar))};
  }));
  const noise = ANSWER_MODELS.map(() => el('td', {class: 'number'}));
  root.append(el('div', {class: 'scroll tall', tabindex: 0, role: 'region', 'aria-label': t('draw.answers')},
    el('table', {class: 'answers'}, el('caption', {}, t('draw.answers.caption')),
      el('thead', {}, el('tr', {}, el('th', {scope: 'col'}, t('draw.class')), heads)),
      el('tbody', {}, el('tr', {}, el('th', {scope: 'row'}, t('draw.answer')), answers),
        cells.map((row, digit) => el('tr', {}, el('th', {scope: 'row'}, String(digit)), row.map(cell => cell.cell))),
        el('tr', {}, el('th', {scope: 'row'}, t('draw.sqnr')), noise)))));
  return {
    show(layers) {
      const logits = ANSWER_MODELS.map(name => layers[name].at(-1));
      ANSWER_MODELS.forEach((name, m) => {
        const {values, codes} = logits[m], shares = ctx.engine.softmax(values);
        const best = highest(values);
        answers[m].textContent = String(best);
        answers[m].classList.toggle('bad', best !== highest(logits[0].values));
        noise[m].textContent = m ? decibel(ctx.engine.sqnr(logits[0].values, values)) : '–';
        cells.forEach((row, digit) => {
          const {value, change, bar, cell} = row[m];
          value.textContent = codes ? String(codes[digit]) : num(values[digit], 2);
          const real = codes ? [el('span', {}, num(values[digit], 2)), ' '] : [];
          change.replaceChildren(...m ? [...real, el('span', {}, `Δ\u00a0${withSign(values[digit] - logits[0].values[digit], 2)}`)] : []);
          bar.style.width = `${100 * shares[digit]}%`;
          cell.classList.toggle('best', digit === best);
        });
      });
    },
    clear() {
      for (const cell of [...answers, ...noise]) cell.textContent = '–';
      for (const row of cells) for (const {value, change, bar, cell} of row) {
        value.textContent = '–';
        change.textContent = '';
        bar.style.width = 0;
        cell.classList.remove('best');
      }
    }
  };
}

// The hidden layers: a strip for each model, and one for what it is away from fp32.
function hiddenLayers(root, ctx, pick) {
  const all = [];
  let shown = null;
  for (let l = 1; l < ctx.models.fp32.layers; l++) {
    const width = ctx.models.fp32.widths[l];
    const grid = el('div', {class: 'strips'});
    root.append(el('h3', {}, t('draw.hidden', {layer: l, width})), grid);
    for (const name of ANSWER_MODELS) {
      const text = neuron => {
        const {values, codes} = shown?.[name][l] ?? {};
        if (!values) return t('draw.neuron', {neuron});
        return t(codes ? 'draw.neuron.code' : 'draw.neuron.value', {neuron, code: codes?.[neuron], value: num(values[neuron], 3)});
      };
      const strip = (difference, ...says) => {
        grid.append(el('span', {class: 'small'}, ...says));
        return neuronStrip(grid, {width, signed: difference, pick: neuron => pick(l, neuron), text,
          label: t(difference ? 'draw.strip.difference' : 'draw.strip', {layer: l, model: t(`draw.model.${name}`)})});
      };
      const size = el('span', {class: 'soft'});
      all.push({l, name, size, own: strip(false, t(`draw.model.${name}`)),
        difference: name === 'fp32' ? null : strip(true, el('span', {class: 'soft'}, t('draw.minus', {model: t(`draw.model.${name}`)}), ' '), size)});
    }
  }
  return {
    show(layers) {
      shown = layers;
      for (const {l, name, own, difference, size} of all) {
        const {values} = layers[name][l], reference = layers.fp32[l].values;
        own.update(values, Math.max(...reference) || 1);
        if (!difference) continue;
        const apart = values.map((value, i) => value - reference[i]), most = Math.max(...apart.map(Math.abs));
        difference.update(apart, most || 1);
        size.textContent = t('draw.strip.size', {most: num(most, 3), sqnr: decibel(ctx.engine.sqnr(reference, values))});
      }
    },
    mark(layer, neuron) {
      for (const {l, own, difference} of all) {
        if (l !== layer) continue;
        own.mark(neuron);
        difference?.mark(neuron);
      }
    }
  };
}

// Everything below the pad. Returns {show(image), clear()}.
function buildAnswers(root, ctx) {
  const classes = ctx.models.fp32.widths.at(-1), last = ctx.models.fp32.layers;
  const view = el('div');
  let image = null;
  root.append(view);
  function pick(layer, neuron) {
    if (!image) return;
    if (layer < last) hidden.mark(layer, neuron);
    trace.show(image, layer, neuron);
    trace.view.focus();
  }
  const left = el('div'), right = el('div');
  view.append(el('div', {class: 'answers-and-layers'}, left, right));
  const table = answersTable(left, ctx, classes, digit => pick(last, digit));
  const hidden = hiddenLayers(right, ctx, pick);
  const trace = buildTrace(view, ctx);
  return {
    show(next) {
      image = next;
      const layers = layersOf(ctx, image);
      table.show(layers);
      hidden.show(layers);
      trace.follow(image, highest(layers.int8.at(-1).values));
      view.classList.remove('idle');
    },
    clear() {
      image = null;
      table.clear();
      view.classList.add('idle');
    }
  };
}
