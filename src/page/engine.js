// The engine of engine.c and its neighbours, as objects: every number of the page comes from here or from a table.
// Arrays are copied out of the engine's memory, so that they stay what they are. A method that the engine refuses
// throws an Error with its line.
'use strict';

const KINDS = ['fp32', 'int8', 'weight-only', 'dynamic'];
// How the bits of a float are cut: sign, exponent, mantissa.
const FLOAT_FIELDS = {fp32: [1, 8, 23], fp16: [1, 5, 10], bf16: [1, 8, 7], fp8_e4m3: [1, 4, 3], fp8_e5m2: [1, 5, 2]};
const NEURON = ['inputScale', 'weightScale', 'outputScale', 'inputZeroPoint', 'zeroPoint', 'lowest', 'highest', 'sum',
  'bias', 'acc', 'weightSum', 'foldedBias', 'rawSum', 'multiplier', 'right', 'productHigh', 'productLow', 'half',
  'rounded', 'code', 'exact', 'value'];
const SYMPTOMS = ['codes', 'wrong', 'lowest', 'highest', 'cut', 'signal', 'noise'];
const INT32 = Int32Array, FLOAT = Float32Array, DOUBLE = Float64Array, BYTES = Uint8Array;

class Engine {
  // Uint8Array with engine.wasm -> Promise<Engine>
  static async start(wasmBytes) {
    const engine = new Engine();
    const none = () => 0, wasi = {fd_close: none, fd_seek: none, fd_write: none}; // its messages go nowhere
    const {instance} = await WebAssembly.instantiate(wasmBytes, {wasi_snapshot_preview1: wasi});
    engine.c = instance.exports;
    engine.c._initialize();
    Object.assign(engine, {kept: [], origins: new Map()}); // addresses to give back; models of restored()
    started(engine);
    return engine;
  }

  // An int8 file as the page has it, without what follows from the fp32 model's weights -> the file, byte for byte.
  // from: the embedded file with that model, which is opened once for all.
  async restored(from, bytes) {
    if (!this.origins.has(from)) this.origins.set(from, unpackBlob(from).then((file) => this.open(file)));
    const fp32 = await this.origins.get(from);
    return this.with(() => {
      const at = this.give(BYTES, bytes);
      if (!this.c.page_restore(fp32.id, at, bytes.length)) this.fail();
      return this.read(BYTES, at, bytes.length);
    });
  }

  // ---- memory: views are made anew each time, since the engine's memory moves where it grows

  fail() { throw new Error(this.text(this.c.page_error())); }

  text(at) {
    if (!at) return null;
    const bytes = new Uint8Array(this.c.memory.buffer, at);
    return new TextDecoder().decode(bytes.slice(0, bytes.indexOf(0)));
  }

  room(bytes) {
    const at = this.c.page_alloc(bytes);
    if (!at) this.fail();
    this.kept.push(at);
    return at;
  }

  view(Type, at, count) { return new Type(this.c.memory.buffer, at, count); }
  read(Type, at, count) { return this.view(Type, at, count).slice(); }
  array(Type, count) { return this.room(Type.BYTES_PER_ELEMENT * count); }

  give(Type, values) {
    const at = this.array(Type, values.length);
    this.view(Type, at, values.length).set(values);
    return at;
  }

  giveText(text) { return this.give(BYTES, [...new TextEncoder().encode(text), 0]); }

  // Runs a method's body and frees what it took, also after an error.
  with(body) {
    const before = this.kept;
    this.kept = [];
    try {
      return body();
    } finally {
      for (const at of this.kept) this.c.page_free(at);
      this.kept = before;
    }
  }

  // ---- models and images

  model(id) {
    if (!id) this.fail();
    const c = this.c, layers = c.page_layers(id), widths = [];
    for (let i = 0; i <= layers; i++) widths.push(c.page_width(id, i));
    return {id, kind: KINDS[c.page_kind(id)], integer: c.page_kind(id) === 1, layers, widths, bits: c.page_bits(id),
      arithmetic: this.text(c.page_arithmetic(id)), granularity: this.text(c.page_granularity(id)),
      classes: widths[layers]};
  }

  // The bytes of a model file -> Model; nothing in them is trusted.
  open(bytes) { return this.with(() => this.model(this.c.page_open(this.give(BYTES, bytes), bytes.length))); }

  close(model) {
    if (model.id) this.c.page_close(model.id);
    model.id = 0;
  }

  // Images [count][784] as bytes, kept in the engine's memory until free(). engine.images(bytes, size) for another size.
  images(bytes, size = 784) {
    const at = this.c.page_alloc(bytes.length);
    if (!at) this.fail();
    this.view(BYTES, at, bytes.length).set(bytes);
    const images = {at, size, count: bytes.length / size};
    images.pixels = (i) => this.read(BYTES, at + i * size, size);
    images.free = () => { this.c.page_free(images.at); images.at = 0; };
    return images;
  }

