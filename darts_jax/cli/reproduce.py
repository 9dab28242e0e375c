"""`reproduce`: a published experiment, its results stored for the ledger."""

import argparse

from darts_jax.cli.arguments import Verb, add_engine, read_engine, refuse_settings
from darts_jax.errors import InputError


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "name", help="PROTOCOL/METHOD; list: every one, and where its numbers stand"
    )
    parser.add_argument(
        "--seeds",
        type=int,
        help="how many searches; default 4, or as the recipe; on a table 500",
    )
    parser.add_argument(
        "--minutes", type=float, help="stop, saved, after so many; then run it again"
    )
    parser.add_argument(
        "--only-read",
        action="store_true",
        help="run nothing: store how far the runs are",
    )
    parser.add_argument(
        "--proxies",
        default="",
        metavar="RUN",
        help="on a table: a run of darts-jax proxies on all cells",
    )
    parser.add_argument("--runs", default="runs/reproduce")
    parser.add_argument("--results", default="results")
    add_engine(parser)


def _run(options: argparse.Namespace) -> None:
    from darts_jax.settings.experiments import count_searches
    from darts_jax.settings.table_experiments import RUNS, TABLE_EXPERIMENTS
    from darts_jax.workflows.ledger import list_experiments
    from darts_jax.workflows.reproduce import reproduce
    from darts_jax.workflows.reproduce_baseline import reproduce_baseline
    from darts_jax.workflows.time_limit import time_limit

    refuse_settings(options, "reproduce takes no settings: those of the protocol hold")
    if options.name == "list":
        print(list_experiments())
        return
    if options.name in TABLE_EXPERIMENTS:
        if options.engine != "local":
            raise InputError(f"{options.name} is read off a table: it needs no engine")
        experiment = TABLE_EXPERIMENTS[options.name]
        runs = RUNS if options.seeds is None else options.seeds
        scored = options.proxies
        print(reproduce_baseline(experiment, runs, options.results, scored=scored))
        return
    count = options.seeds
    seeds = range(count_searches(options.name) if count is None else count)
    with time_limit(options.minutes):
        path = reproduce(
            options.name,
            seeds,
            options.runs,
            options.results,
            only_read=options.only_read,
            engine=read_engine(options),
        )
    print(path)


VERB = Verb(
    "reproduce",
    "a published experiment, its results stored for the ledger",
    _run,
    _add_arguments,
)
