"""Every stop rule on histories whose answer is known."""

import numpy as np
import pytest

from darts_jax.bilevel.discretization import two_strongest
from darts_jax.bilevel.stopping import (
    STOP_RULES,
    EpochRecord,
    eigenvalue_ratio,
    rank_operations,
    skip_count,
    stable_ranking,
)
from darts_jax.errors import InputError
from darts_jax.spaces import get_space
from darts_jax.spaces.graph import CellGenotype, Genotype, KeptEdge
from tests.support.tiny import ragged_space

DARTS = get_space("darts")
ZEROS = {kind: np.zeros(cell.shape) for kind, cell in DARTS.cells.items()}
GENOTYPE = two_strongest(DARTS, ZEROS)


def by_eigenvalues(values, every=2):
    """Measured every so many epochs, with epochs between that have none."""
    return [
        EpochRecord(
            epoch,
            ZEROS,
            GENOTYPE,
            None if epoch % every else float(values[epoch // every]),
        )
        for epoch in range(every * len(values) - every + 1)
    ]


def slow_eigenvalue_ratio(values, every, window, factor, delta, start):
    """The first entry that stops the search, and the epoch of its answer."""
    half = window // 2
    for seen in range(1, len(values) + 1):
        average = {
            i: sum(values[i - half : i + half + 1]) / window
            for i in range(half, seen - half)
        }
        now = seen - 1 - half
        if now - delta not in average or (now - delta) * every < start:
            continue
        if average[now] / average[now - delta] > factor:
            return every * (seen - 1), every * (now - delta)
    return None


def first_stop(history, **settings):
    for seen in range(1, len(history) + 1):
        stop = eigenvalue_ratio(DARTS, history[:seen], **settings)
        if stop:
            return history[seen - 1].epoch, stop.epoch
    return None


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize(
    ("window", "delta", "start"), [(5, 4, 10), (3, 2, 10), (1, 2, 20)]
)
def test_eigenvalue_ratio_is_the_published_rule(seed, window, delta, start):
    noise = np.random.default_rng(seed).uniform(0.8, 1.2, 25)
    values = noise * 1.1 ** np.arange(25)
    want = slow_eigenvalue_ratio(values, 2, window, 1.3, delta, start)
    settings = {"window": window, "delta": delta, "start": start}
    assert want is not None
    assert first_stop(by_eigenvalues(values), **settings) == want


def test_a_step_in_the_eigenvalue_rolls_back_to_before_it():
    """1 until epoch 20, then 10: the window of epoch 18 is the first with a 10."""
    values = np.where(np.arange(25) < 11, 1.0, 10.0)
    assert first_stop(by_eigenvalues(values)) == (22, 10)
    stop = eigenvalue_ratio(DARTS, by_eigenvalues(values)[:23])
    assert stop.reason == "the largest eigenvalue grew 2.80 times from epoch 10"
    # One measurement earlier it would return before epoch 10.
    assert first_stop(by_eigenvalues(values[1:])) == (22, 10)


def test_eigenvalues_that_do_not_grow_stop_nothing():
    assert first_stop(by_eigenvalues(np.ones(25))) is None
    assert first_stop(by_eigenvalues(1.3 ** (np.arange(25) / 4.01))) is None
    assert first_stop(by_eigenvalues(1.3 ** (np.arange(25) / 3.99))) is not None
    assert first_stop(by_eigenvalues(2.0 ** np.arange(25))) == (22, 10)
    assert first_stop(by_eigenvalues(2.0 ** np.arange(8))) is None
    with pytest.raises(InputError, match="a centred window is odd, not 4"):
        eigenvalue_ratio(DARTS, [], window=4)


def with_skips(normal, reduce):
    def cell(count):
        return CellGenotype(
            2,
            tuple(
                KeptEdge(2 + i // 2, i % 2, "skip_connect" if i < count else "none")
                for i in range(8)
            ),
            (2, 3, 4, 5),
        )

    return Genotype("darts", {"normal": cell(normal), "reduce": cell(reduce)})


def test_two_skips_in_a_normal_cell_stop():
    history = [EpochRecord(1, ZEROS, with_skips(1, 8))]
    assert skip_count(DARTS, history) is None
    history.append(EpochRecord(2, ZEROS, with_skips(2, 0)))
    stop = skip_count(DARTS, history)
    assert (stop.epoch, stop.reason) == (2, "the normal cell has 2 skip_connect")
    assert skip_count(DARTS, history, least=3) is None
    history.append(EpochRecord(3, ZEROS, with_skips(0, 0)))
    assert skip_count(DARTS, history) is None


def test_a_ranking_that_stays_for_ten_epochs_stops():
    rng = np.random.default_rng(0)
    alpha = {kind: rng.normal(size=cell.shape) for kind, cell in DARTS.cells.items()}
    swapped = {kind: value.copy() for kind, value in alpha.items()}
    swapped["reduce"][13, :2] = alpha["reduce"][13, 1::-1]
    history = [EpochRecord(0, swapped, GENOTYPE)]
    for epoch in range(1, 12):
        grown = {kind: (1 + epoch) * value for kind, value in alpha.items()}
        assert stable_ranking(DARTS, history) is None
        history.append(EpochRecord(epoch, grown, GENOTYPE))
    assert stable_ranking(DARTS, history).epoch == 11
    assert stable_ranking(DARTS, history, epochs=11) is None


def test_operations_that_are_absent_have_no_rank():
    cell = ragged_space().cells["normal"]
    rng = np.random.default_rng(0)
    logits = rng.normal(size=cell.shape)
    other = np.where(cell.mask, logits, 9 * rng.normal(size=cell.shape))
    np.testing.assert_array_equal(
        rank_operations(cell, logits), rank_operations(cell, other)
    )
    for order, row, present in zip(
        rank_operations(cell, other), logits, cell.mask, strict=True
    ):
        count = sum(present)
        assert (np.diff(row[order[:count]]) <= 0).all()


def test_an_empty_history_stops_nothing():
    assert all(rule(DARTS, []) is None for rule in STOP_RULES.values())
