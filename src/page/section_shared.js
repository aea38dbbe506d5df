// What sections 3 to 7 share: work that follows a control without piling up, and models compared with the file's.

const BATCH = 50; // images of a step of work: fp32 takes some 8 ms for them

// Runs work(...parameters), a generator, in slices; while it runs, only the parameters of the last call wait for their turn.
// done(result) after each run, failed(error) where one fails.
function latest(work, done, failed) {
  let running = false, waiting = null;
  return function start(...parameters) {
    if (running) {
      waiting = parameters;
      return;
    }
    running = true;
    const next = () => {
      running = false;
      if (!waiting) return;
      const then = waiting;
      waiting = null;
      start(...then);
    };
    slices(work(...parameters), result => { done?.(result); next(); }, error => { failed(error); next(); });
  };
}

const withSign = (value, digits) => (value > 0 ? '+' : '') + num(value, digits);
const highest = values => values.indexOf(Math.max(...values)); // the lowest class on a tie (eq. 7)
const decibel = value => t('unit.db', {value: Number.isFinite(value) ? num(value, 1) : '∞'});
const layerText = (ctx, layer) => t(layer < ctx.models.int8.layers ? 'trace.layer' : 'trace.logits', {layer});
const percent = (value, digits = 1) => t('unit.percent', {value: num(value, digits)});

// "97.3% ± 0.5" of how many, as figureList takes them.
const accuracyText = score => [percent(score.accuracy), t('unit.of', {error: num(score.standardError, 1), correct: num(score.correct), count: num(score.count)})];

// A line with a check mark or a cross, and in words which of them.
function verdictLine(root) {
  const line = el('p', {class: 'verdict', role: 'status'});
  root.append(line);
  return {line, set(ok, text) {
    line.className = `verdict ${ok ? 'good' : ok === false ? 'bad' : 'soft'}`;
    line.dataset.verdict = ok ? 'yes' : ok === false ? 'no' : 'none';
    line.textContent = `${ok ? '✓' : ok === false ? '✗' : '·'} ${text}`;
  }};
}

// Classes of all test images, 50 at a step.
function* classesOf(ctx, model) {
  const all = new Uint8Array(ctx.test.count);
  for (let first = 0; first < all.length; first += BATCH) {
    const count = Math.min(BATCH, all.length - first);
    all.set(ctx.engine.classify(model, ctx.test.images, first, count), first);
    yield;
  }
  return all;
}

// The same of an embedded model, and its logits, worked out once.
function* answersOf(ctx, name) {
  const known = ctx.memory.answers ??= {};
  if (!known[name]) {
    const model = ctx.models[name], count = ctx.test.count;
    const classes = new Uint8Array(count), logits = new Float32Array(count * model.classes);
    for (let first = 0; first < count; first += BATCH) {
      const {classes: some, logits: more} = ctx.engine.run(model, ctx.test.images, first, Math.min(BATCH, count - first), true);
      classes.set(some, first);
      logits.set(more, first * model.classes);
      yield;
    }
    known[name] = {classes, logits};
  }
  return known[name];
}

// The scales and zero points of the int8 file's activations, the pixels first.
const fileAffines = ctx => Array.from({length: ctx.models.int8.layers + 1}, (_, l) => ctx.engine.activationAffine(ctx.models.int8, l));

// Compares every code of every layer on all test images with those of an embedded model, by digests.
// Returns {same, codes}: how many codes were compared.
function* sameCodes(ctx, model, name) {
  const known = ctx.memory.digests ??= {}, own = known[name] ??= [];
  const codes = model.widths.slice(1).reduce((sum, width) => sum + width, 0) * ctx.test.count;
  for (let first = 0, step = 0; first < ctx.test.count; first += BATCH, step++) {
    const count = Math.min(BATCH, ctx.test.count - first);
    own[step] ??= ctx.engine.digests(ctx.models[name], ctx.test.images, first, count).join();
    yield;
    if (ctx.engine.digests(model, ctx.test.images, first, count).join() !== own[step]) return {same: false, codes};
    yield;
  }
  return {same: true, codes};
}

// A SHA-256 in a table: its beginning, and all of it where one opens it.
const shaCell = sha256 => el('details', {class: 'sha'}, el('summary', {title: sha256}, el('code', {}, `${sha256.slice(0, 12)}…`)), el('code', {}, sha256));
