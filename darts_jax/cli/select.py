"""`select`: a genotype by any rule, from a saved epoch."""

import argparse

from darts_jax.cli.arguments import Verb, require_data_places


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", help="run directory of a search")
    parser.add_argument("--rule", required=True, help="such as two_strongest")
    parser.add_argument(
        "--epoch", type=int, default=0, help="from 1; 0: the last saved"
    )
    parser.add_argument("--out", help="JSON file to write the genotype to")


def _run(options: argparse.Namespace) -> None:
    from darts_jax.files import open_place
    from darts_jax.training.lock import write_locked
    from darts_jax.workflows.select import select

    require_data_places(options, "select")
    genotype = select(
        options.run, options.rule, options.epoch, overrides=options.overrides
    )
    print(genotype)
    if options.out:
        write_locked(open_place(options.out), genotype.to_json())


VERB = Verb("select", "a genotype by any rule from a saved epoch", _run, _add_arguments)
