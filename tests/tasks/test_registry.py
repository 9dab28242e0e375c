"""A task is one record by its name; a search passes few functions on its way to it."""

import dataclasses
import sys
from pathlib import Path

import pytest
from jax.stages import Compiled

import darts_jax
from darts_jax.cli.main import main
from darts_jax.engine.job import Job
from darts_jax.errors import InputError
from darts_jax.settings.config import default_config
from darts_jax.tasks.classification.task import CLASSIFICATION
from darts_jax.tasks.registry import TASKS, get_score, get_task, register_task
from tests.support.tiny import tiny_space

PACKAGE = Path(darts_jax.__file__).parent


def test_a_registered_task_is_found_by_its_name(monkeypatch):
    monkeypatch.setattr("darts_jax.tasks.registry.TASKS", dict(TASKS))
    config = default_config()
    config.task = "balanced"
    with pytest.raises(InputError, match="unknown task 'balanced'"):
        get_task(config)
    scores = CLASSIFICATION.scores[::-1]
    mine = register_task(
        dataclasses.replace(CLASSIFICATION, name="balanced", scores=scores)
    )
    assert get_task(config) is mine
    assert get_score(config).name == "balanced_accuracy"
    config.data.metric = "accuracy"
    assert get_score(config).name == "accuracy"


def functions_on_the_stack():
    """Yields the package's functions that have been called and have not returned."""
    frame = sys._getframe(2)
    while frame is not None:
        path = Path(frame.f_code.co_filename)
        # A comprehension is a frame of its own before Python 3.12.
        if path.is_relative_to(PACKAGE) and frame.f_code.co_name != "<listcomp>":
            yield f"{path.relative_to(PACKAGE)}: {frame.f_code.co_name}"
        frame = frame.f_back


def test_a_command_passes_twelve_functions_on_its_way_to_the_compiled_step(
    monkeypatch, tmp_path
):
    """Some make the job, the others compile and call its program."""
    passed = {}

    def watch(owner, name):
        original = getattr(owner, name)

        def watched(self, *args, **kwargs):
            found = functions_on_the_stack()
            passed.setdefault((owner, name), list(found)[::-1])
            return original(self, *args, **kwargs)

        monkeypatch.setattr(owner, name, watched)

    watch(Job, "__init__")
    watch(Compiled, "__call__")
    monkeypatch.setitem(darts_jax.SPACES, "tiny", tiny_space())
    sizes = ["supernet.cells=1", "supernet.channels=2", "search.epochs=1"]
    settings = ["space=tiny", "data.name=digits", "data.images=32", *sizes]
    settings += ["search.batch_size=16"]
    run = ["--run", str(tmp_path / "run")]
    assert main(["search", *run, *(f"--config.{s}" for s in settings)]) == 0
    assert len(passed) == 2
    every = list(dict.fromkeys(name for stack in passed.values() for name in stack))
    assert every[0] == "cli/main.py: main"
    assert len(every) <= 12, "\n".join(every)
