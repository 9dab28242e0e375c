"""SGAS's decisions against NumPy, and in a search of the DARTS cell."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from darts_jax.bilevel.decisions import Decisions, certainty

RNG = np.random.default_rng(0)
FULL = np.array([[1, 1, 1, 1], [1, 1, 1, 0], [1, 1, 1, 1], [1, 1, 1, 1], [1, 1, 1, 1]])
FULL = FULL.astype(bool)
NOTHING = np.zeros_like(FULL)
NOTHING[:, 0] = True
CONTESTS = {"normal": (0, 0, 0, 1, 1)}


def make_rule(kept: int) -> Decisions:
    places = {"normal": (kept,) * len(FULL)}
    return Decisions({"normal": FULL}, {"normal": NOTHING}, CONTESTS, places)


def numpy_certainty(logits: np.ndarray) -> np.ndarray:
    importance, entropy = [], []
    for row, mask in zip(logits, FULL, strict=True):
        p = np.exp(row[mask]) / np.exp(row[mask]).sum()
        s = p[1:].sum()
        q = p[1:] / s
        importance.append(s)
        entropy.append(-(q * np.log(q)).sum() / np.log(len(q)))
    spread = [
        (v - v.min()) / (v.max() - v.min())
        for v in (np.array(importance), 1 - np.array(entropy))
    ]
    return np.prod(spread, axis=0)


def test_certainty_is_the_papers_first_criterion() -> None:
    for _ in range(5):
        logits = RNG.normal(size=FULL.shape)
        found = certainty(jnp.array(logits, jnp.float32), FULL, NOTHING)
        np.testing.assert_allclose(found, numpy_certainty(logits), atol=1e-5)
    alike = certainty(jnp.zeros((2, 4)), jnp.ones((2, 4), bool), NOTHING[:2])
    np.testing.assert_array_equal(alike, 0)


def decide_all(
    kept: int, logits: np.ndarray
) -> tuple[np.ndarray, list[tuple[int, int]]]:
    """Returns the last mask, and edge and operation of every decision."""
    rule = make_rule(kept)
    mask = {"normal": jnp.asarray(FULL)}
    order = []
    for due in (0, 1, 1, 2, 3, 4, 5, 9):
        new = jax.jit(rule.decide)({"normal": logits}, mask, jnp.float32(due))
        before = np.array(mask["normal"])
        after = np.array(new["normal"])
        gained = (after.sum(-1) == 1) & (before.sum(-1) > 1) & ~after[:, 0]
        order += [(int(e), int(after[e].argmax())) for e in np.flatnonzero(gained)]
        assert len(order) <= due
        mask = new
    return np.array(mask["normal"]), order


@pytest.mark.parametrize("kept", [1, 2, 5])
def test_edges_are_decided_one_after_another_by_their_certainty(kept: int) -> None:
    logits = RNG.normal(size=FULL.shape).astype("f")
    scores, into, want = numpy_certainty(logits), [0, 0], []
    for e in np.argsort(-scores, kind="stable"):
        contest = CONTESTS["normal"][e]
        if into[contest] < kept:
            into[contest] += 1
            best = np.where(FULL[e] & ~NOTHING[e], logits[e], -np.inf).argmax()
            want.append((int(e), int(best)))
    mask, order = decide_all(kept, logits)
    assert order == want
    assert (mask.sum(-1) == 1).all()
    closed = set(range(5)) - {e for e, _ in order}
    assert {int(e) for e in np.flatnonzero(mask[:, 0])} == closed


def test_parameters_of_decided_edges_rest() -> None:
    rule = make_rule(2)
    mask = {"normal": jnp.asarray(FULL).at[1].set(jnp.arange(4) == 2)}
    before = {"normal": jnp.zeros(FULL.shape), "normal.edges": jnp.zeros(5)}
    after = {"normal": jnp.ones(FULL.shape), "normal.edges": jnp.ones(5)}
    rested = rule.rest(before, after, mask)
    np.testing.assert_array_equal(rested["normal"][1], 0)
    np.testing.assert_array_equal(np.delete(rested["normal"], 1, 0), 1)
    np.testing.assert_array_equal(rested["normal.edges"], 1)
