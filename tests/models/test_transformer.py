"""Transformer chains: against NumPy, one-hot as discrete, causality, counts, runs."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import darts_jax
from darts_jax.bilevel.discretization import argmax, one_hot, random_genotype
from darts_jax.cli.main import main
from darts_jax.data.text import Corpus
from darts_jax.errors import InputError
from darts_jax.models.functional import (
    count_parameters,
    initialize,
    network_apply,
    supernet_apply,
)
from darts_jax.models.language import Dropouts
from darts_jax.models.transformer import (
    TransformerNetwork,
    TransformerSupernet,
    repeated_operations,
)
from darts_jax.plots.cells import draw_genotype
from darts_jax.settings.config import default_config
from darts_jax.settings.config_files import load_config
from darts_jax.spaces.graph import CellGenotype, Genotype, KeptEdge, dense_edges
from darts_jax.spaces.transformer import (
    FEED_FORWARDS,
    MIXERS,
    TRANSFORMER,
    chain_cell,
)
from darts_jax.tasks.language.networks import NETWORKS, PARAMETERS, SUPERNETS
from darts_jax.tasks.registry import TASKS, load_data
from darts_jax.training import loop
from darts_jax.types import Mixture, Text
from tests.support.reference import unigram_perplexity
from tests.support.text_searches import CHOICES, learn_two_steps
from tests.support.tiny import quick_jit

WORDS, UNITS, BATCH, TIME, LAYERS = 11, 8, 3, 10, 2
KEY = jax.random.key(0)
CELL = chain_cell(LAYERS, (MIXERS, FEED_FORWARDS))
SMALL = dataclasses.replace(
    TRANSFORMER, name="transformer_small", cells={"transformer": CELL}
)


def text(seed=0):
    tokens = np.random.default_rng(seed).integers(0, WORDS, (BATCH, TIME + 1))
    return Text(
        tokens[:, :-1].astype(np.int32),
        tokens[:, 1:].astype(np.int32),
        np.ones((BATCH, TIME), bool),
        np.zeros(BATCH, bool),
        np.zeros(BATCH, np.int32),
    )


def to64(tree):
    rng = np.random.default_rng(3)
    return jax.tree.map(lambda x: rng.normal(size=x.shape), tree)


def normal(x, given):
    centred = x - x.mean(-1, keepdims=True)
    deviation = np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5)
    return centred / deviation * given["scale"] + given["bias"]


def attention(x, given, heads):
    """Attends by one text, head and time after another, to what is not behind it."""
    queries, keys, values = np.split(x @ given["into"], 3, axis=-1)
    size, out = x.shape[-1] // heads, np.zeros_like(x)
    for b in range(len(x)):
        for head in range(heads):
            part = slice(head * size, (head + 1) * size)
            for t in range(x.shape[1]):
                seen = keys[b, : t + 1, part] @ queries[b, t, part] / np.sqrt(size)
                powers = np.exp(seen - seen.max())
                out[b, t, part] = powers / powers.sum() @ values[b, : t + 1, part]
    return out @ given["out"]


def causal_conv(x, given, kernel):
    out = np.zeros_like(x)
    for t in range(x.shape[1]):
        for back in range(min(kernel, t + 1)):
            out[:, t] += given["kernel"][kernel - 1 - back] * x[:, t - back]
    return out


def ffn(x, given, multiple):
    assert given["hidden"]["kernel"].shape[-1] == multiple * x.shape[-1]
    inner = x @ given["hidden"]["kernel"] + given["hidden"]["bias"]
    return np.maximum(inner, 0) @ given["out"]["kernel"] + given["out"]["bias"]


def operated(name, x, given):
    kind, _, number = name.rpartition("_")
    functions = {"attention": attention, "causal_conv": causal_conv, "ffn": ffn}
    return functions[kind](x, given[name], int(number.rstrip("x")))


def mixed(x, params, mixture):
    """The chain of a search, edge after edge and operation after operation."""
    for e, edge in enumerate(CELL.edges):
        own = jax.tree.map(lambda leaf, e=e: leaf[e // 2], params[f"edges_{e % 2}"])
        added = np.zeros_like(x)
        for o, name in enumerate(edge.operations):
            if name != "skip_connect":
                given = normal(x, own["norm"])
                added += mixture[e, o] * operated(name, given, own)
        x = x + added
    return x


def embedded(batch, words):
    places = np.zeros((TIME, UNITS))
    for t in range(TIME):
        for i in range(UNITS // 2):
            angle = t / 10_000 ** (2 * i / UNITS)
            places[t, i], places[t, UNITS // 2 + i] = np.sin(angle), np.cos(angle)
    return np.sqrt(UNITS) * (words[batch.tokens] + 0.04 * places)


def losses(states, params, targets):
    logits = states @ params["words"].T + params["bias"]
    shifted = logits - logits.max(-1, keepdims=True)
    log_p = shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))
    return -np.take_along_axis(log_p, targets[..., None], -1)[..., 0]


@pytest.fixture(scope="module")
def supernet():
    net = TransformerSupernet(SMALL, WORDS, UNITS, Dropouts())
    mixture = Mixture({"transformer": jnp.zeros(CELL.shape)})
    made = initialize(net, KEY, text(), mixture)
    assert jax.tree.leaves(made.stats) == []  # nothing is carried on
    apply = quick_jit(supernet_apply(net), static_argnames="train")
    return apply, to64(made.params)


def read(supernet, mixture, batch, params=None):
    apply, own = supernet
    with jax.enable_x64(True):
        given = Mixture({"transformer": jnp.asarray(mixture)})
        out, _ = apply(params or own, {}, given, batch, KEY, train=True)
    return out


def shares(seed=5):
    return np.random.default_rng(seed).dirichlet(np.ones(CELL.shape[1]), 2 * LAYERS)


def test_the_search_chain_equals_numpy(supernet):
    batch, params = text(), supernet[1]
    got = read(supernet, shares(), batch)
    words = params["reader"]["vocabulary"]
    last = mixed(embedded(batch, words["words"]), params, shares())
    states = normal(last, params["reader"]["norm"])
    np.testing.assert_allclose(got.states, states, rtol=1e-9, atol=1e-12)
    want = losses(states, words, batch.targets)
    np.testing.assert_allclose(got.losses, want, rtol=1e-9)


def test_a_later_token_changes_no_earlier_output(supernet):
    batch, other, at = text(), text(), 6
    other.tokens[:, at] = (other.tokens[:, at] + 1) % WORDS
    for mixture in (shares(), *np.eye(CELL.shape[1])[:, None].repeat(4, 1)):
        one, two = (read(supernet, mixture, b).states for b in (batch, other))
        np.testing.assert_array_equal(one[:, :at], two[:, :at])
        assert (one[:, at] != two[:, at]).any(-1).all()
    one, two = (read(supernet, shares(), b).states for b in (batch, other))
    assert (one[:, at + 1 :] != two[:, at + 1 :]).any(-1).all()


def own_parameters(params, genotype):
    """Returns those of a supernet's parameters that a genotype's network has."""
    found = {"reader": params["reader"]}
    for e, choice in enumerate(genotype.cells["transformer"].choices):
        if choice.operation != "skip_connect":
            stack = params[f"edges_{e % 2}"]
            kept = {name: stack[name] for name in ("norm", choice.operation)}
            layer = e // 2
            found[f"edge_{e}"] = jax.tree.map(lambda leaf, i=layer: leaf[i], kept)
    return found


def made_of(*operations):
    choices = tuple(KeptEdge(e + 1, e, name) for e, name in enumerate(operations))
    cell = CellGenotype(1, choices, (len(choices),))
    return Genotype("transformer_small", {"transformer": cell})


@pytest.mark.parametrize(
    "operations",
    [
        ("attention_2", "ffn_4x", "causal_conv_7", "ffn_1x"),
        ("attention_8", "skip_connect", "skip_connect", "ffn_2x"),
        ("causal_conv_3", "ffn_2x", "attention_4", "skip_connect"),
    ],
)
def test_a_one_hot_mixture_is_the_discrete_network(supernet, operations):
    genotype = made_of(*operations)
    given = one_hot(SMALL, genotype).weights["transformer"]
    whole = read(supernet, given.astype(np.float64), text())
    net = TransformerNetwork(genotype.cells["transformer"], WORDS, UNITS, Dropouts())
    params = own_parameters(supernet[1], genotype)
    apply = quick_jit(network_apply(net), static_argnames="train")
    with jax.enable_x64(True):
        alone, stats = apply(params, {}, text(), jnp.zeros(()), KEY, train=False)
    assert stats == {}
    np.testing.assert_allclose(alone.losses, whole.losses, rtol=1e-9)
    np.testing.assert_allclose(alone.states, whole.states, rtol=1e-9, atol=1e-12)


def block_size(name, d):
    """Normalisation, then what the operation's formula has."""
    kind, _, number = name.rpartition("_")
    n = int(number.rstrip("x") or 0) if kind != "skip" else 0
    own = {
        "attention": 4 * d**2,
        "causal_conv": n * d,
        "ffn": 2 * n * d**2 + (n + 1) * d,
    }
    return 2 * d + own[kind] if kind in own else 0


