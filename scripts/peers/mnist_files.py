"""What the peers read: models as safetensors, MNIST as IDX. Used by torch_peer.py and make_onnx.py."""
import gzip
import json
import os
import struct

import numpy as np

DTYPES = {"F32": np.float32, "I32": np.int32, "I8": np.int8, "U8": np.uint8}


def read_safetensors(path):
    """| N: 64 bits | N bytes of JSON | tensors |  ->  {name: array}"""
    with open(path, "rb") as f:
        header = json.loads(f.read(struct.unpack("<Q", f.read(8))[0]))
        data = f.read()
    header.pop("__metadata__", None)
    return {
        name: np.frombuffer(data[slice(*t["data_offsets"])], DTYPES[t["dtype"]]).reshape(t["shape"])
        for name, t in header.items()
    }


def layer_count(tensors):
    """fc1, fc2, ... of a model"""
    return sum(name.endswith(".weight") for name in tensors)


def read_idx(folder, name):
    """One of the four files, plain or .gz, as an array of bytes: [count][rows * cols] or [count]"""
    path = os.path.join(folder, name)
    with open(path, "rb") if os.path.exists(path) else gzip.open(path + ".gz", "rb") as f:
        raw = f.read()
    shape = struct.unpack(">%dI" % raw[3], raw[4 : 4 + 4 * raw[3]])
    return np.frombuffer(raw, np.uint8, offset=4 + 4 * raw[3]).reshape((shape[0], -1) if raw[3] > 1 else shape)


def read_split(folder, part):
    """part is "train" or "t10k"  ->  images [count][pixels], labels [count]"""
    return read_idx(folder, part + "-images-idx3-ubyte"), read_idx(folder, part + "-labels-idx1-ubyte")
