"""Operations of a recurrent cell's edges: elementwise functions without parameters.

To add one: ``ACTIVATIONS["mine"] = mine``. ``none`` is no entry, as an edge that is
none adds nothing.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array

from darts_jax.errors import look_up

ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "tanh": jnp.tanh,
    "relu": jax.nn.relu,
    "sigmoid": jax.nn.sigmoid,
    "identity": lambda x: x,
}


def get_activation(name: str) -> Callable[[Array], Array]:
    """Returns an activation.

    Args:
      name: an entry of `ACTIVATIONS`.

    Raises:
      InputError: the name is unknown; with the nearest one.
    """
    return look_up(ACTIVATIONS, name, "activation")
