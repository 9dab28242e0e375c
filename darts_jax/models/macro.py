"""Parts that the supernet and a genotype's network share: stem, blocks and head."""

import dataclasses
import functools
import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import lax
from jax.ad_checkpoint import checkpoint_name
from jaxtyping import Array, Float

from darts_jax.kernels import max_pool_2x2
from darts_jax.models import stack
from darts_jax.models.batch_axis import keep_joined
from darts_jax.models.operations.layers import (
    BatchNorm,
    Conv,
    FactorizedReduce,
    Image,
    Linear,
    ReLUConvBN,
    mean_pool_2x2,
    window,
)
from darts_jax.models.operations.mobile import BLOCK_ACTIVATIONS
from darts_jax.spaces.graph import Macro
from darts_jax.spaces.structure import POOL
from darts_jax.spaces.widths import FEATURES, STEM

BLOCK_OUTPUT = "block_output"
"""Name, in a traced program, of the output of a block."""


@dataclasses.dataclass(frozen=True)
class Block:
    """A cell, or a residual block, at its place in the network.

    Attributes:
      kind: of the cell, or one of those that are no cells.
      widths: number of channels of the two preceding outputs (earlier, last).
      channels: number of channels of the block's states.
      output: number of channels of its output.
      after_reduction: whether the preceding block halved the image.
    """

    kind: str
    widths: tuple[int, int]
    channels: int
    output: int
    after_reduction: bool


def plan_blocks(
    macro: Macro,
    multiplier: dict[str, int],
    cells: int,
    channels: int,
    stem: tuple[int, int],
    after_reduction: bool = False,
    given: Mapping[str, int] | None = None,
) -> tuple[Block, ...]:
    """Returns the blocks of a network, first to last.

    Args:
      macro: how cells are stacked.
      multiplier: kind -> number of states that its output concatenates.
      cells: depth in units of the macro structure's layout.
      channels: number of channels before the first block that has its own.
      stem: number of channels of the two states that the first block sees.
      after_reduction: whether the stem's states differ in size, as after a reduction.
      given: kind -> number of channels of its blocks; others keep those before, and
        twice that where they reduce.
    """
    blocks = []
    widths = stem
    given = given or {}
    for kind in macro.layout(cells):
        reduces = kind in macro.reductions
        channels = given.get(kind, channels * 2 if reduces else channels)
        output = channels * multiplier.get(kind, 1)
        if kind == POOL:
            output = widths[1]
        blocks.append(Block(kind, widths, channels, output, after_reduction))
        widths = widths[1], output
        after_reduction = reduces
    return tuple(blocks)


class Stem(nn.Module):
    """Convolution of width 3 and BN (always affine), as in both CIFAR networks.

    Attributes:
      channels: number of channels of its output.
      stride: down and across.
      activation: behind BN, as in mobile networks; a name of `BLOCK_ACTIVATIONS`.
      axes: number of axes that the kernel spans.
    """

    channels: int
    stride: int = 1
    activation: str = ""
    axes: int = 2

    @nn.compact
    def __call__(self, images: Image, train: bool) -> Image:
        stride = (self.stride, self.stride)
        x = Conv(self.channels, window(3, self.axes), stride)(images)
        return BLOCK_ACTIVATIONS[self.activation](BatchNorm(affine=True)(x, train))


