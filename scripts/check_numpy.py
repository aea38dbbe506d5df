#!/usr/bin/env python3
"""The integer forward pass of an int8 model in NumPy, eq. 2 and 5 to 7 of DESIGN.md, compared bit for bit:

    mnistq eval MODEL --codes CODES.csv --predictions CLASSES.csv
    python3 scripts/check_numpy.py MODEL data/mnist/t10k-images-idx3-ubyte.gz CODES.csv CLASSES.csv"""
import gzip
import json
import sys
import numpy as np


def read_model(path):
    """Tensors by name, and the metadata. | N: 8 bytes | N bytes of JSON | tensors |"""
    with open(path, "rb") as f:
        header = json.loads(f.read(int.from_bytes(f.read(8), "little")))
        data = f.read()
    metadata, types = header.pop("__metadata__", {}), {"I8": "<i1", "U8": "<u1", "I32": "<i4", "F32": "<f4"}
    return {name: np.frombuffer(data[slice(*t["data_offsets"])], types[t["dtype"]]).reshape(t["shape"])
            for name, t in header.items()}, metadata


def requantize(acc, real, zero, lowest):
    """eq. 6: M = m * 2^-right, one rounding, ties up."""
    fraction, exponent = np.frexp(real)
    m, right = np.rint(fraction * 2.0**31).astype(np.int64), 31 - exponent.astype(np.int64)
    m, right = np.where(m == 2**31, m >> 1, m), np.where(m == 2**31, right - 1, right)
    m, right = np.where(right > 62, 0, m), np.where(right > 62, 1, right)  # |acc * M| < 1/2
    return np.clip(((acc * m + (np.int64(1) << (right - 1))) >> right) + zero, lowest, 255)


def forward(model, lowest, pixels):
    """uint8 images [n, inputs] to the codes of each layer, [n, outputs] each."""
    scale, zero, codes = model["fc1.input_scale"][0], int(model["fc1.input_zero_point"][0]), []
    code = np.rint(np.arange(256, dtype=np.float32) / np.float32(255) / scale) + zero  # eq. 2 of byte / 255
    x = np.clip(code, lowest, 255).astype(np.int64)[pixels]
    while f"fc{len(codes) + 1}.weight" in model:
        fc, after = f"fc{len(codes) + 1}.", f"fc{len(codes) + 2}.input"
        last = f"{after}_scale" not in model
        y_scale, y_zero = (model[("output" if last else after) + part][0] for part in ("_scale", "_zero_point"))
        acc = (x - zero) @ model[fc + "weight"].astype(np.int64).T + model[fc + "bias"]  # eq. 5
        real = np.float64(scale) * model[fc + "weight_scale"].astype(np.float64) / np.float64(y_scale)
        x = requantize(acc, real, int(y_zero), lowest if last else int(y_zero))  # a ReLU: nothing below the code of 0
        scale, zero, codes = y_scale, int(y_zero), codes + [x]
    return codes


def main():
    model, metadata = read_model(sys.argv[1])
    with gzip.open(sys.argv[2]) as f:
        pixels = np.frombuffer(f.read()[16:], np.uint8).reshape(-1, model["fc1.weight"].shape[1])
    codes = forward(model, int(metadata.get("activations") == "symmetric"), pixels)
    for path, ours in zip(sys.argv[3:], (np.hstack(codes), codes[-1].argmax(1)[:, None])):  # eq. 7: the first of equals
        theirs = np.loadtxt(path, np.int64, delimiter=",", skiprows=1)[:, -ours.shape[1]:]
        same = int((ours[:len(theirs)] == theirs).sum())
        print(f"{path}: {same} of {theirs.size} equal")
        sys.exit(1) if same != theirs.size else None


main()
