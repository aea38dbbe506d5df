"""Writes a safetensors file from NumPy arrays; the format is drawn in src/io/safetensors.h."""
import json

import numpy as np

NAMES = {"float32": "F32", "int32": "I32", "int8": "I8", "uint8": "U8"}


def write(path, tensors, metadata):
    header, offset = {"__metadata__": {key: str(text) for key, text in metadata.items()}}, 0
    tensors = sorted(((name, np.ascontiguousarray(a)) for name, a in tensors.items()), key=lambda t: -t[1].itemsize)
    for name, a in tensors:
        header[name] = {"dtype": NAMES[a.dtype.name], "shape": a.shape, "data_offsets": [offset, offset + a.nbytes]}
        offset += a.nbytes
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text + b"".join(a.tobytes() for _, a in tensors))
