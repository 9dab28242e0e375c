"""`score`: the accuracy of every path of a saved search's supernet."""

import argparse

from darts_jax.cli.arguments import DATA_PLACES, Verb
from darts_jax.errors import InputError


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", help="run directory of a search")
    parser.add_argument("--epoch", type=int, default=0, help="from 1; 0: the newest")


def _run(options: argparse.Namespace) -> None:
    from darts_jax.workflows.score import score

    taken = ("score.", "benchmark.", "devices=", *DATA_PLACES)
    others = [o for o in options.overrides if not o.startswith(taken)]
    if others:
        raise InputError(
            f"score takes settings of score and benchmark, not {others[0]}: for others "
            "those of the run hold"
        )
    scored = score(options.run, options.epoch, overrides=options.overrides)
    print(scored, end="")
    print(f"the best path:\n{scored.best}")


VERB = Verb("score", "every path of a saved search's supernet", _run, _add_arguments)
