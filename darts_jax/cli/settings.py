"""`settings`: every setting with its value."""

import argparse

from darts_jax.cli.arguments import Verb, resolve_config


def _run(options: argparse.Namespace) -> None:
    from darts_jax.settings.config import config_to_json

    print(config_to_json(resolve_config(options)), end="")


VERB = Verb("settings", "print the resolved settings", _run, configured=True)
