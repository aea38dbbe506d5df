#!/usr/bin/python3
"""Makes quant.safetensors, qmlp_per_channel.safetensors and qmlp_per_tensor.safetensors: codes, observers,
requantization and a whole integer network, computed by PyTorch, NumPy and exact fractions.

    cd tests/golden && /usr/bin/python3 make_quant.py

Nothing here is taken from the C code: eq. numbers are those of the README."""
import datetime
import math
from fractions import Fraction

import numpy as np
import torch
from torch.ao.quantization import MinMaxObserver, MovingAverageMinMaxObserver, PerChannelMinMaxObserver

from goldenfile import write

rng = np.random.default_rng(2)
NOTES = {"maker": "tests/golden/make_quant.py", "torch": torch.__version__, "numpy": np.__version__,
         "date": datetime.date.today().isoformat()}
golden = {}


def away_from_ties(x, scale):
    """PyTorch multiplies by 1 / scale where we divide: at a tie, and only there, the codes may differ."""
    steps = x.astype(np.float64) / scale
    return np.where(np.abs(steps - np.floor(steps) - 0.5) < 1e-3, x + np.float32(0.01) * scale, x).astype(np.float32)


def numpy_codes(x, scale, zero_point, qmin, qmax):  # eq. 2
    return np.clip(np.rint(x / np.float32(scale)) + zero_point, qmin, qmax).astype(np.int32)


# ---- affine: one scale a tensor, one scale a row ----
scales = np.array([0.05, 1 / 255, 0.1, 0.013], np.float32)
unsigned_zero, signed_zero = np.array([128, 0, 255, 37], np.int32), np.array([0, -128, 127, 5], np.int32)
values = np.stack([away_from_ties(rng.normal(0, 90 * s, 64).astype(np.float32), s) for s in scales])
for name, zeros, kind, dtype, qmin, qmax in (("unsigned", unsigned_zero, torch.quint8, np.uint8, 0, 255),
                                             ("signed", signed_zero, torch.qint8, np.int8, -128, 127)):
    codes = [torch.quantize_per_tensor(torch.from_numpy(x), float(s), int(z), kind).int_repr().numpy()
             for x, s, z in zip(values, scales, zeros)]
    for x, s, z, q in zip(values, scales, zeros, codes):
        assert np.array_equal(q, numpy_codes(x, s, z, qmin, qmax))
    assert np.min(codes) == qmin and np.max(codes) == qmax
    golden[f"{name}.codes"], golden[f"{name}.zero_point"] = np.stack(codes).astype(dtype), zeros
golden["affine.scale"], golden["affine.values"] = scales, values

weight = (rng.normal(0, 1, (6, 20)) * np.logspace(-3, 1, 6)[:, None]).astype(np.float32)
for row in weight:
    largest = np.abs(row).argmax()
    row[:largest], row[largest + 1:] = (away_from_ties(part, np.abs(row).max() / 127)
                                        for part in (row[:largest], row[largest + 1:]))
observer = PerChannelMinMaxObserver(ch_axis=0, dtype=torch.qint8, qscheme=torch.per_channel_symmetric,
                                    quant_min=-127, quant_max=127)
observer(torch.from_numpy(weight))
scale, zero_point = observer.calculate_qparams()
assert not zero_point.any()
codes = torch.quantize_per_channel(torch.from_numpy(weight), scale.double(), zero_point, 0, torch.qint8)
golden |= {"channel.weight": weight, "channel.scale": scale.numpy(), "channel.codes": codes.int_repr().numpy()}

# ---- observers: positive (as after ReLU), mixed and negative tensors, five batches of each ----
batches = rng.normal(0, 1, (3, 5, 40)).astype(np.float32)
batches *= np.array([1, 3, 0.5, 2, 1], np.float32)[:, None]
batches[0], batches[2] = np.maximum(batches[0], 0), -np.abs(batches[2]) - np.float32(0.5)
golden["observer.batches"] = batches
for name, make in (("minmax", MinMaxObserver), ("average", MovingAverageMinMaxObserver)):
    ranges, found_scales, zeros = [], [], []
    for tensor in batches:
        observer = make(dtype=torch.quint8, qscheme=torch.per_tensor_affine)
        for batch in tensor:
            observer(torch.from_numpy(batch))
        ranges.append([float(observer.min_val), float(observer.max_val)])
        scale, zero_point = observer.calculate_qparams()
        found_scales.append(float(scale))
        zeros.append(int(zero_point))
    golden |= {f"{name}.range": np.array(ranges, np.float32), f"{name}.scale": np.array(found_scales, np.float32),
               f"{name}.zero_point": np.array(zeros, np.int32)}


