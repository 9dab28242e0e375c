"""On which images the architecture learns: its objective out of the losses of a step.

Every step has a batch T of the training half and a batch V of the validation half. To
add a regime: ``REGIMES["mine"] = mine``.
"""

from typing import Protocol

from jaxtyping import Array, Float

from darts_jax.types import Alpha, Loss, Params


class Regime(Protocol):
    """(T's loss, V's loss, a weight) -> what the architecture descends."""

    def __call__(
        self, train_loss: Loss, valid_loss: Loss, weight: float | Float[Array, ""]
    ) -> Loss: ...


def split(train_loss: Loss, valid_loss: Loss, weight: float | Float[Array, ""]) -> Loss:
    """V's loss alone (Liu et al., 2019, eq. 3)."""
    del train_loss, weight
    return valid_loss


def single_level(
    train_loss: Loss, valid_loss: Loss, weight: float | Float[Array, ""]
) -> Loss:
    """T's loss, which the weights descend as well (Xie et al., 2019, SNAS, eq. 4)."""
    del valid_loss, weight
    return train_loss


def mixed(train_loss: Loss, valid_loss: Loss, weight: float | Float[Array, ""]) -> Loss:
    """T's loss + weight * V's loss (He et al., 2020, MiLeNAS)."""

    def loss(params: Params, alpha: Alpha) -> Float[Array, ""]:
        return train_loss(params, alpha) + weight * valid_loss(params, alpha)

    return loss


REGIMES: dict[str, Regime] = {
    "split": split,
    "single_level": single_level,
    "mixed": mixed,
}
