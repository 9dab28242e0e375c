"""Imported weights of DARTS's and PC-DARTS's supernets against PyTorch modules.

The modules carry the names of both papers' `Network`.
"""

import numpy as np
import pytest

pytest.importorskip("torch", reason="PyTorch, which is compared with, is not installed")

from darts_jax.models.supernet import Supernet
from darts_jax.spaces import get_space
from darts_jax.spaces.darts import MACRO
from darts_jax.spaces.graph import Cell, Space, dense_edges
from tests.support.pytorch import (
    ALIKE,
    CLASSES,
    Darts,
    check_supernet,
    nn,
    operation,
    preprocesses,
    torch,
)


class MixedOp(nn.Module):
    """All operations of an edge, on 1/k of its channels; the others pass by."""

    def __init__(self, names, c, stride, k):
        super().__init__()
        self.k, self.stride = k, stride
        self._ops = nn.ModuleList()
        for name in names:
            op = operation(name, c // k, stride, False)
            if "pool" in name:
                op = nn.Sequential(op, nn.BatchNorm2d(c // k, affine=False))
            self._ops.append(op)

    def forward(self, x, weights):
        width = x.shape[1] // self.k
        part, rest = x[:, :width], x[:, width:]
        mixed = sum(w * op(part) for w, op in zip(weights, self._ops, strict=False))
        if self.k == 1:
            return mixed
        if self.stride > 1:
            rest = nn.functional.max_pool2d(rest, 2)
        n, c, height, width = (y := torch.cat([mixed, rest], 1)).shape
        groups = y.reshape(n, self.k, c // self.k, height, width)
        return groups.transpose(1, 2).reshape(n, c, height, width)


class MixedCell(nn.Module):
    """A supernet's cell of DARTS and PC-DARTS; edges by (target, source)."""

    def __init__(self, cell, k, widths, c, reduces, after):
        super().__init__()
        self.cell, self.reduces = cell, reduces
        self.preprocess0, self.preprocess1 = preprocesses(widths, c, after, False)
        self._ops = nn.ModuleList(
            MixedOp(e.operations, c, 2 if reduces and e.source < 2 else 1, k)
            for e in cell.edges
        )
        self.shares = [1.0] * len(cell.edges)

    def forward(self, earlier, last, mixture):
        states = [self.preprocess0(earlier), self.preprocess1(last)]
        for node in range(2, self.cell.states):
            own = [i for i, e in enumerate(self.cell.edges) if e.target == node]
            edges = ((i, states[self.cell.edges[i].source]) for i in own)
            states.append(
                sum(self.shares[i] * self._ops[i](x, mixture[i]) for i, x in edges)
            )
        return torch.cat(states[2:], 1)


def narrow_space():
    """Makes cells of one node, edges of unequal operations; like `ALIKE`."""
    operations = {
        (0, 2): ("skip_connect", "max_pool_3x3", "sep_conv_3x3", "none"),
        (1, 2): ("conv_3x1_1x3", "max_pool_3x3", "nor_conv_3x3"),
    }
    cell = Cell(2, 1, dense_edges(2, 1, operations), output=(2,))
    return Space("narrow", {"normal": cell}, ALIKE, "two_strongest")


def share(module, reduces, beta, targets):
    """Every edge's part of its node, of all cells of a kind: softmax of beta."""
    powers, targets = np.exp(beta), np.array(targets)
    shares = [
        p / powers[targets == t].sum() for p, t in zip(powers, targets, strict=True)
    ]
    for cell in module.cells:
        if cell.reduces == reduces:
            cell.shares = [float(s) for s in shares]


SUPERNETS = {
    "DARTS": (get_space("darts"), 3, 4, 1),
    "PC-DARTS": (get_space("darts"), 3, 8, 4),
    "PC-DARTS on ImageNet": (get_space("darts"), 3, 8, 2),
    "stacked": (narrow_space(), 5, 4, 1),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", SUPERNETS)
def test_supernet_gives_the_logits_of_the_original(name):
    space, cells, channels, k = SUPERNETS[name]

    def make(widths, c, reduces, after):
        cell = space.cells["reduce" if reduces else "normal"]
        return MixedCell(cell, k, widths, c, reduces, after)

    imagenet = "ImageNet" in name
    thirds = space.macro is MACRO
    nodes = space.cells["normal"].nodes
    stem = space.macro.stem_multiplier * channels
    module = Darts(make, nodes, cells, channels, imagenet, thirds, stem)
    random = np.random.default_rng(5)
    arrays, targets = {}, {}
    for kind, cell in space.cells.items():
        arrays[f"alphas_{kind}"] = random.normal(size=cell.shape).astype(np.float32)
        targets[kind] = tuple(edge.target for edge in cell.edges)
        if k > 1:
            beta = random.normal(size=cell.shape[0]).astype(np.float32)
            arrays[f"betas_{kind}"] = beta
            share(module, kind == "reduce", beta, targets[kind])
    net = Supernet(
        space, CLASSES, cells, channels, partial=k, remat="none", imagenet=imagenet
    )
    side = 64 if imagenet else 16
    check_supernet(net, module, side, arrays, targets=targets)
