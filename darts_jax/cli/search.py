"""`search`: from data to a genotype."""

import argparse

from darts_jax.cli.arguments import Verb, add_run_directory, add_start, resolve_config


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    add_run_directory(parser)
    add_start(parser)


def _run(options: argparse.Namespace) -> None:
    from darts_jax.workflows.search import search

    config = resolve_config(options)
    found = search(config, options.run, start_from=options.start_from)
    print(found.genotype)
    print(f"drawn: {found.run.path}/genotype.svg, {found.run.path}/genotype.png")


VERB = Verb("search", "search a genotype", _run, _add_arguments, configured=True)
