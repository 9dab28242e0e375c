"""`convert`: a benchmark's official files as a table."""

import argparse

from darts_jax.cli.arguments import Verb, refuse_settings


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("benchmark", help="such as nasbench201 or nasbench101")
    parser.add_argument("source", help="its official files")
    parser.add_argument("--out", help="the table; by default BENCHMARK_table.npz")


def _run(options: argparse.Namespace) -> None:
    from darts_jax.files import open_place
    from darts_jax.nasbench.convert import write_table

    refuse_settings(options, "convert takes no settings")
    out = options.out or f"{options.benchmark}_table.npz"
    print(write_table(options.benchmark, open_place(options.source), open_place(out)))


VERB = Verb(
    "convert",
    "a benchmark's official files as a table",
    _run,
    _add_arguments,
)
