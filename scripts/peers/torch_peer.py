#!/usr/bin/python3 -B
"""PyTorch on our models, for compare.py, called and answering as it says.

fp32 and static int8 with every engine that this PyTorch has, each as it is and compiled by torch.jit; the training
epoch of our recipe. The caller takes the fastest of each."""
import argparse
import ctypes
import json
import subprocess
import sys
import time

try:
    import torch
except ImportError:
    print(json.dumps({"missing": "python3-torch is not there: make peers-install"}))
    sys.exit()
from torch import nn
from torch.ao import quantization as tq

from mnist_files import layer_count, read_safetensors, read_split

CALIBRATION = 512
PEAK_RATE, WARMUP, SMOOTHING, BATCH = 0.004, 0.1, 0.2, 32  # as src/cli/recipe.c
ENGINES = ("x86", "fbgemm", "onednn", "qnnpack")


def say(**line):
    print(json.dumps(line), flush=True)


# ---- OpenBLAS: its threads are not those of PyTorch ------------------------------------------------------------


def loaded_openblas():
    """The copy that PyTorch loaded, or None."""
    try:
        with open("/proc/self/maps") as maps:
            paths = {line.split()[-1] for line in maps if "libopenblas" in line}
    except OSError:
        return None
    return ctypes.CDLL(paths.pop()) if paths else None


OPENBLAS = loaded_openblas()


def blas_name():
    if not OPENBLAS:
        return "another BLAS"
    OPENBLAS.openblas_get_corename.restype = ctypes.c_char_p
    return "OpenBLAS " + OPENBLAS.openblas_get_corename().decode()


def use_threads(n):
    torch.set_num_threads(n)
    if OPENBLAS:
        OPENBLAS.openblas_set_num_threads(n)


# ---- models ----------------------------------------------------------------------------------------------------


def network(widths):
    """Linear, ReLU, Linear, ReLU, ..., Linear"""
    layers = []
    for inputs, outputs in zip(widths, widths[1:]):
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def load(path):
    tensors = read_safetensors(path)
    weights = [tensors[f"fc{i + 1}.weight"] for i in range(layer_count(tensors))]
    widths = [weights[0].shape[1]] + [w.shape[0] for w in weights]
    model = network(widths)
    with torch.no_grad():
        for i, linear in enumerate(model[::2]):
            linear.weight.copy_(torch.tensor(weights[i]))
            linear.bias.copy_(torch.tensor(tensors[f"fc{i + 1}.bias"]))
    return model.eval(), widths


def quantized(model, widths, calibration):
    """Static int8 by our observers: min and max of activations, weights symmetric with a scale for each output."""
    copy = network(widths)
    copy.load_state_dict(model.state_dict())
    copy.eval()
    relus = [[str(i), str(i + 1)] for i in range(0, len(copy) - 1, 2)]
    fused = tq.QuantWrapper(tq.fuse_modules(copy, relus) if relus else copy)
    fused.qconfig = tq.QConfig(
        activation=tq.MinMaxObserver.with_args(dtype=torch.quint8, qscheme=torch.per_tensor_affine),
        weight=tq.default_per_channel_weight_observer,
    )
    prepared = tq.prepare(fused)
    with torch.inference_mode():
        prepared(calibration)
    return tq.convert(prepared)


def compiled(model, example):
    with torch.inference_mode():
        return torch.jit.freeze(torch.jit.trace(model, example))


# ---- inference -------------------------------------------------------------------------------------------------


def count_correct(model, images, labels):
    """argmax takes the first of equals, as we do."""
    with torch.inference_mode():
        return sum(int((model(x).argmax(1) == y).sum()) for x, y in zip(images.split(1000), labels.split(1000)))


