"""`report`: a page about runs."""

import argparse

from darts_jax.cli.arguments import Verb, refuse_settings


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("runs", nargs="+", metavar="RUN", help="run directory")
    parser.add_argument("--out", help="HTML file; RUN/report.html by default")


def _run(options: argparse.Namespace) -> None:
    from darts_jax.reports.report import report

    refuse_settings(options, "report takes no settings: those of the runs hold")
    print(report(options.runs, options.out))


VERB = Verb("report", "a page about runs, to read or to print", _run, _add_arguments)