def settings(units):
    made = default_config().language.network
    made.units = units
    return made


def corpus(words=WORDS):
    none = np.zeros(2, np.int32)
    return Corpus("made", none, none, none, tuple(map(str, range(words))))


def size(net):
    example = (text(), jnp.zeros(()), False)
    keys = {"params": KEY, "noise": KEY}
    made = jax.eval_shape(lambda: net.init(keys, *example))
    return count_parameters(made["params"])


@pytest.mark.parametrize("seed", range(3))
def test_parameters_by_formula(seed):
    genotype = random_genotype(TRANSFORMER, np.random.default_rng(seed))
    d = 64
    net = NETWORKS["transformer"](settings(d), corpus(50), genotype)
    names = [c.operation for c in genotype.cells["transformer"].choices]
    assert len(names) == 8
    blocks = sum(block_size(name, d) for name in names)
    assert size(net) == 50 * d + 50 + 2 * d + blocks
    costs = PARAMETERS["transformer"](
        SUPERNETS["transformer"](settings(d), corpus(50), TRANSFORMER)
    )["transformer"]
    chosen = one_hot(TRANSFORMER, genotype).weights["transformer"]
    assert (costs * chosen).sum() * 1e6 == pytest.approx(blocks)


@pytest.mark.parametrize("name", ["transformer", "recurrent"])
def test_what_a_network_is_expected_to_cost_is_its_parameters(name):
    config, words = default_config(), corpus(50)
    config.update(task="language", space=name)
    config.language.network.units = 32
    space = darts_jax.SPACES[name]
    rng = np.random.default_rng(0)
    expected = TASKS["language"].expected_cost(config, words, "parameters")
    for _ in range(2):
        genotype = random_genotype(space, rng)
        net = NETWORKS[name](config.language.network, words, genotype)
        chosen = one_hot(space, genotype).weights.items()
        told = expected({kind: w.astype(float) for kind, w in chosen})
        assert 1e6 * told == pytest.approx(size(net), abs=1e-6)
    with pytest.raises(InputError, match=r"search\.costs is macs, of operations"):
        TASKS["language"].expected_cost(config, words, "macs")