  // ---- running

  run(model, images, first, count, wantsLogits) {
    return this.with(() => {
      const n = count * model.classes, classes = this.array(BYTES, count), logits = wantsLogits ? this.array(FLOAT, n) : 0;
      const ties = this.c.page_run(model.id, images.at + first * images.size, count, classes, logits);
      return {classes: this.read(BYTES, classes, count), logits: logits ? this.read(FLOAT, logits, n) : null, ties};
    });
  }

  classify(model, images, first = 0, count = images.count - first) { return this.run(model, images, first, count, false).classes; }

  logits(model, images, first = 0, count = images.count - first) { return this.run(model, images, first, count, true).logits; }

  // What one image is behind a layer, 0 the pixels: real values, and codes of integer models.
  layer(model, image, layer) {
    return this.with(() => {
      const width = model.widths[layer], values = this.array(FLOAT, width);
      const codes = model.integer ? this.array(BYTES, width) : 0;
      this.c.page_layer(model.id, this.give(BYTES, image), 1, layer, values, codes);
      return {values: this.read(FLOAT, values, width), codes: codes ? this.read(BYTES, codes, width) : null};
    });
  }

  activations(model, images, first, count, layer) {
    return this.with(() => {
      const n = count * model.widths[layer], values = this.array(FLOAT, n);
      this.c.page_layer(model.id, images.at + first * images.size, count, layer, values, 0);
      return this.read(FLOAT, values, n);
    });
  }

  // Digests of an integer model's codes: layers, one hex text a layer from layer 1 on, over all the images; images
  // (Uint32Array), one for each image over all layers. With before, the layers go on from there: for images in slices.
  codeDigests(model, images, first = 0, count = images.count - first, before = null) {
    return this.with(() => {
      const start = Array(model.layers).fill('cbf29ce484222325');
      const layers = this.give(BigUint64Array, (before || start).map((hex) => BigInt('0x' + hex)));
      const each = this.array(BigUint64Array, count);
      if (!this.c.page_digests(model.id, images.at + first * images.size, count, layers, each)) this.fail();
      return {images: this.read(Uint32Array, each, 2 * count).filter((_, i) => i % 2 === 0), // the lower half of each
        layers: Array.from(this.read(BigUint64Array, layers, model.layers), (d) => d.toString(16).padStart(16, '0'))};
    });
  }

  digests(model, images, first, count) { return this.codeDigests(model, images, first, count).layers; }

  // Compares with what the program wrote of the same images: facts.models[NAME].digests, and blob digests/NAME as
  // Uint32Array. null where all codes are equal, else the first layer and the first image that are not.
  compareDigests(found, layers, images) {
    const layer = found.layers.findIndex((hex, i) => hex !== layers[i]);
    const image = found.images.findIndex((digest, i) => digest !== images[i]);
    return layer < 0 && image < 0 ? null : {layer: layer + 1, image};
  }

  // ---- what is in a model

  weights(model, layer) {
    return this.with(() => {
      const n = model.widths[layer] * model.widths[layer + 1], at = this.array(FLOAT, n);
      this.c.page_weights(model.id, layer, at);
      return this.read(FLOAT, at, n);
    });
  }

  biases(model, layer) {
    return this.with(() => {
      const n = model.widths[layer + 1], at = this.array(FLOAT, n);
      if (!this.c.page_biases(model.id, layer, at)) this.fail();
      return this.read(FLOAT, at, n);
    });
  }

  weightCodes(model, layer) {
    const at = this.c.page_weight_codes(model.id, layer);
    return at ? this.read(Int8Array, at, model.widths[layer] * model.widths[layer + 1]) : null;
  }

  // [out] per channel, [1] per tensor; null for a model without codes.
  weightScales(model, layer) {
    const at = this.c.page_weight_scales(model.id, layer);
    return at ? this.read(FLOAT, at, this.c.page_weight_scale_count(model.id, layer)) : null;
  }

  params(at) {
    const [zeroPoint, qmin, qmax] = this.read(INT32, at + 4, 3);
    return {scale: this.read(FLOAT, at, 1)[0], zeroPoint, qmin, qmax};
  }

  // What the codes behind a layer (0: the pixels) stand for; null for a model without codes.
  activationAffine(model, layer) {
    const at = this.c.page_activation(model.id, layer);
    return at ? this.params(at) : null;
  }

  // ---- eq. 1 to 4

  // The parameters that fill(address) writes.
  filled(fill) {
    return this.with(() => {
      const at = this.room(16);
      fill(at);
      return this.params(at);
    });
  }

  affine({lo, hi, bits = 8, symmetric = false}) { return this.filled(at => this.c.page_affine(lo, hi, bits, symmetric, at)); }

