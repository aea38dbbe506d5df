#!/usr/bin/python3
"""Makes hqq.safetensors: groups of weights, and the zero points and codes that HQQ's proximal solver finds for them.

    cd tests/golden && /usr/bin/python3 make_hqq.py

Written in float64 NumPy from the formulas of Badri and Shaji 2023 with the constants and the rule to stop of the authors'
program (mobiusml/hqq, hqq/core/optimize.py, optimize_weights_proximal, at commit 0dbf39a): there a tensor stops as a
whole, here each group is a tensor. Nothing here is taken from the C code. The program's own choice: the scale is a
number that fp16 holds before the solver begins, the zero point after it ends."""
import datetime

import numpy as np

from goldenfile import write

GROUPS, N = 12, 56
rng = np.random.default_rng(7)
w = rng.normal(size=(GROUPS, N)) * 0.05
w[3] = np.abs(w[3])
w[4] += 0.5
w[5, 7] = 1.5  # outliers, which the norm bears
w[6, [3, 9]] = [-2, 3]
w[7] *= 40  # errors so large that shrinking leaves some of them
w[8] = rng.laplace(size=N)
w = w.astype(np.float32)
tensors, nearest = {"w": w}, np.inf
for bits in (4, 3, 2):
    top, zeros, codes, steps = 2**bits - 1, [], [], []
    for row in w.astype(float):
        scale = float(np.float16((row.max() - row.min()) / top))
        inverse, zero, beta, best = 1 / scale, -row.min() / scale, 10.0, np.inf
        for step in range(20):
            quantized = np.clip(np.round(row * inverse + zero), 0, top)
            distance = row * inverse + zero
            nearest = min(nearest, np.min(np.abs(distance - np.floor(distance) - 0.5)))
            error = row - (quantized - zero) / inverse
            with np.errstate(divide="ignore"):
                kept = np.sign(error) * np.maximum(np.abs(error) - np.abs(error) ** (0.7 - 1) / beta, 0)
            zero = np.mean(quantized - (row - kept) * inverse)
            beta *= 1.01
            if not np.abs(error).mean() < best:
                break
            best = np.abs(error).mean()
        zero = float(np.float16(zero))
        distance = row * inverse + zero
        nearest = min(nearest, np.min(np.abs(distance - np.floor(distance) - 0.5)))
        zeros.append(zero)
        steps.append(step)
        codes.append(np.clip(np.round(distance), 0, top))
    tensors |= {f"{bits}.zero": np.array(zeros, np.float32), f"{bits}.codes": np.array(codes, np.uint8)}
    print(bits, "bits, steps", steps)
assert nearest > 1e-5, nearest  # no code is so near to a tie that float32 could round it the other way
write("hqq.safetensors", tensors, {"maker": "tests/golden/make_hqq.py", "numpy": np.__version__,
                                   "date": datetime.date.today().isoformat(), "nearest_tie_in_steps": f"{nearest:.3g}"})
