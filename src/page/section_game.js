// Section 7, the game: an engine is broken, its symptoms are shown, and the reader names the fault.

const GAME_IMAGES = 200;
const GAME_CHOICES = 5;

// A case: a network, the fault in it, and a few diagnoses in random order; two of them stand close to the fault in the
// engine's list, which has what is alike side by side.
function makeCase(seed, faults) {
  const random = randomOf(1000 + seed), names = faults.map(fault => fault.name).filter(name => name !== 'none');
  const network = random(2) ? 'symmetric' : 'asymmetric', at = random(names.length), name = names[at], choices = [name];
  while (choices.length < GAME_CHOICES) {
    const near = choices.length < 3, other = names[near ? (at + names.length + random(7) - 3) % names.length : random(names.length)];
    if (!choices.includes(other)) choices.splice(random(choices.length + 1), 0, other);
  }
  return {network, name, choices};
}

function buildGame(root, ctx) {
  const {engine, test} = ctx, faults = engine.faults(), memory = ctx.memory.game ??= {seed: 1, right: 0, answered: 0};
  const find = name => faults.find(fault => fault.name === name);
  root.append(el('h3', {id: 'game'}, t('game.title')), el('p', {}, t('game.lead', {images: GAME_IMAGES})));
  const controls = el('div', {class: 'controls'}), panel = el('div', {class: 'panel', hidden: true, id: 'game-panel'});
  root.append(controls, panel);
  const number = el('input', {type: 'number', min: 1, max: 9999, value: memory.seed, id: newId()});
  const begin = el('button', {type: 'button', class: 'main', id: 'game-start', on: {click: () => open(asked())}}, t('game.start'));
  let shown = null; // the number of the case in the panel: the field names it until one types another
  const asked = () => {
    const typed = Math.max(1, Math.round(Number(number.value)) || 1);
    return typed === shown ? typed + 1 : typed;
  };
  const progress = el('progress', {max: 1, value: 0, hidden: true, 'aria-label': t('faults.progress')});
  const tally = el('p', {class: 'small soft', role: 'status'});
  controls.append(el('div', {class: 'field'}, el('label', {for: number.id}, t('game.case')), number), begin, progress, tally);
  const patient = el('p'), figures = figureList(panel, [['accuracy', t('faults.accuracy')], ['sqnr', t('faults.sqnr')]]);
  panel.prepend(patient);
  const symptoms = symptomsView(panel, ctx);
  const diagnoses = el('div'), verdict = el('div', {role: 'status', class: 'diagnosis'});
  panel.append(el('h4', {}, t('game.diagnosis')), diagnoses, verdict);
  const showTally = () => { tally.textContent = memory.answered ? t('game.tally', memory) : ''; };
  showTally();

  // The case of this number; a fault that leaves no trace in its network is passed over for the next one.
  function* examine(seed) {
    const reference = (yield* answersOf(ctx, 'fp32')).logits.subarray(0, GAME_IMAGES * ctx.models.int8.classes);
    const labels = test.labels.subarray(0, Math.min(GAME_IMAGES, test.count));
    for (let turn = seed; ; turn += 10000) {
      const one = makeCase(turn, faults), model = faultNetwork(ctx, one.network);
      const run = yield* runFault(ctx, model, one.name, -1, share => { progress.value = share; }, labels.length);
      if (run.first) return {...one, seed, run, model, score: engine.score(labels, run.classes), sqnr: engine.sqnr(reference, run.logits)};
    }
  }
  function open(seed) {
    memory.seed = seed;
    begin.disabled = true;
    progress.hidden = false;
    slices(examine(seed), show, error => { begin.disabled = false; tally.textContent = error.message; });
  }
  function show(one) {
    number.value = shown = one.seed;
    begin.disabled = false;
    begin.textContent = t('game.next');
    progress.hidden = true;
    panel.hidden = false;
    patient.textContent = t('game.patient', {seed: one.seed, network: t(`faults.network.${one.network}`), images: one.run.classes.length});
    figures.set('accuracy', ...accuracyText(one.score));
    figures.set('sqnr', decibel(one.sqnr));
    symptoms.update(one.run, one.model);
    verdict.replaceChildren();
    diagnoses.replaceChildren(el('ul', {class: 'diagnoses'}, one.choices.map(name => el('li', {}, el('button', {type: 'button', 'data-fault': name,
      on: {click: event => judge(one, name, event.currentTarget)}}, faultText(find(name), 'what'))))));
  }
  function judge(one, name, button) {
    const right = name === one.name, told = find(one.name);
    if (!one.answered) {
      one.answered = true;
      memory.answered++;
      if (right) memory.right++;
      showTally();
    }
    button.classList.add(right ? 'right' : 'wrong');
    button.prepend(right ? '✓ ' : '✗ ');
    button.disabled = true;
    if (!right) {
      verdict.replaceChildren(el('p', {class: 'bad'}, `✗ ${t('game.wrong', {signature: faultText(find(name), 'signature')})}`));
      return;
    }
    for (const other of diagnoses.querySelectorAll('button')) other.disabled = true;
    verdict.replaceChildren(el('p', {class: 'good'}, `✓ ${t('game.right', {name: told.name})}`),
      el('p', {}, t('game.because', {signature: faultText(told, 'signature')})),
      el('p', {class: 'small soft'}, ...rich(t('game.command', {name: told.name}))));
  }
}
