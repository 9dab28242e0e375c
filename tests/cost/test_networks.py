"""Costs of networks and of whole spaces, against counts made in other ways."""

import itertools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from darts_jax.cost.dependence import find_dependent_results
from darts_jax.cost.expected import PRICES, make_empty_network, make_expected_cost
from darts_jax.cost.modules import module_cost
from darts_jax.cost.networks import COLUMNS, cost_rows, network_cost, operation_cost
from darts_jax.cost.sites import Site
from darts_jax.models.functional import zero_mixture
from darts_jax.models.network import Network
from darts_jax.models.supernet import Supernet
from darts_jax.spaces import get_space
from darts_jax.spaces.darts import MACRO
from darts_jax.spaces.graph import CellGenotype, Genotype, KeptEdge
from darts_jax.spaces.published import get_genotype
from tests.support.tiny import tiny_space

NB201 = get_space("nasbench201")
OPERATIONS = NB201.cells["normal"].edges[0].operations
EDGES = [(e.source, e.target) for e in NB201.cells["normal"].edges]
CIFAR = (32, 32, 3)


def traced(net, image_shape):
    return module_cost(net, (image_shape,), (jnp.zeros(()),))


def supernet_cost(net, image_shape):
    """Cost of a step of a supernet's weights, without architecture parameters."""
    # The scan's conditionals, idle in some slots, would count as if they never were.
    walked = net.clone(execution="batch")
    mixture = zero_mixture(net.space)
    return module_cost(walked, (image_shape,), (mixture,))


def benchmark_costs(price, chosen, cells, channels, size):
    """Costs of cells of NAS-Bench-201, as sums of what their operations cost.

    Args:
      chosen: column of every edge's operation [cell, edge].
    """
    net = make_empty_network(NB201, 10, cells, channels)
    expected = make_expected_cost(NB201, net, (size, size, 3), PRICES[price])
    table = expected.tables["normal"][:, :, 0, 0]
    whole = expected.fixed + expected.around["normal"].sum()
    millions = whole + table[np.arange(len(EDGES)), chosen].sum(-1)
    return np.round(millions * 1e6).astype(np.int64)


# --- Published figures -------------------------------------------------------------


@pytest.mark.parametrize(
    ("setting", "network", "image_shape"),
    [
        ("cifar10_C36_L20", (10, 20, 36, False), CIFAR),
        pytest.param(
            "imagenet_C48_L14",
            (1000, 14, 48, True),
            (224, 224, 3),
            marks=pytest.mark.slow,
        ),
    ],
)
def test_published_genotypes_cost_what_is_published(
    shared, setting, network, image_shape
):
    table = json.loads((shared / "genotypes.json").read_text())["genotypes"]
    counted = 0
    for name, row in table.items():
        net = Network(Genotype.from_pairs(row["genotype"]), MACRO, *network)
        plain = network_cost(net, image_shape)
        if setting not in row:
            millions = row[f"{setting}_params_millions"]
            assert round(plain.parameters / 1e6, 3) == millions, name
            continue
        whole = network_cost(net.clone(auxiliary=True), image_shape)
        published = row[setting]
        assert plain[:2] == (published["params"], published["macs"]), name
        with_head = published["params_with_aux"], published["macs_with_aux"]
        assert whole[:2] == with_head, name
        counted += 1
    assert counted == 11


@pytest.mark.parametrize(
    ("row", "space", "classes", "cells", "partial"),
    [
        ("nb201_autodl_C16_N5_affineFalse", "nasbench201_biased", 10, 5, 1),
        pytest.param("darts_C16_L8", "darts", 10, 8, 1, marks=pytest.mark.slow),
        pytest.param(
            "darts_C16_L8_cifar100", "darts", 100, 8, 1, marks=pytest.mark.slow
        ),
        pytest.param("pcdarts_C16_L8_K4", "darts", 10, 8, 4, marks=pytest.mark.slow),
    ],
)
def test_supernets_cost_what_is_published(shared, row, space, classes, cells, partial):
    tables = json.loads((shared / "genotypes.json").read_text())
    published = tables["supernets_without_alphas"][row]
    net = Supernet(get_space(space), classes, cells, 16, partial)
    found = supernet_cost(net, CIFAR)
    assert found[:2] == (published["params"], published["macs"])


