#!/usr/bin/python3
"""Makes torch.safetensors: what PyTorch says of a 6-5-4-3 network's loss and gradients, and of Adam and SGD.

    cd tests/golden && /usr/bin/python3 make_torch.py

Everything starts from float32 numbers, is computed in float64 and stored as float32: the golden's own error is
one rounding, so a tolerance speaks of the C code alone."""
import datetime

import numpy as np
import torch
import torch.nn.functional as F

from goldenfile import write

WIDTHS, SMOOTHING, ADAM_RATE, SGD_RATE, STEPS = (6, 5, 4, 3), 0.125, 2.0**-6, 2.0**-4, 3
torch.manual_seed(20)
torch.set_default_dtype(torch.float64)
tensors = {}


def keep(name, tensor):
    tensors[name] = np.asarray(tensor.detach(), dtype=np.float32)


def float32_normal(*shape):
    return torch.randn(*shape).float().double()


images = torch.randint(0, 256, (7, WIDTHS[0]), dtype=torch.uint8)
labels = torch.tensor([0, 1, 2, 2, 1, 0, 2])
initial = {}
for i, (n_in, n_out) in enumerate(zip(WIDTHS, WIDTHS[1:]), 1):
    initial[f"fc{i}.weight"] = (float32_normal(n_out, n_in) * (2 / n_in) ** 0.5).float().double()
    initial[f"fc{i}.bias"] = (float32_normal(n_out) / 4 + 0.25).float().double()


def start():
    return {name: p.clone().requires_grad_() for name, p in initial.items()}


def loss_of(p, smoothing=0.0):
    x = images.double() / 255
    for i in range(1, len(WIDTHS)):
        x = F.linear(x, p[f"fc{i}.weight"], p[f"fc{i}.bias"])
        x = F.relu(x) if i + 1 < len(WIDTHS) else x
    return x, F.cross_entropy(x, labels, label_smoothing=smoothing)


for kind, smoothing in (("gradient", 0.0), ("smooth_gradient", SMOOTHING)):
    p = start()
    logits, loss = loss_of(p, smoothing)
    loss.backward()
    keep("loss" if smoothing == 0 else "smooth_loss", loss.reshape(1))
    for name in p:
        keep(f"{kind}.{name}", p[name].grad)
        assert p[name].grad.abs().max() > 1e-2, "a dead array would check nothing"
keep("logits", logits)


def optimizers(parameters):
    return {
        "adam": lambda: torch.optim.Adam(parameters, lr=ADAM_RATE),
        "sgd": lambda: torch.optim.SGD(parameters, lr=SGD_RATE, momentum=0.9),
    }


for kind in ("adam", "sgd"):
    p = start()
    optimizer = optimizers(list(p.values()))[kind]()
    for _ in range(STEPS):
        optimizer.zero_grad()
        loss_of(p)[1].backward()
        optimizer.step()
    for name in p:
        keep(f"{kind}.{name}", p[name])

# the optimizers alone: gradients of very different sizes, some of them zero
flat_start = float32_normal(16)
flat_gradients = (float32_normal(5, 16) * torch.logspace(-7, 3, 16)).float().double()
flat_gradients[:, 3] = 0
flat_gradients[1:4, 11] = 0
for kind in ("adam", "sgd"):
    w = flat_start.clone().requires_grad_()
    optimizer, path = optimizers([w])[kind](), []
    for g in flat_gradients:
        w.grad = g.clone()
        optimizer.step()
        path.append(w.detach().clone())
    keep(f"flat.{kind}", torch.stack(path))
keep("flat.start", flat_start)
keep("flat.gradients", flat_gradients)

for name in initial:
    keep(f"initial.{name}", initial[name])
tensors["images"] = images.numpy()
tensors["labels"] = labels.numpy().astype(np.uint8)
tensors["rates"] = np.array([ADAM_RATE, SGD_RATE], np.float32)
tensors["smoothing"] = np.array([SMOOTHING], np.float32)
write("torch.safetensors", tensors, {
    "maker": "tests/golden/make_torch.py", "torch": torch.__version__, "numpy": np.__version__,
    "date": datetime.date.today().isoformat()})
