"""What an edge of a recurrent cell can do: functions of a number, without parameters.

To add one: ``ACTIVATIONS["mine"] = mine``. ``none`` is no entry: an edge that is none
gives nothing at all.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array

from darts_jax.errors import unknown_name_error

ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "tanh": jnp.tanh,
    "relu": jax.nn.relu,
    "sigmoid": jax.nn.sigmoid,
    "identity": lambda x: x,
}


def get_activation(name: str) -> Callable[[Array], Array]:
    """The activation of that name; raises InputError with the nearest name."""
    if name not in ACTIVATIONS:
        raise unknown_name_error("activation", name, list(ACTIVATIONS))
    return ACTIVATIONS[name]
