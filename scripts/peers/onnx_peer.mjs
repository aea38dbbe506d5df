#!/usr/bin/env node
// ONNX Runtime on our models, for compare.py, called and answering as it says.
// Two ways to call it: session.run, and the native function below it without the promise around each call; and for
// int8 two inputs: float pixels, and bytes, which are the codes. The caller takes the fastest.
import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { gunzipSync } from 'node:zlib';

const here = dirname(fileURLToPath(import.meta.url));
const installed = join(here, '../../build/peers');
const require = createRequire(join(installed, 'package.json'));

const say = (line) => process.stdout.write(JSON.stringify(line) + '\n');

function missing(what) {
    say({ missing: `${what} is not there: make peers-install` });
    process.exit();
}

function loadRuntime() {
    if (!existsSync(join(installed, 'node_modules/onnxruntime-node'))) missing('onnxruntime-node');
    const { InferenceSession, Tensor } = require('onnxruntime-node');
    const { binding } = require(join(installed, 'node_modules/onnxruntime-node/dist/binding.js'));
    const { version } = require('onnxruntime-node/package.json');
    return { InferenceSession, Tensor, binding, version };
}

/** The three ONNX files of our two models; returns their folder, which is there until the end. */
function convert(fp32, int8) {
    const folder = mkdtempSync(join(tmpdir(), 'mnistq-onnx-'));
    process.on('exit', () => rmSync(folder, { recursive: true }));
    try {
        execFileSync('/usr/bin/python3', ['-B', join(here, 'make_onnx.py'), fp32, int8, folder], { stdio: ['ignore', 'ignore', 'inherit'] });
    } catch (error) {
        if (error.code === 'ENOENT' || error.status === 3) missing('python3-onnx');
        throw error;
    }
    return folder;
}

/** The bytes after the header of an IDX file, plain or .gz */
function readIdx(folder, name) {
    const path = join(folder, name);
    const raw = existsSync(path) ? readFileSync(path) : gunzipSync(readFileSync(path + '.gz'));
    return new Uint8Array(raw.subarray(4 + 4 * raw[3]));
}

/** Tensors of so many images each, one after another over the whole set; the last may be short. */
function slices(runtime, type, pixels, width, batch) {
    const tensors = [];
    for (let at = 0; at < pixels.length; at += batch * width) {
        const part = pixels.subarray(at, at + batch * width);
        tensors.push(new runtime.Tensor(type, part, [part.length / width, width]));
    }
    return tensors;
}

/** One model on one number of threads; run: tensor -> output, directly or through a promise */
async function open(runtime, path, threads) {
    const options = { executionProviders: ['cpu'], graphOptimizationLevel: 'all', executionMode: 'sequential',
        intraOpNumThreads: threads, interOpNumThreads: 1 };
    const session = await runtime.InferenceSession.create(path, options);
    const native = new runtime.binding.InferenceSession();
    native.loadModel(path, options);
    const [input] = session.inputNames, [output] = session.outputNames;
    const run = async (tensor) => (await session.run({ [input]: tensor }))[output];
    return { run, ways: [
        ['session.run', (tensor) => session.run({ [input]: tensor })],
        ['native call', (tensor) => native.run({ [input]: tensor }, { [output]: null }, {})]] };
}

function highest(row) {
    let best = 0;
    for (let i = 1; i < row.length; i++) if (row[i] > row[best]) best = i;
    return best;
}

async function countCorrect(model, tensors, labels) {
    let at = 0, correct = 0;
    for (const tensor of tensors) {
        const { data, dims: [rows, classes] } = await model.run(tensor);
        for (let i = 0; i < rows; i++, at++)
            correct += highest(data.subarray(i * classes, (i + 1) * classes)) === labels[at];
    }
    return correct;
}

/** Median and 99th percentile, in microseconds, of calls on one batch after another, over some seconds. */
async function time(call, tensors, seconds) {
    const times = [], until = performance.now() + 1000 * seconds;
    for (let i = 0; i < 3 || performance.now() < until; i++) {
        const started = process.hrtime.bigint();
        const result = call(tensors[i % tensors.length]);
        if (result instanceof Promise) await result;
        times.push(Number(process.hrtime.bigint() - started) / 1000);
    }
    times.sort((a, b) => a - b);
    return [times[times.length >> 1], times[Math.round(0.99 * (times.length - 1))]];
}

/** All batch sizes and both ways to call, of one model on one number of threads. */
async function measure(runtime, { task, file, type, variant }, threads, batchSizes, data, seconds) {
    const model = await open(runtime, file, threads);
    const cut = (batch) => slices(runtime, type, data[type], data.width, batch);
    const correct = await countCorrect(model, cut(1000), data.labels);
    for (const batch of batchSizes) {
        const tensors = cut(batch).filter((tensor) => tensor.dims[0] === batch);
        for (const [way, call] of model.ways) {
            const [p50, p99] = await time(call, tensors, seconds);
            say({ peer: `ONNX Runtime ${runtime.version}`, variant: [variant, way].filter(Boolean).join(', '), task, batch, threads,
                images_per_second: (1e6 * batch) / p50, p50_us: p50, p99_us: p99, correct, n: data.labels.length });
        }
    }
}

function options() {
    const names = ['fp32', 'int8', 'data', 'batches', 'threads', 'seconds', 'round', 'epochs'];
    const { values } = parseArgs({ options: Object.fromEntries(names.map((name) => [name, { type: 'string' }])) });
    const numbers = (text) => text.split(',').map(Number);
    return { ...values, batches: numbers(values.batches), threads: numbers(values.threads), seconds: +values.seconds };
}

async function main() {
    const o = options(), runtime = loadRuntime(), folder = convert(o.fp32, o.int8);
    const bytes = readIdx(o.data, 't10k-images-idx3-ubyte'), labels = readIdx(o.data, 't10k-labels-idx1-ubyte');
    const data = { uint8: bytes, float32: Float32Array.from(bytes, (byte) => byte / 255), labels, width: bytes.length / labels.length };
    const models = [
        { task: 'fp32', file: join(folder, 'fp32.onnx'), type: 'float32', variant: '' },
        { task: 'int8', file: join(folder, 'int8-float.onnx'), type: 'float32', variant: 'float input' },
        { task: 'int8', file: join(folder, 'int8-byte.onnx'), type: 'uint8', variant: 'byte input' },
    ];
    for (const threads of o.threads) for (const model of models) await measure(runtime, model, threads, o.batches, data, o.seconds);
}

await main();
process.exit(); // at once, not when its thread pools have been taken down
