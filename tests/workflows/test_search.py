"""Searches over epochs: stages, stops, restarts, selection, measures."""

import numpy as np
import pytest

import darts_jax
from darts_jax.bilevel.discretization import random_genotype
from darts_jax.bilevel.selection import SELECTIONS
from darts_jax.bilevel.stopping import STOP_RULES, Stop
from darts_jax.errors import InputError
from darts_jax.settings.config import validate_config
from tests.support.paths import ROOT
from tests.support.small_runs import config, images

pytestmark = pytest.mark.usefixtures("tiny")

DOCS = ROOT / "docs"


def test_a_stage_searches_among_what_the_one_before_has_chosen(tmp_path):
    settings = config(**{"search.stages": "search.epochs=1; search.operations=2"})
    found = darts_jax.search(settings, tmp_path / "run", images())
    assert found.alpha["normal"].shape == (3, 2, 3)
    assert [r["verb"] for r in found.records] == ["search_1", *["search_2"] * 2]
    first, *later = found.alpha["normal"]
    assert np.isfinite(first).all()
    pruned = first == first.min(-1, keepdims=True)
    for alpha in later:
        np.testing.assert_array_equal(np.isneginf(alpha), pruned)
    again = darts_jax.search(settings, tmp_path / "run", images())
    assert again.genotype == found.genotype
    nested = config(**{"search.stages": "search.epochs=1 search.stages=a=1"})
    with pytest.raises(InputError, match="no stages of its own"):
        darts_jax.search(nested, tmp_path / "nested", images())


def stop_at_two(space, history):
    """Stops every run alike, like the digits' collapse."""
    return Stop(1, "two are enough") if len(history) == 2 else None


def test_a_stop_returns_to_its_epoch_and_holds_when_resumed(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.setitem(STOP_RULES, "at_two", stop_at_two)
    settings = config(4, **{"search.stop": "at_two"})
    found = darts_jax.search(settings, tmp_path / "run", images())
    assert len(found.records) == 2
    assert "two are enough" in capsys.readouterr().err
    read = darts_jax.select(tmp_path / "run", "argmax", epoch=1)
    assert read == found.genotype
    again = darts_jax.search(settings, tmp_path / "run", images())
    assert (again.genotype, len(again.records)) == (found.genotype, 2)


def test_a_restart_goes_on_from_that_epoch_with_stronger_decay(tmp_path, monkeypatch):
    monkeypatch.setitem(STOP_RULES, "at_two", stop_at_two)
    stop = {"search.stop": "at_two", "search.stopping.restarts": 1}
    found = darts_jax.search(config(4, **stop), tmp_path / "run", images())
    records = [(r["verb"], r["epoch"]) for r in found.records]
    # The last attempt is ended by nothing.
    again = [("search_again_1", epoch) for epoch in (2, 3, 4)]
    assert records == [("search", 1), ("search", 2), *again]
    # The same by hand: two epochs of which the second has ten times the decay.
    first, second = found.alpha["normal"][:2]
    plain = darts_jax.search(config(4), tmp_path / "plain", images())
    np.testing.assert_array_equal(plain.alpha["normal"][0], first)
    assert not np.array_equal(plain.alpha["normal"][1], second)
    np.testing.assert_allclose(plain.alpha["normal"][1], second, atol=1e-3)


def test_a_supernet_is_tested_as_it_was_when_the_stop_returned_to_it(
    tmp_path, monkeypatch
):
    monkeypatch.setitem(STOP_RULES, "at_two", stop_at_two)
    seen = []

    def first(space, trained, rng):
        seen.append(trained.alpha["normal"])
        return random_genotype(space, rng)

    monkeypatch.setitem(SELECTIONS, "first", first)
    settings = config(4, **{"search.stop": "at_two", "search.discretization": "first"})
    found = darts_jax.search(settings, tmp_path / "run", images())
    (alpha,) = seen
    np.testing.assert_array_equal(alpha, found.alpha["normal"][0])
    assert not np.array_equal(alpha, found.alpha["normal"][1])
    # A finished search is read, not tested again.
    again = darts_jax.search(settings, tmp_path / "run", images())
    assert again.genotype == found.genotype
    assert len(seen) == 1


def test_a_second_restart_may_return_behind_the_first(tmp_path, monkeypatch):
    """The first returns to epoch 2; the next run, of epoch 3, to epoch 1."""

    # Each epoch is asked about once, and that which a run begins with once more.
    told = iter([None, None, None, Stop(2, "first"), None, Stop(1, "second")])
    monkeypatch.setitem(STOP_RULES, "twice", lambda space, history: next(told, None))
    settings = config(
        5,
        **{
            "search.stop": "twice",
            "search.stopping.restarts": 2,
            "checkpoint.keep": 5,
        },
    )
    found = darts_jax.search(settings, tmp_path / "run", images())
    records = [(r["verb"], r["epoch"]) for r in found.records]
    assert records[4:6] == [("search_again_1", 3), ("search_again_2", 2)]
    assert records[-1] == ("search_again_2", 5)


def test_a_supernet_that_a_stop_would_miss_is_refused_at_once():
    settings = {
        "search.stop": "eigenvalue_ratio",
        "search.diagnostics.eigenvalue_every": 2,
        "search.stopping.restarts": 1,
    }
    with pytest.raises(InputError, match=r"keep=3 leaves too few; want at least 13"):
        validate_config(config(**settings))
    validate_config(config(**settings, **{"checkpoint.keep": 13}))
    others = {"checkpoint.keep": 13, "checkpoint.every_epochs": 3}
    with pytest.raises(InputError, match=r"checkpoint.every_epochs=3 saves others"):
        validate_config(config(**settings, **others))


def test_the_record_of_an_epoch_says_how_the_search_fares(found):
    first, last = found.records
    assert first["gradient_norm"] == 0 < last["gradient_norm"]
    assert first["ranking_changes"] == 0
    assert 0 < last["entropy"] <= 1
    assert 0 < last["skip_share"] < 1
    assert -1 <= last["hypergradient_cosine"] <= 1.0001
    assert "eigenvalue" not in first
    assert np.isfinite(last["eigenvalue"])
    gap = last["held_out_accuracy"] - last["discretized_accuracy"]
    assert last["discretization_gap"] == pytest.approx(gap)


def test_the_supernet_is_tuned_between_decisions(tmp_path):
    settings = {
        "search.discretization": "perturbation",
        "search.selection.tune_epochs": 1,
    }
    found = darts_jax.search(config(1, **settings), tmp_path / "run", images())
    kept = [c.operation for c in found.genotype.cells["normal"].choices]
    assert len(kept) == 2
    assert "none" not in kept


def test_the_example_of_the_docs_is_a_method(tmp_path):
    text = (DOCS / "methods.md").read_text()
    code = text.split("```python\n")[1].split("```")[0]
    assert len(code.splitlines()) < 20
    made = code.split("config = ")[0]

    exec(made, {})
    try:
        settings = darts_jax.apply_method(config(1), "mine")
        assert settings.search.terms.skip_share == "0:1"
        darts_jax.search(settings, tmp_path / "run", images())
    finally:
        darts_jax.METHODS.pop("mine")
        darts_jax.TERMS.pop("skip_share")