def test_dropout_is_for_training_alone_and_by_the_key():
    rates = Dropouts(*[0.3] * 5)
    net = TransformerNetwork(
        made_of("attention_2", "ffn_1x", "causal_conv_3", "ffn_1x").cells[
            "transformer"
        ],
        WORDS,
        UNITS,
        rates,
    )
    params = initialize(net, KEY, text(), jnp.zeros(())).params
    apply = quick_jit(network_apply(net), static_argnames="train")

    def states(key, train):
        given = params, {}, text(), jnp.zeros(()), jax.random.key(key)
        return np.asarray(apply(*given, train=train)[0].states)

    assert np.array_equal(states(1, True), states(1, True))
    assert not np.array_equal(states(1, True), states(2, True))
    assert np.array_equal(states(1, False), states(2, False))


def test_layers_are_what_repeats():
    assert repeated_operations(CELL) == (MIXERS, FEED_FORWARDS)
    assert repeated_operations(chain_cell(4, (MIXERS,))) == (MIXERS,)
    uneven = dataclasses.replace(CELL, edges=CELL.edges[:3], nodes=3, output=(3,))
    assert repeated_operations(uneven) == (MIXERS, FEED_FORWARDS, MIXERS)


def test_of_every_edge_the_strongest_operation_is_kept():
    alpha = np.random.default_rng(0).normal(size=CELL.shape)
    alpha[1::2, len(FEED_FORWARDS) :] = 9.0  # no operations
    names = [
        edge.operations[row[: len(edge.operations)].argmax()]
        for row, edge in zip(alpha, CELL.edges, strict=True)
    ]
    assert argmax(SMALL, {"transformer": alpha}) == made_of(*names)


def test_a_genotype_is_drawn_by_kinds():
    figure = draw_genotype(made_of("attention_2", "ffn_4x", "causal_conv_3", "ffn_1x"))
    (legend,) = figure.legends
    told = {shown.get_text() for shown in legend.texts}
    assert told == {"attention", "feed-forward", "convolution", "output"}


@pytest.mark.parametrize(
    ("units", "genotype", "told"),
    [
        (12, made_of("attention_8"), "12 units cannot be shared .* multiple of 8"),
        (8, made_of("attention_3"), "unknown operation on a text 'attention_3'"),
        (
            8,
            Genotype(
                "transformer",
                {"transformer": CellGenotype(1, (KeptEdge(2, 0, "ffn_1x"),), (2,))},
            ),
            "a transformer wants a chain",
        ),
        (8, Genotype("transformer", {}), "has no transformer cell"),
    ],
)
def test_mistakes_in_a_genotype_are_told(units, genotype, told):
    with pytest.raises(InputError, match=told):
        NETWORKS["transformer"](settings(units), corpus(), genotype)


