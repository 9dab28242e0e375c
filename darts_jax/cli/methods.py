"""`methods`: the published methods and their choices."""

import argparse

from darts_jax.cli.arguments import Verb


def _run(options: argparse.Namespace) -> None:
    from darts_jax.settings.methods import METHODS

    del options
    for name, method in METHODS.items():
        print(f"{name}: {method.title} ({method.source})")
        for key, value in method.choices.items():
            print(f"    {key}={value}")


VERB = Verb("methods", "list the methods and their choices", _run)
