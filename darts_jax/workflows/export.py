"""`export`: a retrained network as files that run without this package."""

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from darts_jax.data.dataset import STORED
from darts_jax.data.stream import AnyDataset
from darts_jax.engine.compilation import use_compilation_cache
from darts_jax.errors import InputError, first_line, unknown_name_error
from darts_jax.files import disk_errors, make_folder, open_place
from darts_jax.interop import exported_load
from darts_jax.interop.artifact import Program, to_jax_export, trace_program
from darts_jax.interop.card import format_card, is_card, make_card, told_score
from darts_jax.interop.module_card import format_module_card, make_module_card
from darts_jax.interop.onnx_model import to_onnx
from darts_jax.plots.cells import draw_genotype
from darts_jax.settings.config_files import load_config
from darts_jax.spaces.graph import Genotype
from darts_jax.spaces.written import parse_tree
from darts_jax.tasks.image_jobs import make_inference
from darts_jax.tasks.module.problem import Problem
from darts_jax.tasks.module.task import MODULE, make_module_inference
from darts_jax.tasks.registry import (
    get_score,
    get_task,
    load_data,
    make_training,
    require_images,
)
from darts_jax.tasks.task import TaskData
from darts_jax.training.directory import RunDirectory, atomic_write
from darts_jax.training.opening import require_same_data
from darts_jax.training.restore import blank_images, restore_network
from darts_jax.types import TrainState
from darts_jax.workflows.retrain_result import read_retrained

MODEL = "model.jax_export"
CARD = "card.json"

# Formats beside the model: name -> file, and function that makes it.
FORMATS: dict[str, tuple[str, Callable[[Program], bytes]]] = {
    "onnx": ("model.onnx", to_onnx)
}


def export(
    run: str | Path,
    out: str | Path,
    *,
    also: Sequence[str] = (),
    dataset: TaskData | None = None,
    overrides: Sequence[str] = (),
) -> tuple[Path, ...]:
    """Writes the network of a finished `retrain`, its card and how to load it.

    The network takes images [batch, height, width, channel], or signals or rows of a
    table, as stored: uint8, and float32 where they are no images. It gives float32
    logits [batch, class], or numbers in the labels' unit [batch, 1], as `evaluate`
    tests it. A run remembers all that this takes of its data, which may be gone or
    changed. A network of one's own takes and gives what it does in Python, one array
    each.

    Args:
      run: directory of the finished `retrain`.
      out: directory; made, or an earlier export that is replaced.
      also: keys of ``FORMATS``.
      dataset: what the network was trained on, where neither the run remembers it, as
        those of earlier versions, nor the settings name it; for a network of one's own
        its `Problem`.
      overrides: settings of such a run's data, as ``data.directory=PATH``.

    Returns:
      The files.

    Raises:
      InputError: no finished retrain, a directory of something else, an unknown format,
        a network that a format cannot express, or data that the run does not need.
    """
    for name in also:
        if name not in FORMATS:
            raise unknown_name_error("format", name, list(FORMATS))
    directory = RunDirectory(open_place(run))
    folder = open_place(out)
    _require_export(folder)
    _require_retrained(directory)
    # One device: the state is restored to run alone, wherever it was trained.
    config = load_config(directory.config, ["devices=1", *overrides])
    measured = told_score(get_score(config), get_task(config).scores)
    summary = _read_summary(directory, f"test_{measured.name}")
    genotype = _read_summary_genotype(directory, summary)
    use_compilation_cache(config.compilation_cache)
    if get_task(config) is MODULE:
        problem = _require_problem(directory, dataset)
        state = _restore_finished(directory, config, problem, genotype)
        program = _trace_module(config, problem, genotype, state)
        found = read_retrained(directory.path)
        assert found is not None  # Its summary has just been read.
        scores = [found.score, *(other.score for other in found.baselines)]
        card = make_module_card(directory, config, problem, genotype, scores, program)
        words = format_module_card(card, genotype)
    else:
        objective = require_images(config, "an export")
        images = _get_data(directory, config, dataset, overrides)
        state = _restore_finished(directory, config, images, genotype)
        inference = make_inference(objective, config, images, genotype)
        program = trace_program(
            lambda stored: inference(state, stored),
            images.image_shape,
            STORED[images.kind],
        )
        card = make_card(directory, config, images, genotype, summary, measured)
        words = format_card(card, genotype, measured)
    files = {MODEL: to_jax_export(program)}
    files |= {file: make(program) for file, make in (FORMATS[name] for name in also)}
    return _write(folder, card, words, files, genotype)