def time_batches(model, batches, seconds):
    """Median and 99th percentile, in microseconds, of calls on one batch after another."""
    model(batches[0])  # not counted
    times, until = [], time.perf_counter() + seconds
    while len(times) < 3 or time.perf_counter() < until:
        x = batches[len(times) % len(batches)]
        started = time.perf_counter_ns()
        model(x)
        times.append(1e-3 * (time.perf_counter_ns() - started))
    times.sort()
    return times[len(times) // 2], times[round(0.99 * (len(times) - 1))]


def infer(task, variant, model, test, o):
    images, labels = test
    ways = [(variant, model), (variant + ", jit", compiled(model, images[:1]))]
    for name, way in ways:
        correct = count_correct(way, images, labels)
        for batch in o.batches:
            batches = [x for x in images.split(batch) if len(x) == batch]
            for threads in o.threads:
                use_threads(threads)
                with torch.inference_mode():
                    p50, p99 = time_batches(way, batches, o.seconds)
                say(peer=PEER, variant=name, task=task, batch=batch, threads=threads, n=len(labels),
                    images_per_second=1e6 * batch / p50, p50_us=p50, p99_us=p99, correct=correct)  # fmt: skip


# ---- training --------------------------------------------------------------------------------------------------


def learning_rate(step, steps):
    """As learning_rate of src/nn/train.c: linear up to the peak, then linear down."""
    rising, at = WARMUP * steps, step + 1
    return PEAK_RATE * (at / rising if at < rising else (steps + 1 - at) / (steps + 1 - rising))


def initial(widths, seed):
    """He et al. 2015: weights normal with variance 2 / in, biases 0, as ours."""
    torch.manual_seed(seed)
    model = network(widths)
    for linear in model[::2]:
        nn.init.kaiming_normal_(linear.weight, nonlinearity="relu")
        nn.init.zeros_(linear.bias)
    return model


def train_epoch(model, images, labels):
    """Seconds for one epoch."""
    loss_of = nn.CrossEntropyLoss(label_smoothing=SMOOTHING)
    optimizer = torch.optim.Adam(model.parameters(), lr=PEAK_RATE, foreach=True)  # faster than one tensor at a time
    steps = -(-len(images) // BATCH)
    started = time.perf_counter()
    for step, chosen in enumerate(torch.randperm(len(images)).split(BATCH)):
        optimizer.param_groups[0]["lr"] = learning_rate(step, steps)
        optimizer.zero_grad(set_to_none=True)
        loss_of(model(images[chosen]), labels[chosen]).backward()
        optimizer.step()
    return time.perf_counter() - started


def train(widths, training, test, o):
    for threads in o.threads:
        use_threads(threads)
        model = initial(widths, o.round)
        seconds = train_epoch(model, *training)
        correct = count_correct(model.eval(), *test)
        say(peer=PEER, variant=BLAS, task="epoch", batch=BATCH, threads=threads, seconds=seconds, correct=correct,
            n=len(test[1]))  # fmt: skip


# ----------------------------------------------------------------------------------------------------------------


def tensors(split):
    """Pixels / 255 as floats, labels as PyTorch wants them"""
    images, labels = split
    return torch.tensor(images, dtype=torch.float32) / 255, torch.tensor(labels, dtype=torch.int64)


def version():
    """Debian's 1.13.1 calls itself 1.13.0a0: the package knows better."""
    try:
        query = ["dpkg-query", "--show", "--showformat=${Version}", "python3-torch"]
        return subprocess.run(query, capture_output=True, text=True, check=True).stdout.split("-")[0].split("+")[0]
    except (OSError, subprocess.CalledProcessError):
        return torch.__version__


def numbers(text):
    return [int(n) for n in text.split(",")]


def options():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--fp32", required=True)
    p.add_argument("--int8", help="not read: PyTorch quantizes by itself")
    p.add_argument("--data", required=True)
    p.add_argument("--batches", type=numbers, default=[1, 1000, 10000])
    p.add_argument("--threads", type=numbers, default=[1])
    p.add_argument("--seconds", type=float, default=0.3, help="of each timing")
    p.add_argument("--round", type=int, default=0, help="seed of the training")
    p.add_argument("--epochs", type=int, default=1, help="0: no training")
    return p.parse_args()


def main():
    o = options()
    torch.set_flush_denormal(True)  # denormal numbers slow every CPU down; our training has none either
    training, test = tensors(read_split(o.data, "train")), tensors(read_split(o.data, "t10k"))
    model, widths = load(o.fp32)
    infer("fp32", BLAS, model, test, o)
    n = len(training[0])
    calibration = training[0][[i * n // CALIBRATION for i in range(CALIBRATION)]]
    for engine in ENGINES:
        if engine in torch.backends.quantized.supported_engines:
            torch.backends.quantized.engine = engine
            infer("int8", engine, quantized(model, widths, calibration), test, o)
    if o.epochs:
        train(widths, training, test, o)


PEER, BLAS = f"PyTorch {version()}", blas_name()
main()
