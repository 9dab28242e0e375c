"""`ablate`: searches with every combination of settings, some seeds each."""

import argparse

from darts_jax.cli.arguments import (
    Verb,
    add_engine,
    add_run_directory,
    read_engine,
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
        help="values to combine, as search.relaxation=softmax,sigmoid, or "
        "method=darts,gdas; may be repeated",
    )
    parser.add_argument(
        "--seeds", type=int, default=4, help="searches of each combination; default 4"
    )
    add_engine(parser)


def _run(options: argparse.Namespace) -> None:
    from darts_jax.workflows.ablate import ablate

    config = resolve_config(options)
    engine = read_engine(options)
    grid = read_grid(options.grid)
    print(ablate(config, grid, range(options.seeds), options.run, engine=engine))


VERB = Verb(
    "ablate",
    "searches with every combination of settings, some seeds each",
    _run,
    _add_arguments,
    configured=True,
)
