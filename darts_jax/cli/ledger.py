"""`ledger`: stored results beside published figures."""

import argparse

from darts_jax.cli.arguments import Verb, refuse_settings


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--results", default="results")
    parser.add_argument("--out", default="REPRODUCTION.md")


def _run(options: argparse.Namespace) -> None:
    from darts_jax.files import open_place
    from darts_jax.training.directory import atomic_write
    from darts_jax.workflows.ledger import ledger

    refuse_settings(options, "ledger takes no settings")
    atomic_write(open_place(options.out), ledger(options.results))
    print(options.out)


VERB = Verb("ledger", "stored results beside published figures", _run, _add_arguments)
