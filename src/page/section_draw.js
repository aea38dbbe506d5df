// Section 3, what goes in: a digit drawn with mouse, finger or keyboard, a photo, a test image. What comes out is in
// section_answers.js.

// Pixels of the pad; the engine makes 28 x 28 of them, as `mnistq predict` does of any picture. Twice as many would take it
// 20 ms a frame instead of 5.
const PAD_SIDE = 140;
const PAD_PEN = 11;
const PAD_STEP = 5; // pixels that an arrow key moves
const PHOTO_MOST = 1 << 24; // pixels of a photo; the browser scales a larger one down

// The pad: ink in a canvas of its own, the cursor of the keyboard on top of it. changed() is called after each stroke
// piece, say(text) tells where the keyboard's pen is.
function digitPad(changed, say) {
  const ink = Object.assign(document.createElement('canvas'), {width: PAD_SIDE, height: PAD_SIDE});
  const view = el('canvas', {class: 'pad', width: PAD_SIDE, height: PAD_SIDE, tabindex: 0, role: 'application',
    'aria-label': t('draw.pad'), 'aria-describedby': 'draw-keys'});
  const pen = ink.getContext('2d', {willReadFrequently: true}), shown = view.getContext('2d');
  let last = null, cursor = {x: PAD_SIDE / 2, y: PAD_SIDE / 4, down: false}, keyboard = false, empty = true;

  function paint() {
    shown.drawImage(ink, 0, 0);
    if (!keyboard) return;
    shown.lineWidth = 1.5;
    shown.strokeStyle = cursor.down ? '#ffb000' : '#6ea8fe';
    shown.strokeRect(cursor.x - 4, cursor.y - 4, 8, 8);
    if (!cursor.down) return;
    shown.fillStyle = '#ffb000';
    shown.fillRect(cursor.x - 2, cursor.y - 2, 4, 4);
  }
  function clear() {
    pen.fillStyle = '#000';
    pen.fillRect(0, 0, PAD_SIDE, PAD_SIDE);
    last = null;
    empty = true;
    paint();
  }
  function line(from, to) {
    if (empty === 'picture') clear();
    pen.lineWidth = PAD_PEN;
    pen.lineCap = pen.lineJoin = 'round';
    pen.strokeStyle = '#fff';
    pen.beginPath();
    pen.moveTo(from.x, from.y);
    pen.lineTo(to.x, to.y);
    pen.stroke();
    empty = false;
    paint();
    changed();
  }
  function place(event) {
    const box = view.getBoundingClientRect();
    return {x: (event.clientX - box.left) * PAD_SIDE / box.width, y: (event.clientY - box.top) * PAD_SIDE / box.height};
  }
  view.addEventListener('pointerdown', event => {
    if (event.button !== 0) return;
    keyboard = false;
    view.setPointerCapture(event.pointerId);
    last = place(event);
    line(last, last);
  });
  view.addEventListener('pointermove', event => {
    if (!last) return;
    const pieces = event.getCoalescedEvents ? event.getCoalescedEvents() : [];
    for (const piece of pieces.length ? pieces : [event]) {
      const to = place(piece);
      line(last, to);
      last = to;
    }
  });
  for (const name of ['pointerup', 'pointercancel']) view.addEventListener(name, () => { last = null; });

  const arrows = {ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1]};
  view.addEventListener('keydown', event => {
    const arrow = arrows[event.key];
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (arrow) {
      const to = {x: cursor.x + arrow[0] * PAD_STEP, y: cursor.y + arrow[1] * PAD_STEP, down: cursor.down};
      to.x = Math.min(Math.max(to.x, PAD_STEP), PAD_SIDE - PAD_STEP);
      to.y = Math.min(Math.max(to.y, PAD_STEP), PAD_SIDE - PAD_STEP);
      if (cursor.down) line(cursor, to);
      cursor = to;
    } else if (event.key === ' ' || event.key === 'Enter') {
      cursor.down = !cursor.down;
      if (cursor.down) line(cursor, cursor);
    } else if (event.key === 'Delete' || event.key === 'Backspace') {
      clear();
      changed();
    } else {
      return;
    }
    event.preventDefault();
    keyboard = true;
    paint();
    say(t(cursor.down ? 'draw.cursor.down' : 'draw.cursor.up',
       {x: Math.round(cursor.x / PAD_STEP), y: Math.round(cursor.y / PAD_STEP)}));
  });
  view.addEventListener('blur', () => {
    keyboard = cursor.down = false;
    paint();
  });
  clear();
  return {
    view,
    clear,
    isEmpty: () => empty === true,
    // Gray pixels [PAD_SIDE][PAD_SIDE]: red, green and blue of the ink are equal.
    gray() {
      const rgba = pen.getImageData(0, 0, PAD_SIDE, PAD_SIDE).data, gray = new Uint8Array(PAD_SIDE * PAD_SIDE);
      for (let i = 0; i < gray.length; i++) gray[i] = rgba[4 * i];
      return gray;
    },
    // Shows a 28 x 28 image, which the first stroke wipes away.
    picture(image) {
      const small = new ImageData(28, 28);
      for (let i = 0; i < 784; i++) small.data.set([image[i], image[i], image[i], 255], 4 * i);
      const from = Object.assign(document.createElement('canvas'), {width: 28, height: 28});
      from.getContext('2d').putImageData(small, 0, 0);
      clear();
      pen.imageSmoothingEnabled = false;
      pen.drawImage(from, 0, 0, PAD_SIDE, PAD_SIDE);
      empty = 'picture';
      paint();
    }
  };
}

