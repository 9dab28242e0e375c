"""Warm start of a run from another run's parameters, in place of random ones.

Weights, statistics and the architecture are taken over; optimizers and schedules are
fresh. The first state becomes the run's checkpoint of step 0, so that it goes on
without the other run, and ``start.json`` says where it came from.
"""

import dataclasses
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from darts_jax.bilevel.relaxation import RELAXATIONS
from darts_jax.engine.job import Job
from darts_jax.errors import InputError
from darts_jax.files import open_place
from darts_jax.settings.config_files import load_config
from darts_jax.spaces.graph import Genotype
from darts_jax.training.checkpoint import (
    Checkpoints,
    named_arrays,
    read_newest,
    signature,
)
from darts_jax.training.console import print_status
from darts_jax.training.directory import RunDirectory, atomic_write, read_by_verb
from darts_jax.training.loop import initial_tree
from darts_jax.training.processes import wait_for_all
from darts_jax.training.stages import Stage

SEARCH = ("params", "stats", "alpha", "mask")
"""Parts of a search's state that are taken over."""

TRAINING = ("params", "stats")
"""Parts of a training's state that are taken over."""


@dataclasses.dataclass(frozen=True)
class SourceRun:
    """Run from whose parameters another one starts.

    Args:
      run: its directory.

    Raises:
      InputError: it is no run.
    """

    run: Path

    def __post_init__(self) -> None:
        if not self.directory.config.exists():
            raise InputError(
                f"no run in {self.run} to start from: it has no config.json; a run "
                "that has begun goes on without --from"
            )

    @property
    def directory(self) -> RunDirectory:
        return RunDirectory(self.run)

    @property
    def config(self) -> ConfigDict:
        return load_config(self.directory.config)

    def genotype(self) -> Genotype:
        """Returns the genotype whose network was trained there.

        Raises:
          InputError: there is none.
        """
        return self.network_genotype("retrain")

    def network_genotype(self, name: str) -> Genotype:
        """Returns the genotype of one of the networks that were trained there.

        Args:
          name: "retrain", "random_0" and so on.

        Raises:
          InputError: there is none.
        """
        path = self.directory.path / f"{name}.json"
        if name == "retrain":
            path = self.directory.genotype
        if not path.exists():
            raise InputError(f"no network {name} in {self.run} to start from")
        return Genotype.from_json(path.read_text())


@dataclasses.dataclass(frozen=True)
class WarmStart:
    """First state of a run that starts from another.

    Attributes:
      verb: names its checkpoints.
      provenance: entry of ``start.json``: the other run, its step, a hash of what was
        taken over.
      tree: as a checkpoint holds it.
    """

    verb: str
    provenance: dict[str, Any]
    tree: Any

    def write(self, directory: RunDirectory) -> None:
        """Makes this the run's checkpoint of step 0.

        Args:
          directory: of the new run, open.

        Raises:
          InputError: a run that was killed at its start had another one.
        """
        provenance = self.provenance
        every = read_warm_starts(directory)
        if every.get(self.verb, provenance) != provenance:
            raise InputError(
                f"{provenance['run']} has changed since {directory.path} was begun "
                "from it; choose another --run"
            )
        every[self.verb] = provenance
        content = json.dumps(every, indent=1, sort_keys=True)
        atomic_write(directory.start, content + "\n")
        wait_for_all(f"{directory.start} is written")
        Checkpoints(directory.checkpoints / self.verb).save(0, self.tree)
        print_status(
            f"{self.verb}: starts from the parameters of {provenance['run']} after "
            f"step {provenance['step']}"
        )


def make_search_warm_start(
    source: SourceRun | None, config: ConfigDict, directory: RunDirectory, job: Job
) -> WarmStart | None:
    """Returns the first state of a search that starts from another, if it has none yet.

    Args:
      source: the other run; None for a search that starts from random parameters, or
        goes on.
      config: of the new run.
      directory: of the new run; nothing is written to it.
      job: the new search.

    Raises:
      InputError: there is nothing to start from, it does not fit, or the directory has
        begun otherwise.
    """
    if _has_begun(directory, "search", source) or source is None:
        return None
    _require_alike(source, config)
    stage = Stage(source.config, "search")
    every = source.directory.checkpoints.glob("search*")
    attempts = [path.name for path in every if stage.includes(path.name)]
    # Of a search that began anew from an earlier epoch the last attempt.
    last = max(attempts, key=lambda name: (len(name), name), default="search")
    return _make_warm_start(source, last, "search", job, SEARCH)


def make_training_warm_start(
    source: SourceRun | None,
    directory: RunDirectory,
    name: str,
    make_job: Callable[[], Job],
) -> WarmStart | None:
    """Returns the first state of a training that starts from another's network.

    Args:
      source: the other run; None for a training that starts from random weights, or
        goes on.
      directory: of the new run; nothing is written to it.
      name: of the network: "retrain", "random_0" and so on.
      make_job: makes its training.

    Raises:
      InputError: there is nothing to start from, it does not fit, or the directory has
        begun otherwise.
    """
    if _has_begun(directory, name, source) or source is None:
        return None
    return _make_warm_start(source, name, name, make_job(), TRAINING)


