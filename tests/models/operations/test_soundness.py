"""A user's own operation or space that cannot work is told in one line, at once."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

import darts_jax
from darts_jax.errors import InputError
from darts_jax.models.functional import (
    initialize,
    initialize_supernet,
    network_apply,
    supernet_apply,
)
from darts_jax.models.network import Network
from darts_jax.models.operations import soundness
from darts_jax.models.operations.image import OPERATIONS, make_operation
from darts_jax.models.operations.sequence import SEQUENCE_OPERATIONS
from darts_jax.models.supernet import Supernet
from darts_jax.spaces import SPACES, get_space
from darts_jax.spaces.darts import MACRO, darts_space
from darts_jax.spaces.graph import Cell, Edge, Genotype, Macro, Space, dense_edges
from darts_jax.spaces.nasbench201 import NASBENCH201
from darts_jax.spaces.transformer import TRANSFORMER, chain_cell
from darts_jax.tasks.image_networks import make_network, make_supernet
from darts_jax.tasks.language.networks import SUPERNETS
from darts_jax.types import Mixture
from darts_jax.workflows.cost import cost
from tests.support.tiny import quick_jit, tiny_space

NAMES = ("none", "own", "skip_connect")


class Own(nn.Module):
    """Does what ``how`` says with the pixels that the stride leaves."""

    channels: int
    stride: int
    how: str

    @nn.compact
    def __call__(self, x: Any, train: bool) -> Any:
        y = x[:, :: self.stride, :: self.stride]
        match self.how:
            case "wide":
                return nn.Dense(self.channels + 1)(y)
            case "valid":
                strides = (self.stride, self.stride)
                return nn.Conv(self.channels, (3, 3), strides, padding="VALID")(x)
            case "stride":
                return x
            case "tuple":
                return y, y
            case "scalar":
                return y.mean()
            case "pooled":
                return y.mean((1, 2), keepdims=True)
            case "numbers":
                return y.astype(int)
            case "stream":
                return y * jax.random.normal(self.make_rng("mine"), ())
            case "cache":
                self.variable("cache", "n", jnp.zeros, ())
            case "fails":
                return y @ jnp.ones((7, 7))
            case "drop":
                return nn.Dropout(0.5, deterministic=not train)(y)
            case "norm":
                return nn.BatchNorm(use_running_average=not train)(y)
            case "tests":
                return y if train else y.mean((1, 2), keepdims=True)
        return y


class NoTrain(nn.Module):
    @nn.compact
    def __call__(self, x: Any) -> Any:
        return x


class Shared(nn.Module):
    edge_independent = True
    stride: int

    @nn.compact
    def __call__(self, x: Any, train: bool) -> Any:
        scale = self.param("scale", nn.initializers.ones, ())
        return scale * x[:, :: self.stride, :: self.stride]


def own(how: str) -> Any:
    return lambda channels, stride, discrete: Own(channels, stride, how)


def images() -> Any:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 255, (12, 12, 10, 3), dtype=np.uint8)
    labels = np.arange(12) % 3
    return darts_jax.from_arrays(pixels[:6], labels[:6], pixels[6:], labels[6:])


def settings(space: str) -> Any:
    config = darts_jax.default_config()
    config.space = space
    config.supernet.update(cells=3, channels=4)
    config.retrain.update(cells=3, channels=4, auxiliary_weight=0.0)
    return config


@pytest.mark.parametrize(
    ("made", "told"),
    [
        (own("wide"), r"gives 2x12x10x5 for 2x12x10x4, .* want 2x12x10x4"),
        (own("valid"), r"gives 2x10x8x4 for 2x12x10x4, .* want 2x12x10x4"),
        (own("stride"), r"gives 2x12x10x8 for .* stride 2; want 2x6x5x8"),
        (own("tuple"), r"gives a tuple for 2x12x10x4, 4 channels and stride 1"),
        (own("scalar"), r"gives a scalar for .*; want 2x12x10x4"),
        (own("pooled"), r"gives 2x1x1x4 for .*; want 2x12x10x4"),
        (own("tests"), r"gives 2x1x1x4 for .*; want 2x12x10x4"),
        (own("numbers"), r"gives int32 for float32; want the dtype of its input"),
        (own("stream"), r"a stream .* not there; want one of noise, .*dropout"),
        (own("cache"), r"keeps variables in cache; want params and batch_stats alone"),
        (own("fails"), r"fails for 2x12x10x4, .*: TypeError: dot_general requires"),
        (lambda channels, stride: 0, r"cannot be made: too many .* of \(channels, str"),
        (lambda c, s, d: 1 / 0, r"cannot be made: ZeroDivisionError: division by zero"),
        (lambda c, s, d: NoTrain(), r"cannot be called as \(x, train\): too many"),
        (lambda c, s, d: NoTrain, r"is made as NoTrain; want a function of"),
        (lambda c, s, d: Shared(s), r"says edge_independent and has parameters"),
    ],
)
def test_an_operation_that_cannot_work_is_told_with_its_shapes(
    monkeypatch: pytest.MonkeyPatch, made: Any, told: str
) -> None:
    monkeypatch.setitem(OPERATIONS, "own", made)
    monkeypatch.setitem(SPACES, "owned", darts_space("owned", NAMES, NAMES))
    config, data = settings("owned"), images()
    pairs = [("own", 0), ("skip_connect", 1)] * 4
    tree = {"normal": pairs, "normal_concat": range(2, 6)}
    tree |= {"reduce": pairs, "reduce_concat": range(2, 6)}
    genotype = Genotype.from_pairs(tree, "owned")
    for build in (
        lambda: make_supernet(config, data),
        lambda: make_network(config, data, genotype),
    ):
        with pytest.raises(InputError, match=told) as caught:
            build()
        assert str(caught.value).startswith("operation 'own' ")
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("how", ["", "drop", "norm"])
def test_an_operation_that_works_passes(
    monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    monkeypatch.setitem(OPERATIONS, "own", own(how))
    monkeypatch.setitem(SPACES, "owned", darts_space("owned", NAMES, NAMES))
    make_supernet(settings("owned"), images())


def test_ours_are_not_looked_at_and_others_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen = []

    def traced(what: str, of: str, function: Any, *arguments: Any) -> Any:
        seen.append(what)
        return jax.eval_shape(function, *arguments)

    monkeypatch.setattr(soundness, "_trace", traced)
    data = images()
    for space in ("darts", "nasbench201", "mobile_small"):
        make_supernet(settings(space), data)
    assert not seen
    monkeypatch.setitem(OPERATIONS, "own", own("once"))
    monkeypatch.setitem(SPACES, "owned", darts_space("owned", NAMES, NAMES))
    make_supernet(settings("owned"), data)
    before = len(seen)
    assert before
    make_supernet(settings("owned"), data)
    assert len(seen) == before


def test_an_operation_on_a_text_is_looked_at_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cell = chain_cell(1, (("skip_connect", "own"), ("ffn_1x",)))
    space = dataclasses.replace(TRANSFORMER, cells={"transformer": cell})
    monkeypatch.setitem(SEQUENCE_OPERATIONS, "own", lambda: Own(8, 2, ""))
    config = darts_jax.default_config().language.supernet
    with pytest.raises(InputError, match=r"'own' gives 2x4x\d+ for 2x8x\d+; want 2x8"):
        SUPERNETS["transformer"](config, None, space)


def test_dropout_is_on_in_training_alone_and_the_same_however_edges_are_walked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(OPERATIONS, "own", own("drop"))
    space = tiny_space(("own", "skip_connect"))
    key, pixels = jax.random.key(1), jnp.ones((2, 8, 8, 3))
    mixture = Mixture({"normal": jnp.ones((3, 2))})
    nets = [Supernet(space, 3, 1, 4, execution=how) for how in ("scan", "batch")]
    params, stats = initialize_supernet(nets[0], key, (8, 8, 3))
    outputs = []
    for net in nets:
        apply = quick_jit(supernet_apply(net), static_argnames="train")
        outputs.append(
            [
                apply(params, stats, mixture, pixels, jax.random.key(k), train=train)[0]
                for k, train in ((1, True), (2, True), (1, False), (2, False))
            ]
        )
    for train_1, train_2, test_1, test_2 in outputs:
        assert not np.allclose(train_1, train_2)
        np.testing.assert_array_equal(test_1, test_2)
    for scanned, batched in zip(*outputs, strict=True):
        np.testing.assert_allclose(scanned, batched, rtol=1e-5, atol=1e-5)


def test_dropout_works_in_a_genotypes_network_and_its_cost(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(OPERATIONS, "own", own("drop"))
    macro = dataclasses.replace(NASBENCH201.macro, layout=lambda cells: ("normal",))
    cell = Cell(1, 3, dense_edges(1, 3, ("own", "skip_connect")), (3,))
    space = Space("owned", {"normal": cell}, macro, "argmax")
    monkeypatch.setitem(SPACES, "owned", space)
    tree = Genotype.from_nasbench201(
        "|own~0|+|skip_connect~0|own~1|+|own~0|own~1|skip_connect~2|"
    )
    genotype = dataclasses.replace(tree, space="owned")
    net = Network(genotype, macro, 3, 1, 4)
    key = jax.random.key(0)
    pixels = jnp.ones((2, 8, 8, 3))
    rate = jnp.zeros(())
    params, stats = initialize(net, key, pixels, rate)
    apply = quick_jit(network_apply(net), static_argnames="train")
    outputs = [
        apply(params, stats, pixels, rate, jax.random.key(k), train=train)[0].main
        for k, train in ((1, True), (1, True), (2, True), (1, False), (2, False))
    ]
    np.testing.assert_array_equal(outputs[0], outputs[1])
    assert not np.allclose(outputs[0], outputs[2])
    np.testing.assert_array_equal(outputs[3], outputs[4])
    config = settings("owned")
    config.data.name = "digits"
    assert "parameters" in cost(config, genotype)


# Spaces

EDGES = dense_edges(2, 2, NAMES)


@pytest.mark.parametrize(
    ("cell", "told"),
    [
        ((2, 2, EDGES[:2], (2, 3)), "output 3 of a cell is unreachable: no path leads"),
        ((1, 2, (Edge(0, 1, NAMES),), (2,)), "output 2 .* unreachable"),
        ((2, 2, EDGES, (2, 4)), r"output \[2, 4\] of a cell; want .* nodes, 2 to 3"),
        ((2, 2, EDGES, (-1,)), r"output \[-1\]"),
        ((2, 2, EDGES, (0, 2)), r"output \[0, 2\]"),
        ((2, 2, EDGES, ()), r"output \[\]"),
        ((0, 2, EDGES, (2,)), "0 inputs and 2 nodes; want at least 1"),
        ((2, 2, (EDGES[0], *EDGES), (3,)), "edge 0->2 is there twice"),
        ((1, 1, (Edge(0, 1, ()),), (1,)), "edge 0->1 may be nothing"),
        ((1, 1, (Edge(0, 1, ("none",)),), (1,)), "edge 0->1 may be none alone"),
        ((1, 1, (Edge(0, 1, ("own", "own")),), (1,)), "edge 0->1 names .* twice"),
        ((1, 1, (Edge(0, 1, NAMES, 0),), (1,)), "edge 0->1 has stride 0"),
        ((1, 1, (Edge(-1, 1, NAMES),), (1,)), "edge -1->1 is not forward"),
    ],
)
def test_a_cell_that_cannot_be_is_told_when_it_is_made(
    cell: tuple[Any, ...], told: str
) -> None:
    inputs, nodes, edges, output = cell
    with pytest.raises(InputError, match=told):
        Cell(inputs, nodes, edges, output)


CELL = Cell(2, 2, EDGES, (2, 3))
STRIDED = Cell(2, 2, dense_edges(2, 2, NAMES, 2), (2, 3))
ONE = Cell(1, 1, (Edge(0, 1, NAMES),), (1,))
RESIDUAL = Macro(lambda cells: ("normal", "residual"), (), 1, False, False)


@pytest.mark.parametrize(
    ("cells", "macro", "told"),
    [
        ({"normal": CELL, "reduce": STRIDED, "norml": CELL}, MACRO, "'norml' cells"),
        (
            {"norml": CELL, "reduce": STRIDED},
            MACRO,
            "has 'normal' blocks, which are no",
        ),
        ({"normal": CELL}, MACRO, "has 'reduce' blocks"),
        ({}, MACRO, "has no cells"),
        ({"normal": STRIDED, "reduce": STRIDED}, MACRO, r"normal cells .* want 1"),
        ({"normal": CELL, "reduce": CELL}, MACRO, r"reduce cells .* want 2"),
        ({"normal": ONE, "reduce": STRIDED}, MACRO, "have 1 inputs; want 2"),
        ({"normal": ONE}, RESIDUAL, "residual blocks .* among the reductions"),
    ],
)
def test_a_space_whose_cells_do_not_fit_is_told_when_it_is_made(
    cells: dict[str, Cell], macro: Macro, told: str
) -> None:
    with pytest.raises(InputError, match=told):
        Space("owned", cells, macro, "two_strongest")


def test_names_that_a_space_has_wrong_are_told_before_anything_is_compiled(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config, data = settings("owned"), images()
    space = darts_space("owned", ("skip_connect",), ("skip_connect",))
    wrong = (
        (
            {"discretization": "nope"},
            r"discretization of space 'owned'.* 'nope'; known",
        ),
        ({"supernet_variants": {"skip_connect": "skip_conect"}}, "'skip_conect'; did"),
        ({"name": "other"}, "is named 'other'"),
    )
    for change, told in wrong:
        monkeypatch.setitem(SPACES, "owned", dataclasses.replace(space, **change))
        with pytest.raises(InputError, match=told):
            make_supernet(config, data)
    with pytest.raises(InputError, match="a variant of 'nor_conv_1x1'"):
        dataclasses.replace(space, supernet_variants={"nor_conv_1x1": "nor_conv_3x3"})
    unknown = darts_space("owned", ("sep_conv3x3",), ("skip_connect",))
    monkeypatch.setitem(SPACES, "owned", unknown)
    with pytest.raises(InputError, match="'sep_conv3x3'; did you mean 'sep_conv_3x3'"):
        make_supernet(config, data)


def test_every_space_of_ours_fits() -> None:
    for name in list(SPACES):
        if name != "owned":
            assert get_space(name).name == name


def test_an_operation_that_halves_is_refused_where_it_must_not():
    module = make_operation("pool_and_project", 4, 1, discrete=False)
    with pytest.raises(InputError, match="want stride 2, not 1"):
        module.init(jax.random.key(0), jnp.zeros((1, 4, 4, 4)), train=False)