  // Eq. 8, of the formats int6 to int2: the grid of a block of values, its scale as the file holds it.
  grid(values, bits) { return this.filled(at => this.c.page_grid(this.give(FLOAT, values), values.length, bits, at)); }

  quantize(values, {scale, zeroPoint, qmin, qmax}) {
    return this.with(() => {
      const p = this.room(16), n = values.length, codes = this.array(INT32, n), back = this.array(FLOAT, n);
      this.view(FLOAT, p, 1)[0] = scale;
      this.view(INT32, p + 4, 3).set([zeroPoint, qmin, qmax]);
      this.c.page_quantize(this.give(FLOAT, values), n, p, codes, back);
      return {codes: this.read(INT32, codes, n), back: this.read(FLOAT, back, n)};
    });
  }

  // The bits of x in fp32, fp16, bf16, fp8_e4m3 or fp8_e5m2, and what they stand for.
  bits(format, x) {
    return this.with(() => {
      const [sign, exponent, mantissa] = FLOAT_FIELDS[format], value = this.array(FLOAT, 1);
      const pattern = this.c.page_float_bits(this.giveText(format), x, value) >>> 0;
      const text = pattern.toString(2).padStart(sign + exponent + mantissa, '0');
      return {fields: [{name: 'sign', bits: text.slice(0, 1)}, {name: 'exponent', bits: text.slice(1, 1 + exponent)},
        {name: 'mantissa', bits: text.slice(1 + exponent)}], value: this.read(FLOAT, value, 1)[0]};
    });
  }

  // ---- models made from fp32

  // activations: {scale, zeroPoint} of the pixels and of each layer; qmin 1: symmetric ones.
  convert(fp32, activations, perChannel = true) {
    return this.with(() => this.model(this.c.page_convert(fp32.id, this.give(FLOAT, activations.map((a) => a.scale)),
      this.give(INT32, activations.map((a) => a.zeroPoint)), perChannel, activations.some((a) => a.qmin === 1))));
  }

  // The codes of an activation over a range, unsigned; symmetric ones lie around 128.
  activationCodes(lo, hi, symmetric = false) { return this.filled(at => this.c.page_activation_affine(lo, hi, symmetric, at)); }

  // The ranges of the activations over images of those indices, and their codes. percentile: what that observer keeps,
  // 99.99 without it. For inverted and other images make Images of them.
  calibrate(fp32, images, indices, {observer = 'minmax', percentile = null, symmetric = false} = {}) {
    return this.with(() => {
      const size = images.size, chosen = this.array(BYTES, indices.length * size), n = fp32.layers + 1;
      const bytes = this.view(BYTES, chosen, indices.length * size);
      indices.forEach((index, i) => bytes.set(this.view(BYTES, images.at + index * size, size), i * size));
      const name = this.giveText(observer), ranges = this.array(FLOAT, 2 * n);
      const outside = percentile === null ? 0 : 1 - percentile / 100;
      if (!this.c.page_calibrate(fp32.id, chosen, indices.length, name, outside, symmetric, ranges)) this.fail();
      const ends = this.read(FLOAT, ranges, 2 * n);
      return Array.from({length: n}, (_, i) => ({lo: ends[2 * i], hi: ends[2 * i + 1],
        ...this.activationCodes(ends[2 * i], ends[2 * i + 1], symmetric)}));
    });
  }

  withWeight(fp32, layer, out, input, value) {
    const model = this.model(this.c.page_copy(fp32.id));
    const at = this.c.page_floats(model.id, layer);
    this.view(FLOAT, at, model.widths[layer] * model.widths[layer + 1])[out * model.widths[layer] + input] = value;
    return model;
  }

  clipWeights(fp32, layer, limit) { return this.model(this.c.page_clip(fp32.id, layer, limit)); }

  // Round to nearest in a format of the ladder: 'int4/row', 'int2/56', 'nf4', ...
  coded(fp32, format) { return this.with(() => this.model(this.c.page_coded(fp32.id, this.giveText(format)))); }

  // ---- faults and one neuron

  faults() {
    const list = [];
    for (let i = 0; this.c.page_fault(i, 0); i++) {
      const [name, what, signature] = [0, 1, 2].map((part) => this.text(this.c.page_fault(i, part)));
      list.push({name, what, signature});
    }
    return list;
  }

