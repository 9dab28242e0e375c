"""Linen layers of which parts may have a weight."""

from typing import Any

from flax import linen as nn
from jaxtyping import Array, Float


class Conv(nn.Conv):
    """Convolution whose taps have weights of their own.

    Attributes:
      window: weights of the taps in space, as `ValueChoice.window` returns them; None:
        all 1.
    """

    window: Float[Array, "..."] | None = None

    def param(self, name: str, *args: Any, **kwargs: Any) -> Any:
        value = super().param(name, *args, **kwargs)
        if name != "kernel" or self.window is None:
            return value
        return value * self.window[..., None, None].astype(value.dtype)
