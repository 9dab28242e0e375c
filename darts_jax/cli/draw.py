"""`draw`: a genotype as SVG and PNG, or a search by epoch."""

import argparse

from darts_jax.cli.arguments import (
    GENOTYPE,
    Verb,
    read_genotype_argument,
    refuse_settings,
)


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("genotype", help=GENOTYPE)
    parser.add_argument("--config", help="file that registers a space of your own")
    parser.add_argument("--out", default="genotype", help="file name without ending")
    parser.add_argument(
        "--course",
        action="store_true",
        help="of a run's search, ended or not: accuracy on the benchmark and weights "
        "by epoch",
    )


def _run(options: argparse.Namespace) -> None:
    from darts_jax.files import open_place
    from darts_jax.plots.cells import save_drawing
    from darts_jax.settings.config_files import load_config

    refuse_settings(options, "draw takes no settings")
    if options.config:
        load_config(options.config)
    if options.course:
        from darts_jax.plots.style import save_pictures
        from darts_jax.workflows.compare import load_search

        course = load_search(options.genotype).plot_course()
        print("\n".join(map(str, save_pictures(course, open_place(options.out)))))
        return
    genotype = read_genotype_argument(options.genotype)
    print("\n".join(map(str, save_drawing(genotype, open_place(options.out)))))


VERB = Verb("draw", "draw a genotype as SVG and PNG", _run, _add_arguments)
