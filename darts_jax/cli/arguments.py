"""Arguments that several verbs share, and the objects that they stand for."""

from __future__ import annotations

import argparse
import dataclasses
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from darts_jax.buckets import is_in_bucket
from darts_jax.errors import InputError
from darts_jax.training.peers import PEER_TIMEOUT

if TYPE_CHECKING:
    from ml_collections import ConfigDict

    from darts_jax.cluster import Engine
    from darts_jax.spaces.graph import Genotype

OVERRIDE = "--config."
"""Beginning of an argument that is a setting."""

GENOTYPE = "name, run, file or log, or the genotype's text as it was printed"
"""Help text of a genotype that a verb is given."""

DATA_PLACES = ("data.name=", "data.directory=")
"""Settings that say where the data of a finished run lie now."""

# Options whose values are paths.
_PATHS = (
    *("run", "runs", "out", "results", "supernet"),
    *("table", "source", "genotype", "config", "start_from"),
)


@dataclasses.dataclass(frozen=True)
class Verb:
    """A verb of the command line.

    Attributes:
      name: as the user types it.
      help: one line in the list of verbs.
      run: runs the verb with its parsed options; ``options.overrides`` are the
        settings ``--config.NAME=VALUE``, as ``NAME=VALUE``.
      add_arguments: adds the arguments of the verb alone to its parser.
      configured: whether it takes ``--config`` and ``--method``, which
        `resolve_config` reads.
    """

    name: str
    help: str
    run: Callable[[argparse.Namespace], None]
    add_arguments: Callable[[argparse.ArgumentParser], None] = lambda parser: None
    configured: bool = False


def add_config(parser: argparse.ArgumentParser) -> None:
    """Adds ``--config`` and ``--method``.

    Args:
      parser: of the verb.
    """
    parser.add_argument(
        "--config",
        help="file with get_config(), config.json, or a name, such as digits or "
        "pc_darts",
    )
    parser.add_argument(
        "--method", help="a published method's choices: see darts-jax methods"
    )


def add_run_directory(parser: argparse.ArgumentParser) -> None:
    """Adds the directory that a verb writes, perhaps from several processes.

    Args:
      parser: of the verb.
    """
    parser.add_argument("--run", required=True, help="run directory")
    group = parser.add_argument_group(
        "several processes", "a TPU pod and SLURM need none of these"
    )
    group.add_argument("--coordinator", metavar="HOST:PORT", help="of process 0")
    group.add_argument("--processes", type=int, help="how many there are")
    group.add_argument("--process", type=int, help="which one this is, from 0")
    group.add_argument(
        "--peer-timeout",
        type=float,
        default=PEER_TIMEOUT,
        metavar="SECONDS",
        help="silence after which another counts as lost, and this one ends "
        f"(default: {PEER_TIMEOUT:g})",
    )


def add_engine(parser: argparse.ArgumentParser) -> None:
    """Adds what says where the programs of a grid are run.

    Args:
      parser: of the verb.
    """
    group = parser.add_argument_group("programs on a cluster")
    group.add_argument(
        "--engine", default="local", help="local (this process), ray or slurm"
    )
    group.add_argument("--address", help="of the Ray cluster: auto or HOST:PORT")
    group.add_argument("--cpus", type=float, help="cores of each program; default 1")
    group.add_argument("--gpus", type=float, help="GPUs of each program; default 0")
    group.add_argument(
        "--resource",
        action="append",
        default=[],
        metavar="NAME=AMOUNT",
        help="another resource of each program on Ray, as TPU=4; may be repeated",
    )
    group.add_argument(
        "--option",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="of the engine, as partition=gpu on SLURM; may be repeated",
    )


def read_engine(options: argparse.Namespace) -> Engine:
    """Makes the engine that `add_engine`'s arguments name.

    Args:
      options: of the verb.

    Raises:
      InputError: there is no such engine or option, or what it needs is not installed.
    """
    from darts_jax.cluster import Resources, make_engine

    given = dict(_split(text, "--option") for text in options.option)
    if options.address is not None:
        given["address"] = options.address
    amounts = {"cpus": options.cpus, "gpus": options.gpus}
    named = {key: value for key, value in amounts.items() if value is not None}
    others = dict(_split(text, "--resource") for text in options.resource)
    if named or others:
        given["resources"] = Resources(**named, others=_read_amounts(others))
    if options.engine == "local":
        return make_engine("local", **given)
    if "setup" not in given and getattr(options, "config", None):
        given |= _own_setup(options.config)
    _compute_on_cpu()
    return make_engine(options.engine, **given)


