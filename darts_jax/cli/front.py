"""`front`: searches for several costs, beside random networks."""

import argparse

from darts_jax.cli.arguments import (
    Verb,
    add_engine,
    add_run_directory,
    read_engine,
    resolve_config,
)
from darts_jax.errors import InputError


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    add_run_directory(parser)
    parser.add_argument(
        "--targets",
        required=True,
        metavar="COST,COST",
        help="in millions, or milliseconds: see search.costs",
    )
    add_engine(parser)


def _run(options: argparse.Namespace) -> None:
    from darts_jax.workflows.front import front

    try:
        targets = [float(text) for text in options.targets.split(",") if text]
    except ValueError:
        raise InputError(
            f"--targets is {options.targets!r}; want numbers, as 1,2.5"
        ) from None
    config = resolve_config(options)
    found = front(config, targets, options.run, engine=read_engine(options))
    print(found, end="")


VERB = Verb(
    "front",
    "searches for several costs, trained beside random ones",
    _run,
    _add_arguments,
    configured=True,
)