class ImageNetStem(nn.Module):
    """Two states at a quarter and an eighth of the image's side."""

    channels: int
    axes: int = 2

    @nn.compact
    def __call__(self, images: Image, train: bool) -> tuple[Image, Image]:
        kernel = window(3, self.axes)
        x = Conv(self.channels // 2, kernel, (2, 2))(images)
        x = nn.relu(BatchNorm(affine=True)(x, train))
        first = BatchNorm(affine=True)(Conv(self.channels, kernel, (2, 2))(x), train)
        second = Conv(self.channels, kernel, (2, 2))(nn.relu(first))
        return first, BatchNorm(affine=True)(second, train)


def make_stem(macro: Macro, widths: Mapping[str, int]) -> Stem:
    """Returns the first layer of a network.

    Args:
      macro: how cells are stacked.
      widths: numbers of channels by name, as from `Macro.widths_at`.
    """
    return Stem(widths[STEM], macro.stem_stride, macro.activation, macro.axes)


def make_head(macro: Macro, widths: Mapping[str, int], classes: int) -> "Head":
    """Returns the last layers of a network.

    Args:
      macro: how cells are stacked.
      widths: numbers of channels by name, as from `Macro.widths_at`.
      classes: number of logits.
    """
    features = widths.get(FEATURES, 0)
    return Head(classes, macro.final_norm, features, macro.activation)


class Preprocess(nn.Module):
    """Projection of the two preceding outputs to the cell's width and image size."""

    block: Block
    affine: bool

    @nn.compact
    def __call__(self, earlier: Image, last: Image, train: bool) -> tuple[Image, Image]:
        channels = self.block.channels
        if self.block.after_reduction:
            first: nn.Module = FactorizedReduce(channels, self.affine, name="earlier")
        else:
            first = ReLUConvBN(channels, affine=self.affine, name="earlier")
        second = ReLUConvBN(channels, affine=self.affine, name="last")
        return first(earlier, train), second(last, train)


class Residual(nn.Module):
    """NAS-Bench-201's reduction: two convolutions beside a pooled projection.

    Both halve the image and round up, so that it takes any size.
    """

    channels: int
    axes: int = 2

    @nn.compact
    def __call__(self, earlier: Image, last: Image, train: bool) -> Image:
        del earlier
        kernel = window(3, self.axes)
        y = ReLUConvBN(self.channels, kernel, stride=2)(last, train)
        y = ReLUConvBN(self.channels, kernel)(y, train)
        return y + Conv(self.channels, name="project")(mean_pool_2x2(last))


class HalvingPool(nn.Module):
    """NAS-Bench-101's reduction: 2x2 max pooling; the next cells are twice as wide."""

    @nn.compact
    def __call__(self, earlier: Image, last: Image, train: bool) -> Image:
        del earlier, train
        return max_pool_2x2(last)


def make_plain_block(block: Block, axes: int) -> nn.Module:
    """Returns the module of a block that is no cell.

    Args:
      block: called as ``(earlier, last, train)``.
      axes: number of axes that windows span.
    """
    return HalvingPool() if block.kind == POOL else Residual(block.channels, axes)


class Head(nn.Module):
    """Global average pooling and a linear classifier.

    Attributes:
      classes: number of logits.
      final_norm: whether BN and ReLU precede the pooling.
      features: number of channels of a 1x1 convolution before the pooling, with BN and
        the ``activation``; 0: there is none.
      activation: a name of `BLOCK_ACTIVATIONS`.
    """

    classes: int
    final_norm: bool
    features: int = 0
    activation: str = ""

    @nn.compact
    def __call__(self, x: Image, train: bool) -> Float[Array, "batch class"]:
        if self.features:
            x = BatchNorm(affine=True)(Conv(self.features)(x), train)
            x = BLOCK_ACTIVATIONS[self.activation](x)
        if self.final_norm:
            x = nn.relu(BatchNorm(affine=True)(x, train))
        return Linear(self.classes)(x.mean((1, 2)))


def run_blocks(
    parent: nn.Module,
    blocks: Sequence[Block],
    make: Callable[[Block], nn.Module],
    states: tuple[Image, Image],
    extras: Sequence[Any],
    train: bool,
    offset: int = 0,
    recompute: bool = False,
) -> tuple[Image, Image]:
    """Runs the blocks, equal neighbours as one stacked module that `lax.scan` walks.

    Args:
      parent: module that holds the parameters.
      blocks: first to last.
      make: block -> module called as ``(earlier, last, *extra, train)``.
      states: the two states that the first block sees.
      extras: for every block, a tuple of further arguments.
      train: whether the network is trained.
      offset: number of the first block, for the names of the parameters.
      recompute: whether the backward pass computes blocks again, for want of memory.

    Returns:
      The pair (earlier, last) after the last block.
    """
    keys = jax.random.split(stack.key_for(parent, "drop_path"), len(blocks))
    numbered = itertools.groupby(range(len(blocks)), lambda i: blocks[i])
    for block, group in numbered:
        indices = list(group)
        first = indices[0]
        last = indices[-1]
        module = make(block)
        name = f"blocks_{first + offset}_{last + offset}"
        variables = stack.declare(
            parent, name, module, len(indices), *states, *extras[first]
        )
        own = [extras[i] for i in indices]
        stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *own)

        call: Callable[..., Any] = functools.partial(stack.apply, module, train=train)
        if recompute:
            call = jax.checkpoint(
                call, prevent_cse=len(indices) == 1, policy=keep_joined
            )

        def step(
            states: tuple[Image, Image], x: Any, call: Callable[..., Any] = call
        ) -> tuple[tuple[Image, Image], Any]:
            variables, key, extra = x
            output, stats = call(variables, key, *states, *extra)
            output = checkpoint_name(output, BLOCK_OUTPUT)
            return (states[1], output), stats

        walked = (variables, keys[first : last + 1], stacked)
        if len(indices) == 1:
            states, stats = step(states, jax.tree.map(lambda leaf: leaf[0], walked))
            stats = jax.tree.map(lambda leaf: leaf[None], stats)
        else:
            states, stats = lax.scan(step, states, walked)
        stack.commit(parent, name, stats)
    return states
