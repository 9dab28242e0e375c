"""`evaluate`: the test of the network of a finished `retrain`."""

import argparse

from darts_jax.cli.arguments import Verb, add_run_directory, resolve_config


def _run(options: argparse.Namespace) -> None:
    from darts_jax.files import open_place
    from darts_jax.tasks.registry import get_score
    from darts_jax.training.directory import RunDirectory, load_settings
    from darts_jax.training.evaluation import read_evaluation
    from darts_jax.workflows.evaluate import evaluate

    directory = RunDirectory(open_place(options.run))
    if options.config or options.method:
        config = resolve_config(options)
    else:
        config = load_settings(directory, options.overrides)
    score = evaluate(config, options.run)
    print(f"test {get_score(config).describe(score)}")
    by_class = read_evaluation(directory)
    if by_class is not None:
        print(by_class, end="")


VERB = Verb(
    "evaluate",
    "test the network of a finished retrain",
    _run,
    add_run_directory,
    configured=True,
)
