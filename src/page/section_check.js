// Section 0: the self-check. Every integer model over every embedded image, its codes against the digests that the
// program wrote, and every file against its SHA-256; then a place where one drops a model of one's own.
'use strict';

const hexOf = buffer => Array.from(new Uint8Array(buffer), byte => byte.toString(16).padStart(2, '0')).join('');

// Whether the bytes have this SHA-256; null where the browser does not tell.
async function hasSha(bytes, sha256) {
  if (!globalThis.crypto?.subtle) return null;
  return hexOf(await crypto.subtle.digest('SHA-256', bytes)) === sha256;
}

// The digests of a model over all embedded images, 20 images at a time, counting them by tell().
function* digestsOf(engine, model, images, tell) {
  const found = {layers: null, images: new Uint32Array(images.count)};
  for (let first = 0; first < images.count; first += 20) {
    const count = Math.min(20, images.count - first);
    const part = engine.codeDigests(model, images, first, count, found.layers);
    found.layers = part.layers;
    found.images.set(part.images, first);
    tell(count);
    yield;
  }
  return found;
}

// What is wrong with the page, as texts; tell(name, ok) for each model as it is done.
async function selfCheck(ctx, progress, tell) {
  const {engine, facts, test} = ctx;
  const wrong = [];
  for (const [name, fact] of Object.entries(facts.models)) {
    if (ctx.broken[name]) {
      wrong.push(t('check.broken', {file: fact.file, error: ctx.broken[name]}));
      tell(name, false);
      continue;
    }
    let difference = null;
    if (fact.digests) {
      const bytes = await blob(`digests/${name}`);
      const each = new Uint32Array(bytes.slice().buffer);
      const found = await new Promise((resolve, reject) => slices(digestsOf(engine, ctx.models[name], test.images, progress), resolve, reject));
      difference = engine.compareDigests(found, fact.digests, each);
      if (difference) wrong.push(t('check.difference', {model: fact.file, layer: difference.layer, image: difference.image}));
    }
    // Models that compute in floats have no codes: their answers are compared.
    if (!fact.digests && embedded(`classes/${name}`)) {
      const answers = await blob(`classes/${name}`);
      const found = await new Promise((resolve, reject) => slices(classesOf(ctx, ctx.models[name]), resolve, reject));
      const image = found.findIndex((answer, i) => answer !== answers[i]);
      difference = image < 0 ? null : {image};
      if (difference) wrong.push(t('check.answers', {model: fact.file, image}));
      progress(test.count);
    }
    const same = await hasSha(await blob(`model/${name}`), fact.sha256);
    if (same === false) wrong.push(t('check.sha', {file: fact.file}));
    tell(name, difference || same === false ? false : fact.digests || same ? true : null);
  }
  return wrong;
}

function buildCheck(root, ctx) {
  const {facts, models, test} = ctx;
  const state = el('p', {class: 'notice check', role: 'status', 'data-check': 'running'});
  root.append(state);
  const states = {};
  const integer = Object.keys(facts.models).filter(name => facts.models[name].digests);
  const codes = name => models[name] ? test.count * models[name].widths.slice(1).reduce((a, b) => a + b, 0) : 0;
  root.append(el('h3', {}, t('check.models')));
  dataTable(root, {caption: t('check.models'), columns: ['file', 'state', 'bytes', 'codes', 'sha'].map(key => t(`check.column.${key}`)),
    rows: Object.entries(facts.models).map(([name, fact]) => [fact.file, states[name] = el('span', {}, '…'), num(fact.bytes), t(fact.digests ? 'check.codes' : 'check.classes', {count: num(fact.digests ? codes(name) : test.count)}),
      shaCell(fact.sha256)])});
  let done = 0;
  const show = live(() => {
    if (state.dataset.check === 'running') state.textContent = t('check.running', {done: num(done), count: num(test.count * Object.keys(models).length)});
  });
  const end = wrong => {
    state.dataset.check = wrong.length ? 'bad' : 'good';
    state.classList.toggle('bad', wrong.length > 0);
    state.classList.toggle('fine', wrong.length === 0);
    state.replaceChildren(el('strong', {}, wrong.length ? '✗ ' : '✓ '), wrong.length ? t('check.bad', {what: wrong.join(' ')})
      : t('check.good', {codes: num(integer.reduce((sum, name) => sum + codes(name), 0)), models: num(integer.length), count: num(test.count)}));
  };
  show();
  selfCheck(ctx, count => { done += count; show(); }, (name, ok) => {
    states[name].textContent = t(ok ? 'check.equal' : ok === false ? 'check.different' : 'check.unchecked');
    states[name].className = ok ? 'good' : ok === false ? 'bad' : 'soft';
  }).then(end, error => end([error.message]));
}

// A model that someone drops or chooses: opened by the engine, or refused with the program's line.
function buildDrop(root, ctx) {
  const {engine, test} = ctx;
  const answer = el('p', {role: 'status', class: 'drop-answer'});
  const open = async file => {
    if (!file) return;
    let model = null;
    answer.className = 'drop-answer';
    try {
      model = engine.open(new Uint8Array(await file.arrayBuffer()));
      const text = t('drop.opened', {file: file.name, kind: model.kind, widths: model.widths.join(' → '), arithmetic: model.arithmetic});
      if (model.widths[0] !== test.images.size || model.classes !== ctx.models.fp32?.classes) {
        answer.textContent = `${text} ${t('drop.shape')}`;
        return;
      }
      const score = engine.score(test.labels, engine.classify(model, test.images));
      answer.textContent = `${text} ${t('drop.score', {count: num(score.count), correct: num(score.correct), accuracy: num(score.accuracy, 2),
        error: num(score.standardError, 2)})}`;
    } catch (error) {
      answer.classList.add('bad');
      answer.textContent = `mnistq: ${file.name}: ${error.message}`;
    } finally {
      if (model) engine.close(model);
    }
  };
  const id = newId();
  const input = el('input', {type: 'file', id, accept: '.safetensors,.gguf', on: {change: () => open(input.files[0])}});
  const place = el('div', {class: 'panel drop', on: {
    dragover: event => { event.preventDefault(); place.classList.add('over'); },
    dragleave: () => place.classList.remove('over'),
    drop: event => { event.preventDefault(); place.classList.remove('over'); open(event.dataTransfer.files[0]); }}},
  el('p', {}, t('drop.text')), el('div', {class: 'field'}, el('label', {for: id}, t('drop.label')), input), answer);
  root.append(el('h3', {}, t('drop.title')), place);
}

registerSection({id: 'check', build(root, ctx) {
  root.append(el('p', {class: 'lead'}, t('check.lead')), el('p', {}, t('check.text')));
  buildCheck(root, ctx);
  root.append(el('h3', {}, t('check.facts')), el('dl', {class: 'facts'}, ctx.facts.provenance.map(({name, value}) =>
    [el('dt', {lang: 'en'}, name), el('dd', {lang: 'en'}, value)])));
  buildDrop(root, ctx);
}});
