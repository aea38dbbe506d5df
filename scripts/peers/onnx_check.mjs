#!/usr/bin/env node
// usage: onnx_check.mjs MODEL.onnx IMAGES PREDICTIONS
// ONNX Runtime on an exported model: IMAGES is an IDX file, PREDICTIONS what `mnistq eval --predictions` wrote. Prints how
// many classes agree, how many of the others are ties (two logits within a step), and fails where another one differs.
// Exit status 3: onnxruntime-node is not installed (make peers-install).
import { existsSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gunzipSync } from 'node:zlib';

const installed = join(dirname(fileURLToPath(import.meta.url)), '../../build/peers');
if (!existsSync(join(installed, 'node_modules/onnxruntime-node'))) process.exit(3);
const { InferenceSession, Tensor } = createRequire(join(installed, 'package.json'))('onnxruntime-node');

const [model, images, predictions] = process.argv.slice(2);
const raw = readFileSync(images);
const bytes = (raw[0] === 0x1f ? gunzipSync(raw) : raw).subarray(16);
const lines = readFileSync(predictions, 'utf8').split('\n').filter((line) => /^\d/.test(line));
const expected = lines.map((line) => +line.split(',')[2]);
const session = await InferenceSession.create(model, { graphOptimizationLevel: 'all', intraOpNumThreads: 1 });
const pixels = Float32Array.from(bytes, (byte) => byte / 255), width = pixels.length / expected.length;
const { logits } = await session.run({ x: new Tensor('float32', pixels, [expected.length, width]) });
const classes = logits.dims[1];
const values = [...new Set(logits.data)].sort((a, b) => a - b);
// The smallest step between two logits: a code of an integer model; of floats as good as none.
const step = values.reduce((least, value, i) => (i ? Math.min(least, value - values[i - 1]) : least), Infinity);
let ties = 0, wrong = 0;
expected.forEach((digit, i) => {
    const row = logits.data.subarray(i * classes, (i + 1) * classes), best = Math.max(...row);
    if (row.indexOf(best) === digit) return;
    if (best - row[digit] <= Math.max(1.5 * step, 1e-4)) ties++;
    else wrong++;
});
console.log(`${expected.length - ties - wrong} of ${expected.length} classes agree, ${ties} are ties, ${wrong} differ`);
process.exit(wrong ? 1 : 0);