# ---- requantization in exact fractions, eq. 6 ----
def multiplier(real):
    """m in [2^30, 2^31) and right with real = m / 2^right, m to nearest, ties to even."""
    exact, right = Fraction(real), 31 - math.frexp(real)[1]
    m = round(exact * 2**right)  # Python rounds a fraction's ties to even
    return (m // 2, right - 1) if m == 2**31 else (m, right)


def apply(acc, m, right):
    return math.floor(Fraction(acc * m, 2**right) + Fraction(1, 2))  # one rounding, ties up


def bits(numbers, kind):
    return np.array(numbers, kind).view(np.int32).reshape(-1, 2)  # low half, high half


reals = [float(x) for x in 2.0 ** rng.uniform(-31.9, 29.9, 300)]
reals[:6] = [1.0, 0.5, 1 - 2**-40, 2.0**-32, 2.0**-31, 2.0**29]
accumulators = [int(x) for x in rng.integers(-2**31, 2**31, 300)]
for i in range(6, 200):  # accumulators that give small results
    accumulators[i] = max(-2**31, min(2**31 - 1, int(rng.uniform(-300, 300) / reals[i])))
accumulators[6:12] = [-2**31, 2**31 - 1, 0, 1, -1, -2**31]
pairs = [multiplier(real) for real in reals]
results = [apply(acc, *pair) for acc, pair in zip(accumulators, pairs)]
zeros = [int(z) for z in rng.integers(0, 256, 300)]
golden |= {"requant.real": bits(reals, np.float64), "requant.acc": np.array(accumulators, np.int32),
           "requant.m": np.array([m for m, _ in pairs], np.int32),
           "requant.right": np.array([right for _, right in pairs], np.int32),
           "requant.result": bits(results, np.int64), "requant.zero_point": np.array(zeros, np.int32),
           "requant.code": np.array([max(0, min(255, z + r)) for z, r in zip(zeros, results)], np.uint8)}

# ---- a whole integer network, 12-8-5, eq. 2 to 7 ----
WIDTHS = (12, 8, 5)
images = rng.integers(0, 256, (40, WIDTHS[0])).astype(np.uint8)
images[images < 60] = 0
golden["model.images"] = images
floats = [(rng.normal(0, (2 / n) ** 0.5, (m, n)).astype(np.float32), rng.normal(0, 0.2, m).astype(np.float32))
          for n, m in zip(WIDTHS, WIDTHS[1:])]
floats[0][0][3] *= 8  # an outlier row, where the two schemes differ


def asymmetric(lo, hi):  # eq. 3
    scale = np.float32((float(hi) - float(lo)) / 255)
    return scale, int(np.rint(-float(lo) / float(scale))), 0, 255


def symmetric(lo, hi):  # eq. 4, shifted by 128
    return np.float32(max(-lo, hi)) / np.float32(127), 128, 1, 255


def activations(qparams):
    """The pixels; the hidden layer, its range widened below 0 so that ReLU clamps at an inner code; the logits."""
    x, found = images.astype(np.float64) / 255, [qparams(0.0, 1.0)]
    for i, (w, b) in enumerate(floats):
        x = x @ w.T.astype(np.float64) + b
        if i == 0:
            x = np.maximum(x, 0)
            found.append(qparams(-0.25, x.max()))
        else:
            found.append(qparams(x.min(), x.max()))
    return found


def forward(layers, act):
    s, z, qmin, qmax = act[0]
    q = numpy_codes(images.astype(np.float32) / np.float32(255), s, z, qmin, qmax).astype(np.int64)
    for i, (w, s_w, b) in enumerate(layers):
        (s_x, z_x, _, _), (s_y, z_y, qmin, qmax) = act[i], act[i + 1]
        acc = (q - z_x) @ w.T.astype(np.int64) + b  # eq. 5
        low = z_y if i + 1 < len(layers) else qmin
        pairs = [multiplier(float(s_x) * float(s) / float(s_y)) for s in np.broadcast_to(s_w, len(w))]
        q = np.array([[max(low, min(qmax, z_y + apply(int(a), *pair))) for a, pair in zip(row, pairs)]
                      for row in acc], np.int64)  # eq. 6
    return q.astype(np.uint8)


def make_model(scheme, kind, qparams):
    act, layers, tensors = activations(qparams), [], {}
    for i, (w, b) in enumerate(floats):
        s_w = (np.abs(w).max(axis=1) if scheme == "per-channel" else np.abs(w).max().reshape(1)) / np.float32(127)
        codes = np.clip(np.rint(w / s_w[:, None]), -127, 127)
        bias = np.rint(b / (float(act[i][0]) * s_w.astype(np.float64)))
        layers.append((codes.astype(np.int8), s_w, bias.astype(np.int64)))
        tensors |= {f"fc{i + 1}.weight": codes.astype(np.int8), f"fc{i + 1}.weight_scale": s_w,
                    f"fc{i + 1}.bias": bias.astype(np.int32),
                    f"fc{i + 1}.input_scale": act[i][0].reshape(1),
                    f"fc{i + 1}.input_zero_point": np.array([act[i][1]], np.uint8)}
    tensors |= {"output_scale": act[-1][0].reshape(1), "output_zero_point": np.array([act[-1][1]], np.uint8)}
    name = scheme.replace("-", "_")
    write(f"qmlp_{name}.safetensors", tensors,
          NOTES | {"architecture": "mlp 12-8-5", "scheme": scheme, "activations": kind})
    codes = forward(layers, act)
    assert len(np.unique(codes)) > 40, "codes that hardly vary would check nothing"
    golden[f"model.{name}"] = codes


make_model("per-channel", "asymmetric", asymmetric)
make_model("per-tensor", "symmetric", symmetric)
write("quant.safetensors", golden, NOTES)
