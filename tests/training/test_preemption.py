"""Hosts that vanish: the others end, and the same command loses nothing it had saved.

``DARTS_JAX_KILLS`` is the number of preemptions of each search, 3 by default.
"""

import json
import os
from pathlib import Path

import numpy as np
import pytest

from darts_jax.training.checkpoint import read_newest
from tests.support.preempted import Preempted, preempt_often

pytestmark = pytest.mark.slow

KILLS = int(os.environ.get("DARTS_JAX_KILLS", "3"))
SHAPES = {"two": (2, 4), "four": (4, 2), "one": (1, 8)}
TIMES = ("images_per_second", "compile_seconds")


def results(run: Path):
    """Returns all that a search has found, to the bit."""
    alpha = {}
    for path in sorted(run.glob("architecture/*.npz")):
        with np.load(path) as arrays:
            alpha |= {f"{path.name} {kind}": arrays[kind].tobytes() for kind in arrays}
    newest = read_newest(run / "checkpoints" / "search", pytest.fail)
    assert newest is not None
    step, arrays = newest
    state = {name: array.tobytes() for name, array in arrays.items()}
    records = [json.loads(line) for line in (run / "metrics.jsonl").open()]
    records = [{k: v for k, v in r.items() if k not in TIMES} for r in records]
    return step, alpha, state, records, (run / "genotype.json").read_text()


@pytest.mark.parametrize("shape", SHAPES)
def test_preempted_runs_end_with_the_bits_of_one_that_was_not(shape, tmp_path):
    processes, devices = SHAPES[shape]
    epochs = 4 * KILLS + 2
    whole = Preempted(tmp_path / "whole", processes, devices, epochs)
    whole.finish()
    often = Preempted(tmp_path / "often", processes, devices, epochs)
    trials = preempt_often(often, KILLS, seed=processes)
    assert len(trials) == KILLS
    assert results(often.run) == results(whole.run)
