"""Perturbation-based selection on a trained supernet, decision by decision by hand."""

import itertools

import jax
import numpy as np
import pytest

import darts_jax
from darts_jax.bilevel.discretization import one_hot
from darts_jax.bilevel.selection import TrainedSupernet, most_probable
from darts_jax.models.functional import supernet_apply
from darts_jax.settings.config import with_overrides
from darts_jax.spaces import moves
from darts_jax.spaces.graph import (
    Cell,
    CellGenotype,
    Genotype,
    KeptEdge,
    Macro,
    Space,
    dense_edges,
)
from darts_jax.tasks.image_networks import make_supernet
from darts_jax.training.restore import SavedSearch
from darts_jax.types import Mixture

OPERATIONS = ("none", "skip_connect", "nor_conv_3x3")


@pytest.fixture(autouse=True, scope="module")
def space():
    """Two edges into one node and three into the next, of which two are kept."""
    cell = Cell(2, 2, dense_edges(2, 2, OPERATIONS), output=(2, 3))
    macro = Macro(lambda cells: ("normal",) * cells, (), 1, True, False)
    made = Space("five_edges", {"normal": cell}, macro, "two_strongest")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(darts_jax.SPACES, "five_edges", made)
        yield made


def images():
    """Classes by how their noise runs: along rows, columns or neither."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 384)
    noise = rng.normal(size=(384, 8, 8, 3))
    runs = {0: noise[:, :1], 1: noise[:, :, :1], 2: noise}
    pixels = np.stack(
        [np.broadcast_to(runs[c][i], (8, 8, 3)) for i, c in enumerate(labels)]
    )
    pixels = np.clip(128 + 50 * pixels + 40 * noise, 0, 255).astype(np.uint8)
    return darts_jax.from_arrays(pixels, labels, pixels[:64], labels[:64])


def settings(seed):
    config = darts_jax.default_config()
    config.space, config.seed = "five_edges", seed
    config.supernet.update(cells=2, channels=4)
    config.search.update(epochs=6, batch_size=16)
    return with_overrides(config, ["search.architecture.learning_rate=0.05"])


def accuracy_of(run, dataset):
    """Mixture -> accuracy on the validation half, with the network itself."""
    saved = SavedSearch(run)
    _, state = saved.restore(dataset=dataset)
    apply = supernet_apply(make_supernet(saved.config, dataset))
    levels = dataset.train_images / 255
    pixels = (levels - levels.mean((0, 1, 2))) / levels.std((0, 1, 2))
    half = len(levels) // 2
    pixels, labels = pixels[half:].astype(np.float32), dataset.train_labels[half:]
    logits = jax.jit(
        lambda weights: apply(
            state.params,
            state.stats,
            Mixture({"normal": weights}),
            pixels,
            jax.random.key(0),
            train=False,
        )[0]
    )

    def accuracy(weights):
        chosen = np.argmax(logits(np.float32(weights)), -1)
        return float(np.mean(chosen == labels))

    return accuracy, np.asarray(state.alpha["normal"], np.float64)


def by_hand(accuracy, alpha, rng):
    """(target, source, operation) of what is kept (Wang et al., 2021, algorithm 1)."""
    edges = [(0, 2), (1, 2), (0, 3), (1, 3), (2, 3)]
    left = {edge: list(range(3)) for edge in edges}
    gone = set()

    def worth(edge, lost):
        weights = np.zeros((5, 3))
        for row, each in zip(weights, edges, strict=True):
            own = left[each]
            powers = np.exp(alpha[edges.index(each)][own])
            if each not in gone:
                row[own] = powers / powers.sum()
        weights[edges.index(edge), lost] = 0
        return accuracy(weights)

    for i in rng.permutation(5):
        worths = {o: worth(edges[i], o) for o in (1, 2)}
        left[edges[i]] = [min(worths, key=worths.get)]
    for node in np.asarray([2, 3])[rng.permutation(2)]:
        into = [edge for edge in edges if edge[1] == node]
        worths = {edge: worth(edge, slice(None)) for edge in into}
        gone |= set(sorted(into, key=worths.get)[2:])
    return {
        (target, source, OPERATIONS[left[source, target][0]])
        for source, target in edges
        if (source, target) not in gone
    }


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1])
def test_perturbation_keeps_what_the_network_misses_most(tmp_path, seed):
    dataset = images()
    darts_jax.search(settings(seed), tmp_path / "run", dataset)
    found = darts_jax.select(tmp_path / "run", "perturbation", dataset=dataset)
    got = {(c.target, c.source, c.operation) for c in found.cells["normal"].choices}
    rng = np.random.default_rng(seed)
    assert got == by_hand(*accuracy_of(tmp_path / "run", dataset), rng)


def every_genotype(space):
    """All genotypes of a space with one kind of cell, node by node."""
    rule = moves.RULES[space.discretization]
    (kind, cell), *_ = space.cells.items()
    nodes = []
    for target in range(cell.inputs, cell.states):
        incoming = [cell.edges[e] for e in cell.incoming(target)]
        nodes.append(
            [
                tuple(
                    KeptEdge(target, edge.source, op)
                    for edge, op in zip(kept, chosen, strict=True)
                )
                for kept in itertools.combinations(
                    incoming, rule.keeps or len(incoming)
                )
                for chosen in itertools.product(
                    *(
                        [o for o in e.operations if rule.keeps_none or o != "none"]
                        for e in kept
                    )
                )
            ]
        )
    for combined in itertools.product(*nodes):
        choices = tuple(itertools.chain.from_iterable(combined))
        cells = {kind: CellGenotype(cell.inputs, choices, cell.output)}
        yield Genotype(space.name, cells)


@pytest.mark.parametrize("name", ["five_edges", "nasbench201"])
def test_the_likeliest_genotypes_are_scored_and_no_others(name):
    """SETN's code sorts all genotypes; here every one is listed, too."""
    space = darts_jax.get_space(name)
    rng = np.random.default_rng(0)
    (kind, cell), *_ = space.cells.items()
    alpha = {kind: rng.normal(size=cell.shape)}
    powers = np.exp(alpha[kind])
    table = powers / powers.sum(-1, keepdims=True)
    edges = {(edge.source, edge.target): e for e, edge in enumerate(cell.edges)}

    def probability(genotype):
        return np.prod(
            [
                table[e, cell.edges[e].operations.index(choice.operation)]
                for choice in genotype.cells[kind].choices
                for e in [edges[choice.source, choice.target]]
            ]
        )

    every = sorted(every_genotype(space), key=probability, reverse=True)
    seen = []

    def score(mixture):
        seen.append(mixture.weights[kind])
        return float(len(seen) == 3)

    trained = TrainedSupernet(alpha, {}, score=score, mixture=None, tune=None)
    chosen = most_probable(space, trained, rng, samples=20)
    for weights, genotype in zip(seen, every[:20], strict=True):
        np.testing.assert_array_equal(weights, one_hot(space, genotype).weights[kind])
    got = one_hot(space, chosen).weights[kind]
    np.testing.assert_array_equal(got, seen[2])