def _split(text: str, option: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals:
        raise InputError(f"{option} {text} has no value; want {option} {text}=VALUE")
    return name, value


def _read_amounts(texts: dict[str, str]) -> dict[str, float]:
    try:
        return {name: float(text) for name, text in texts.items()}
    except ValueError as error:
        raise InputError(f"--resource: {error}; want a number, as TPU=4") from None


def _own_setup(config: str) -> dict[str, Path]:
    """Returns the config's file if it is the user's own, as it may register things."""
    from darts_jax.settings.config_files import find_config, shipped_configs

    path = find_config(config)
    if path is None or path.suffix != ".py":
        return {}
    if shipped_configs() in path.resolve().parents:
        return {}
    return {"setup": path.absolute()}


def _compute_on_cpu() -> None:
    """Leaves this machine's accelerators to programs, unless the user says else."""
    import jax

    if not os.environ.get("JAX_PLATFORMS"):
        jax.config.update("jax_platforms", "cpu")


def add_start(parser: argparse.ArgumentParser) -> None:
    """Adds ``--from``, the run whose parameters a new run starts from.

    Args:
      parser: of the verb.
    """
    parser.add_argument(
        "--from",
        dest="start_from",
        metavar="RUN",
        help="a run whose last parameters this one starts from",
    )


def read_overrides(arguments: Sequence[str]) -> list[str]:
    """Returns the settings ``--config.NAME=VALUE`` as ``NAME=VALUE``.

    Args:
      arguments: of the command line, in which there may be others.

    Raises:
      InputError: a setting has no value.
    """
    typed = [a for a in arguments if a.startswith(OVERRIDE)]
    for argument in typed:
        if "=" not in argument:
            raise InputError(f"{argument} has no value; want {argument}=VALUE")
    return [argument.removeprefix(OVERRIDE) for argument in typed]


def open_places(options: argparse.Namespace) -> None:
    """Turns places that were given into paths, those on this machine into text.

    Args:
      options: of any verb; changed in place.

    Raises:
      InputError: a place is in a bucket whose driver is not installed.
    """
    for name in _PATHS:
        given = getattr(options, name, None)
        if isinstance(given, list):
            setattr(options, name, [_open(place) for place in given])
        elif given:
            setattr(options, name, _open(given))


def _open(place: str) -> str | Path:
    from darts_jax.files import open_place

    path = open_place(place)
    return path if is_in_bucket(path) else str(path)


def resolve_config(options: argparse.Namespace) -> ConfigDict:
    """Resolves settings: defaults, the config file, the method, then single settings.

    Args:
      options: of a configured verb.

    Raises:
      InputError: no such file, method or setting, or a wrong value.
    """
    from darts_jax.settings.config_files import load_config

    if not options.method:
        return load_config(options.config, options.overrides)
    from darts_jax.settings.methods import apply_method

    return apply_method(load_config(options.config), options.method, options.overrides)


def refuse_settings(options: argparse.Namespace, message: str) -> None:
    """Raises InputError if any setting was given.

    Args:
      options: of a verb that takes no settings.
      message: of the error.
    """
    if options.overrides:
        raise InputError(message)


def require_data_places(options: argparse.Namespace, verb: str) -> None:
    """Raises InputError for settings of a run other than where its data lie.

    Args:
      options: of a verb that reads a run.
      verb: its name, for the message.
    """
    others = [o for o in options.overrides if not o.startswith(DATA_PLACES)]
    if others:
        raise InputError(
            f"{verb} takes no settings but data.name and data.directory, where the "
            f"data lie, not {others[0]}: those of the run hold"
        )


def read_grid(texts: Sequence[str]) -> dict[str, list[str]]:
    """Returns setting -> its values.

    Args:
      texts: as ``SETTING=VALUE,VALUE``.
    """
    grid = {}
    for text in texts:
        key, _, values = text.partition("=")
        grid[key] = [value for value in values.split(",") if value]
    return grid


def read_genotype_argument(text: str) -> Genotype:
    """Reads a genotype; what is worth knowing of it goes to standard error.

    Args:
      text: see `GENOTYPE`.

    Raises:
      InputError: it names or is no genotype.
    """
    from darts_jax.spaces.reading import read_genotype

    return read_genotype(text, lambda note: print(note, file=sys.stderr))
