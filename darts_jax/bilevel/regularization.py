"""Terms of the architecture's loss: a scalar from the parameters of all edges.

Each takes parameters [edge, op], the mask that is False where an edge has no such
operation, mixing weights and costs of the same shape. `penalty` stacks the edges of all
kinds first, so that a mean is over all edges of the architecture, as in the papers. To
add one: ``TERMS["mine"] = mine``.
"""

from collections.abc import Mapping
from typing import Protocol

import jax
import jax.numpy as jnp
from jax.scipy.special import digamma, gammaln
from jaxtyping import Array, Bool, Float

from darts_jax.bilevel.relaxation import concentration, is_operations
from darts_jax.documentation import implements
from darts_jax.types import Alpha, AnyArray, Mask, Mixture

Logits = Float[Array, "edge op"]
Weights = Float[Array, "edge op"]
Costs = Float[Array, "edge op"]
Allowed = Bool[Array, "edge op"]
Scalar = Float[Array, ""]


class Term(Protocol):
    """Term of the architecture's loss, from the edges of all kinds of cells.

    Args:
      logits: architecture parameters a.
      mask: False where there is no operation.
      weights: mixing weights p.
      costs: cost of every operation, in any unit.

    Returns:
      Scalar to be added to the loss.
    """

    def __call__(
        self, logits: Logits, mask: Allowed, weights: Weights, costs: Costs
    ) -> Scalar: ...


def penalty(
    term: Term,
    alpha: Alpha,
    mask: Mask,
    mixture: Mixture,
    costs: Mapping[str, Float[AnyArray, "edge op"]] | None = None,
) -> Scalar:
    """Returns a term on the edges of all kinds; edge logits take no part.

    Args:
      term: entry of ``TERMS``.
      alpha: architecture parameters.
      mask: kind -> [edge, op], False where there is no operation.
      mixture: weight of every operation.
      costs: kind -> cost [edge, op] of every operation, such as its parameters times
        the number of cells of that kind; None is 0 everywhere.
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


@implements(Term)
def logsumexp(logits: Logits, mask: Allowed, weights: Weights, costs: Costs) -> Scalar:
    """Computes ``mean_e log sum_o exp(a)`` (Ye et al., 2022, beta-DARTS)."""
    del weights, costs
    each = jax.nn.logsumexp(jnp.where(mask, logits, -jnp.inf), axis=-1)
    return each.mean()


@implements(Term)
def zero_one(logits: Logits, mask: Allowed, weights: Weights, costs: Costs) -> Scalar:
    """Computes ``-mean (s - 1/2)^2``, s = sigmoid(a): FairDARTS (Chu et al., 2020)."""
    del weights, costs
    return -_mean(jnp.square(jax.nn.sigmoid(logits) - 0.5), mask)


@implements(Term)
def zero_one_absolute(
    logits: Logits, mask: Allowed, weights: Weights, costs: Costs
) -> Scalar:
    """Computes ``-mean |s - 1/2|``, s = sigmoid(a): FairDARTS (Chu et al., 2020)."""
    del weights, costs
    return -_mean(jnp.abs(jax.nn.sigmoid(logits) - 0.5), mask)


@implements(Term)
def anchor_kl(logits: Logits, mask: Allowed, weights: Weights, costs: Costs) -> Scalar:
    """Computes ``sum_e KL(Dir(c) || Dir(1))``, c = elu(a) + 1, as DrNAS.

    Chen et al. (2021). With C the sum of an edge's K concentrations: ``log G(C) - sum
    log G(c) - log G(K) + sum (c - 1) (psi(c) - psi(C))``. The divergence of independent
    edges is their sum.
    """
    del weights, costs
    # An absent operation at its anchor contributes nothing.
    c = jnp.where(mask, concentration(logits), 1)
    total = jnp.where(mask, c, 0).sum(-1, keepdims=True)
    count = mask.sum(-1).astype(logits.dtype)
    within = (c - 1) * (digamma(c) - digamma(total)) - gammaln(c)
    return (within.sum(-1) + gammaln(total[:, 0]) - gammaln(count)).sum()


@implements(Term)
def anchor_l2(logits: Logits, mask: Allowed, weights: Weights, costs: Costs) -> Scalar:
    """Computes ``sum a^2 / 2``, DrNAS's default distance to its anchor, c = 1 at a = 0.

    Chen et al. (2021), code.

    Its gradient is that of weight decay; the weight of the term is the decay.
    """
    del weights, costs
    return jnp.square(jnp.where(mask, logits, 0)).sum() / 2


@implements(Term)
def entropy(logits: Logits, mask: Allowed, weights: Weights, costs: Costs) -> Scalar:
    """Computes the mean entropy of edges in nats, ``-mean_e sum_o p log p``.

    Args:
      weights: p; 0 log 0 is 0.
    """
    del logits, mask, costs
    # The slope of p log p at 0 is infinite: a weight that is 0 is left where it is.
    safe = jnp.where(weights > 0, weights, 1)
    return -(safe * jnp.log(safe)).sum(-1).mean()


@implements(Term)
def expected_cost_penalty(
    logits: Logits, mask: Allowed, weights: Weights, costs: Costs
) -> Scalar:
    """Computes ``sum_e sum_o p cost`` (Xie et al., 2019, SNAS; Cai et al., 2019)."""
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
"""`search.terms.NAME` -> term of the architecture's loss."""


def _mean(values: Float[Array, "edge op"], mask: Allowed) -> Scalar:
    return jnp.where(mask, values, 0).sum() / mask.sum().astype(values.dtype)


def _stacked(parts: list[Array]) -> Array:
    """Stacks arrays [edge, op]; pads narrower ones by 0, which in a mask is False."""
    width = max(part.shape[1] for part in parts)
    return jnp.concatenate(
        [jnp.pad(part, ((0, 0), (0, width - part.shape[1]))) for part in parts]
    )
