"""Rules that read a genotype off: each against a slow one written from its paper."""

import numpy as np
import pytest

from darts_jax.bilevel.discretization import (
    DISCRETIZATIONS,
    argmax,
    edge_weighted,
    few_skips,
    sigmoid_weights,
    simplex_weights,
    softmax_weights,
    threshold,
    two_strongest,
)
from darts_jax.errors import InputError
from darts_jax.spaces import get_space
from darts_jax.spaces.graph import KeptEdge
from tests.support.tiny import ragged_space

DARTS, RAGGED = get_space("darts"), ragged_space()
seeds = pytest.mark.parametrize("seed", range(20))
spaces = pytest.mark.parametrize("space", [DARTS, RAGGED], ids=lambda s: s.name)


def random_alpha(space, seed, scale=1.0):
    rng = np.random.default_rng(seed)
    alpha = {k: scale * rng.normal(size=c.shape) for k, c in space.cells.items()}
    for kind, cell in space.cells.items():
        alpha[f"{kind}.edges"] = rng.normal(size=len(cell.edges))
    return alpha


def table(cell, weigh):
    """(source, target) -> {operation: weight}, by a function of (edge, op)."""
    return {
        (edge.source, edge.target): {
            op: weigh(e, o) for o, op in enumerate(edge.operations)
        }
        for e, edge in enumerate(cell.edges)
    }


def softmax_table(cell, logits):
    sizes = [len(edge.operations) for edge in cell.edges]
    return table(
        cell,
        lambda e, o: np.exp(logits[e, o]) / np.exp(logits[e, : sizes[e]]).sum(),
    )


def two_of(weights, cell, most=2, level=-1.0):
    """node -> the strongest operations of its strongest edges, strongest first."""
    kept = {}
    for target in range(cell.inputs, cell.states):
        found = [
            (weight, KeptEdge(target, source, op))
            for (source, end), options in weights.items()
            for op, weight in options.items()
            if end == target and op != "none" and weight > level
        ]
        best = {}
        for weight, choice in found:
            best[choice.source] = max(
                best.get(choice.source, (-1.0,)), (weight, choice), key=lambda x: x[0]
            )
        kept[target] = [c for _, c in sorted(best.values(), key=lambda x: -x[0])[:most]]
    return kept


def flat(kept):
    return tuple(choice for choices in kept.values() for choice in choices)


def skips(cell):
    return sum(choice.operation == "skip_connect" for choice in cell.choices)


@spaces
@seeds
def test_edge_weighted_multiplies_by_the_edges_share(space, seed):
    alpha = random_alpha(space, seed)
    genotype = edge_weighted(space, alpha)
    for kind, cell in space.cells.items():
        logits = alpha[f"{kind}.edges"]
        weights = softmax_table(cell, alpha[kind])
        for e, edge in enumerate(cell.edges):
            into = [i for i, o in enumerate(cell.edges) if o.target == edge.target]
            share = np.exp(logits[e]) / np.exp(logits[into]).sum()
            options = weights[edge.source, edge.target]
            weights[edge.source, edge.target] = {
                op: share * weight for op, weight in options.items()
            }
        assert genotype.cells[kind].choices == flat(two_of(weights, cell))


def test_edge_weighted_reads_shares_on_the_simplex():
    """GAEA PC-DARTS multiplies shares of operations by shares of edges."""
    rng = np.random.default_rng(0)
    cell = DARTS.cells["normal"]
    ends = np.array([edge.target for edge in cell.edges])
    alpha = {}
    for kind in DARTS.cells:
        alpha[kind] = rng.dirichlet(np.ones(8), 14)
        edges = rng.uniform(size=14)
        alpha[kind + ".edges"] = edges / ((ends[:, None] == ends) @ edges)
    found = edge_weighted(DARTS, alpha, simplex_weights).cells["normal"]
    both = alpha["normal"][:, 1:] * alpha["normal.edges"][:, None]
    for target in range(2, 6):
        rows = sorted(cell.incoming(target), key=lambda e: -both[e].max())[:2]
        want = {
            (cell.edges[e].source, cell.edges[e].operations[1 + both[e].argmax()])
            for e in rows
        }
        got = {(c.source, c.operation) for c in found.choices if c.target == target}
        assert got == want


def test_edge_logits_decide_whatever_their_size():
    alpha = random_alpha(DARTS, 0)
    wanted = {2: (1, 0), 3: (2, 0), 4: (3, 1), 5: (0, 4)}
    for kind, cell in DARTS.cells.items():
        alpha[f"{kind}.edges"] = np.array(
            [
                -2000.0 * edge.target
                + 900 * (edge.source == wanted[edge.target][0])
                + 800 * (edge.source == wanted[edge.target][1])
                for edge in cell.edges
            ]
        )
    # The second edge has a share of exp(-100), the third one of less than exp(-800).
    genotype = edge_weighted(DARTS, alpha)
    for kind in DARTS.cells:
        choices = genotype.cells[kind].choices
        assert [c.source for c in choices] == [
            s for two in wanted.values() for s in two
        ]


