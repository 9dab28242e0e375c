"""Hosts that vanish: the others end, and the same command loses nothing it had saved.

``DARTS_JAX_KILLS`` is the number of preemptions of each search. Without it there are 3
on two processes, and 1 on others.
"""

import json
import os
from pathlib import Path

import numpy as np
import pytest

from darts_jax.training.checkpoint import read_newest
from tests.support.preempted import Preempted, preempt_often

pytestmark = pytest.mark.slow

KILLS = int(os.environ.get("DARTS_JAX_KILLS", "0"))
SHAPES = {
    "two": (2, 4, KILLS or 3),
    "four": (4, 2, KILLS or 1),
    "one": (1, 8, KILLS or 1),
}
"""Processes, virtual devices of each, and preemptions."""
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
    processes, devices, kills = SHAPES[shape]
    epochs = 6 * kills + 2
    whole = Preempted(tmp_path / "whole", processes, devices, epochs)
    whole.finish()
    often = Preempted(tmp_path / "often", processes, devices, epochs)
    trials = preempt_often(often, kills, seed=processes)
    assert len(trials) == kills
    assert results(often.run) == results(whole.run)
