"""`estimate`: memory and arithmetic of a search that is not run."""

import argparse

from darts_jax.cli.arguments import Verb, resolve_config


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--memory",
        type=float,
        metavar="GB",
        help="of one device, in place of the one that is here",
    )


def _run(options: argparse.Namespace) -> None:
    from darts_jax.workflows.estimate import estimate

    print(estimate(resolve_config(options), memory=options.memory), end="")


VERB = Verb(
    "estimate",
    "memory and arithmetic of a search, without running it",
    _run,
    _add_arguments,
    configured=True,
)