def require_same_genotypes(source: SourceRun, wanted: Mapping[str, Genotype]) -> None:
    """Refuses networks that are not those of the run that is started from.

    Args:
      source: that run.
      wanted: name -> genotype of the networks to train.

    Raises:
      InputError: a network has another genotype there, or is not there.
    """
    for name, genotype in wanted.items():
        if source.network_genotype(name) != genotype:
            raise InputError(
                f"the network {name} in {source.run} has another genotype than the one "
                "to train; want that run's own seed, space and number of "
                "baseline.random_genotypes, and no other --genotype"
            )


def read_warm_starts(directory: RunDirectory) -> dict[str, dict[str, Any]]:
    """Returns verb -> `WarmStart.provenance`, of the verbs that started from a run.

    Args:
      directory: of the run.

    Raises:
      InputError: the file is damaged.
    """
    return read_by_verb(directory.start)


def _has_begun(directory: RunDirectory, verb: str, source: SourceRun | None) -> bool:
    """Returns whether a verb has a state to go on from.

    Raises:
      InputError: it has begun, and not from the source.
    """
    known = read_warm_starts(directory).get(verb)
    folder = directory.checkpoints / verb
    has_state = folder.is_dir() and any(p.name.isdecimal() for p in folder.iterdir())
    if known is None:
        if source is not None and has_state:
            raise InputError(
                f"the {verb} in {directory.path} has begun from random parameters; "
                "choose another --run, or leave --from out"
            )
        return has_state
    origin = open_place(str(known.get("run")))
    if source is None and not has_state:
        raise InputError(
            f"the {verb} in {directory.path} starts from {origin}; want --from {origin}"
        )
    if source is not None and source.run.resolve() != origin:
        raise InputError(
            f"the {verb} in {directory.path} started from {origin}; choose another "
            "--run, or leave --from out"
        )
    return has_state


def _require_alike(source: SourceRun, config: ConfigDict) -> None:
    old = source.config
    for part in (old, config):
        if part.search.stages:
            raise InputError(
                "a search in stages neither starts from another run nor is started "
                "from: each stage has a supernet of its own; want search.stages empty"
            )
    for key in ("task", "space"):
        if old[key] != config[key]:
            raise InputError(
                f"the search in {source.run} has {key}={old[key]}, and {config[key]} "
                f"is asked for; want --config {source.directory.config}"
            )
    theirs = RELAXATIONS[old.search.relaxation]
    ours = RELAXATIONS[config.search.relaxation]
    if theirs.simplex != ours.simplex:
        raise InputError(
            f"search.relaxation={config.search.relaxation} takes other parameters than "
            f"{old.search.relaxation}, by which {source.run} searched; want that"
        )


def _make_warm_start(
    source: SourceRun, theirs: str, verb: str, job: Job, parts: Sequence[str]
) -> WarmStart:
    found = read_newest(source.directory.checkpoints / theirs, print_status)
    if found is None:
        raise InputError(f"no checkpoint of a {theirs} in {source.run} to start from")
    step, stored = found
    first = initial_tree(job)
    taken = _select_parts(source, first, stored, parts)
    provenance = {
        "run": str(source.run.resolve()),
        "step": step,
        "sha256": _digest(taken),
    }
    leaves = [taken.get(name, leaf) for name, leaf in named_arrays(first).items()]
    tree = jax.tree.unflatten(jax.tree.structure(first), leaves)
    return WarmStart(verb, provenance, tree)


def _select_parts(
    source: SourceRun,
    first: Any,
    stored: Mapping[str, np.ndarray],
    parts: Sequence[str],
) -> dict[str, np.ndarray]:
    """Returns the arrays to take over, by name; refuses such as do not fit."""
    prefixes = tuple(f"state.{part}." for part in parts)
    wanted = {k: v for k, v in named_arrays(first).items() if k.startswith(prefixes)}
    taken = {k: np.asarray(v) for k, v in stored.items() if k.startswith(prefixes)}
    for name in sorted(wanted.keys() | taken.keys()):
        here = signature(wanted[name]) if name in wanted else "absent"
        there = signature(taken[name]) if name in taken else "absent"
        if here != there:
            raise InputError(
                f"the network in {source.run} does not fit these settings and data: "
                f"{name.removeprefix('state.')} is {there} there and {here} here; want "
                f"the sizes of --config {source.directory.config}"
            )
    return taken


def _digest(arrays: Mapping[str, np.ndarray]) -> str:
    digest = hashlib.sha256()
    for name in sorted(arrays):
        digest.update(f"{name} {signature(arrays[name])}".encode())
        digest.update(np.ascontiguousarray(arrays[name]).tobytes())
    return digest.hexdigest()
