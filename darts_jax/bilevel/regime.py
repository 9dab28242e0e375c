"""Loss that the architecture descends, from the losses of a step's two batches.

Every step has a batch of the training half, of loss T, and a batch of the validation
half, of loss V. To add a regime: ``REGIMES["mine"] = mine``.
"""

from typing import Protocol

from jaxtyping import Array, Float

from darts_jax.documentation import implements
from darts_jax.types import Alpha, Loss, Params


class Regime(Protocol):
    """Loss that the architecture descends.

    Args:
      train_loss: T, of a batch of the training half.
      valid_loss: V, of a batch of the validation half.
      weight: of V, 0 or more; scalar of the step, ``valid_weight``.

    Returns:
      Loss by weights and architecture.
    """

    def __call__(
        self, train_loss: Loss, valid_loss: Loss, weight: float | Float[Array, ""]
    ) -> Loss: ...


@implements(Regime)
def split(train_loss: Loss, valid_loss: Loss, weight: float | Float[Array, ""]) -> Loss:
    """Returns V (Liu et al., 2019, eq. 3)."""
    del train_loss, weight
    return valid_loss


@implements(Regime)
def single_level(
    train_loss: Loss, valid_loss: Loss, weight: float | Float[Array, ""]
) -> Loss:
    """Returns T, which the weights descend, too (Xie et al., 2019, SNAS, eq. 4)."""
    del valid_loss, weight
    return train_loss


@implements(Regime)
def mixed(train_loss: Loss, valid_loss: Loss, weight: float | Float[Array, ""]) -> Loss:
    """Returns T + weight * V (He et al., 2020, MiLeNAS)."""

    def loss(params: Params, alpha: Alpha) -> Float[Array, ""]:
        return train_loss(params, alpha) + weight * valid_loss(params, alpha)

    return loss


REGIMES: dict[str, Regime] = {
    "split": split,
    "single_level": single_level,
    "mixed": mixed,
}
"""`search.regime` -> loss that the architecture descends."""
