// Section 7, six questions made from the model's own numbers: first the program's, then those of any neuron on any image.

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

// A test image and a neuron of layer 2, if there is one, that is neither off nor at the end of its range.
function chooseNeuron(ctx, seed) {
  const random = randomOf(seed), model = ctx.models.int8, layer = Math.min(2, model.layers);
  for (;;) {
    const image = random(ctx.test.count), pixels28 = ctx.test.images.pixels(image), neuron = random(model.widths[layer]);
    const code = ctx.engine.layer(model, pixels28, layer).codes[neuron];
    if (code > 15 && code < 240) return {image, pixels28, layer, neuron};
  }
}

// The program's six, blanks of the worksheets that `mnistq trace` prints: {id, numbers (for the texts), answer, whole: an
// integer is asked for}.
function programQuestions(ctx) {
  return ctx.questions.map(({id, answer, ...numbers}) => question(id, Number(answer), !answer.includes('.'), {...numbers, layer: numbers.layer + 1}));
}

// Six more, each of another neuron: what one states would answer the one before.
const moreQuestions = (ctx, seed) => Array.from({length: 6}, (_, i) => makeQuestions(ctx, chooseNeuron(ctx, 6 * seed + i))[i]);

function makeQuestions(ctx, {image, pixels28, layer, neuron}) {
  const {engine, models} = ctx, before = layer - 1, inputs = models.int8.widths[before];
  const trace = engine.trace(models.int8, pixels28, before, neuron), input = engine.activationAffine(models.int8, before);
  const largest = largestBut(engine.weights(models.fp32, before).subarray(neuron * inputs, (neuron + 1) * inputs), -1);
  const term = trace.terms.reduce((best, one) => Math.abs(one.product) > Math.abs(best.product) ? one : best);
  const real = engine.layer(models.fp32, pixels28, before).values[term.k];
  const all = {image, layer, neuron, k: term.k, x: term.x, w: term.w, z: trace.inputZeroPoint, largest, real, scale: trace.inputScale, sum: trace.sum, bias: trace.bias,
    acc: trace.acc, factor: num(trace.inputScale * trace.weightScale / trace.outputScale, 8), exact: trace.exact};
  const out = {...all, code: trace.code, z: trace.zeroPoint, scale: trace.outputScale};
  return [question('scale', trace.weightScale, false, all), question('quantize', engine.quantize([real], input).codes[0], true, all),
    question('term', term.product, true, all), question('acc', trace.acc, true, all), question('requantize', trace.code, true, out),
    question('real', trace.value, false, out)];
}

// Numbers become texts; inBias is bias in brackets where it is negative, for the answers.
function question(id, answer, isWhole, numbers) {
  const shown = value => typeof value !== 'number' ? value : num(value), texts = {};
  for (const [key, value] of Object.entries({...numbers, answer})) {
    texts[key] = shown(value);
    texts[`in${key[0].toUpperCase()}${key.slice(1)}`] = value < 0 ? `(${texts[key]})` : texts[key];
  }
  return {id, answer, whole: isWhole, numbers: texts};
}

// What one types as a number: "−1 234,5" and "-1,234.5"; an integer may have any marks between its digits.
function readNumber(text, isWhole) {
  const plain = text.trim().replace(/[−–]/g, '-').replace(/[\s’']/g, '');
  if (isWhole) return Number(plain.replace(/[.,](?=\d{3})/g, ''));
  return Number(language !== 'en' && plain.includes(',') ? plain.replace(/\./g, '').replace(',', '.') : plain.replace(/,(?=\d{3}(\D|$))/g, '').replace(',', '.'));
}

function buildQuestions(root, ctx) {
  const memory = ctx.memory.questions ??= {seed: ctx.questions ? 0 : 1}; // 0: the program's
  const list = el('ol', {class: 'questions'}), title = el('h3', {id: 'questions'}, t('questions.title')), about = el('p', {});
  root.append(title, about, list, el('div', {class: 'controls'}, el('button', {type: 'button', on: {click() { memory.seed++; fill(); }}}, t('questions.other'))));
  function fill() {
    about.replaceChildren(...rich(t(memory.seed ? 'questions.about' : 'questions.program')));
    list.replaceChildren(...(memory.seed ? moreQuestions(ctx, memory.seed) : programQuestions(ctx)).map(asked => {
      const id = newId(), verdict = el('span', {role: 'status', class: 'answer-verdict'});
      const input = el('input', {type: 'text', id, inputmode: 'text', autocomplete: 'off', size: 10});
      const check = () => {
        if (!input.value.trim()) return;
        const given = readNumber(input.value, asked.whole), apart = Math.abs(given - asked.answer);
        const right = asked.whole ? apart === 0 : apart <= 0.01 * Math.abs(asked.answer);
        verdict.className = `answer-verdict ${right ? 'good' : 'bad'}`;
        verdict.textContent = right ? `✓ ${t('questions.right')}` : `✗ ${t(Number.isNaN(given) ? 'questions.no-number' : asked.whole && apart === 1 ? 'questions.one-off' : 'questions.wrong')}`;
      };
      input.addEventListener('keydown', event => { if (event.key === 'Enter') check(); });
      return el('li', {}, el('label', {for: id}, el('span', {class: 'soft'}, t('questions.of', asked.numbers), ' '), t(`questions.${asked.id}`, asked.numbers)),
        el('div', {class: 'controls'}, input, el('button', {type: 'button', on: {click: check}}, t('questions.check')), verdict),
        el('details', {}, el('summary', {}, t('questions.reveal')), el('p', {'data-answer': String(asked.answer)}, t(`questions.${asked.id}.answer`, asked.numbers))));
    }));
  }
  fill();
}