def test_the_benchmark_states_the_same_of_its_first_cell():
    text = (
        "|avg_pool_3x3~0|+|nor_conv_1x1~0|skip_connect~1|+"
        "|nor_conv_1x1~0|skip_connect~1|skip_connect~2|"
    )
    net = Network(Genotype.from_nasbench201(text), NB201.macro, 10, 5, 16)
    found = network_cost(net, CIFAR)
    assert found.parameters / 1e6 == 0.129306
    # NAS-Bench-201 counts the classifier's ten biases with its products.
    assert (found.macs + 10) / 1e6 == 15.64737


# --- Sums of parts -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "imagenet", "image_shape"),
    [("DARTS_V1", False, (10, 14, 3)), ("SNAS_mild", True, (70, 64, 3))],
)
def test_parts_sum_to_the_traced_network(name, imagenet, image_shape):
    net = Network(get_genotype(name), MACRO, 10, 4, 4, imagenet, auxiliary=True)
    assert network_cost(net, image_shape) == traced(net, image_shape)


def test_rows_sum_to_the_network():
    net = Network(get_genotype("DARTS_V2"), MACRO, 10, 3, 4, auxiliary=True)
    *parts, whole, head = cost_rows(net, (16, 16, 3))
    assert (whole["part"], head["part"]) == ("sum", "auxiliary head")
    for column in COLUMNS[1:]:
        assert sum(part[column] for part in parts) == whole[column] > 0
    both = [whole[column] + head[column] for column in COLUMNS[1:]]
    assert tuple(both) == network_cost(net, (16, 16, 3))


