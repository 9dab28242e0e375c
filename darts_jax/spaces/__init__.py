"""Search spaces by name. To add one: ``SPACES["mine"] = Space("mine", ...)``."""

from darts_jax.errors import InputError, look_up
from darts_jax.spaces.darts import DARTS, DARTS_NO_NONE
from darts_jax.spaces.graph import Space
from darts_jax.spaces.mlp import MLP, Spaces
from darts_jax.spaces.mobile import EFFICIENTNET, FBNET, MOBILE, MOBILE_SMALL
from darts_jax.spaces.nasbench1shot1 import (
    NASBENCH101,
    ONE_SHOT_1,
    ONE_SHOT_2,
    ONE_SHOT_3,
)
from darts_jax.spaces.nasbench201 import (
    NASBENCH201,
    NASBENCH201_BIASED,
    NASBENCH201_NO_NONE,
)
from darts_jax.spaces.nats_size import NATS_SIZE
from darts_jax.spaces.recurrent import RECURRENT
from darts_jax.spaces.robust import S1, S2, S3, S4
from darts_jax.spaces.signal import signal_space
from darts_jax.spaces.transformer import TRANSFORMER
from darts_jax.spaces.transnas import TRANSNAS_MACRO, TRANSNAS_MICRO

SPACES: dict[str, Space] = Spaces(
    (space.name, space)
    for space in (
        *(DARTS, DARTS_NO_NONE, S1, S2, S3, S4),
        *(NASBENCH201, NASBENCH201_NO_NONE, NASBENCH201_BIASED),
        *(NASBENCH101, ONE_SHOT_1, ONE_SHOT_2, ONE_SHOT_3),
        *(NATS_SIZE, TRANSNAS_MICRO, TRANSNAS_MACRO),
        *(MOBILE, MOBILE_SMALL, EFFICIENTNET, FBNET, RECURRENT, TRANSFORMER),
        signal_space(DARTS, "darts_1d"),
        signal_space(NASBENCH201, "nasbench201_1d"),
        signal_space(MOBILE_SMALL, "mobile_small_1d"),
        MLP,
    )
)
"""Name -> search space."""


def get_space(name: str) -> Space:
    """Returns the space of a name.

    Args:
      name: a key of ``SPACES``.

    Raises:
      InputError: there is none, with the nearest name; or it is named otherwise.
    """
    space = look_up(SPACES, name, "space")
    if space.name != name:
        raise InputError(
            f"SPACES[{name!r}] is named {space.name!r}, by which its genotypes would "
            f"look for it; want a space of the name {name!r}"
        )
    return space


__all__ = ["SPACES", "get_space"]
