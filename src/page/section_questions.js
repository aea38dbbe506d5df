// Section 7, six questions whose numbers are those of one neuron on one image: eq. 1 to 6, one after the other.

// Numbers that look random and are the same for the same case, so that a class can speak of "case 7" (mulberry32).
function randomOf(seed) {
  let state = seed >>> 0;
  return below => {
    state = (state + 0x6d2b79f5) >>> 0;
    let x = Math.imul(state ^ (state >>> 15), 1 | state);
    x = (x + Math.imul(x ^ (x >>> 7), 61 | x)) ^ x;
    return ((x ^ (x >>> 14)) >>> 0) % below;
  };
}

// A test image and a neuron of layer 2 that is neither off nor at the end of its range.
function chooseNeuron(ctx, seed) {
  const random = randomOf(seed), model = ctx.models.int8;
  for (;;) {
    const image = random(ctx.test.count), pixels28 = ctx.test.images.pixels(image), neuron = random(model.widths[2]);
    const code = ctx.engine.layer(model, pixels28, 2).codes[neuron];
    if (code > 15 && code < 240) return {image, pixels28, neuron};
  }
}

// The six: {key, numbers (for the texts), answer, whole: an integer is asked for}.
function makeQuestions(ctx, {image, pixels28, neuron}) {
  const {engine, models} = ctx, inputs = models.int8.widths[1];
  const trace = engine.trace(models.int8, pixels28, 1, neuron), input = engine.activationAffine(models.int8, 1);
  const row = engine.weights(models.fp32, 1).subarray(neuron * inputs, (neuron + 1) * inputs);
  const largest = row.reduce((most, w) => Math.max(most, Math.abs(w)), 0);
  const term = trace.terms.reduce((best, one) => Math.abs(one.product) > Math.abs(best.product) ? one : best);
  const real = engine.layer(models.fp32, pixels28, 1).values[term.k], factor = trace.inputScale * trace.weightScale / trace.outputScale;
  const all = {image, neuron, k: term.k, largest: num(largest, 6), scale: num(trace.weightScale, 6), real: num(real, 4), sx: num(trace.inputScale, 6), zx: trace.inputZeroPoint,
    x: term.x, w: bracket(term.w), product: num(term.product), sum: num(trace.sum), bias: bracket(trace.bias), acc: num(trace.acc), factor: num(factor, 8),
    exact: num(trace.exact, 3), zy: trace.zeroPoint, code: trace.code, sy: num(trace.outputScale, 6), value: num(trace.value, 4)};
  return [
    {key: 'scale', answer: trace.weightScale},
    {key: 'quantize', answer: engine.quantize([real], input).codes[0], whole: true},
    {key: 'product', answer: term.product, whole: true},
    {key: 'acc', answer: trace.acc, whole: true},
    {key: 'requantize', answer: trace.code, whole: true},
    {key: 'dequantize', answer: trace.value},
  ].map(question => ({...question, numbers: {...all, answer: num(question.answer, question.whole ? 0 : 6)}}));
}

// "−1 234,5" and "-1,234.5" as numbers: the last mark that has digits behind it is the point, unless it groups thousands.
function readNumber(text) {
  const plain = text.trim().replace(/[−–]/g, '-').replace(/[\s\u00a0\u202f’']/g, '');
  const german = language !== 'en';
  return Number(german && plain.includes(',') ? plain.replace(/\./g, '').replace(',', '.') : plain.replace(/,(?=\d{3}(\D|$))/g, '').replace(',', '.'));
}

function buildQuestions(root, ctx) {
  const memory = ctx.memory.questions ??= {seed: 1};
  const list = el('ol', {class: 'questions'}), title = el('h3', {id: 'questions'}, t('questions.title')), about = el('p', {});
  root.append(title, about, list, el('div', {class: 'controls'}, el('button', {type: 'button', on: {click() { memory.seed++; fill(); }}}, t('questions.other'))));
  function fill() {
    const chosen = chooseNeuron(ctx, memory.seed);
    about.textContent = t('questions.about', {image: chosen.image, label: ctx.test.labels[chosen.image], neuron: chosen.neuron});
    list.replaceChildren(...makeQuestions(ctx, chosen).map(question => {
      const id = newId(), verdict = el('span', {role: 'status', class: 'answer-verdict'});
      const input = el('input', {type: 'text', id, inputmode: 'text', autocomplete: 'off', size: 10});
      const check = () => {
        if (!input.value.trim()) return;
        const given = readNumber(input.value), apart = Math.abs(given - question.answer);
        const right = question.whole ? apart === 0 : apart <= 0.01 * Math.abs(question.answer);
        verdict.className = `answer-verdict ${right ? 'good' : 'bad'}`;
        verdict.textContent = right ? `✓ ${t('questions.right')}` : `✗ ${t(Number.isNaN(given) ? 'questions.no-number' : question.whole && apart === 1 ? 'questions.one-off' : 'questions.wrong')}`;
      };
      input.addEventListener('keydown', event => { if (event.key === 'Enter') check(); });
      return el('li', {}, el('label', {for: id}, t(`questions.${question.key}`, question.numbers)),
        el('div', {class: 'controls'}, input, el('button', {type: 'button', on: {click: check}}, t('questions.check')), verdict),
        el('details', {}, el('summary', {}, t('questions.reveal')), el('p', {'data-answer': String(question.answer)}, t(`questions.${question.key}.answer`, question.numbers))));
    }));
  }
  fill();
}