def test_mistakes_in_a_space_are_told():
    dense = dataclasses.replace(CELL, edges=dense_edges(1, 4, MIXERS))
    space = dataclasses.replace(TRANSFORMER, cells={"transformer": dense})
    with pytest.raises(InputError, match=r"edges of transformer are .* wants a chain"):
        SUPERNETS["transformer"](settings(8), corpus(), space)
    with pytest.raises(InputError, match="36 units cannot be shared"):
        SUPERNETS["transformer"](settings(36), corpus(), TRANSFORMER)


FEW = dataclasses.replace(  # compiled in a third of the time
    TRANSFORMER,
    name="transformer_few",
    cells={"transformer": chain_cell(2, (MIXERS[:2], FEED_FORWARDS[:2]))},
)
RUN = [
    *("task=language", "space=transformer_small"),
    *("language.window=12", "language.test_batch_size=4", "language.patience=0"),
    *("search.epochs=2", "search.batch_size=8", "search.weights.learning_rate=0.3"),
    *("search.weights.final_learning_rate=0.3", "search.weights.clip=0.5"),
    *("search.architecture.learning_rate=0.02", "search.warmup=0"),
    *("retrain.epochs=3", "retrain.batch_size=8", "retrain.weights.clip=0.5"),
    *("retrain.weights.learning_rate=0.3", "baseline.random_genotypes=1"),
    *("search.budget.rule=augmented", "search.budget.target=0.005"),
    "baseline.equal_cost=parameters",
] + [
    f"language.{part}.{setting}"
    for part in ("supernet", "network")
    for setting in (
        *("units=16", "jitter=0.0", "slowness=0.0"),
        *(
            f"dropouts.{name}=0.05"
            for name in ("embedding", "inputs", "hidden", "output")
        ),
    )
]


@pytest.fixture
def tale(tmp_path, monkeypatch):
    """A letter is told by the one three before it, nine times of ten."""
    for space in (SMALL, FEW):
        monkeypatch.setitem(darts_jax.SPACES, space.name, space)
    rng = np.random.default_rng(0)
    letters = list(rng.integers(0, 8, 3))
    for surprise in rng.random(6000) < 0.1:
        letters.append(int(rng.integers(8)) if surprise else (letters[-3] * 3 + 1) % 8)
    path = tmp_path / "tale.txt"
    path.write_text("".join("abcdefgh"[i] for i in letters))
    return [f"data.name=chars:{path}", *RUN]


@pytest.mark.slow
def test_a_run_learns_what_follows_and_resumes(tale, tmp_path, monkeypatch):
    config = load_config(None, tale)
    flags = [f"--config.{setting}" for setting in tale]
    runs = [tmp_path / "whole", tmp_path / "cut"]
    assert main(["run", "--run", str(runs[0]), *flags]) == 0
    summary = json.loads((runs[0] / "summary.json").read_text())
    assert [net["name"] for net in summary["networks"]] == ["retrain", "random_0"]
    searched, other = summary["networks"]
    for net in (searched, other):
        assert 1e6 * net["cost"] == pytest.approx(net["parameters"], abs=1e-6)
    assert searched["cost"] <= 0.005
    assert 0.95 * searched["cost"] <= other["cost"] <= searched["cost"]
    unigram = unigram_perplexity(load_data(config))
    assert 7 < unigram < 8.5
    best = min(net["test_perplexity"] for net in summary["networks"])
    assert 1 < best < 0.8 * unigram
    assert (runs[0] / "genotype.svg").exists()
    asked = iter(range(10_000))
    with monkeypatch.context() as patched:
        patched.setattr(loop, "_SECONDS_PER_CALL", 0.0)
        patched.setattr(loop, "is_set_in_any_process", lambda _: next(asked) == 30)
        with pytest.raises(loop.StoppedError):
            main(["run", "--run", str(runs[1]), *flags])
    assert main(["run", "--run", str(runs[1]), *flags]) == 0
    one, other = ((run / "summary.json").read_text() for run in runs)
    assert one == other


COSTLY = ["search.terms.expected_cost=0.1"]


@pytest.mark.slow
@pytest.mark.parametrize("name", CHOICES)
def test_the_choices_of_a_search_are_those_of_images(tale, name):
    small = ["space=transformer_few", "language.window=4", "search.batch_size=4"]
    costs = COSTLY if name == "perturbed" else []
    settings = [*tale, *small, *CHOICES[name], *costs]
    new = learn_two_steps(settings, "transformer")
    assert (float(new.baseline) > 0) == (name == "rewards")
