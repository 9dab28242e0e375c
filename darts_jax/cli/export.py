"""`export`: a retrained network as files that run without this package."""

import argparse

from darts_jax.cli.arguments import Verb, require_data_places


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", help="run directory of a finished retrain")
    parser.add_argument("--out", required=True, help="directory, new or an export")
    parser.add_argument("--onnx", action="store_true", help="an ONNX model as well")


def _run(options: argparse.Namespace) -> None:
    from darts_jax.workflows.export import export

    require_data_places(options, "export")
    also = ["onnx"] if options.onnx else []
    written = export(options.run, options.out, also=also, overrides=options.overrides)
    print("\n".join(map(str, written)))


VERB = Verb("export", "a retrained network to run without this", _run, _add_arguments)
