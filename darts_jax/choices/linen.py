"""Linen modules with their choices made."""

from collections.abc import Callable
from typing import Any

from flax import linen as nn

from darts_jax.choices.decisions import decided


class Decided(nn.Module):
    """A Linen module with its choices made: its parameters have the same names.

    Attributes:
      module: with open choices.
      choices: (name, option) of each.
    """

    module: nn.Module
    choices: tuple[tuple[str, str], ...]

    def setup(self) -> None:
        nn.share_scope(self, self.module)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Returns the module's output; takes what it takes."""
        call: Callable[..., Any] = self.module
        with decided(dict(self.choices)):
            return call(*args, **kwargs)
