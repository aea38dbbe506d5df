// The page's engine in node, on the files that a page holds: node tests/page/engine.js CHECK PAGE [ARGUMENT...]
// Prints what it compared; exit status 1 with what differs. tests/cli/page.sh calls it.
'use strict';
const assert = require('node:assert/strict');
const {execFileSync, spawnSync} = require('node:child_process');
const crypto = require('node:crypto');
const fs = require('node:fs');
const path = require('node:path');

// ---- the page without a browser: its script up to the engine, and its embedded files

function openPage(file) {
  const html = fs.readFileSync(file, 'utf8');
  const blobs = new Map();
  for (const [, attributes, textContent] of html.matchAll(/<script (type="application\/zlib"[^>]*)>([^<]*)<\/script>/g)) {
    const dataset = {};
    for (const [, name, value] of attributes.matchAll(/data-([a-z]+)="([^"]*)"/g)) dataset[name] = value;
    blobs.set(dataset.blob, {dataset, textContent});
  }
  const script = html.match(/<script>([^]*)<\/script>\n<\/body>/)[1];
  const document = {querySelector: (selector) => blobs.get(selector.match(/"(.*)"/)[1]) || null};
  const engineOnly = script.slice(0, script.indexOf('\nconst TEXTS'));
  const {Engine, unpackBlob} = new Function('document', `${engineOnly}; return {Engine, unpackBlob};`)(document);
  return {html, script, Engine, unpackBlob, blobs};
}

async function start(file) {
  const page = openPage(file);
  const engine = await page.Engine.start(await page.unpackBlob('wasm'));
  const facts = JSON.parse(Buffer.from(await page.unpackBlob('facts')));
  const images = engine.images(await page.unpackBlob('test/images'));
  const open = async (name) => engine.open(await page.unpackBlob(`model/${name}`));
  return {...page, engine, facts, images, open};
}

const sha256 = (bytes) => crypto.createHash('sha256').update(bytes).digest('hex');
const words = (bytes) => new Uint32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4);
const codesOf = (engine, model) => Array.from({length: model.layers}, (_, l) => engine.weightCodes(model, l));

// A picture [side][side] of dark ink on white, drawn along points with a round pen.
function draw(side, points, radius) {
  const gray = new Uint8Array(side * side).fill(255);
  for (const [x0, y0, x1, y1] of points.slice(1).map((p, i) => [...points[i], ...p]))
    for (let step = 0; step <= 200; step++) {
      const x = x0 + (x1 - x0) * step / 200, y = y0 + (y1 - y0) * step / 200;
      for (let j = Math.ceil(y - radius); j <= y + radius; j++)
        for (let i = Math.ceil(x - radius); i <= x + radius; i++)
          if ((i - x) ** 2 + (j - y) ** 2 <= radius ** 2 && i >= 0 && j >= 0 && i < side && j < side)
            gray[j * side + i] = 20;
    }
  return gray;
}

const pgm = (gray, side) => Buffer.concat([Buffer.from(`P5 ${side} ${side} 255\n`), gray]);

// Recorded strokes: a 7, a 0, a 4 that begins outside, a thin 1 in a corner, a tangle, a slope wider than high.
const strokes = [
  [280, [[70, 60], [200, 62], [150, 140], [120, 230]], 11],
  [280, [[140, 50], [80, 100], [75, 180], [140, 235], [200, 180], [195, 95], [140, 50]], 9],
  [280, [[90, -9], [70, 150], [210, 150], [170, 90], [172, 250]], 13],
  [56, [[40, 8], [38, 50]], 2],
  [100, [[20, 20], [80, 20], [30, 50], [75, 60], [60, 90], [20, 85]], 4],
  [140, [[30, 45], [54, 73], [79, 94], [90, 99]], 6],
];

// ---- what must hold

