"""Terms that the architecture's loss may be given: one number from all edges.

Each takes the logits [edge, op], the mask that is False where an edge has no such
operation, the mixing weights and the operations' costs of the same shape, and returns
a scalar to be scaled and added. `penalty` puts the edges of all kinds under one another
first, so that a mean is over all edges of the architecture, as in the papers. To add
one: ``TERMS["mine"] = mine``.
"""

from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
from jax.scipy.special import digamma, gammaln
from jaxtyping import Array, Bool, Float

from darts_jax.bilevel.relaxation import concentration, is_operations
from darts_jax.types import Alpha, AnyArray, Mask, Mixture

Logits = Float[Array, "edge op"]
Weights = Float[Array, "edge op"]
Costs = Float[Array, "edge op"]
Allowed = Bool[Array, "edge op"]
Scalar = Float[Array, ""]

Term = Callable[[Logits, Allowed, Weights, Costs], Scalar]


def penalty(
    term: Term,
    alpha: Alpha,
    mask: Mask,
    mixture: Mixture,
    costs: Mapping[str, Float[AnyArray, "edge op"]] | None = None,
) -> Scalar:
    """A term on the edges of all kinds; edge logits take no part.

    Args:
      costs: kind -> cost of every operation, such as its parameters times the number
        of cells of that kind; none costs anything if not given.
    """
    kinds = sorted(kind for kind in alpha if is_operations(kind))
    logits = _stacked([alpha[kind] for kind in kinds])
    given = costs or {kind: jnp.zeros_like(alpha[kind]) for kind in kinds}
    return term(
        logits,
        _stacked([jnp.asarray(mask[kind]) for kind in kinds]),
        _stacked([mixture.weights[kind] for kind in kinds]),
        _stacked([jnp.asarray(given[kind], logits.dtype) for kind in kinds]),
    )


def logsumexp(logits: Logits, mask: Allowed, weights: Weights, costs: Costs) -> Scalar:
    """``mean_e log sum_o exp(a)`` (Ye et al., 2022, beta-DARTS)."""
    del weights, costs
    each = jax.nn.logsumexp(jnp.where(mask, logits, -jnp.inf), axis=-1)
    return each.mean()


def zero_one(logits: Logits, mask: Allowed, weights: Weights, costs: Costs) -> Scalar:
    """``-mean (s - 1/2)^2``, s = sigmoid(a): FairDARTS (Chu et al., 2020)."""
    del weights, costs
    return -_mean(jnp.square(jax.nn.sigmoid(logits) - 0.5), mask)


def zero_one_absolute(
    logits: Logits, mask: Allowed, weights: Weights, costs: Costs
) -> Scalar:
    """``-mean |s - 1/2|``, FairDARTS's other form of `zero_one`."""
    del weights, costs
    return -_mean(jnp.abs(jax.nn.sigmoid(logits) - 0.5), mask)


def anchor_kl(logits: Logits, mask: Allowed, weights: Weights, costs: Costs) -> Scalar:
    """``sum_e KL(Dir(c) || Dir(1))``, c = elu(a) + 1 (Chen et al., 2021, DrNAS).

    With C the sum of an edge's K concentrations: ``log G(C) - sum log G(c) - log G(K) +
    sum (c - 1) (psi(c) - psi(C))``. The divergence of independent edges is their sum.
    """
    del weights, costs
    # An absent operation at its anchor contributes nothing.
    c = jnp.where(mask, concentration(logits), 1)
    total = jnp.where(mask, c, 0).sum(-1, keepdims=True)
    count = mask.sum(-1).astype(logits.dtype)
    within = (c - 1) * (digamma(c) - digamma(total)) - gammaln(c)
    return (within.sum(-1) + gammaln(total[:, 0]) - gammaln(count)).sum()


def anchor_l2(logits: Logits, mask: Allowed, weights: Weights, costs: Costs) -> Scalar:
    """``sum a^2 / 2``: DrNAS's default distance to its anchor, c = 1 at a = 0.

    Its gradient is that of weight decay, with this term's scale for the decay.
    """
    del weights, costs
    return jnp.square(jnp.where(mask, logits, 0)).sum() / 2


def entropy(logits: Logits, mask: Allowed, weights: Weights, costs: Costs) -> Scalar:
    """``-mean_e sum_o p log p`` of the mixing weights, in nats; 0 log 0 = 0."""
    del logits, mask, costs
    # The slope of p log p at 0 is infinite: a weight that is 0 is left where it is.
    safe = jnp.where(weights > 0, weights, 1)
    return -(safe * jnp.log(safe)).sum(-1).mean()


def expected_cost_penalty(
    logits: Logits, mask: Allowed, weights: Weights, costs: Costs
) -> Scalar:
    """``sum_e sum_o p cost``: of the mixture (Xie et al., 2019; Cai et al., 2019)."""
    del logits
    return (jnp.where(mask, costs, 0) * weights).sum()


TERMS: dict[str, Term] = {
    "logsumexp": logsumexp,
    "zero_one": zero_one,
    "zero_one_absolute": zero_one_absolute,
    "anchor_kl": anchor_kl,
    "anchor_l2": anchor_l2,
    "entropy": entropy,
    "expected_cost": expected_cost_penalty,
}


def _mean(values: Float[Array, "edge op"], mask: Allowed) -> Scalar:
    return jnp.where(mask, values, 0).sum() / mask.sum().astype(values.dtype)


def _stacked(parts: list[Array]) -> Array:
    """One under another; narrower ones padded by 0, which in a mask is False."""
    width = max(part.shape[1] for part in parts)
    return jnp.concatenate(
        [jnp.pad(part, ((0, 0), (0, width - part.shape[1]))) for part in parts]
    )
