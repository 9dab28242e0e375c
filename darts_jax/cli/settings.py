"""`settings`: every setting with its value."""

import argparse

from darts_jax.cli.arguments import Verb, resolve_config


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--explain",
        action="store_true",
        help="say what each is and may be, in place of JSON",
    )


def _run(options: argparse.Namespace) -> None:
    from darts_jax.settings.config import config_to_json
    from darts_jax.settings.reference import explain_settings

    config = resolve_config(options)
    if options.explain:
        import darts_jax.tasks.registry  # noqa: F401  Registers the tasks.

        print(explain_settings(config))
    else:
        print(config_to_json(config), end="")


VERB = Verb(
    "settings",
    "print the resolved settings",
    _run,
    _add_arguments,
    configured=True,
)
