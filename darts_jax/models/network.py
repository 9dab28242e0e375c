"""The network of a genotype, which is retrained and evaluated."""

import math
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from darts_jax.kernels import depthwise_conv
from darts_jax.models.macro import (
    Block,
    ImageNetStem,
    Preprocess,
    make_head,
    make_plain_block,
    make_stem,
    plan_blocks,
    run_blocks,
)
from darts_jax.models.operations.corruption import drop_path
from darts_jax.models.operations.image import Identity, Zero, make_operation
from darts_jax.models.operations.layers import BatchNorm, Conv, Image, Linear, window
from darts_jax.models.operations.operation import add_residual
from darts_jax.spaces.graph import CellGenotype, Genotype, Macro
from darts_jax.spaces.widths import STEM


class Logits(NamedTuple):
    """Logits of the network and of its auxiliary head.

    Attributes:
      main: [batch, class], or the output of the network's ``top``.
      auxiliary: [batch, class] in train mode where there is such a head, else None.
    """

    main: Any
    auxiliary: Float[Array, "batch class"] | None


class DiscreteCell(nn.Module):
    """The kept edges of a cell, each with its own operation.

    Attributes:
      cell: the kept edges.
      block: the cell's place in the network.
      preprocesses: whether inputs are projected to the cell's width.
      reduces: whether edges that leave an input have stride 2.
    """

    cell: CellGenotype
    block: Block
    preprocesses: bool
    reduces: bool

    @nn.compact
    def __call__(
        self, earlier: Image, last: Image, drop_rate: Float[Array, ""], train: bool
    ) -> Image:
        cell = self.cell
        states = [earlier, last][-cell.inputs :]
        if self.preprocesses:
            states = list(Preprocess(self.block, affine=True)(earlier, last, train))
        stride = 2 if self.reduces else 1
        batch, height, width, _ = states[0].shape
        shape = (batch, -(-height // stride), -(-width // stride), self.block.channels)
        zero = jnp.zeros(shape, states[0].dtype)
        for target in range(cell.inputs, cell.states):
            terms = [
                self._edge(i, states[choice.source], drop_rate, train)
                for i, choice in enumerate(cell.choices)
                if choice.target == target
            ]
            states.append(sum(terms, start=zero))
        return jnp.concatenate([states[i] for i in cell.output], axis=-1)

    def _edge(self, i: int, x: Image, drop_rate: Array, train: bool) -> Image:
        choice = self.cell.choices[i]
        stride = 2 if self.reduces and choice.source < self.cell.inputs else 1
        made = make_operation(
            choice.operation, self.block.channels, stride, discrete=True
        )
        name = f"edge_{choice.source}_{choice.target}_{i}"
        y = made.clone(name=name, parent=self)(x, train)
        if train and not isinstance(made, Identity | Zero):
            y = drop_path(self.make_rng("drop_path"), y, drop_rate)
        return add_residual(made, x, y)


class AuxiliaryHead(nn.Module):
    """Classifier on an inner state, for training only.

    Pools 5x5 windows, then a 1x1 and a 2x2 convolution: on an 8x8 (CIFAR, stride 3) or
    7x7 state (ImageNet, stride 2) just as published. On smaller states the windows
    shrink to fit; on larger ones what is left is averaged.

    Attributes:
      classes: number of logits.
      stride: of the pooling.
      final_norm: whether BN follows the last convolution.
      axes: number of axes that windows span.
    """

    classes: int
    stride: int
    final_norm: bool
    axes: int = 2

    @nn.compact
    def __call__(self, x: Image, train: bool) -> Float[Array, "batch class"]:
        x = _pool_valid(nn.relu(x), self._window(5, x), self.stride)
        x = nn.relu(BatchNorm(affine=True)(Conv(128)(x), train))
        x = _ConvValid(768, self._window(2, x))(x)
        if self.final_norm:
            x = BatchNorm(affine=True)(x, train)
        return Linear(self.classes)(nn.relu(x).mean((1, 2)))

    def _window(self, side: int, x: Image) -> tuple[int, int]:
        return window(min(side, *x.shape[3 - self.axes : 3]), self.axes)


def _pool_valid(x: Image, size: tuple[int, int], stride: int) -> Image:
    taps = jnp.ones((*size, x.shape[-1]), x.dtype) / math.prod(size)
    return depthwise_conv(x, taps, stride=stride, same=False)


class _ConvValid(nn.Module):
    """Convolution without padding, as a matrix product over its patches."""

    features: int
    size: tuple[int, int]

    @nn.compact
    def __call__(self, x: Image) -> Image:
        height, width = self.size
        rows = x.shape[1] - height + 1
        columns = x.shape[2] - width + 1
        patches = [
            x[:, i : i + rows, j : j + columns]
            for i in range(height)
            for j in range(width)
        ]
        return Conv(self.features)(jnp.concatenate(patches, axis=-1))


class Network(nn.Module):
    """A genotype stacked to its published depth and width.

    Attributes:
      genotype: the cells.
      macro: how they are stacked.
      classes: number of logits.
      cells: depth in units of the macro structure's layout.
      channels: number of channels of the first cells.
      imagenet: the stem of two stride-2 convolutions, for large images.
      auxiliary: whether there is an auxiliary head, at two thirds of the depth.
      dtype: of the computation; parameters and statistics are float32 anyway. None:
        that of the images.
      top: in place of the classifier, called as ``(last state, train)``.
    """

    genotype: Genotype
    macro: Macro
    classes: int
    cells: int
    channels: int
    imagenet: bool = False
    auxiliary: bool = False
    dtype: DTypeLike | None = None
    top: nn.Module | None = None

    @nn.compact
    def __call__(
        self, images: Image, drop_rate: Float[Array, ""], train: bool
    ) -> Logits:
        """Computes the logits.

        Args:
          images: [batch, height, width, channel].
          drop_rate: probability with which drop path drops, in [0, 1).
          train: whether batch statistics are those of the batch.
        """
        images = images.astype(self.dtype or images.dtype)
        if self.genotype.columns is not None:
            images = images[..., np.array(self.genotype.columns)]
        states = self._stem(images, train)
        blocks = self.blocks()
        # The auxiliary head follows the second reduction cell.
        cut = 2 * len(blocks) // 3 + 1
        extras = [(drop_rate,) if b.kind in self.genotype.cells else () for b in blocks]
        states = run_blocks(
            self, blocks[:cut], self._block, states, extras[:cut], train
        )
        auxiliary = self._auxiliary(states[1], train)
        _, last = run_blocks(
            self, blocks[cut:], self._block, states, extras[cut:], train, offset=cut
        )
        head = self.top or make_head(self.macro, self.widths(), self.classes)
        logits = head.clone(name="head", parent=self)(last, train)
        return Logits(logits, auxiliary)

    def widths(self) -> dict[str, int]:
        """Returns numbers of channels by name, as from `Genotype.widths_in`."""
        return self.genotype.widths_in(self.macro, self.channels)

    def blocks(self) -> tuple[Block, ...]:
        """Returns the network's blocks, first to last."""
        stem = self.channels if self.imagenet else self.widths()[STEM]
        return plan_blocks(
            self.macro,
            {kind: len(cell.output) for kind, cell in self.genotype.cells.items()},
            cells=self.cells,
            channels=self.channels,
            stem=(stem, stem),
            after_reduction=self.imagenet,
            given=self.widths(),
        )

    def _stem(self, images: Image, train: bool) -> tuple[Image, Image]:
        if self.imagenet:
            stem = ImageNetStem(self.channels, self.macro.axes, name="stem")
            return stem(images, train)
        x = make_stem(self.macro, self.widths()).clone(name="stem", parent=self)(
            images, train
        )
        return x, x

    def _block(self, block: Block) -> nn.Module:
        if block.kind not in self.genotype.cells:
            return make_plain_block(block, self.macro.axes)
        reduces = block.kind in self.macro.reductions
        cell = self.genotype.cells[block.kind]
        return DiscreteCell(cell, block, self.macro.preprocesses, reduces)

    def _auxiliary(self, x: Image, train: bool) -> Array | None:
        wanted = self.auxiliary and (train or self.is_initializing())
        if not wanted:
            return None
        head = make_auxiliary_head(self).clone(name="auxiliary", parent=self)
        return head(x, train)


def make_auxiliary_head(net: Network) -> AuxiliaryHead:
    """Returns the auxiliary head of a network.

    Args:
      net: the network.
    """
    stride = 2 if net.imagenet else 3
    return AuxiliaryHead(net.classes, stride, not net.imagenet, net.macro.axes)