const checks = {
  // Every code of every layer of every integer model, on all images of the page.
  async bits(file) {
    const {engine, facts, images, open, unpackBlob} = await start(file);
    let models = 0;
    for (const [name, model] of Object.entries(facts.models)) {
      if (!model.digests) continue;
      const opened = await open(name), found = engine.codeDigests(opened, images);
      const expected = words(await unpackBlob(`digests/${name}`));
      assert.equal(expected.length, images.count);
      assert.equal(engine.compareDigests(found, model.digests, expected), null, `${name}: codes differ`);
      const codes = images.count * opened.widths.slice(1).reduce((a, b) => a + b);
      console.log(`${name}: ${opened.layers} layers, ${images.count} images, ${codes} codes equal`);
      models++;
    }
    assert.equal(models, 4);
  },

  // A weight that is one off is found, with its layer and image.
  async damage(file) {
    const {engine, facts, images, open, unpackBlob} = await start(file);
    const int8 = await open('int8'), bytes = await unpackBlob('model/int8');
    // Of the first logit the weight of the input that image 0 has most of.
    const inputs = engine.layer(int8, images.pixels(0), int8.layers - 1).codes;
    const length = Number(Buffer.from(bytes).readBigUInt64LE(0));
    const tensor = JSON.parse(Buffer.from(bytes.subarray(8, 8 + length)))[`fc${int8.layers}.weight`];
    const broken = bytes.slice();
    broken[8 + length + tensor.data_offsets[0] + inputs.indexOf(Math.max(...inputs))] ^= 64;
    assert.notEqual(sha256(broken), facts.models.int8.sha256);
    const found = engine.codeDigests(engine.open(broken), images);
    const difference = engine.compareDigests(found, facts.models.int8.digests, words(await unpackBlob('digests/int8')));
    assert.deepEqual(difference, {layer: int8.layers, image: 0});
    console.log(`layer ${difference.layer}, image ${difference.image}`);
  },

  // Classes of all models, fp32 among them, are those of the native program.
  async classes(file) {
    const {engine, facts, images, open, unpackBlob} = await start(file);
    for (const name of Object.keys(facts.models)) {
      const found = engine.classify(await open(name), images), expected = await unpackBlob(`classes/${name}`);
      assert.equal(found.length, images.count);
      assert.deepEqual(found, expected, name);
      console.log(`${name}: ${found.length} classes equal`);
    }
  },

  // Embedded files are the files, byte for byte.
  async files(file, folder) {
    const {facts, unpackBlob} = await start(file);
    for (const [name, model] of Object.entries(facts.models)) {
      const bytes = await unpackBlob(`model/${name}`), original = fs.readFileSync(path.join(folder, model.file));
      assert(original.equals(bytes), name);
      assert.equal(sha256(bytes), model.sha256);
    }
    console.log('equal');
  },

  // Converted with the file's scales, fp32 gives the file's codes; a weight set to itself changes nothing.
  async convert(file) {
    const {engine, facts, images, open, unpackBlob} = await start(file);
    const fp32 = await open('fp32');
    for (const name of ['int8', 'int8_per_tensor']) {
      const int8 = await open(name), scales = int8.widths.map((_, l) => engine.activationAffine(int8, l));
      const weight = engine.weights(fp32, 0)[40];
      const same = engine.withWeight(fp32, 0, 0, 40, weight);
      for (const from of [fp32, same, engine.clipWeights(fp32, 0, 1e9)]) {
        const made = engine.convert(from, scales, name === 'int8');
        assert.deepEqual(codesOf(engine, made), codesOf(engine, int8));
        assert.equal(made.bits, int8.bits);
        const found = engine.codeDigests(made, images);
        assert.equal(engine.compareDigests(found, facts.models[name].digests, words(await unpackBlob(`digests/${name}`))), null);
        engine.close(made);
      }
      const far = engine.withWeight(fp32, 0, 0, 40, 20 * weight);
      assert.notDeepEqual(engine.weightCodes(engine.convert(far, scales, name === 'int8'), 0), engine.weightCodes(int8, 0));
    }
    console.log('equal');
  },

  // The observer finds the file's ranges on the embedded calibration images, but for the rounding of sums in fp32.
  async calibrate(file) {
    const {engine, open, unpackBlob} = await start(file);
    const fp32 = await open('fp32'), int8 = await open('int8');
    const images = engine.images(await unpackBlob('calibration/images'));
    const all = Array.from({length: images.count}, (_, i) => i);
    const symmetric = engine.activationAffine(int8, 0).qmin === 1;
    const found = engine.calibrate(fp32, images, all, {symmetric});
    const clipped = engine.calibrate(fp32, images, all, {observer: 'percentile', percentile: 95, symmetric});
    found.forEach(({scale, zeroPoint}, l) => {
      const expected = engine.activationAffine(int8, l);
      assert(Math.abs(scale / expected.scale - 1) < 1e-5, `layer ${l}: ${scale}, ${expected.scale}`);
      assert.equal(zeroPoint, expected.zeroPoint);
      if (l) assert(clipped[l].scale < 0.9 * scale, `layer ${l}: 5% cut off`);
    });
    assert.throws(() => engine.calibrate(fp32, images, all, {observer: 'none'}), /there is no observer "none"/);
    console.log('equal');
  },

  // Neuron by neuron: trace, layer and digests tell of the same codes; faults show where they begin.
  async trace(file) {
    const {engine, images, open} = await start(file);
    const int8 = await open('int8'), fp32 = await open('fp32'), image = images.pixels(3);
    for (let l = 0; l < int8.layers; l++) {
      const {codes, values} = engine.layer(int8, image, l + 1), {scale, zeroPoint} = engine.activationAffine(int8, l + 1);
      for (let c = 0; c < codes.length; c++) {
        const trace = engine.trace(int8, image, l, c);
        assert.equal(trace.code, codes[c]);
        assert.equal(trace.value, values[c]);
        assert.equal(trace.terms.reduce((sum, term) => sum + term.x * term.w - trace.inputZeroPoint * term.w, 0), trace.sum);
        assert.equal(trace.product, BigInt(trace.acc) * BigInt(trace.multiplier));
        assert.equal(BigInt(trace.rounded), (trace.product + BigInt(trace.half)) >> BigInt(trace.right));
        assert.equal(Math.fround(scale * (codes[c] - zeroPoint)), values[c]);
      }
    }
    const sound = engine.faulty(int8, 'none', -1, images, 0, 70), broken = engine.faulty(int8, 'truncation', -1, images, 0, 70);
    assert.equal(sound.first, null);
    assert.deepEqual(sound.classes, engine.classify(int8, images, 0, 70));
    assert.deepEqual(sound.logits, engine.logits(int8, images, 0, 70));
    assert.equal(broken.first.code, broken.first.expected - 1);
    assert.equal(engine.layer(int8, images.pixels(broken.first.image), broken.first.layer).codes[broken.first.neuron],
      broken.first.expected);
    // By layer: a truncated code is right or 1 too low where the inputs are right; counts, sums and decibels agree.
    const [, first] = broken.layers, right = engine.activations(int8, images, 0, 70, 1);
    assert.deepEqual([first.lowest, first.highest, first.codes], [-1, 0, right.length]);
    assert.equal(first.noise, first.wrong);
    assert.equal(first.right.reduce((sum, count, code) => sum + code * code * count, 0), first.signal);
    assert.equal(first.right.reduce((sum, count, code) => sum + code * (count - first.broken[code]), 0), first.wrong);
    assert.equal(engine.decibels(first.signal, first.noise), 10 * Math.log10(first.signal / first.noise));
    for (const layer of sound.layers) assert.deepEqual([layer.wrong, layer.noise, layer.right], [0, 0, layer.broken]);
    const narrow = engine.faulty(int8, 'narrow-range', 0, images, 0, 70).layers[1];
    assert(narrow.broken.slice(0.3 * 255 + 1).every((count) => count === 0) && narrow.lowest < -100 && narrow.highest === 0);
    const last = int8.layers, affines = Array.from({length: last + 1}, (_, l) => engine.activationAffine(int8, l));
    affines[last].scale /= 4;
    const clipped = engine.faulty(engine.convert(fp32, affines), 'none', -1, images, 0, 70).layers;
    assert(clipped[last].cut > 0 && clipped[last].cut <= clipped[last].right[0] + clipped[last].right[255] && clipped[0].cut === 0);
    console.log(`${engine.faults().length} faults`);
  },

  // Files that the program refuses are refused with the same line.
  async hostile(file, folder, mnistq) {
    const {engine, unpackBlob} = await start(file);
    const whole = Buffer.from(await unpackBlob('model/int8')), header = Number(whole.readBigUInt64LE(0));
    const text = whole.subarray(8, 8 + header).toString();
    const withHeader = (changed) => {
      const length = Buffer.alloc(8);
      length.writeBigUInt64LE(BigInt(Buffer.byteLength(changed)));
      return Buffer.concat([length, Buffer.from(changed), whole.subarray(8 + header)]);
    };
    const at = (offset, value) => { const copy = Buffer.from(whole); copy[offset] = value; return copy; };
    const files = [Buffer.alloc(0), whole.subarray(0, 7), whole.subarray(0, whole.length - 1), Buffer.concat([whole, whole]),
      at(7, 255), at(8, 0), withHeader('{}'), withHeader('['.repeat(2000)), withHeader(text.replace('I8', 'F64')),
      withHeader(text.replace('fc1.weight', 'fc9.weight')), withHeader(text.replace('"F32"', '"F16"')),
      withHeader(text.replace('784', '783')), withHeader(text.replace('[0,', '[4294967296,')),
      withHeader(text.replace('"fc1.bias"', '"\u001b[31m"')), withHeader(text.replace('"fc1.bias"', '"\\u001b[31m"')),
      withHeader(text.replace('[784', '[4294967296')), at(8 + header, 255), at(8 + header + 3, 127)];
    const name = path.join(folder, 'hostile.safetensors'), picture = path.join(folder, 'picture.pgm');
    fs.writeFileSync(picture, pgm(draw(...strokes[0]), 280));
    let refused = 0;
    files.forEach((bytes, i) => {
      let line = '', native = '';
      fs.writeFileSync(name, bytes);
      try {
        engine.close(engine.open(bytes));
      } catch (error) {
        line = error.message;
      }
      try {
        execFileSync(mnistq, ['predict', name, picture], {stdio: 'pipe'});
      } catch (error) {
        native = String(error.stderr).trimEnd().replace(`mnistq: ${name}: `, '');
      }
      assert.equal(line, native, `file ${i}`);
      refused += line !== '';
    });
    assert(refused >= 15, `${refused} refused`); // a weight or a text of the metadata may be anything
    console.log(`${refused} of ${files.length} refused with the program's line`);
  },

  // A drawing becomes the same 28 x 28 bytes, with the same doubts and answer.
  async drawing(file, folder, makeDigit, mnistq, models) {
    const {engine, facts, open} = await start(file), fp32 = await open('fp32');
    for (const [side, points, radius] of strokes) {
      const gray = draw(side, points, radius), name = path.join(folder, 'drawing.pgm');
      fs.writeFileSync(name, pgm(gray, side));
      const model = path.join(models, facts.models.fp32.file), native = execFileSync(makeDigit, [model, name]);
      assert.equal(native.length, 784);
      const seen = engine.digit(gray, side, side, fp32);
      assert(native.equals(seen.pixels), `${side} x ${side}`);
      const told = spawnSync(mnistq, ['predict', model, name], {encoding: 'utf8'});
      assert.equal(told.stderr, [...seen.doubts, ...engine.doubts(fp32, seen.pixels, seen.bits)]
        .map((text) => `mnistq: ${name}: warning: ${text}\n`).join(''));
      assert.match(told.stdout, new RegExp(`: ${engine.classify(fp32, engine.images(seen.pixels))[0]}\n`));
    }
    const [side, points, radius] = strokes[2]; // without a model the form is MNIST's, of which none reaches the rim
    assert.match(engine.digit(draw(side, points, radius), side, side).doubts.join(), /^ink reaches the picture's rim/);
    const slope = strokes.at(-1), wide = engine.digit(draw(...slope), slope[0], slope[0]); // doubted with an unsure answer only
    assert.deepEqual(wide.doubts, []);
    assert.match(engine.doubts(fp32, wide.pixels, wide.bits).join(), /^it is wider than most digits/);
    assert.doesNotMatch(engine.doubts(fp32, wide.pixels).join(), /wider/);
    assert.throws(() => engine.digit(new Uint8Array(100).fill(9), 10, 10), /nothing is drawn on it/);
    console.log(`${strokes.length} drawings equal`);
  },

  // The file asks for nothing but itself: its policy allows the one script and the one style by their hashes.
  async frame(file, limit) {
    const {html, script, blobs} = openPage(file);
    const hash = (text) => `'sha256-${crypto.createHash('sha256').update(text).digest('base64')}'`;
    const policy = html.match(/http-equiv="Content-Security-Policy" content="([^"]*)"/)[1];
    const style = html.match(/<style>([^]*)<\/style>/)[1];
    assert.equal(policy, `default-src 'none'; script-src ${hash(script)} 'wasm-unsafe-eval'; style-src ${hash(style)}; ` +
      "base-uri 'none'; form-action 'none'");
    assert.equal(html.match(/<\/?script/gi).length, 2 * (blobs.size + 1));
    assert(html.length < limit, `${html.length} bytes`);
    assert(!/\{\{[a-z]+\}\}/.test(html.replace(script, '')), 'a mark is left');
    console.log(`${html.length} bytes, ${blobs.size} embedded files`);
  },

  // Measures, against numbers made by hand or by other programs.
  async measures(file) {
    const {engine} = await start(file);
    const score = engine.score([1, 2, 3, 4], [1, 2, 0, 0], [1, 0, 3, 0]);
    assert.deepEqual(score, {correct: 2, count: 4, accuracy: 50, standardError: 25, changed: 2, fixed: 1, broken: 1});
    assert(Math.abs(engine.sqnr([3, 4], [3, 3.5]) - 20) < 1e-12); // 25 to 0.25
    assert.deepEqual(Array.from(engine.softmax([0, 0])), [0.5, 0.5]);
    assert.deepEqual(engine.histogram([0, 1, 1, 4], 4), {lo: 0, hi: 4, counts: new Uint32Array([1, 2, 0, 1])});
    const p = engine.affine({lo: -1, hi: 2, bits: 2});
    assert.deepEqual(p, {scale: 1, zeroPoint: 1, qmin: 0, qmax: 3});
    assert.deepEqual(engine.affine({lo: -3, hi: 2, bits: 3, symmetric: true}), {scale: 1, zeroPoint: 0, qmin: -3, qmax: 3});
    assert.deepEqual(engine.quantize([0.5, 1.5, 9, NaN], p), {codes: new Int32Array([1, 3, 3, 1]), back: new Float32Array([0, 2, 2, 0])});
    const bits = (format, x) => engine.bits(format, x).fields.map((field) => field.bits).join(' ');
    assert.equal(bits('fp32', -0.15625), '1 01111100 01000000000000000000000'); // IEEE 754, Wikipedia's example
    assert.equal(bits('fp16', 65504), '0 11110 1111111111');
    assert.equal(bits('bf16', 1), '0 01111111 0000000');
    assert.equal(bits('fp8_e4m3', 448), '0 1111 110');
    assert.equal(bits('fp8_e5m2', 57344), '0 11110 11');
    console.log('equal');
  },
};

const [check, ...given] = process.argv.slice(2);
checks[check](...given).catch((error) => {
  console.error(error.message);
  process.exitCode = 1;
});
