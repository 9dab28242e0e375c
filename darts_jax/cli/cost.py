"""`cost`: parameters, arithmetic and latency of a genotype's network."""

import argparse

from darts_jax.cli.arguments import GENOTYPE, Verb, read_genotype_argument


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("genotype", help=GENOTYPE)
    parser.add_argument("--config", help="as of retrain: its sizes and data hold")
    parser.add_argument("--latency", action="store_true", help="measured here, too")
    parser.add_argument("--batch", type=int, default=1, help="images of a measurement")
    parser.add_argument(
        "--table", help="JSON file for the latencies of a search's operations"
    )


def _run(options: argparse.Namespace) -> None:
    from darts_jax.files import open_place
    from darts_jax.settings.config_files import load_config
    from darts_jax.workflows.cost import cost, write_operation_latencies

    config = load_config(options.config, options.overrides)
    genotype = read_genotype_argument(options.genotype)
    print(cost(config, genotype, options.batch if options.latency else None), end="")
    if options.table:
        write_operation_latencies(config, options.batch, open_place(options.table))
        print(f"latencies of operations: {options.table}")


VERB = Verb("cost", "what a genotype's network costs, exactly", _run, _add_arguments)