  // layer: that has the fault, from 0; -1 all. first: the first code that is wrong, null where none is; its layer from 1.
  // layers, 0 the pixels: SYMPTOMS, as struct symptoms explains them, and how often each code comes, right and broken.
  faulty(model, name, layer, images, first = 0, count = images.count - first) {
    return this.with(() => {
      const n = count * model.classes, classes = this.array(BYTES, count), logits = this.array(FLOAT, n);
      const difference = this.array(INT32, 5), size = SYMPTOMS.length + 2 * 256;
      const symptoms = this.array(DOUBLE, (model.layers + 1) * size);
      if (!this.c.page_faulty(model.id, this.giveText(name), layer, images.at + first * images.size, count, classes,
        logits, difference, symptoms)) this.fail();
      const [image, where, neuron, code, expected] = this.read(INT32, difference, 5);
      const layers = Array.from({length: model.layers + 1}, (_, l) => {
        const values = this.read(DOUBLE, symptoms + l * size * DOUBLE.BYTES_PER_ELEMENT, size);
        return {...Object.fromEntries(SYMPTOMS.map((key, i) => [key, values[i]])), right: values.slice(-512, -256), broken: values.slice(-256)};
      });
      return {classes: this.read(BYTES, classes, count), logits: this.read(FLOAT, logits, n), layers,
        first: image < 0 ? null : {image: first + image, layer: where, neuron, code, expected}};
    });
  }

  // Eq. 5 and 6 of a neuron of a layer (from 0) of an integer model, with every number; terms: inputs that are not 0.
  trace(model, image, layer, neuron) {
    return this.with(() => {
      const inputs = model.widths[layer], numbers = this.array(DOUBLE, NEURON.length);
      const codes = this.array(BYTES, inputs), products = this.array(INT32, inputs);
      if (!this.c.page_neuron(model.id, this.give(BYTES, image), layer, neuron, numbers, codes, products)) this.fail();
      const values = this.read(DOUBLE, numbers, NEURON.length), trace = {};
      NEURON.forEach((name, i) => { trace[name] = values[i]; });
      trace.product = (BigInt(trace.productHigh) << 32n) + BigInt(trace.productLow); // 64 bits, exact
      trace.shift = 31 - trace.right;
      const x = this.read(BYTES, codes, inputs), product = this.read(INT32, products, inputs);
      const w = this.read(Int8Array, this.c.page_weight_codes(model.id, layer) + neuron * inputs, inputs);
      trace.terms = [];
      let running = 0;
      for (let k = 0; k < inputs; k++) {
        running += product[k];
        if (x[k] !== trace.inputZeroPoint) trace.terms.push({k, x: x[k], w: w[k], product: product[k], running});
      }
      return trace;
    });
  }

  // ---- pictures and measures

  // Gray pixels of any size -> the 28x28 digit that `mnistq predict` shows the model, and what it doubts.
  digit(gray, width, height, model = null) {
    return this.with(() => {
      const digit = this.room(784), doubts = this.array(INT32, 1);
      if (!this.c.page_digit(model ? model.id : 0, this.give(BYTES, gray), width, height, digit, doubts)) this.fail();
      const [bits] = this.read(INT32, doubts, 1);
      return {pixels: this.read(BYTES, digit, 784), bits, doubts: this.doubtTexts(bits)};
    });
  }

  doubtTexts(bits = -1) {
    const texts = [];
    for (let i = 0, text; (text = this.text(this.c.page_doubt_text(i))); i++) if (bits >> i & 1) texts.push(text);
    return texts;
  }

  // What `mnistq predict` doubts about a model's answer to an image of 784 bytes. bits: those of the digit() that it is,
  // since some pictures are only doubted together with the answer.
  doubts(model, image, bits = 0) {
    return this.with(() => {
      const logits = this.layer(model, image, model.layers).values;
      return this.doubtTexts(this.c.page_doubts(model.id, this.give(FLOAT, logits), bits));
    });
  }

  // accuracy and its standard error in percent; changed, fixed, broken against the answers of reference.
  score(labels, predicted, reference = null) {
    return this.with(() => {
      const out = this.array(DOUBLE, 6);
      this.c.page_score(this.give(BYTES, labels), this.give(BYTES, predicted),
        reference ? this.give(BYTES, reference) : 0, predicted.length, out);
      const [correct, accuracy, standardError, changed, fixed, broken] = this.read(DOUBLE, out, 6);
      return {correct, count: predicted.length, accuracy, standardError, changed, fixed, broken};
    });
  }

  decibels(signal, noise) { return this.c.page_decibels(signal, noise); }

  sqnr(x, back) { return this.with(() => this.c.page_sqnr(this.give(FLOAT, x), this.give(FLOAT, back), x.length)); }

  softmax(logits) {
    return this.with(() => {
      const at = this.give(FLOAT, logits);
      this.c.page_softmax(at, logits.length);
      return this.read(FLOAT, at, logits.length);
    });
  }

  histogram(values, bins) {
    return this.with(() => {
      const ends = this.array(FLOAT, 2), counts = this.array(Uint32Array, bins);
      this.c.page_histogram(this.give(FLOAT, values), values.length, bins, ends, counts);
      const [lo, hi] = this.read(FLOAT, ends, 2);
      return {lo, hi, counts: this.read(Uint32Array, counts, bins)};
    });
  }
}
