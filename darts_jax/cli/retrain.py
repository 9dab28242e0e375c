"""`retrain`: the training of a genotype from scratch, and its test."""

import argparse

from darts_jax.cli.arguments import (
    Verb,
    add_run_directory,
    add_start,
    read_genotype_argument,
    resolve_config,
)


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    add_run_directory(parser)
    parser.add_argument(
        "--genotype", help="name, run, file, log, or text as it was printed"
    )
    add_start(parser)


def _run(options: argparse.Namespace) -> None:
    from darts_jax.workflows.retrain import retrain

    # The file of settings may register the genotype's space.
    config = resolve_config(options)
    given = options.genotype
    genotype = read_genotype_argument(given) if given else None
    result = retrain(config, options.run, genotype, start_from=options.start_from)
    print(result, end="")


VERB = Verb(
    "retrain",
    "train a genotype from scratch and test it",
    _run,
    _add_arguments,
    configured=True,
)
