#!/usr/bin/python3
"""Makes gptq.safetensors: layers and the codes that GPTQ chooses for them, in float64.

    cd tests/golden && /usr/bin/python3 make_gptq.py

Written from Frantar et al. 2022: algorithm 1 (Cholesky, blocks of B columns, lazy updates), and once more from its
equations 2 and 3 (the inverse Hessian loses a row and a column at each step, no Cholesky); both must agree. Nothing here
is taken from the C code. What the paper leaves open is the program's choice, said in src/quant/: the scale of a grid is
rounded to fp16; an input that was never active has no part in anything; with act-order the grids are those of the
weights as they were, else a group's grid fits the weights as they are when its first column is reached."""
import datetime

import numpy as np

from goldenfile import write

OUT, IN, IMAGES, FEW, DAMPING = 8, 24, 64, 9, 0.01
MARGIN = 1e-5  # nothing is so near to a tie that float32 could round it the other way
rng = np.random.default_rng(52)
nearest_tie = np.inf


def away(steps):
    """Notes how far a number of steps is from the nearest tie."""
    global nearest_tie
    distance = np.min(np.abs(steps - np.floor(steps) - 0.5))
    assert distance > MARGIN, distance
    nearest_tie = min(nearest_tie, float(distance))


def half(scale):
    """To fp16, which must not be a matter of the last bits of a float32."""
    low, high = np.float16(scale * (1 - 1e-6)), np.float16(scale * (1 + 1e-6))
    assert low == high and 0 < low < 65504
    return float(low)


def grid_minmax(w, bits, symmetric):  # equations 3 and 8 of DESIGN.md
    if symmetric:
        top = 2 ** (bits - 1) - 1
        return half(np.abs(w).max() / (top + 0.5)), 0, -top - 1, top
    low, high = min(w.min(), 0), max(w.max(), 0)
    scale = (high - low) / (2**bits - 1)
    away(np.array(-low / scale))
    return half(scale), int(np.rint(-low / scale)), 0, 2**bits - 1


def round_to(w, grid):
    scale, zero, lowest, highest = grid
    away(np.clip(w / scale + zero, lowest - 1, highest + 1))
    return np.clip(np.rint(w / scale) + zero, lowest, highest).astype(int)


def value(codes, grid):
    return grid[0] * (codes - grid[1])


def hessian(x, order):
    """Equation 3's H, damped; the inputs that were never active are left out of order by the caller."""
    h = 2 * x.T @ x / len(x)
    damping = DAMPING * np.mean(np.diag(h))
    return h[np.ix_(order, order)] + damping * np.eye(len(order))