def by_formula(channels, cells, size):
    """Parameters and products of NAS-Bench-201's parts, worked out by hand.

    Returns:
      Those of all that surrounds cells, and those of an operation in all cells.
    """
    widths = [channels, 2 * channels, 4 * channels]
    pixels = [size**2, size**2 // 4, size**2 // 16]
    parameters = 9 * 3 * channels + 2 * channels  # stem
    macs = pixels[0] * 9 * 3 * channels
    for a, b, n in zip(widths, widths[1:], pixels[1:], strict=False):
        products = 9 * a * b + 9 * b * b + a * b
        parameters += products + 2 * b + 2 * b
        macs += n * products
    last = widths[-1]
    surroundings = parameters + 2 * last + 10 * last + 10, macs + 10 * last

    def operation(kernel):
        products = [kernel**2 * c * c for c in widths]
        return (
            cells * sum(p + 2 * c for p, c in zip(products, widths, strict=True)),
            cells * sum(p * n for p, n in zip(products, pixels, strict=True)),
        )

    nothing = (0, 0)
    return surroundings, [nothing, nothing, operation(1), operation(3), nothing]


@pytest.mark.parametrize(("channels", "cells", "size"), [(16, 5, 32), (4, 2, 16)])
def test_all_cells_of_nasbench201_cost_what_the_formula_says(channels, cells, size):
    chosen = np.array(list(itertools.product(range(5), repeat=6)))
    surroundings, operations = by_formula(channels, cells, size)
    expected = surroundings + np.array(operations)[chosen].sum(1)
    for i, price in enumerate(("parameters", "macs")):
        found = benchmark_costs(price, chosen, cells, channels, size)
        np.testing.assert_array_equal(found, expected[:, i])


def cell_of(row):
    choices = tuple(
        KeptEdge(target, source, OPERATIONS[op])
        for (source, target), op in zip(EDGES, row, strict=True)
    )
    return CellGenotype(1, choices, (3,))


def live_edges(row):
    """Returns the edges on a path from the input to the output."""
    open_edges = [
        e for e, op in zip(EDGES, row, strict=True) if OPERATIONS[op] != "none"
    ]
    reached, leading = {0}, {3}
    for _ in EDGES:
        reached |= {t for s, t in open_edges if s in reached}
        leading |= {s for s, t in open_edges if t in leading}
    return {(s, t) for s, t in open_edges if s in reached and t in leading}


def test_a_sample_costs_what_its_traced_networks_do():
    # All alive; 0->1 leads nowhere and nothing leads to 2; nothing reaches the output.
    by_hand = np.array([[3, 2, 4, 1, 3, 2], [3, 0, 0, 4, 0, 3], [3, 2, 0, 0, 0, 0]])
    random = np.random.default_rng(0).integers(0, 5, (2, 6))
    chosen = np.concatenate([by_hand, random])
    parameters = benchmark_costs("parameters", chosen, 1, 4, 8)
    macs = benchmark_costs("macs", chosen, 1, 4, 8)
    for i, row in enumerate(chosen):
        genotype = Genotype("nasbench201", {"normal": cell_of(row)})
        net = Network(genotype, NB201.macro, 10, 1, 4)
        whole = traced(net, (8, 8, 3))
        assert (parameters[i], macs[i]) == whole[:2], row
        held = network_cost(net, (8, 8, 3)).activation_bytes
        if len(live_edges(row)) == np.count_nonzero(row):
            assert held == whole.activation_bytes, row
        else:
            assert held >= whole.activation_bytes, row


def test_the_table_of_nasbench201_has_150_wrong_counts(shared):
    with np.load(shared / "data" / "nasbench201_table.npz") as table:
        stated = table["params_mb_cifar10"].astype(np.float64)
        chosen = table["arch"]
    found = benchmark_costs("parameters", chosen, 5, 16, 32)
    error = np.round(stated * 1e6 - found)
    wrong = np.flatnonzero(error)
    assert len(wrong) == 150
    assert wrong[[0, 1, 2, -1]].tolist() == WRONG_ROWS
    # Each is off by one convolution, as if an edge had another operation.
    assert set(np.abs(error[wrong])) == {28_000, 243_040}
    # What no path leads to counts: without it thousands of cells would be wrong.
    costs = np.array(by_formula(16, 5, 32)[1])[:, 0]
    unused = [
        sum(costs[op] for e, op in zip(EDGES, row, strict=True) if e not in live)
        for row in chosen
        for live in [live_edges(row)]
    ]
    assert np.count_nonzero(np.array(unused)[error == 0]) > 1000


WRONG_ROWS = [327, 737, 768, 15539]


# --- Activations -------------------------------------------------------------------


def test_activations_of_operations_by_hand():
    def held(name, stride=1, dtype="float32"):
        cost = operation_cost(Site(name, 4, 4, stride, 8, 6), dtype)
        return cost.activation_bytes

    pixels = 8 * 6 * 4
    for free in ("none", "skip_connect", "avg_pool_3x3"):
        assert held(free) == 0
    assert held("max_pool_3x3", stride=2) == pixels // 4  # a place each
    # What enters ReLU and the convolutions behind it, and what BN made.
    assert held("nor_conv_3x3") == pixels * (4 + 4)
    assert held("dil_conv_5x5") == pixels * (4 + 4)
    assert held("sep_conv_3x3") == 2 * pixels * (4 + 4)
    first = pixels * 4 + pixels // 4 * 4
    assert held("sep_conv_3x3", stride=2) == first + pixels // 4 * (4 + 4)
    # BN computes in float32 whatever enters it.
    assert held("nor_conv_3x3", dtype="bfloat16") == pixels * (2 + 4)


def test_a_supernet_holds_what_its_remat_leaves():
    # Of one choice an edge it computes what that genotype's network does.
    space = tiny_space(("nor_conv_3x3",))
    choices = [KeptEdge(t, s, "nor_conv_3x3") for s, t in ((0, 1), (0, 2), (1, 2))]
    genotype = Genotype("tiny", {"normal": CellGenotype(1, tuple(choices), (2,))})
    network = network_cost(Network(genotype, space.macro, 10, 2, 4), (8, 8, 3))
    all_held = supernet_cost(Supernet(space, 10, 2, 4, remat="none"), (8, 8, 3))
    state = 8 * 8 * 4
    assert all_held.macs == network.macs
    # Both edges that leave a cell's input read it in place: it is held once.
    assert all_held.activation_bytes == network.activation_bytes - 2 * 4 * state
    less = supernet_cost(Supernet(space, 10, 2, 4, remat="edge"), (8, 8, 3))
    # Of its edges a cell holds the two states that they leave, and no more.
    rest = network.activation_bytes - 2 * 3 * state * (4 + 4)
    assert less == all_held._replace(activation_bytes=rest + 2 * 2 * 4 * state)


def test_activations_are_what_pytorch_saves():
    torch = pytest.importorskip(
        "torch", reason="PyTorch, which is compared with, is not installed"
    )
    nn, channels, cells = torch.nn, 4, 2

    def convolution(kernel):
        conv = nn.Conv2d(channels, channels, kernel, padding="same", bias=False)
        return nn.Sequential(nn.ReLU(), conv, nn.BatchNorm2d(channels))

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            conv = nn.Conv2d(3, channels, 3, padding=1, bias=False)
            self.stem = nn.Sequential(conv, nn.BatchNorm2d(channels))
            pairs = ([convolution(3), convolution(1)] for _ in range(cells))
            self.edges = nn.ModuleList(nn.ModuleList(pair) for pair in pairs)
            self.last = nn.Sequential(nn.BatchNorm2d(channels), nn.ReLU())
            self.classifier = nn.Linear(channels, 10)

        def forward(self, x):
            x = self.stem(x)
            for inner, outer in self.edges:
                x = outer(inner(x)) + x
            return self.classifier(self.last(x).mean((2, 3)))

    net = Net()
    parameters = {p.data_ptr() for p in net.parameters()}

    def saved(batch):
        kept = {}

        def pack(tensor):
            if tensor.data_ptr() not in parameters:
                kept[tensor.data_ptr()] = tensor
            return tensor

        images = torch.zeros(batch, 3, 8, 8, requires_grad=True)
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            result = net(images)
        assert result.shape == (batch, 10)
        return sum(tensor.nbytes for tensor in kept.values())

    choices = ((1, 0, "nor_conv_3x3"), (2, 0, "skip_connect"), (2, 1, "nor_conv_1x1"))
    cell = CellGenotype(1, tuple(KeptEdge(*choice) for choice in choices), (2,))
    ours = Network(
        Genotype("tiny", {"normal": cell}), tiny_space().macro, 10, cells, channels
    )
    # PyTorch reads a ReLU's sign off its result. Of the last one, which only enters a
    # mean, ours is bytes.
    state = 8 * 8 * channels
    expected = saved(2) - saved(1) + state - 4 * state
    assert network_cost(ours, (8, 8, 3)).activation_bytes == expected


# --- What depends on what ----------------------------------------------------------


def dependent(function, *given):
    program = jax.make_jaxpr(function)(*(1.0 for _ in given))
    return find_dependent_results(program, given)


def test_dependence_goes_through_calls_branches_and_loops():
    def called(x, y):
        return jax.jit(lambda a, b: (a * 2, b, 3.0))(x, y)

    assert dependent(called, True, False) == [True, False, False]

    def branched(x, y):
        return lax.cond(x > 0, lambda y: (y, 1.0), lambda y: (2.0, 1.0), y)

    assert dependent(branched, False, True) == [True, False]

    def shifted(x, y):
        # It takes three turns until the first carry sees y.
        def step(carry, _):
            a, b, c = carry
            return (b, c, y), a

        return lax.scan(step, (x, x, x), None, length=4)

    assert dependent(shifted, False, True) == [True] * 4
    assert dependent(lambda x, y: shifted(x, x), False, True) == [False] * 4

    def looped(x, y):
        return lax.while_loop(lambda c: c[0] < 3, lambda c: (c[0] + 1, y), (x, x))

    assert dependent(looped, False, True) == [True, True]
    assert dependent(lambda x, y: looped(x, x), False, True) == [False, False]
