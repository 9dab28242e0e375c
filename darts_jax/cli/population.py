"""`population`: searches that differ in scalars, as one program."""

import argparse

from darts_jax.cli.arguments import (
    Verb,
    add_run_directory,
    read_grid,
    resolve_config,
)


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    add_run_directory(parser)
    parser.add_argument(
        "--grid",
        action="append",
        required=True,
        metavar="SETTING=VALUE,VALUE",
        help="values to combine, as seed=0,1,2; may be repeated",
    )


def _run(options: argparse.Namespace) -> None:
    from darts_jax.workflows.population import population

    grid = read_grid(options.grid)
    print(population(resolve_config(options), grid, options.run), end="")


VERB = Verb(
    "population",
    "searches that differ in scalars, as one program",
    _run,
    _add_arguments,
    configured=True,
)
