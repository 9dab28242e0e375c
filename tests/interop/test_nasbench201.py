"""Imported weights of NAS-Bench-201's networks and supernet against PyTorch modules.

The modules carry the names of the benchmark's `TinyNetwork` and of `TinyNetworkDarts`.
"""

import numpy as np
import pytest

torch = pytest.importorskip(
    "torch", reason="PyTorch, which is compared with, is not installed"
)

from darts_jax.models.network import Network  # noqa: E402
from darts_jax.models.supernet import Supernet  # noqa: E402
from darts_jax.spaces import get_space  # noqa: E402
from darts_jax.spaces.graph import Genotype  # noqa: E402
from darts_jax.spaces.nasbench201 import MACRO  # noqa: E402
from tests.support.pytorch import (  # noqa: E402
    CLASSES,
    check_network,
    check_supernet,
    conv,
    dense,
    nn,
    operation,
    randomize,
)

PAIRS = [(target, source) for target in (1, 2, 3) for source in range(target)]


class Residual(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.conv_a = dense(c, 2 * c, 3, 2, True)
        self.conv_b = dense(2 * c, 2 * c, 3, 1, True)
        self.downsample = nn.Sequential(nn.AvgPool2d(2), conv(c, 2 * c, 1))

    def forward(self, x):
        return self.downsample(x) + self.conv_b(self.conv_a(x))


class KeptCell(nn.Module):
    """Cell of a network: one operation an edge, in order of (target, source)."""

    def __init__(self, names, c):
        super().__init__()
        self.layers = nn.ModuleList(operation(name, c, 1, True) for name in names)

    def forward(self, x):
        a, b, c, d, e, f = self.layers
        first = a(x)
        second = b(x) + c(first)
        return d(x) + e(first) + f(second)


class MixedCell(nn.Module):
    """Cell of the supernet: a list of operations an edge."""

    def __init__(self, names, c, biased):
        super().__init__()
        self.edges = nn.ModuleDict()
        for target, source in PAIRS:
            made = (operation(name, c, 1, False, biased) for name in names)
            self.edges[f"{target}<-{source}"] = nn.ModuleList(made)

    def forward(self, x, mixture):
        nodes = [x, 0.0, 0.0, 0.0]
        for (target, source), weights in zip(PAIRS, mixture, strict=True):
            edge = self.edges[f"{target}<-{source}"]
            for weight, op in zip(weights, edge, strict=True):
                nodes[target] = nodes[target] + weight * op(nodes[source])
        return nodes[-1]


class TinyNetwork(nn.Module):
    """Three stages of n cells with residual blocks between.

    Args:
      make: channels -> a cell.
    """

    def __init__(self, make, n, c):
        super().__init__()
        self.stem = nn.Sequential(conv(3, c, 3), nn.BatchNorm2d(c))
        self.cells = nn.ModuleList(make(c) for _ in range(n))
        for width in (c, 2 * c):
            self.cells.append(Residual(width))
            self.cells.extend(make(2 * width) for _ in range(n))
        self.lastact = nn.Sequential(nn.BatchNorm2d(4 * c), nn.ReLU())
        self.classifier = nn.Linear(4 * c, CLASSES)

    def forward(self, x, *mixture):
        x = self.stem(x)
        for cell in self.cells:
            x = cell(x) if isinstance(cell, Residual) else cell(x, *mixture)
        return self.classifier(self.lastact(x).mean((2, 3)))


def test_network_gives_the_logits_of_the_original():
    text = (
        "|nor_conv_3x3~0|+|none~0|nor_conv_1x1~1|"
        "+|skip_connect~0|avg_pool_3x3~1|nor_conv_3x3~2|"
    )
    genotype = Genotype.from_nasbench201(text)
    names = [choice.operation for choice in genotype.cells["normal"].choices]
    module = randomize(TinyNetwork(lambda c: KeptCell(names, c), 2, 4), 0)
    check_network(Network(genotype, MACRO, CLASSES, 2, 4), module, 16)


@pytest.mark.parametrize("space", ["nasbench201", "nasbench201_biased"])
def test_supernet_gives_the_logits_of_the_original(space):
    (cell,) = get_space(space).cells.values()
    biased = space.endswith("biased")
    names = cell.edges[0].operations
    module = TinyNetwork(lambda c: MixedCell(names, c, biased), 2, 4)
    random = np.random.default_rng(6)
    alpha = random.normal(size=cell.shape).astype(np.float32)
    # Its state dict holds the architecture parameters.
    module.arch_parameters = nn.Parameter(torch.from_numpy(alpha))
    net = Supernet(get_space(space), CLASSES, 2, 4, remat="none")
    check_supernet(net, module, 16, {"arch_parameters": alpha})
