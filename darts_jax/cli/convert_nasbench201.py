"""`convert-nasbench201`: the official NATS-Bench data as a table."""

import argparse

from darts_jax.cli.arguments import Verb, refuse_settings


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", help="NATS-tss-v1_0-3ffb9-simple, or .pickle.pbz2")
    parser.add_argument("--out", default="nasbench201_table.npz")


def _run(options: argparse.Namespace) -> None:
    from darts_jax.files import open_place
    from darts_jax.nasbench.convert import write_table

    refuse_settings(options, "convert-nasbench201 takes no settings")
    print(write_table(open_place(options.source), open_place(options.out)))


VERB = Verb(
    "convert-nasbench201",
    "the official NATS-Bench data as a table",
    _run,
    _add_arguments,
)
