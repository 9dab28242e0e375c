"""The supernet, in which every edge of every cell is a mixture of its operations."""

from typing import Any, Literal

import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from darts_jax.models.execution import Execution
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
from darts_jax.models.mixed_edges import MixedEdges, kept_channels
from darts_jax.models.operations.corruption import Corruption
from darts_jax.models.operations.layers import Image
from darts_jax.spaces.graph import Space
from darts_jax.spaces.widths import COLUMNS, STEM
from darts_jax.types import Mixture, Outputs

Remat = Literal["none", "edge", "cell"]
"""Parts that the backward pass computes again: none, the mixed operations, or these and
whole cells around them."""


class SuperCell(nn.Module):
    """A cell: projected inputs, mixed edges, concatenated output.

    Attributes:
      block: its place in the network.
      preprocesses: whether inputs are projected.
      edges: the mixed edges, made with ``parent=None``.
    """

    block: Block
    preprocesses: bool
    edges: MixedEdges

    @nn.compact
    def __call__(
        self,
        earlier: Image,
        last: Image,
        mixture: Float[Array, "edge op"],
        strength: Float[Array, ""],
        train: bool,
    ) -> Image:
        inputs: tuple[Image, ...] = (earlier, last)[-self.edges.cell.inputs :]
        if self.preprocesses:
            inputs = Preprocess(self.block, self.edges.discrete)(earlier, last, train)
        nodes = self.edges(jnp.stack(inputs), mixture, strength, train)
        states = [*inputs, *nodes]
        return jnp.concatenate([states[i] for i in self.edges.cell.output], axis=-1)


