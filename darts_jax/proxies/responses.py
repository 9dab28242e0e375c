"""Proxies by the responses to the images of a batch: Jacobians and ReLU patterns."""

import jax
import jax.numpy as jnp
from jax.extend.core import JaxprEqn, Literal
from jaxtyping import Array, Float

from darts_jax import jaxprs
from darts_jax.documentation import implements
from darts_jax.proxies.network import Proxy, UntrainedNetwork, in_double
from darts_jax.proxies.taps import read_values
from darts_jax.types import Examples

_SMALL = 1e-5  # of the released code of both papers
_IMAGE_AXES = 4


@implements(Proxy)
def jacov(network: UntrainedNetwork, batch: Examples) -> Float[Array, ""]:
    """Returns how little the slopes of different images are correlated.

    Mellor et al. (2020, version 1 of "Neural architecture search without training"),
    equations 1 to 4, as by Abdelfattah et al. (2021): ``-sum_i log(v_i + k) +
    1 / (v_i + k)``, k = 1e-5, with the eigenvalues v of the correlation of the rows of
    J, of which row n is the slope of the sum of all logits by image n.
    """

    def total(images: Array) -> Float[Array, ""]:
        logits = network.apply(network.params, network.stats, images, train=True)
        return jnp.sum(logits)

    slopes = in_double(jax.grad(total)(batch.images))
    rows = slopes.reshape(len(slopes), -1)
    values = jnp.linalg.eigvalsh(jnp.corrcoef(rows)) + _SMALL
    return -jnp.sum(jnp.log(values) + 1 / values)


@implements(Proxy)
def naswot(network: UntrainedNetwork, batch: Examples) -> Float[Array, ""]:
    """Returns how well the patterns of active ReLU tell the images apart.

    Mellor et al. (2021, NASWOT), equation 2: ``log |det K|``, K_ij the number of ReLU
    that are both active or both at rest for the images i and j. BN normalizes by the
    batch. A projection of a strided skip counts the ReLU of its second, shifted
    convolution by itself, where PyTorch's code shares one.
    """

    def agreements(equation: JaxprEqn, *operands: Array) -> Float[Array, "image image"]:
        x = operands[_relu_input(equation) or 0]
        # Kernels may have an axis of edges before that of the images.
        x = jnp.moveaxis(x, max(x.ndim - _IMAGE_AXES, 0), 0)
        active = (x.reshape(len(x), -1) > 0).astype(batch.images.dtype)
        both = active @ active.T
        count = jnp.diagonal(both)
        return 2 * both - count[:, None] - count + active.shape[-1]

    seen = read_values(
        lambda images: network.apply(network.params, network.stats, images, train=True),
        lambda equation: _relu_input(equation) is not None,
        agreements,
        batch.images,
    )
    images = len(batch.images)
    kernel = sum(
        (
            in_double(jnp.where(one.ran[..., None, None], one.value, 0))
            .reshape(-1, images, images)
            .sum(0)
            for one in seen
        ),
        start=in_double(jnp.zeros((images, images))),
    )
    return jnp.linalg.slogdet(kernel)[1]


def _relu_input(equation: JaxprEqn) -> int | None:
    """Returns the place of a ReLU's input among the operands; None: it is no ReLU."""
    if equation.primitive.name == "max":
        for place, operand in enumerate(equation.invars):
            if isinstance(operand, Literal) and jnp.ndim(operand.val) == 0:
                return 1 - place if operand.val == 0 else None
        return None
    rectifies = equation.primitive.name in ("rectified_conv", "separable", "separables")
    return 0 if rectifies and jaxprs.has_window(equation) else None
