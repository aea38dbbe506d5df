#!/usr/bin/python3
"""Makes ggml.safetensors: weights, the blocks that ggml encodes them to, and what ggml reads back from those.

    cd tests/golden && /usr/bin/python3 make_ggml.py LIBGGML_BASE.so COMMIT

make_ggml.md says how the library was built. Nothing of ggml is here but calls of its functions."""
import ctypes
import datetime
import sys

import numpy as np

from goldenfile import write

FORMATS = {"q8_0": (32, 34), "q4_0": (32, 18), "q4_K": (256, 144), "q6_K": (256, 210), "q2_K": (256, 84),
           "q3_K": (256, 110), "q5_K": (256, 176), "iq4_nl": (32, 18), "mxfp4": (32, 17),
           "nvfp4": (64, 36)}  # weights, bytes of a block
HALVES = {"q6_K": [-2], "q4_K": [0, 2], "q5_K": [0, 2], "q2_K": [80, 82], "q3_K": [-2], "mxfp4": [], "nvfp4": []}
BYTES = {"mxfp4": (slice(0, 1), 110, 140), "nvfp4": (slice(0, 4), 0, 0x7f)}  # scales of 8 bits, without NaN
WITH_IMPORTANCE = ["q2_K", "q3_K", "q4_K", "q5_K", "q6_K", "iq4_nl"]
library, commit = ctypes.CDLL(sys.argv[1]), sys.argv[2]
rng = np.random.default_rng(42)


def weights():
    """5 x 256 weights: a trained layer's size, sub-blocks of many sizes, all of one sign, special blocks, small ones."""
    normal = rng.normal(size=(5, 256))
    normal[0] *= 0.04
    normal[1] *= np.repeat(np.exp2(np.arange(8) - 6.0), 32)
    normal[2] = np.abs(normal[2]) * 0.1 + 0.05
    normal[3] = 0  # zeros, constants, one outlier, then ties of q8_0 (d = 1) and of q4_0 (d = -1, d = 1)
    normal[3, 32:64], normal[3, 64:96] = 0.25, -0.25
    normal[3, 96:128] = rng.normal(size=32) * 0.01
    normal[3, 100] = 3
    normal[3, 128:160] = [127, *(np.arange(31) * 4 - 61.5)]
    normal[3, 160:192] = [8, *(np.arange(31) / 2 - 7.5)]
    normal[3, 192:224] = [-8, *(np.arange(31) / 2 - 7.5)]
    normal[4] *= 2.0**-14  # an fp16 scale below its normal numbers
    return normal.astype(np.float32)


def call(function, source, result, count):
    getattr(library, function)(source.ctypes.data_as(ctypes.c_void_p), result.ctypes.data_as(ctypes.c_void_p),
                               ctypes.c_int64(count))


x = weights()
tensors = {"weights": x}
for name, (block, size) in FORMATS.items():
    blocks, decoded = np.zeros((x.size // block, size), np.uint8), np.zeros_like(x)
    call(f"quantize_row_{name}_ref", x, blocks, x.size)
    call(f"dequantize_row_{name}", blocks, decoded, x.size)
    tensors[f"{name}.blocks"], tensors[f"{name}.decoded"] = blocks, decoded
    # blocks that no encoder makes: random scales, codes and bits, with fp16 scales of usual sizes
    blocks = rng.integers(0, 256, ({256: 2, 64: 2, 32: 4}[block], size), dtype=np.uint8)
    halves = rng.normal(size=(len(blocks), 2)).astype(np.float16).view(np.uint8)
    for i, at in enumerate(HALVES.get(name, [0])):
        blocks[:, at % size:at % size + 2] = halves[:, 2 * i:2 * i + 2]
    if name in BYTES:
        where, low, high = BYTES[name]
        blocks[:, where] = rng.integers(low, high, blocks[:, where].shape)
    decoded = np.zeros(len(blocks) * block, np.float32)
    call(f"dequantize_row_{name}", blocks, decoded, decoded.size)
    tensors[f"{name}.random"], tensors[f"{name}.random_decoded"] = blocks, decoded

# the same with an importance of each input's weights, as llama-imatrix measures it: the mean of its square
importance = (rng.normal(size=256) ** 2 * np.exp2(rng.integers(-6, 3, 256))).astype(np.float32)
tensors["importance"] = importance
for name in WITH_IMPORTANCE:
    blocks = np.zeros_like(tensors[f"{name}.blocks"])
    library[f"quantize_{name}"].restype = ctypes.c_size_t
    library[f"quantize_{name}"](x.ctypes.data_as(ctypes.c_void_p), blocks.ctypes.data_as(ctypes.c_void_p),
                                ctypes.c_int64(5), ctypes.c_int64(256), importance.ctypes.data_as(ctypes.c_void_p))
    tensors[f"{name}.important"] = blocks

write("ggml.safetensors", tensors, {
    "made_by": "make_ggml.py", "ggml": commit, "numpy": np.__version__, "date": datetime.date.today(),
})
