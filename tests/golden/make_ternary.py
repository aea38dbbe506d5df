#!/usr/bin/python3
"""Makes ternary.safetensors: weights of three and two values, by programs of others.

    cd tests/golden && /usr/bin/python3 make_ternary.py TERNARY-WEIGHTS-NETWORK BITNET XNOR-NET-PYTORCH

The three folders are clones (README.md). Nothing of them is here but calls of their functions."""
import ast
import datetime
import importlib.util
import sys

import numpy as np
import torch

from goldenfile import write


def module(path):
    spec = importlib.util.spec_from_file_location("theirs", path)
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


def function(path, name):
    """One function of a program whose imports are not here."""
    found = [n for n in ast.walk(ast.parse(open(path).read())) if isinstance(n, ast.FunctionDef) and n.name == name]
    scope = {"torch": torch}
    exec(compile(ast.Module([found[0]], []), path, "exec"), scope)
    return scope[name]


twn, bitnet, xnor = sys.argv[1:4]
torch.Tensor.cuda = lambda self: self
rng = np.random.default_rng(11)
w = rng.normal(size=(6, 83)) * np.exp2(np.arange(6) - 5)[:, None]
w[5] = np.abs(w[5]) + 0.1
w = torch.from_numpy(w.astype(np.float32))

network = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Linear(83, 6), torch.nn.Linear(2, 2))
network[1].weight.data = w.clone()
binary = module(f"{xnor}/MNIST/util.py").BinOp(network)  # of all layers but the first and the last
binary.binarizeConvParams()
tensors = {
    "weights": w.numpy(),
    "ternary": module(f"{twn}/util.py").TernarizeOp(network).Ternarize(w).numpy(),
    "bitnet": function(f"{bitnet}/utils/convert-hf-to-gguf-bitnet.py", "weight_quant")(None, w).numpy(),
    "binary": network[1].weight.data.numpy(),
}
write("ternary.safetensors", tensors, {
    "made_by": "make_ternary.py", "torch": torch.__version__, "numpy": np.__version__, "date": datetime.date.today(),
})