def _restore_finished(
    directory: RunDirectory, config: ConfigDict, data: TaskData, genotype: Genotype
) -> TrainState:
    """Returns the last state of a training that has ended."""
    job = make_training(config, data, genotype)
    state: TrainState = restore_network(directory, job)
    if int(state.step) != job.epochs * job.steps_per_epoch:
        raise InputError(
            f"the network in {directory.path} is at step {int(state.step)} of "
            f"{job.epochs * job.steps_per_epoch}; `retrain` goes on to its end"
        )
    return state


def _require_problem(directory: RunDirectory, dataset: TaskData | None) -> Problem:
    """Returns the problem of a run of a user's network, and refuses another."""
    if not isinstance(dataset, Problem):
        raise InputError(
            f"the network in {directory.path} is in Python; want "
            "darts_jax.export(run, out, dataset=problem) with its "
            "darts_jax.make_problem(...)"
        )
    require_same_data(directory, dataset)
    return dataset


def _trace_module(
    config: ConfigDict, problem: Problem, genotype: Genotype, state: TrainState
) -> Program:
    """Traces a user's network of one array, for a batch of any size."""
    examples = problem.inputs(problem.examples.test)
    if not isinstance(examples, np.ndarray):
        raise InputError(
            f"network {genotype.space!r} takes {type(examples).__name__}; an export "
            "wants one array"
        )
    inference = make_module_inference(config, problem, genotype)
    try:
        program = trace_program(
            lambda inputs: inference(state, inputs),
            examples.shape[1:],
            examples.dtype,
            examples,
        )
    # A network is the user's program: whatever it raises is theirs to mend.
    except Exception as error:
        raise InputError(
            f"network {genotype.space!r} does not take a batch of any size, which an "
            f"export wants: {first_line(error)}"
        ) from error
    if len(program.closed.out_avals) != 1:
        raise InputError(
            f"network {genotype.space!r} gives {len(program.closed.out_avals)} arrays; "
            "an export wants one"
        )
    return program


def _get_data(
    directory: RunDirectory,
    config: ConfigDict,
    dataset: AnyDataset | None,
    overrides: Sequence[str],
) -> AnyDataset:
    """Returns what the run remembers of its data, or the data of an older run."""
    known = blank_images(directory)
    if known is None:
        return dataset or load_data(config)
    if overrides:
        raise InputError(
            f"export takes no settings for {directory.path}, which remembers its data: "
            f"want none, not {overrides[0]}"
        )
    if dataset is not None:
        require_same_data(directory, dataset)
    return known


def _require_retrained(directory: RunDirectory) -> None:
    if not directory.summary_json.is_file():
        raise InputError(
            f"no retrained network in {directory.path}; `retrain` makes one"
        )


def _read_summary(directory: RunDirectory, test: str) -> dict[str, Any]:
    """Returns the content of ``summary.json``, with the column of a score."""
    try:
        summary = dict(json.loads(directory.summary_json.read_text()))
        for network in summary["networks"]:
            network[test], network["genotype"]
        summary["networks"][0]
    except (OSError, ValueError, TypeError, LookupError) as error:
        raise InputError(f"{directory.summary_json} is damaged: {error!r}") from None
    return summary


def _read_summary_genotype(
    directory: RunDirectory, summary: dict[str, Any]
) -> Genotype:
    try:
        return parse_tree(summary["networks"][0]["genotype"])
    except InputError as error:
        raise InputError(f"{directory.summary_json}: {error}") from None


def _require_export(folder: Path) -> None:
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    if not is_card(folder / CARD):
        raise InputError(f"{folder} exists and is no export; choose another --out")


def _write(
    folder: Path,
    card: dict[str, Any],
    words: str,
    files: dict[str, bytes],
    genotype: Genotype,
) -> tuple[Path, ...]:
    """Writes the files; removes those that only an earlier export had."""
    card["files"] = {
        name: hashlib.sha256(data).hexdigest() for name, data in files.items()
    }
    with disk_errors(str(folder)):
        make_folder(folder)
        for name, _ in FORMATS.values():
            if name not in files:
                (folder / name).unlink(missing_ok=True)
    example = Path(exported_load.__file__).read_bytes()
    # The card first: it marks the directory as an export, should the rest be cut off.
    files = {
        CARD: json.dumps(card, indent=1).encode() + b"\n",
        "card.md": words.encode(),
        "load.py": example,
        **files,
    }
    for name, data in files.items():
        atomic_write(folder / name, data)
    drawing = folder / "genotype.svg"
    draw_genotype(genotype, drawing)
    return (*(folder / name for name in files), drawing)