// A picture file, decoded and turned upright by the browser, as gray pixels on white paper. The weights of red, green
// and blue are those of stb_image, which the program decodes with.
async function photoToGray(file) {
  const bitmap = await createImageBitmap(file);
  const shrink = Math.min(1, Math.sqrt(PHOTO_MOST / (bitmap.width * bitmap.height)));
  const width = Math.max(1, Math.floor(bitmap.width * shrink)), height = Math.max(1, Math.floor(bitmap.height * shrink));
  const canvas = Object.assign(document.createElement('canvas'), {width, height});
  const context = canvas.getContext('2d', {willReadFrequently: true});
  context.fillStyle = '#fff';
  context.fillRect(0, 0, width, height);
  context.drawImage(bitmap, 0, 0, width, height);
  bitmap.close();
  const rgba = context.getImageData(0, 0, width, height).data, gray = new Uint8Array(width * height);
  for (let i = 0; i < gray.length; i++)
    gray[i] = (77 * rgba[4 * i] + 150 * rgba[4 * i + 1] + 29 * rgba[4 * i + 2]) >> 8;
  return {gray, width, height};
}

// Indices of the test images to which not all models give one class; those that int8 changes first.
function* findDisagreements(ctx, names) {
  const answers = [];
  for (const name of names) answers.push((yield* answersOf(ctx, name)).classes);
  const found = new Set();
  for (const classes of answers.slice(1)) classes.forEach((digit, i) => { if (digit !== answers[0][i]) found.add(i); });
  return [...found];
}

// A doubt in the reader's language; the engine's own words are English.
const doubtText = text => TEXTS[language]?.[`doubt.${text}`] ?? el('span', {lang: 'en'}, text);