def test_edge_weighted_needs_edge_logits_and_others_ignore_them():
    alpha = random_alpha(DARTS, 1)
    plain = {kind: alpha[kind] for kind in DARTS.cells}
    with pytest.raises(InputError, match="edge_weighted needs edge logits"):
        edge_weighted(DARTS, plain)
    for name in DISCRETIZATIONS.keys() - {"edge_weighted"}:
        rule = DISCRETIZATIONS[name]
        assert rule(DARTS, alpha) == rule(DARTS, plain), name


@spaces
@seeds
def test_threshold_keeps_what_is_above_it(space, seed):
    alpha = random_alpha(space, seed, scale=1.5)
    genotype = threshold(space, alpha)
    for kind, cell in space.cells.items():
        weights = table(cell, lambda e, o, a=alpha[kind]: 1 / (1 + np.exp(-a[e, o])))
        kept = two_of(weights, cell, level=0.85)
        for target, choices in kept.items():
            kept[target] = choices or [KeptEdge(target, 0, "none")]
        assert genotype.cells[kind].choices == flat(kept)


def test_threshold_at_its_extremes():
    shy = {kind: np.zeros(cell.shape) for kind, cell in DARTS.cells.items()}
    nothing = threshold(DARTS, shy)
    for cell in nothing.cells.values():
        assert [c.operation for c in cell.choices] == ["none"] * 4
        assert not cell.is_connected
    everything = threshold(DARTS, shy, level=0.4)
    assert [len(cell.choices) for cell in everything.cells.values()] == [8, 8]


def slow_few_skips(cell, weights, most):
    while True:
        choices = flat(two_of(weights, cell))
        kept = [c for c in choices if c.operation == "skip_connect"]
        if len(kept) <= most:
            return choices
        weakest = min(kept, key=lambda c: weights[c.source, c.target]["skip_connect"])
        weights[weakest.source, weakest.target]["skip_connect"] = 0.0


@pytest.mark.parametrize("most", [0, 2])
@seeds
def test_few_skips_drops_the_weakest_one_by_one(seed, most):
    alpha = random_alpha(DARTS, seed)
    for kind, cell in DARTS.cells.items():
        alpha[kind][:, cell.operations.index("skip_connect")] += 2.5
    crowded = two_strongest(DARTS, alpha)
    genotype = few_skips(DARTS, alpha, most=most)
    cell = DARTS.cells["normal"]
    want = slow_few_skips(cell, softmax_table(cell, alpha["normal"]), most)
    assert skips(crowded.cells["normal"]) > 3
    assert genotype.cells["normal"].choices == want
    assert skips(genotype.cells["normal"]) <= most
    assert genotype.cells["reduce"] == crowded.cells["reduce"]


def test_few_skips_leaves_what_is_within_bounds_and_what_has_no_other():
    alpha = random_alpha(DARTS, 3)
    assert few_skips(DARTS, alpha, most=8) == two_strongest(DARTS, alpha)
    # Both edges into the first node can be nothing else: the loop has to end.
    cell = few_skips(RAGGED, random_alpha(RAGGED, 3), most=0).cells["normal"]
    assert [c.operation for c in cell.choices[:2]] == ["skip_connect"] * 2
    assert "skip_connect" not in [c.operation for c in cell.choices if c.source < 2][2:]


def test_readings_are_their_formulas():
    cell = RAGGED.cells["normal"]
    mask = np.array(cell.mask)
    values = np.random.default_rng(0).uniform(0.1, 1, cell.shape)
    powers = np.where(mask, np.exp(values), 0)
    shares = np.where(mask, values, 0)
    for read, want in (
        (softmax_weights, powers / powers.sum(-1, keepdims=True)),
        (sigmoid_weights, 1 / (1 + np.exp(-values))),
        (simplex_weights, shares / shares.sum(-1, keepdims=True)),
    ):
        got = read(cell, values)
        np.testing.assert_allclose(got[mask], want[mask], rtol=1e-12)
        assert (got[~mask] == -1).all()


def test_a_rule_reads_what_it_is_told_to():
    """Logarithms of shares under softmax are the shares themselves."""
    for seed in range(5):
        rng = np.random.default_rng(seed)
        shares = {k: rng.dirichlet(np.ones(8), 14) for k in DARTS.cells}
        logs = {kind: np.log(share) for kind, share in shares.items()}
        for rule in (two_strongest, argmax, few_skips):
            assert rule(DARTS, shares, read=simplex_weights) == rule(DARTS, logs)
    alpha = random_alpha(DARTS, 0)
    negative = {kind: -alpha[kind] for kind in DARTS.cells}
    weakest = argmax(DARTS, alpha, read=lambda cell, a: softmax_weights(cell, -a))
    assert weakest == argmax(DARTS, negative)
    by_sigmoid = two_strongest(DARTS, alpha, read=sigmoid_weights)
    assert by_sigmoid != two_strongest(DARTS, alpha)
