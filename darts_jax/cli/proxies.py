"""`proxies`: zero-cost scores of a space's untrained networks."""

import argparse

from darts_jax.cli.arguments import Verb, resolve_config


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--run", required=True, help="run directory")
    parser.add_argument(
        "--proxies",
        default="params,flops,synflow,naswot",
        metavar="NAME,NAME",
        help="such as synflow,naswot, or all; by default %(default)s",
    )
    parser.add_argument(
        "--sample",
        type=int,
        default=0,
        metavar="N",
        help="networks drawn at random; 0: all, or 1,000 of a large space",
    )
    parser.add_argument(
        "--fit",
        type=int,
        default=0,
        metavar="N",
        help="networks to whose accuracy a combination of the proxies is fitted",
    )


def _run(options: argparse.Namespace) -> None:
    from darts_jax.proxies import PROXIES
    from darts_jax.workflows.proxies import score_untrained

    config = resolve_config(options)
    names = [name.strip() for name in options.proxies.split(",") if name.strip()]
    chosen = list(PROXIES) if names == ["all"] else names
    found = score_untrained(config, options.run, chosen, options.sample, options.fit)
    print(found, end="")


VERB = Verb(
    "proxies",
    "zero-cost scores of untrained networks, beside the truth of a table",
    _run,
    _add_arguments,
    configured=True,
)