registerSection({id: 'draw', build(root, ctx) {
  const {engine, models, test} = ctx;
  const status = el('p', {role: 'status', id: 'draw-status'});
  const doubts = el('ul', {class: 'notice bad', id: 'draw-doubts', 'aria-label': t('draw.doubts'), hidden: true});
  const where = el('p', {class: 'unseen', 'aria-live': 'polite'});
  const memory = ctx.memory.draw ??= {index: 0, drawing: null, image: null};
  let disagreements = null, turn = -1;

  // doubted: what speaks against the picture, and its bits; what speaks against each model's answer is added, model by model.
  function show(image, said, doubted, bits) {
    memory.image = image;
    status.textContent = said;
    const reasons = new Map(doubted.map(text => [text, []]));
    for (const name of ANSWER_MODELS)
      for (const text of engine.doubts(models[name], image, bits)) reasons.set(text, [...reasons.get(text) ?? [], t(`draw.model.${name}`)]);
    doubts.replaceChildren(...[...reasons].map(([text, names]) => el('li', {}, names.length ? `${names.join('; ')}: ` : '', doubtText(text))));
    doubts.hidden = !reasons.size;
    seen.update(image, 255);
    answers.show(image);
  }
  function refuse(text) {
    memory.image = null;
    status.textContent = text;
    doubts.hidden = true;
    seen.update(new Uint8Array(784), 255);
    answers.clear();
  }
  // What `mnistq predict` does with a picture: makes it a digit, or refuses it with one line.
  function take(gray, width, height, said) {
    let made;
    try {
      made = engine.digit(gray, width, height, models.fp32);
    } catch (error) {
      return refuse(error.message);
    }
    show(made.pixels, said, made.doubts, made.bits);
  }
  const draw = live(() => {
    if (pad.isEmpty()) refuse(t('draw.empty'));
    else take(pad.gray(), PAD_SIDE, PAD_SIDE, t('draw.drawn'));
  });
  const pad = digitPad(draw, text => { where.textContent = text; });
  function showTest(index) {
    memory.index = index;
    const image = test.images.pixels(index);
    pad.picture(image);
    show(image, t('draw.test', {index, label: test.labels[index]}), []);
  }
  function nextDisagreement() {
    if (!disagreements.length) {
      status.textContent = t('draw.agree');
      return;
    }
    turn = (turn + 1) % disagreements.length;
    showTest(disagreements[turn]);
    status.textContent += ' ' + t('draw.disagreement', {turn: turn + 1, count: disagreements.length});
  }
  function disagree() {
    if (disagreements) return nextDisagreement();
    disagreeButton.disabled = true;
    status.textContent = t('draw.searching');
    slices(findDisagreements(ctx, ANSWER_MODELS), found => {
      disagreeButton.disabled = false;
      disagreements = found;
      nextDisagreement();
    });
  }
  async function readPhoto() {
    const [file] = photo.files;
    if (!file) return;
    try {
      const {gray, width, height} = await photoToGray(file);
      pad.clear();
      take(gray, width, height, t('draw.photo.read', {name: file.name, width, height}));
    } catch {
      refuse(t('draw.photo.bad', {name: file.name}));
    }
    photo.value = '';
  }
  const disagreeButton = el('button', {type: 'button', on: {click: disagree}}, t('draw.disagree'));
  const photo = el('input', {type: 'file', accept: 'image/*', id: 'draw-photo', on: {change: readPhoto}});
  const seenAt = el('div', {class: 'seen'});
  root.append(
    el('p', {class: 'lead'}, t('draw.lead')),
    el('div', {class: 'panel columns'},
      el('div', {}, pad.view, el('p', {id: 'draw-keys', class: 'small soft'}, t('draw.keys')), where),
      el('div', {},
        el('div', {class: 'controls'},
          el('button', {type: 'button', on: {click() { pad.clear(); draw(); }}}, t('draw.clear')),
          el('button', {type: 'button', on: {click: () => showTest((memory.index + 1) % test.count)}}, t('draw.next')),
          disagreeButton),
        el('div', {class: 'field'}, el('label', {for: 'draw-photo'}, t('draw.photo')), photo),
        status, doubts, seenAt)));
  const seen = pixels(seenAt, 28, 28, null, {label: t('draw.seen'), caption: t('draw.seen')});
  const answers = buildAnswers(root, ctx);
  showTest(memory.index);
}});
