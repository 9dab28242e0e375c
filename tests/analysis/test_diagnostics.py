"""Numbers about saved architecture parameters, and when they warn."""

import itertools

import numpy as np
import pytest
from scipy import stats

from darts_jax.analysis.diagnostics import (
    collapse_warnings,
    edge_entropy,
    ranking_changes,
    skip_share,
)
from darts_jax.bilevel.discretization import (
    argmax,
    simplex_weights,
    softmax_weights,
    two_strongest,
)
from darts_jax.spaces import get_space
from tests.support.tiny import ragged_space

DARTS = get_space("darts")
RAGGED = ragged_space().cells["normal"]
NORMAL = DARTS.cells["normal"]
SKIP, NONE = (NORMAL.operations.index(op) for op in ("skip_connect", "none"))


def random_logits(cell, seed=0):
    return np.random.default_rng(seed).normal(size=cell.shape)


def sizes(cell):
    return [len(edge.operations) for edge in cell.edges]


@pytest.mark.parametrize("cell", [NORMAL, RAGGED], ids=["darts", "ragged"])
def test_entropy_is_a_share_of_the_largest(cell):
    logits = random_logits(cell)
    want = []
    for row, size in zip(logits, sizes(cell), strict=True):
        p = np.exp(row[:size]) / np.exp(row[:size]).sum()
        want.append(stats.entropy(p) / np.log(size) if size > 1 else 0)
    np.testing.assert_allclose(
        edge_entropy(cell, softmax_weights(cell, logits)), want, atol=1e-12
    )
    many = np.array(sizes(cell)) > 1
    np.testing.assert_allclose(
        edge_entropy(cell, softmax_weights(cell, 0 * logits)), many
    )
    np.testing.assert_allclose(
        edge_entropy(cell, softmax_weights(cell, 1e4 * logits)), 0, atol=1e-12
    )


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("cell", [NORMAL, RAGGED], ids=["darts", "ragged"])
def test_ranking_changes_are_the_swapped_pairs(cell, seed):
    before = random_logits(cell, seed)
    after = random_logits(cell, seed + 1)
    want = sum(
        (before[e, a] > before[e, b]) != (after[e, a] > after[e, b])
        for e, size in enumerate(sizes(cell))
        for a, b in itertools.combinations(range(size), 2)
    )
    assert want > 0
    assert ranking_changes(cell, before, after) == want
    assert ranking_changes(cell, before, 3 * before + 1) == 0


def test_skips_are_counted_and_weighed():
    logits = np.zeros(NORMAL.shape)
    logits[:, SKIP] = np.log(7.0)
    genotype = two_strongest(DARTS, {"normal": logits, "reduce": random_logits(NORMAL)})
    assert genotype.cells["normal"].skips == 8
    assert str(genotype.cells["reduce"]).count("skip_connect") == 1
    assert genotype.cells["reduce"].skips == 1
    weights = softmax_weights(NORMAL, logits)
    assert skip_share(NORMAL, weights) == pytest.approx(0.5)
    # 1, 1/2, 1/3, 1/2 and 1 of equal weights
    even = softmax_weights(RAGGED, np.zeros(RAGGED.shape))
    assert skip_share(RAGGED, even) == pytest.approx(
        (1 + 1 / 2 + 1 / 3 + 1 / 2 + 1) / 5
    )


def warned(normal, rule=two_strongest, **settings):
    healthy = np.abs(random_logits(NORMAL, 2))
    alpha = {"normal": normal, "reduce": healthy}
    return collapse_warnings(DARTS, alpha, rule(DARTS, alpha), **settings)


def test_a_healthy_search_is_told_nothing():
    assert warned(np.abs(random_logits(NORMAL, 2))) == []


def test_each_collapse_is_told_in_one_line():
    start = np.abs(random_logits(NORMAL, 2))
    skips, nothing = start.copy(), start.copy()
    skips[:, SKIP] += 5
    nothing[:, NONE] += 7
    (line,) = warned(skips)
    assert line.startswith("normal cell: 8 of 8 kept edges are skip_connect; ")
    (line,) = warned(nothing)
    assert line.startswith("normal cell: `none` holds 99% of an edge's weight")
    lines = warned(nothing, argmax)
    assert "normal cell: no path leads from an input to the output" in lines[0]
    assert len(lines) == 2
    (line,) = warned(1e-3 * random_logits(NORMAL, 2))
    assert line.startswith("normal cell: its operations weigh the same")
    assert all("\n" not in line for line in lines)


def test_a_short_chain_is_no_collapse():
    space = get_space("mobile_small")
    rng = np.random.default_rng(0)
    alpha = {k: 5 * rng.normal(size=cell.shape) for k, cell in space.cells.items()}
    for kind in ("stage_2", "stage_3"):
        alpha[kind][
            1:3, space.cells[kind].edges[1].operations.index("skip_connect")
        ] = 20
    genotype = argmax(space, alpha)
    assert [cell.skips for cell in genotype.cells.values()] == [0, 2, 2]
    assert collapse_warnings(space, alpha, genotype) == []


def test_warnings_read_the_weights_they_are_told_to():
    """Shares of 0.09 to 0.18 are not even, and all but even to a softmax."""
    shares = np.random.default_rng(0).dirichlet(np.full(8, 50.0), 14)
    assert len(warned(np.log(shares))) == 0

    def rule(space, alpha):
        return two_strongest(space, alpha, read=simplex_weights)

    assert warned(shares, rule, read=simplex_weights) == []
    assert len(warned(shares)) == 1
