"""Measures of a saved search: those that it had when it ran."""

import json

import numpy as np
import pytest

import darts_jax
from tests.support.small_runs import images

pytestmark = pytest.mark.usefixtures("tiny")


def test_a_saved_search_is_measured_as_it_was_when_it_ran(finished):
    record = json.loads((finished / "metrics.jsonl").read_text().splitlines()[-1])
    told = darts_jax.diagnose(finished, dataset=images())
    for name in ("entropy", "skip_share", "held_out_accuracy", "discretization_gap"):
        assert told[name] == pytest.approx(record[name], rel=1e-6), name
    for name in ("eigenvalue", "hypergradient_cosine"):
        assert np.isfinite(told[name])
