"""`diagnose`: every measurement of a saved search."""

import argparse

from darts_jax.cli.arguments import Verb, require_data_places


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", help="run directory of a search")
    parser.add_argument("--epoch", type=int, default=0, help="from 1; 0: the newest")


def _run(options: argparse.Namespace) -> None:
    from darts_jax.workflows.diagnose import diagnose

    require_data_places(options, "diagnose")
    measured = diagnose(options.run, options.epoch, overrides=options.overrides)
    for warning in measured.pop("warnings"):
        print(f"warning: {warning}")
    for name, value in measured.items():
        print(f"{name:<22} {value:.6g}")


VERB = Verb("diagnose", "every measurement of a saved search", _run, _add_arguments)
