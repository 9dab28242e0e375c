"""Recurrent cells against NumPy: the one-shot cell, a genotype's, masks, counts."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from darts_jax.bilevel.discretization import DISCRETIZATIONS, one_hot, random_genotype
from darts_jax.data.text import Corpus
from darts_jax.errors import InputError
from darts_jax.models.functional import (
    count_parameters,
    initialize,
    network_apply,
    supernet_apply,
)
from darts_jax.models.language import Dropouts
from darts_jax.models.recurrent import RecurrentNetwork, RecurrentSupernet
from darts_jax.settings.config import default_config
from darts_jax.spaces import get_space
from darts_jax.spaces.graph import CellGenotype, Genotype, KeptEdge
from darts_jax.spaces.moves import list_neighbours, sample_genotype
from darts_jax.spaces.published import get_genotype
from darts_jax.spaces.recurrent import PUBLISHED_RECURRENT, RECURRENT
from darts_jax.tasks.language.networks import NETWORKS
from darts_jax.types import Mixture, Text
from tests.support.tiny import quick_jit

WORDS, UNITS, BATCH, TIME = 11, 5, 4, 6
KEY = jax.random.key(0)
CELL = RECURRENT.cells["recurrent"]
F = {
    "tanh": np.tanh,
    "relu": lambda x: np.maximum(x, 0),
    "sigmoid": lambda x: (1 + np.tanh(x / 2)) / 2,
    "identity": lambda x: x,
}
SIGMOID = F["sigmoid"]


def text(present=TIME, fresh=False, stream=0, seed=0, batch=BATCH):
    tokens = np.random.default_rng(seed).integers(0, WORDS, (batch, TIME + 1))
    return Text(
        tokens[:, :-1].astype(np.int32),
        tokens[:, 1:].astype(np.int32),
        np.tile(np.arange(TIME) < present, (batch, 1)),
        np.full(batch, fresh),
        np.full(batch, stream, np.int32),
    )


def to64(tree):
    rng = np.random.default_rng(3)
    return jax.tree.map(lambda x: rng.normal(size=x.shape), tree)


def normal(state, train, mean=0, variance=1):
    if train:
        mean, variance = state.mean(0), state.var(0)
    return (state - mean) / np.sqrt(variance + 1e-5)


def halves(x):
    return x[..., : x.shape[-1] // 2], x[..., x.shape[-1] // 2 :]


def first_state(x, h, into):
    c, new = halves(np.concatenate([x, h], -1) @ into)
    return h + SIGMOID(c) * (np.tanh(new) - h)


def mixed_step(x, h, weights, mixture, moments, train):
    """The cell of a search, edge after edge and activation after activation."""

    def bn(i, state):
        return normal(state, train, moments["mean"][i], moments["var"][i])

    states = [bn(0, first_state(x, h, weights["into"]))]
    row = 0
    for node in range(8):
        total = np.zeros_like(h)
        for source in states:
            c, new = halves(source @ weights["nodes"][node])
            for o, name in enumerate(CELL.edges[row].operations):
                if name != "none":
                    through = source + SIGMOID(c) * (F[name](new) - source)
                    total = total + mixture[row, o] * through
            row += 1
        states.append(bn(node + 1, total))
    return np.mean(states[1:], axis=0)


def chosen_step(x, h, weights, cell, masks):
    # The mask is of what enters the matrix, not of what goes round it.
    c, new = halves(np.concatenate([x * masks[0], h * masks[1]], -1) @ weights["into"])
    states = [h + SIGMOID(c) * (np.tanh(new) - h)]
    for i, choice in enumerate(cell.choices):
        source = states[choice.source]
        c, new = halves((source * masks[1]) @ weights["nodes"][i])
        states.append(source + SIGMOID(c) * (F[choice.operation](new) - source))
    return np.mean([states[i] for i in cell.output], axis=0)


def losses(states, params, targets):
    logits = states @ params["words"].T + params["bias"]
    shifted = logits - logits.max(-1, keepdims=True)
    log_p = shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))
    return -np.take_along_axis(log_p, targets[..., None], -1)[..., 0]


def along(step, batch, hidden, words):
    states = []
    for t in range(TIME):
        if batch.present[0, t]:
            hidden = step(words[batch.tokens[:, t]], hidden)
        states.append(hidden)
    return np.stack(states, 1)


@pytest.fixture(scope="module")
def supernet():
    net = RecurrentSupernet(RECURRENT, WORDS, UNITS, Dropouts())
    mixture = Mixture({"recurrent": jnp.zeros(CELL.shape)})
    params, stats = to64(initialize(net, KEY, text(), mixture))
    kept = stats["reader"]["recurrence"]
    kept["var"] = np.abs(kept["var"])
    return quick_jit(supernet_apply(net), static_argnames="train"), params, stats


@pytest.mark.parametrize(
    ("train", "present", "fresh", "stream"),
    [
        (True, TIME, False, 0),
        (True, 4, False, 1),
        (False, 3, False, 1),
        (True, TIME, True, 1),
    ],
)
def test_the_search_cell_equals_numpy(supernet, train, present, fresh, stream):
    apply, params, stats = supernet
    batch = text(present, fresh, stream)
    mixture = np.random.default_rng(5).dirichlet(np.ones(5), 36)
    with jax.enable_x64(True):
        given = Mixture({"recurrent": jnp.asarray(mixture)})
        got, new = apply(params, stats, given, batch, KEY, train=train)
    weights = params["reader"]["recurrence"]
    kept = stats["reader"]["recurrence"]
    words = params["reader"]["vocabulary"]
    begin = kept["hidden"][:, stream] * (not fresh)

    def step(x, h):
        return mixed_step(x, h, weights, mixture, kept, train)

    states = along(step, batch, begin, words["words"])
    np.testing.assert_allclose(got.states, states, rtol=1e-9, atol=1e-12)
    want = losses(states, words, batch.targets)
    np.testing.assert_allclose(got.losses, want, rtol=1e-9)
    hidden = new["reader"]["recurrence"]["hidden"]
    np.testing.assert_allclose(hidden[:, stream], states[:, -1], rtol=1e-9)
    np.testing.assert_array_equal(hidden[:, 1 - stream], kept["hidden"][:, 1 - stream])
    moved = new["reader"]["recurrence"]["mean"]
    assert np.array_equal(moved, kept["mean"]) == (not train)


def test_what_lies_behind_the_end_changes_nothing(supernet):
    apply, params, stats = supernet
    short, other = text(4, seed=1), text(4, seed=1)
    other.tokens[:, 4:] = 0
    given = Mixture({"recurrent": jnp.full(CELL.shape, 0.2)})
    with jax.enable_x64(True):
        runs = [apply(params, stats, given, b, KEY, train=True) for b in (short, other)]
    (one, after), (two, also) = runs
    np.testing.assert_array_equal(one.losses[:, :4], two.losses[:, :4])
    jax.tree.map(np.testing.assert_array_equal, after, also)


def test_running_moments_are_those_of_pytorch(supernet):
    apply, params, stats = supernet
    batch = text(1)
    given = Mixture({"recurrent": jnp.full(CELL.shape, 0.2)})
    with jax.enable_x64(True):
        _, new = apply(params, stats, given, batch, KEY, train=True)
    kept = stats["reader"]["recurrence"]
    after = new["reader"]["recurrence"]
    x = params["reader"]["vocabulary"]["words"][batch.tokens[:, 0]]
    into = params["reader"]["recurrence"]["into"]
    first = first_state(x, kept["hidden"][:, 0], into)
    want = 0.9 * kept["mean"][0] + 0.1 * first.mean(0)
    np.testing.assert_allclose(after["mean"][0], want, rtol=1e-9)
    want = 0.9 * kept["var"][0] + 0.1 * first.var(0, ddof=1)
    np.testing.assert_allclose(after["var"][0], want, rtol=1e-9)


def small_genotype():
    choices = (
        KeptEdge(1, 0, "relu"),
        KeptEdge(2, 1, "sigmoid"),
        KeptEdge(3, 1, "identity"),
    )
    return CellGenotype(1, choices, (1, 3))


def network(cell, dropouts, units=UNITS):
    net = RecurrentNetwork(cell, WORDS, units, dropouts)
    made = initialize(net, KEY, text(batch=1), jnp.zeros(()))
    return network_apply(net), *to64(made)


def test_masks_stay_the_same_along_the_text():
    """The output is that of one of the constant masks, and not of no mask."""
    units, rate = 2, 0.5
    rates = Dropouts(inputs=rate, hidden=rate)
    apply, params, stats = network(small_genotype(), rates, units)
    with jax.enable_x64(True):
        batch = text(batch=1)
        run = quick_jit(apply, static_argnames="train")
        found = [
            run(params, stats, batch, jnp.zeros(()), jax.random.key(k), train=True)[0]
            for k in range(6)
        ]
    weights = params["reader"]["recurrence"]
    words = params["reader"]["vocabulary"]
    begin = stats["reader"]["recurrence"]["hidden"][:, 0]
    possible = {}
    for bits in itertools.product([0, 2], repeat=2 * units):
        masks = np.array(bits[:units]), np.array(bits[units:])

        def step(x, h, masks=masks):
            return chosen_step(x, h, weights, small_genotype(), masks)

        possible[bits] = along(step, batch, begin, words["words"])
    seen = set()
    for one in found:
        close = [b for b, s in possible.items() if np.allclose(one.states, s, 1e-9)]
        assert len(close) == 1
        seen.update(close)
    assert len(seen) > 1


@pytest.mark.slow
def test_words_are_dropped_wherever_they_stand():
    apply, params, stats = network(small_genotype(), Dropouts(words=0.5))
    with jax.enable_x64(True):
        batch = text(batch=1)
        batch.tokens[:] = 3
        outs = [
            apply(params, stats, batch, jnp.zeros(()), jax.random.key(k), train=True)[0]
            for k in range(8)
        ]
    weights = params["reader"]["recurrence"]
    words = params["reader"]["vocabulary"]
    begin = stats["reader"]["recurrence"]["hidden"][:, 0]
    want = []
    for factor in (0, 2):

        def step(x, h, factor=factor):
            return chosen_step(factor * x, h, weights, small_genotype(), (1, 1))

        want.append(along(step, batch, begin, words["words"]))
    kinds = [[np.allclose(o.states, w, 1e-9) for w in want] for o in outs]
    assert all(sum(kind) == 1 for kind in kinds)
    assert len({kind.index(True) for kind in kinds}) == 2


def test_dropout_is_for_training_alone():
    apply, params, stats = network(small_genotype(), Dropouts(*[0.5] * 5))
    with jax.enable_x64(True):
        batch = text(batch=1)
        given = params, stats, batch, jnp.zeros(())
        one, _ = apply(*given, jax.random.key(1), train=False)
    weights = params["reader"]["recurrence"]
    words = params["reader"]["vocabulary"]
    begin = stats["reader"]["recurrence"]["hidden"][:, 0]

    def step(x, h):
        return chosen_step(x, h, weights, small_genotype(), (1, 1))

    states = along(step, batch, begin, words["words"])
    np.testing.assert_allclose(one.states, states, rtol=1e-9)
    np.testing.assert_array_equal(one.states, one.dropped)


PARAMETERS = {  # 10,000 words of 850 units: embedding, bias, W_0, a matrix a node
    "DARTS_V1_recurrent": 22_960_000,
    "DARTS_V2_recurrent": 22_960_000,
    "ENAS_recurrent": 27_295_000,
}


@pytest.mark.parametrize("name", PUBLISHED_RECURRENT)
def test_parameters_of_published_cells(name):
    """Liu et al. (2019) print 23M for DARTS; the formula gives the exact count."""
    settings = default_config().language.network
    assert settings.units == 850
    words = tuple(map(str, range(10_000)))
    none = np.zeros(2, np.int32)
    corpus = Corpus("made", none, none, none, words)
    genotype = get_genotype(name)
    net = NETWORKS["recurrent"](settings, corpus, genotype)
    example = text(batch=1), jnp.zeros(()), False
    made = jax.eval_shape(lambda: net.init({"params": KEY, "noise": KEY}, *example))
    nodes, unit = len(genotype.cells["recurrent"].choices), 850
    formula = 10_000 * unit + 10_000 + (2 * unit) ** 2 + nodes * unit * 2 * unit
    assert count_parameters(made["params"]) == formula == PARAMETERS[name]


def test_published_cells_are_of_the_space():
    for name, genotype in PUBLISHED_RECURRENT.items():
        assert get_space(genotype.space) is RECURRENT
        assert Genotype.from_json(genotype.to_json()) == genotype
        if name != "ENAS_recurrent":  # of eleven nodes
            assert {m.sum() for m in one_hot(RECURRENT, genotype).weights.values()} == {
                8
            }


def test_of_every_node_the_strongest_edge_is_kept():
    alpha = np.random.default_rng(0).normal(size=CELL.shape)
    alpha[:, 0] = 9.0  # none takes part in the softmax and is never chosen
    powers = np.exp(alpha) / np.exp(alpha).sum(-1, keepdims=True)
    want, row = [], 0
    for node in range(8):
        rows = powers[row : row + node + 1, 1:]
        source, best = np.unravel_index(rows.argmax(), rows.shape)
        want.append((node + 1, int(source), CELL.operations[best + 1]))
        row += node + 1
    rule = DISCRETIZATIONS[RECURRENT.discretization]
    cell = rule(RECURRENT, {"recurrent": alpha}).cells["recurrent"]
    assert [(c.target, c.source, c.operation) for c in cell.choices] == want
    assert cell.output == tuple(range(1, 9))


def test_genotypes_are_drawn_and_stepped_from():
    rng = np.random.default_rng(0)
    for genotype in (sample_genotype(RECURRENT, rng), random_genotype(RECURRENT, rng)):
        cell = genotype.cells["recurrent"]
        assert [c.target for c in cell.choices] == list(range(1, 9))
        assert len(list_neighbours(RECURRENT, genotype)) == 8 * 3 + sum(range(8))


def test_a_node_of_two_edges_is_refused():
    settings = default_config().language.network
    none = np.zeros(2, np.int32)
    corpus = Corpus("made", none, none, none, ("a",))
    two = CellGenotype(1, (KeptEdge(1, 0, "tanh"), KeptEdge(1, 0, "relu")), (1,))
    genotype = Genotype("recurrent", {"recurrent": two})
    with pytest.raises(InputError, match="one edge into every node"):
        NETWORKS["recurrent"](settings, corpus, genotype)