class Supernet(nn.Module):
    """A space as one network, pure in (parameters, statistics, mixture, images).

    Example:
      >>> space = darts_jax.get_space("nasbench201")
      >>> net = darts_jax.Supernet(space, classes=10, cells=1, channels=4)
      >>> key = jax.random.key(0)
      >>> shapes = jax.eval_shape(
      ...     lambda: darts_jax.initialize_supernet(net, key, (8, 8, 3))
      ... )
      >>> sum(leaf.size for leaf in jax.tree.leaves(shapes.params))  # weights
      25054

    Attributes:
      space: the space that is searched.
      classes: number of logits.
      cells: depth in units of the space's layout (DARTS: all cells; NAS-Bench-201:
        cells per stage).
      channels: number of channels of the first cells.
      partial: 1/partial of the channels enter the operations (Xu et al., 2020).
      execution: name of the walk over the edges of a cell.
      remat: parts that the backward pass computes again, for want of memory.
      dtype: of the computation; parameters and statistics are float32 anyway. None:
        that of the images.
      sampled: whether operations of weight 0 do not run; their weights' slope is 0.
      corruptions: operation -> the corruption of its output in training.
      discrete: whether operations are those of a genotype's network, with affine BN:
        at the one-hot mixture of a genotype this is its network, without drop path.
      top: in place of the classifier, called as ``(last state, train)``.
      imagenet: the stem of convolutions of stride 2, for large images, of as many
        channels as the other stem.
      entangled: whether smaller kernels are the middle of larger ones; see
        `entanglement.entangle`, which `supernet_apply` calls.
      entangled_expansions: whether mobile blocks of smaller expansions are the first
        channels of larger ones.
    """

    space: Space
    classes: int
    cells: int
    channels: int
    partial: int = 1
    execution: Execution = "scan"
    remat: Remat = "edge"
    dtype: DTypeLike | None = None
    sampled: bool = False
    corruptions: tuple[tuple[str, Corruption], ...] = ()
    discrete: bool = False
    top: nn.Module | None = None
    imagenet: bool = False
    entangled: bool = False
    entangled_expansions: bool = False

    @nn.compact
    def __call__(self, images: Image, mixture: Mixture, train: bool) -> Outputs:
        """Computes logits [batch, class], or what ``top`` gives.

        Args:
          images: [batch, height, width, channel], as the network sees them.
          mixture: its edge shares are what channels that pass by are multiplied by.
          train: whether batch statistics are those of the batch.
        """
        macro = self.space.macro
        blocks = self.blocks()
        widths = macro.widths_at(self.channels)
        images = images.astype(self.dtype or images.dtype)
        if COLUMNS in mixture.weights:
            taken = mixture.weights[COLUMNS][:, 0]
            images = images * taken.astype(images.dtype)
        stem = self._stem(images, train)
        if macro.stem_follows:
            stem = self._narrow_stem(stem, mixture)
        _, x = run_blocks(
            self,
            blocks,
            self._block,
            stem,
            _per_block(blocks, mixture, shares=self.partial > 1),
            train,
            recompute=self.remat == "cell",
        )
        head = self.top or make_head(macro, widths, self.classes)
        return head.clone(name="head", parent=self)(x, train)

    def blocks(self) -> tuple[Block, ...]:
        """Returns the network's blocks, first to last."""
        macro = self.space.macro
        widths = macro.widths_at(self.channels)
        return plan_blocks(
            macro,
            {kind: len(cell.output) for kind, cell in self.space.cells.items()},
            cells=self.cells,
            channels=self.channels,
            stem=(widths[STEM], widths[STEM]),
            after_reduction=self.imagenet,
            given=widths,
        )

    def _stem(self, images: Image, train: bool) -> tuple[Image, Image]:
        widths = self.space.macro.widths_at(self.channels)
        if self.imagenet:
            macro = self.space.macro
            return ImageNetStem(widths[STEM], macro.axes, name="stem")(images, train)
        stem = make_stem(self.space.macro, widths)
        x = stem.clone(name="stem", parent=self)(images, train)
        return x, x

    def _narrow_stem(
        self, stem: tuple[Image, Image], mixture: Mixture
    ) -> tuple[Image, Image]:
        """Multiplies the stem's channels by the width of the kind that it follows."""
        kind = self.space.macro.stem_follows
        weights = mixture.weights[kind]
        own = weights if weights.ndim == 2 else weights[0]
        kept = kept_channels(self.space.cells[kind], own, stem[0].shape[-1])
        if kept is None:
            return stem
        earlier, last = (x * kept.astype(x.dtype) for x in stem)
        return earlier, last

    def _block(self, block: Block) -> nn.Module:
        if block.kind not in self.space.cells:
            return make_plain_block(block, self.space.macro.axes)
        variants = () if self.discrete else self.space.supernet_variants.items()
        edges = MixedEdges(
            cell=self.space.cells[block.kind],
            channels=block.channels,
            partial=self.partial,
            variants=tuple(variants),
            execution=self.execution,
            recompute=self.remat != "none",
            sampled=self.sampled,
            corruptions=self.corruptions,
            discrete=self.discrete,
            parent=None,
        )
        return SuperCell(block, self.space.macro.preprocesses, edges)


def _per_block(
    blocks: tuple[Block, ...], mixture: Mixture, *, shares: bool
) -> list[tuple[Any, ...]]:
    """Returns (weights, strength) of every block; nothing for one without a kind.

    Args:
      shares: whether every edge's share follows the weights of its operations; it is 1
        where the mixture has none.
    """
    strength = jnp.asarray(0.0 if mixture.strength is None else mixture.strength)
    seen: dict[str, int] = {}
    extras: list[tuple[Any, ...]] = []
    for block in blocks:
        weights = mixture.weights.get(block.kind)
        if weights is None:
            extras.append(())
            continue
        index = seen.get(block.kind, 0)
        seen[block.kind] = index + 1
        own = weights if weights.ndim == 2 else weights[index]
        if shares:
            share = mixture.edge_shares.get(block.kind, jnp.ones(len(own), own.dtype))
            own = jnp.concatenate([own, share[:, None]], -1)
        extras.append((own, strength))
    return extras
