"""A step's program, once it is differentiated, as one that computes the same sooner.

Differentiation goes equation by equation and keeps apart what is known before the
backward pass and what is not. What it leaves is put right here, before XLA, which looks
across neither kernels of ours nor conditionals.
"""

from collections.abc import Callable
from typing import Any

from darts_jax.engine.rewriting.conditionals import around_conditionals
from darts_jax.engine.rewriting.pairs import PAIRS, joined
from darts_jax.engine.rewriting.walk import rewritten

REWRITES = (around_conditionals, *(joined(pair) for pair in PAIRS))


def shortened(function: Callable[..., Any]) -> Callable[..., Any]:
    """The same function, to be compiled and not to be differentiated."""
    return rewritten(function, REWRITES)