class Row:
    """The grids of one output's groups."""

    def __init__(self, w, group, bits, symmetric, static):
        self.group, self.bits, self.symmetric, self.static = group, bits, symmetric, static
        self.grids = [grid_minmax(w[g:g + group], bits, symmetric) for g in range(0, IN, group)] if static else \
                     [None] * len(range(0, IN, group))

    def arrive(self, k, now):  # now: the whole row as it is
        if not self.static and k % self.group == 0:
            self.grids[k // self.group] = grid_minmax(now[k:k + self.group], self.bits, self.symmetric)

    def grid(self, k):
        return self.grids[k // self.group]


def algorithm_1(w, x, order, dead, row, B=5):
    """W is quantized column by column in the given order. The columns of a block of B get their updates at once, those
    behind it when the block is done, unless a group's grid is to be found in them: then B is the group. Dead columns are
    rounded when their turn comes: they stand in no one's way."""
    w, codes = w.astype(float).copy(), np.zeros(IN, int)
    alive = [k for k in order if not dead[k]]
    u = np.linalg.cholesky(np.linalg.inv(hessian(x, alive))).T  # H^-1 = U^T U
    if not row.static:  # left to right
        B = row.group
    # positions of the living columns in u
    place = {k: i for i, k in enumerate(alive)}
    blocks = [order[i:i + B] for i in range(0, IN, B)]
    for block in blocks:
        errors = {}
        for k in block:
            row.arrive(k, w)
            grid = row.grid(k)
            codes[k] = round_to(w[k], grid)
            if dead[k]:
                continue
            i = place[k]
            errors[k] = (w[k] - value(codes[k], grid)) / u[i, i]
            for j in block:
                if not dead[j] and place[j] >= i:
                    w[j] -= errors[k] * u[i, place[j]]
        for j in order[order.index(block[-1]) + 1:]:
            if not dead[j]:
                w[j] -= sum(e * u[place[k], place[j]] for k, e in errors.items())
    return codes


def equations_2_and_3(w, x, order, dead, row):
    w, codes = w.astype(float).copy(), np.zeros(IN, int)
    alive = [k for k in order if not dead[k]]
    inverse = np.linalg.inv(hessian(x, alive))
    for k in order:
        row.arrive(k, w)
        grid = row.grid(k)
        codes[k] = round_to(w[k], grid)
        if dead[k]:
            continue
        delta = -(w[k] - value(codes[k], grid)) / inverse[0, 0] * inverse[0]
        w[alive] += delta
        inverse = (inverse - np.outer(inverse[:, 0], inverse[0]) / inverse[0, 0])[1:, 1:]
        alive = alive[1:]
    return codes


# correlated inputs, as a ReLU leaves them; columns 3 and 17 never active
mixing = rng.normal(size=(7, IN))
x = np.maximum(0, rng.normal(size=(IMAGES, 7)) @ mixing + 0.3 * rng.normal(size=(IMAGES, IN)) + 0.5)
x[:, [3, 17]] = 0
x = x.astype(np.float32)
w = (rng.normal(size=(OUT, IN)) * 0.1).astype(np.float32)
w[5] = np.abs(w[5])  # all of one sign: an asymmetric grid that begins at 0
tensors, cases, changed = {"x": x, "w": w}, 0, 0
for images in (IMAGES, FEW):
    few = x[:images].astype(float)
    dead = (few == 0).all(axis=0)
    assert dead[3] and dead[17] and (images == IMAGES) == (np.linalg.matrix_rank(few) == IN - 2)
    for bits, symmetric in ((4, True), (3, True), (2, True), (4, False)):
        for group in (IN, 8, 7):  # 7: the last group of a row is short
            for act_order in (False, True):
                order = list(range(IN))
                if act_order:
                    order.sort(key=lambda k: -np.sum(few[:, k] ** 2))
                codes, scales, zeros = np.zeros((OUT, IN), np.int8), [], []
                for c in range(OUT):
                    rows = [Row(w[c].astype(float), group, bits, symmetric, act_order) for _ in range(2)]
                    codes[c] = algorithm_1(w[c], few, order, dead, rows[0])
                    again = equations_2_and_3(w[c], few, order, dead, rows[1])
                    assert np.array_equal(codes[c], again) and np.allclose([g[0] for g in rows[0].grids],
                                                                          [g[0] for g in rows[1].grids], atol=0)
                    scales.append([g[0] for g in rows[0].grids])
                    zeros.append([g[1] for g in rows[0].grids])
                    plain = Row(w[c].astype(float), group, bits, symmetric, True)
                    changed += sum(round_to(float(w[c, k]), plain.grid(k)) != codes[c, k] for k in range(IN))
                name = f"{'s' if symmetric else 'u'}{bits}.{group}.{'act' if act_order else 'left'}.{images}"
                tensors |= {f"{name}.codes": codes, f"{name}.scale": np.array(scales, np.float32),
                            f"{name}.zero": np.array(zeros, np.uint8)}
                cases += 1

write("gptq.safetensors", tensors, {
    "maker": "tests/golden/make_gptq.py", "numpy": np.__version__, "date": datetime.date.today().isoformat(),
    "cases": cases, "nearest_tie_in_steps": f"{nearest_tie:.3g}",
    "codes_that_are_not_round_to_nearest": f"{changed} of {cases * OUT * IN}"})
print(cases, "cases, nearest tie", nearest_tie, changed, "of", cases * OUT * IN, "are not round to nearest")
