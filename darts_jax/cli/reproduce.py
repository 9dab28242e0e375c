"""`reproduce`: a published experiment, its results stored for the ledger."""

import argparse

from darts_jax.cli.arguments import Verb, refuse_settings


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", help="PROTOCOL/METHOD; list: every one's name")
    parser.add_argument("--seeds", type=int, default=4, help="how many searches")
    parser.add_argument(
        "--minutes", type=float, help="stop, saved, after so many; then run it again"
    )
    parser.add_argument("--runs", default="runs/reproduce")
    parser.add_argument("--results", default="results")


def _run(options: argparse.Namespace) -> None:
    from darts_jax.settings.experiments import EXPERIMENTS
    from darts_jax.workflows.reproduce import reproduce
    from darts_jax.workflows.time_limit import time_limit

    refuse_settings(options, "reproduce takes no settings: those of the protocol hold")
    if options.name == "list":
        print("\n".join(EXPERIMENTS))
        return
    seeds = range(options.seeds)
    with time_limit(options.minutes):
        print(reproduce(options.name, seeds, options.runs, options.results))


VERB = Verb(
    "reproduce",
    "a published experiment, its results stored for the ledger",
    _run,
    _add_arguments,
)
