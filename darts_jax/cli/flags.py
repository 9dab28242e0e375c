"""What the verbs that take a config take besides."""

import argparse
from collections.abc import Callable

from darts_jax.files import local_path

_PLACES = (
    *("run", "runs", "out", "results", "supernet"),
    *("table", "source", "genotype", "config", "start_from"),
)


def add_processes(verb: argparse.ArgumentParser) -> None:
    """Of a verb that several processes may run together."""
    group = verb.add_argument_group(
        "several processes", "a TPU pod and SLURM need none of these"
    )
    group.add_argument("--coordinator", metavar="HOST:PORT", help="of process 0")
    group.add_argument("--processes", type=int, help="how many there are")
    group.add_argument("--process", type=int, help="which one this is, from 0")


def make_local(options: argparse.Namespace) -> None:
    """Makes paths of the places that a verb is told; raises InputError for others."""
    for name in _PLACES:
        given = getattr(options, name, None)
        if isinstance(given, list):
            setattr(options, name, [str(local_path(place)) for place in given])
        elif given:
            setattr(options, name, str(local_path(given)))


def _estimate(verb: argparse.ArgumentParser) -> None:
    verb.add_argument(
        "--memory",
        type=float,
        metavar="GB",
        help="of one device, in place of the one that is here",
    )


def _population(verb: argparse.ArgumentParser) -> None:
    verb.add_argument(
        "--grid",
        action="append",
        required=True,
        metavar="SETTING=VALUE,VALUE",
        help="values to combine, as seed=0,1,2; may be repeated",
    )


def _front(verb: argparse.ArgumentParser) -> None:
    verb.add_argument(
        "--targets",
        required=True,
        metavar="COST,COST",
        help="in millions, or milliseconds: see search.costs",
    )


def _baseline(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("--by", required=True, help="such as evolution")
    verb.add_argument(
        "--on", required=True, help="what scores: table, paths or training"
    )
    verb.add_argument("--supernet", help="run directory of the search of the paths")
    verb.add_argument("--evaluations", type=float, default=float("inf"))
    verb.add_argument(
        "--seconds", type=float, default=float("inf"), help="measured or simulated"
    )


def _search(verb: argparse.ArgumentParser) -> None:
    verb.add_argument(
        "--from",
        dest="start_from",
        metavar="RUN",
        help="a run whose last parameters this one starts from",
    )


def _retrain(verb: argparse.ArgumentParser) -> None:
    verb.add_argument(
        "--genotype", help="name, run, file, log, or text as it was printed"
    )
    _search(verb)


OWN: dict[str, Callable[[argparse.ArgumentParser], None]] = {
    "estimate": _estimate,
    "population": _population,
    "front": _front,
    "baseline": _baseline,
    "retrain": _retrain,
    "search": _search,
}
