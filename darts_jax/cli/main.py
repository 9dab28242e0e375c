"""The command line: its parser, what becomes of errors, and the way to a verb.

Each other module, but `arguments`, is one verb: its arguments and what runs it. What a
verb needs is imported when it runs, so that help and mistakes are answered at once.
"""

import argparse
import contextlib
import importlib
import os
import signal
import sys
import warnings
from collections.abc import Callable, Sequence

import darts_jax
from darts_jax.cli.arguments import (
    OVERRIDE,
    Verb,
    add_config,
    open_places,
    read_overrides,
)
from darts_jax.engine import memory
from darts_jax.errors import DataWarning, InputError

VERBS = (
    *("run", "estimate", "search", "population", "ablate", "front", "baseline"),
    *("retrain", "evaluate", "settings", "methods", "select", "diagnose", "score"),
    *("proxies", "cost", "reproduce", "ledger", "convert", "export"),
    *("report", "draw"),
)
"""Modules of the verbs, in the order of the help."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one verb.

    Args:
      arguments: of the command line; by default those of this process.

    Returns:
      The exit status: 0; 2 for a mistake or what the system refuses, such as room on
      a full disk, each told in one line; that of SIGPIPE where nobody reads on.
    """
    memory.share_arenas()
    given = sys.argv[1:] if arguments is None else arguments
    others = [a for a in given if not a.startswith(OVERRIDE)]
    options = _make_parser().parse_args(others)
    warnings.formatwarning = _format_warning
    try:
        open_places(options)
        options.overrides = read_overrides(given)
        if hasattr(options, "coordinator"):
            _join_processes(options)
        options.run_verb(options)
        sys.stdout.flush()
    except InputError as error:
        return _refuse(str(error))
    except BrokenPipeError:  # whoever reads the output has seen enough
        _drop_output()
        return 128 + signal.SIGPIPE
    except OSError as error:
        return _refuse(_system_error_line(error))
    return 0


def _make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="darts-jax",
        description="Differentiable architecture search.",
        epilog="Any setting: --config.search.epochs=3. All of them, with defaults: "
        "darts-jax settings.",
    )
    version = f"darts_jax {darts_jax.__version__}"
    parser.add_argument("--version", action="version", version=version)
    verbs = parser.add_subparsers(required=True, metavar="VERB")
    for module in VERBS:
        verb: Verb = importlib.import_module(f"darts_jax.cli.{module}").VERB
        description = verb.help if verb.configured else None
        own = verbs.add_parser(verb.name, help=verb.help, description=description)
        own.set_defaults(run_verb=verb.run)
        if verb.configured:
            add_config(own)
        verb.add_arguments(own)
    return parser


def _join_processes(options: argparse.Namespace) -> None:
    from darts_jax.training.processes import join_processes

    join_processes(
        options.coordinator,
        options.processes,
        options.process,
        options.peer_timeout,
    )


def _refuse(why: str) -> int:
    from darts_jax.training.peers import leave_processes

    print(f"darts-jax: {why}", file=sys.stderr)
    leave_processes(2)
    return 2


def _system_error_line(error: OSError) -> str:
    if error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    from darts_jax.files import describe_write_failure

    _drop_output()
    return str(describe_write_failure("the output", error))


def _drop_output() -> None:
    """Keeps the interpreter from another try to write what could not be printed."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _format_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    line: str | None = None,
    usual: Callable[..., str] = warnings.formatwarning,
) -> str:
    """Writes what users should know of their data in one line, and others as usual."""
    if issubclass(category, DataWarning):
        return f"darts-jax: {message}\n"
    return usual(message, category, filename, lineno, line)
