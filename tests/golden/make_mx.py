#!/usr/bin/python3
"""Makes mx.safetensors: what Microsoft's microxcaling makes of weights in the OCP Microscaling formats.

    cd tests/golden && PYTHONPATH=.../microxcaling /usr/bin/python3 make_mx.py COMMIT

Nothing of microxcaling is here but calls of its functions, with PyTorch on the CPU."""
import datetime
import sys

import numpy as np
import torch
from mx.elemwise_ops import _quantize_elemwise
from mx.mx_ops import _quantize_mx

from goldenfile import write

BLOCKS = {"mxfp8_e4m3": "fp8_e4m3", "mxfp8_e5m2": "fp8_e5m2", "mxint8": "int8", "mxfp6_e2m3": "fp6_e2m3",
          "mxfp6_e3m2": "fp6_e3m2", "mxfp4": "fp4_e2m1"}
HIGHEST = {"fp8_e4m3": 448, "fp8_e5m2": 57344, "fp6_e2m3": 7.5, "fp6_e3m2": 28, "fp4_e2m1": 6}
rng = np.random.default_rng(7)


def weights():
    """8 rows of 84 weights: two blocks of 32 and one of 20."""
    w = rng.normal(size=(8, 84))
    w[0] *= 0.04
    w[1] *= np.exp2(rng.integers(-12, 3, 84))
    w[2, :32], w[2, 32:64] = 0, 0.25
    w[3, 5], w[3, 40] = -30, 15.99  # an outlier; one that all but reaches the next power of two
    w[4] *= 2.0**-100
    w[5] = np.rint(w[5] * 8) / 8  # ties
    w[6] = np.abs(w[6])
    w[7] *= 2.0**100
    return w.astype(np.float32)


w = weights()
tensors = {"weights": w}
for name, element in BLOCKS.items():
    tensors[name] = _quantize_mx(torch.from_numpy(w), 8, element, axes=[-1], block_size=32, shared_exp_method="max",
                                 round="even", custom_cuda=False).numpy()
for element, highest in HIGHEST.items():
    x = np.concatenate([rng.uniform(-1, 1, 100) * highest, rng.normal(size=100) * np.exp2(rng.integers(-18, 2, 100)),
                        rng.integers(-99, 100, 56) * 2.0**rng.integers(-11, 0, 56)])
    x = np.clip(x, -highest, highest).astype(np.float32)
    tensors[f"{element}.numbers"] = x
    tensors[f"{element}.rounded"] = _quantize_elemwise(torch.from_numpy(x), element, round="even", custom_cuda=False).numpy()
assert all(np.isfinite(t).all() for t in tensors.values())

write("mx.safetensors", tensors, {
    "made_by": "make_mx.py", "microxcaling": sys.argv[1], "torch": torch.__version__, "numpy": np.__version__,
    "date": datetime.date.today(),
})
