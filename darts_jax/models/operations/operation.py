"""Protocol of an operation: the function that makes its module, and its traits."""

from collections.abc import Callable
from typing import NamedTuple

from flax import linen as nn

from darts_jax.models.operations.layers import Image

Operation = Callable[[int, int, bool], nn.Module]
"""``(channels, stride, discrete) -> module`` of one edge of an image cell.

- ``channels``: number of channels that leave the operation.
- ``stride``: 1 or 2, down and across.
- ``discrete``: whether the module is part of a genotype's network, where BN is affine
  and pooling stands alone, and not of a supernet.

The module is any Flax module that is called as ``(x, train)`` with the images of one
edge [batch, height, width, channel]. It returns images of ``channels`` channels whose
sides are divided by the stride, rounded up. The supernet stacks the parameters of the
edges itself. `Traits` are class attributes by which a module may say more of itself.
"""


class Traits(NamedTuple):
    """Class attributes by which an operation's module says how it may be computed.

    Each is False for a module that does not have it, as for any plain Flax module.

    Attributes:
      edge_independent: whether the module has no parameters and gives the same on every
        edge that leaves a state. It is then computed once per state.
      takes_weight: whether the module is called as ``(x, train, weight)`` and itself
        multiplies its output by ``weight`` [channel]. In BN this costs less than later.
      adds_input: whether the module is the inner part of a residual block: its input is
        added to its output where both have one shape, behind drop path and corruption,
        which spare the input.
      takes_parts: whether all that the module draws or averages over the images of a
        batch goes by `models.batch_axis`, as in `BatchNorm`. Devices that share a batch
        and join its statistics then compute a part each.
    """

    edge_independent: bool = False
    takes_weight: bool = False
    adds_input: bool = False
    takes_parts: bool = False


def traits(module: nn.Module) -> Traits:
    """Returns the traits of an operation.

    Args:
      module: what an `Operation` has made.
    """
    return Traits(
        edge_independent=getattr(module, "edge_independent", False),
        takes_weight=getattr(module, "takes_weight", False),
        adds_input=getattr(module, "adds_input", False),
        takes_parts=getattr(module, "takes_parts", False),
    )


def add_residual(module: nn.Module, x: Image, y: Image) -> Image:
    """Returns an operation's output, plus its input in a residual block.

    Args:
      module: what an `Operation` has made.
      x: its input [batch, height, width, channel].
      y: its output, after drop path or corruption.
    """
    return x + y if traits(module).adds_input and x.shape == y.shape else y
