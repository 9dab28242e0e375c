"""Proxies by the parameters and their gradients: sensitivities of pruning, and ZiCo.

W are the weights of convolutions and of the classifier, and L the mean cross-entropy of
a batch, by whose moments BN normalizes; scales and biases of BN count nowhere.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from darts_jax.documentation import implements
from darts_jax.models.batch_axis import BATCH
from darts_jax.models.functional import (
    channel_sums,
    identity_statistics,
    mask_weights,
    weight_layers,
)
from darts_jax.proxies.network import (
    Proxy,
    UntrainedNetwork,
    cross_entropy,
    in_double,
    loss_gradient,
)
from darts_jax.types import Examples, Params


@implements(Proxy)
def grad_norm(network: UntrainedNetwork, batch: Examples) -> Float[Array, ""]:
    """Returns the sum over layers of the norm of the gradient of their weights.

    Abdelfattah et al. (2021), section 3.2: ``sum_l ||dL/dW_l||_2``.
    """
    return _sum_of_norms(loss_gradient(network)(network.params, batch))


@implements(Proxy)
def l2_norm(network: UntrainedNetwork, batch: Examples) -> Float[Array, ""]:
    """Returns the sum over layers of the norm of their weights.

    Abdelfattah et al. (2021), code: ``sum_l ||W_l||_2``.
    """
    del batch
    return _sum_of_norms(network.params)


@implements(Proxy)
def snip(network: UntrainedNetwork, batch: Examples) -> Float[Array, ""]:
    """Returns how much the loss depends on the presence of each weight.

    Lee et al. (2019, SNIP), equation 5, summed as by Abdelfattah et al. (2021):
    ``sum |W * dL/dW|``.
    """
    gradient = loss_gradient(network)(network.params, batch)
    return _sum_over_weights(lambda w, g: jnp.abs(w * g), network.params, gradient)


@implements(Proxy)
def plain(network: UntrainedNetwork, batch: Examples) -> Float[Array, ""]:
    """Returns the first-order change of the loss when all weights vanish.

    Mozer and Smolensky (1988), as in NAS-Bench-Suite-Zero (Krishnakumar et al., 2022):
    ``sum W * dL/dW``.
    """
    gradient = loss_gradient(network)(network.params, batch)
    return _sum_over_weights(jnp.multiply, network.params, gradient)


@implements(Proxy)
def grasp(network: UntrainedNetwork, batch: Examples) -> Float[Array, ""]:
    """Returns by how much weights preserve the flow of gradients.

    Wang et al. (2020, GraSP), equation 8, with the sign of Abdelfattah et al. (2021):
    ``-sum W * (H g)``, with the gradient g = dL/dW and the Hessian H of the same batch.
    """
    gradient = loss_gradient(network)
    direction = mask_weights(gradient(network.params, batch))
    product = jax.jvp(
        lambda params: gradient(params, batch), (network.params,), (direction,)
    )[1]
    return -_sum_over_weights(jnp.multiply, network.params, product)


@implements(Proxy)
def synflow(network: UntrainedNetwork, batch: Examples) -> Float[Array, ""]:
    """Returns the flow through a network of absolute weights, without data.

    Tanaka et al. (2020), equation 3, as by Abdelfattah et al. (2021): ``sum |W *
    dR/dW|`` with R the sum of the logits of an image of ones, all parameters in
    absolute value and no BN. R grows with the depth beyond what single precision can
    hold: it is infinite there unless JAX has double precision enabled.
    """
    flow = jax.tree.map(lambda leaf: jnp.abs(in_double(leaf)), network.params)
    stats = identity_statistics(jax.tree.map(in_double, network.stats))
    ones = in_double(jnp.ones((1, *batch.images.shape[1:])))

    def total(params: Params) -> Float[Array, ""]:
        return jnp.sum(network.apply(params, stats, ones, train=False))

    gradient = jax.grad(total)(flow)
    return _sum_over_weights(lambda w, g: jnp.abs(w * g), flow, gradient)


@implements(Proxy)
def fisher(network: UntrainedNetwork, batch: Examples) -> Float[Array, ""]:
    """Returns how much the loss depends on the presence of each channel.

    Theis et al. (2018), equation 8, and Turner et al. (2020, BlockSwap), equation 5:
    ``sum_c 1/2 mean_n (sum_i a_nci dL/da_nci)^2`` with the outputs a of convolutions
    and of the classifier, channels c, images n and pixels i. As a is linear in the
    weights, the inner sum is that of W * dL/dW over the weights of a channel, where
    only image n takes part in the slope. Abdelfattah et al. (2021) multiply each
    channel by the number of its weights, by a broadcast in their code; the papers do
    not, nor does this.
    """
    images = len(batch.labels)
    own = jax.tree.map(
        lambda leaf: jnp.broadcast_to(leaf, (images, *leaf.shape)), network.params
    )

    def image_loss(params: Params, image: Array, label: Array) -> Float[Array, ""]:
        one = Examples(image[None], label[None])
        return cross_entropy(network, params, one)

    def loss(own: Params) -> Float[Array, ""]:
        # BN joins its moments over the axis, so that this is the loss of the batch.
        by_image = jax.vmap(image_loss, axis_name=BATCH)
        return jnp.mean(
            by_image(own, jnp.asarray(batch.images), jnp.asarray(batch.labels))
        )

    products = jax.tree.map(jnp.multiply, own, jax.grad(loss)(own))
    channels = jax.vmap(channel_sums)(products)
    return sum(
        (jnp.sum(jnp.mean(in_double(sums) ** 2, 0)) / 2 for sums in channels),
        start=in_double(0.0),
    )


@implements(Proxy)
def zico(
    network: UntrainedNetwork, batch: Examples, parts: int = 2
) -> Float[Array, ""]:
    """Returns how steady gradients are from one part of the batch to the next.

    Li et al. (2023, ZiCo), equation 13: ``sum_l log sum_w mean|g_w| / std(g_w)`` with
    mean and deviation over the parts of the batch. The deviation is that of g_w, as in
    the released code; the paper writes that of ``|g_w|``. Weights whose gradient does
    not differ between the parts are left out.

    Args:
      parts: number of parts of equal size, each with batch statistics of its own; the
        released code takes two batches.
    """
    split = jax.tree.map(
        lambda leaf: leaf.reshape(parts, len(leaf) // parts, *leaf.shape[1:]), batch
    )
    gradients = jax.vmap(loss_gradient(network), (None, 0))(network.params, split)
    by_part = jax.vmap(weight_layers)(gradients)

    def score(of_layer: Float[Array, "part layer ..."]) -> Float[Array, ""]:
        wide = in_double(of_layer).reshape(*of_layer.shape[:2], -1)
        deviation = jnp.std(wide, 0)
        differs = deviation > 0
        safe = jnp.where(differs, deviation, 1)
        steady = jnp.where(differs, jnp.mean(jnp.abs(wide), 0) / safe, 0)
        sums = jnp.sum(steady, -1)
        return jnp.sum(jnp.where(sums > 0, jnp.log(jnp.where(sums > 0, sums, 1)), 0))

    return sum(map(score, by_part), start=in_double(0.0))


def _sum_over_weights(
    function: Callable[[Array, Array], Array], params: Params, others: Params
) -> Float[Array, ""]:
    """Returns the sum over all weights of a function of them and of others."""
    pairs = zip(weight_layers(params), weight_layers(others), strict=True)
    return sum(
        (jnp.sum(function(in_double(w), in_double(other))) for w, other in pairs),
        start=in_double(0.0),
    )


def _sum_of_norms(tree: Params) -> Float[Array, ""]:
    """Returns the sum over layers of the norms of their weights."""

    def norms(layers: Float[Array, "layer ..."]) -> Float[Array, ""]:
        flat = in_double(layers).reshape(len(layers), -1)
        return jnp.sum(jnp.sqrt(jnp.sum(flat**2, -1)))

    return sum(map(norms, weight_layers(tree)), start=in_double(0.0))
