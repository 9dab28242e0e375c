"""`baseline`: a search that knows scores alone."""

import argparse

from darts_jax.cli.arguments import (
    Verb,
    add_engine,
    add_run_directory,
    read_engine,
    resolve_config,
)


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    add_run_directory(parser)
    parser.add_argument("--by", required=True, help="such as evolution")
    parser.add_argument(
        "--on", required=True, help="what scores: table, paths or training"
    )
    parser.add_argument("--supernet", help="run directory of the search of the paths")
    parser.add_argument(
        "--proxies",
        default="",
        metavar="RUN or NAME,NAME",
        help="scores of untrained networks that the search begins with: a run of "
        "darts-jax proxies (RUN:NAME for one of them), or names",
    )
    parser.add_argument("--evaluations", type=float, default=float("inf"))
    parser.add_argument(
        "--seconds", type=float, default=float("inf"), help="measured or simulated"
    )
    add_engine(parser)


def _run(options: argparse.Namespace) -> None:
    from darts_jax.baselines import Budget
    from darts_jax.workflows.baseline import baseline

    found = baseline(
        options.by,
        resolve_config(options),
        options.run,
        oracle=options.on,
        budget=Budget(options.seconds, options.evaluations),
        supernet=options.supernet,
        engine=read_engine(options),
        proxies=options.proxies,
    )
    print(found, end="")


VERB = Verb(
    "baseline",
    "a search that knows scores alone",
    _run,
    _add_arguments,
    configured=True,
)
