"""`run`: a search, its picture, and the training of what it found."""

import argparse

from darts_jax.cli.arguments import Verb, add_run_directory, resolve_config


def _run(options: argparse.Namespace) -> None:
    from darts_jax.tasks.registry import load_data
    from darts_jax.training.lock import run_lock
    from darts_jax.workflows.retrain import check_retraining, retrain
    from darts_jax.workflows.search import search

    config = resolve_config(options)
    dataset = load_data(config)
    check_retraining(config, dataset)
    with run_lock(options.run):
        found = search(config, options.run, dataset)
        print(found.genotype)
        print(f"drawn: {found.run.path}/genotype.svg, {found.run.path}/genotype.png")
        print(retrain(config, options.run, found.genotype, dataset), end="")


VERB = Verb(
    "run",
    "search, draw, retrain and evaluate",
    _run,
    add_run_directory,
    configured=True,
)
