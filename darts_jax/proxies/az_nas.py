"""AZ-NAS's proxies of the outputs of a network's blocks (Lee and Ham, 2024).

Blocks are cells, and the reductions between them. The paper initializes by a normal
distribution of variance 2 / fan-in and feeds normal noise; here both are those of the
network and the batch that are given. Its complexity is `counts.flops`.
"""

import itertools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.extend.core import JaxprEqn
from jaxtyping import Array, Float

from darts_jax import jaxprs
from darts_jax.documentation import implements
from darts_jax.models.macro import BLOCK_OUTPUT
from darts_jax.proxies.network import Proxy, UntrainedNetwork, in_double
from darts_jax.proxies.taps import Taps, read_values, run_with_taps
from darts_jax.types import Examples

_SIGNS_SEED = 0


@implements(Proxy)
def expressivity(network: UntrainedNetwork, batch: Examples) -> Float[Array, ""]:
    """Returns the sum over blocks of the entropy of their principal components.

    Lee and Ham (2024), equations 1 to 3: ``sum_l s_l, s_l = -sum_i p_i log p_i`` with
    the eigenvalues p of the covariance of the channels of block l over all pixels,
    divided by their sum.
    """
    return jnp.sum(_entropies(network, batch))


@implements(Proxy)
def progressivity(network: UntrainedNetwork, batch: Examples) -> Float[Array, ""]:
    """Returns the least gain of entropy from one block to the next.

    Lee and Ham (2024), equation 4: ``min_l s_l - s_(l-1)``, s as of `expressivity`.
    """
    return jnp.min(jnp.diff(_entropies(network, batch)))


@implements(Proxy)
def trainability(network: UntrainedNetwork, batch: Examples) -> Float[Array, ""]:
    """Returns how well blocks keep the size of gradients.

    Lee and Ham (2024), equations 5 to 8: the mean over blocks of ``2 - v - 1 / v`` with
    v the largest singular value of the mean over pixels of J^T g g^T, g random signs in
    the shape of a block's output and J the block's Jacobian; 0 is best. Pixels of an
    input that is larger than the output are channels of one pixel. A block that leaves
    its input as it is makes the result minus infinity.
    """

    def forward(images: Array) -> Array:
        return network.apply(network.params, network.stats, images, train=True)

    shapes = jax.eval_shape(lambda images: _read_blocks(network, images), batch.images)
    shifts = [jnp.zeros(leaf.shape, leaf.dtype) for leaf in shapes]
    key = jax.random.key(_SIGNS_SEED)
    signs = [
        jax.random.rademacher(jax.random.fold_in(key, i), leaf.shape, leaf.dtype)
        for i, leaf in enumerate(shapes)
    ]

    def tap(
        equation: JaxprEqn, operands: Sequence[Any], extra: tuple[Array, Array]
    ) -> tuple[Sequence[Any], Array]:
        del equation
        (x,), (shift, sign) = operands, extra
        # What follows sees a block's output through the shift alone, so that the slope
        # by a shift is that of the next block.
        return [lax.stop_gradient(x) + shift], jnp.sum(x * sign)

    def total(shifts: list[Array]) -> Array:
        extras = list(zip(shifts, signs, strict=True))
        taps = Taps(_is_block, tap)
        _, seen = run_with_taps(forward, taps, (batch.images,), extras)
        return sum((jnp.sum(one.value) for one in seen), start=jnp.zeros(()))

    slopes = jax.grad(lambda shifts: total(shifts))(shifts)
    blocks = [
        pair
        for slope, sign in zip(slopes, signs, strict=True)
        for pair in zip(_unrolled(slope), _unrolled(sign), strict=True)
    ]
    scores = [
        _gain_score(slope, sign) for (slope, _), (_, sign) in itertools.pairwise(blocks)
    ]
    return jnp.mean(jnp.stack(scores))


def _is_block(equation: JaxprEqn) -> bool:
    return jaxprs.name_of(equation) == BLOCK_OUTPUT


def _read_blocks(network: UntrainedNetwork, images: Array) -> list[Array]:
    """Returns the outputs of all blocks, with an axis of neighbours that are alike."""
    seen = read_values(
        lambda images: network.apply(network.params, network.stats, images, train=True),
        _is_block,
        lambda equation, x: x,
        images,
    )
    return [one.value for one in seen]


def _unrolled(outputs: Array) -> list[Float[Array, "image height width channel"]]:
    """Returns the output of every block of an array, first to last."""
    blocks = outputs.reshape(-1, *outputs.shape[-4:])
    return [blocks[i] for i in range(len(blocks))]


def _entropies(network: UntrainedNetwork, batch: Examples) -> Float[Array, " block"]:
    """Returns the entropy of the principal components of every block's output."""

    def entropy(output: Float[Array, "i h w c"]) -> Float[Array, ""]:
        pixels = in_double(output).reshape(-1, output.shape[-1])
        centred = pixels - jnp.mean(pixels, 0)
        values = jnp.linalg.eigvalsh(centred.T @ centred / len(pixels))
        share = values / jnp.sum(values)
        return -jnp.sum(share * jnp.log(share + 1e-8))

    outputs = _read_blocks(network, jnp.asarray(batch.images))
    return jnp.stack([entropy(x) for each in outputs for x in _unrolled(each)])


def _gain_score(
    slope: Float[Array, "image h w c"], sign: Float[Array, "image height width channel"]
) -> Float[Array, ""]:
    """Returns the score of a block by the slope of its input for signs behind it."""
    images, height, width, channels = sign.shape
    rows = slope.shape[1] // height
    columns = slope.shape[2] // width
    # PixelUnshuffle: the pixels that one output pixel stands for become its channels.
    grouped = slope[:, : rows * height, : columns * width].reshape(
        images, height, rows, width, columns, slope.shape[-1]
    )
    inputs = grouped.transpose(0, 1, 3, 5, 2, 4).reshape(images * height * width, -1)
    outputs = sign.reshape(-1, channels)
    matrix = in_double(inputs).T @ in_double(outputs) / len(outputs)
    wide = matrix.shape[0] > matrix.shape[1]
    square = matrix.T @ matrix if wide else matrix @ matrix.T
    largest = jnp.sqrt(jnp.linalg.eigvalsh(square)[-1])
    score = 2 - largest - 1 / (largest + 1e-6)
    same = slope.shape == sign.shape
    kept = jnp.all(slope == sign) if same else jnp.array(False)
    return jnp.where(kept, -jnp.inf, score)
