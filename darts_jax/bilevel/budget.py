"""A hard limit of what an architecture costs: dual ascent, and the repair of genotypes.

The constrained problem is ``min_a V(w*(a), a)`` such that ``g(a) <= 0``, with the
excess ``g = cost(a) / target - 1``. A rule makes of the multiplier and the excess the
weight with which the cost's gradient joins the architecture's; the multiplier itself
follows the excess. So nobody chooses how much a unit of cost is worth. To add a rule:
``BUDGETS["mine"] = mine``.

A mixture is no genotype: where a search ends undecided, what its rule reads off may
cost more than was expected. `repaired` gives up as little weight as it can until the
genotype meets the target.
"""

import dataclasses
from collections.abc import Callable, Iterator, Mapping

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from darts_jax.spaces import moves
from darts_jax.spaces.graph import Cell, Genotype, Space
from darts_jax.types import Mask, Mixture

Scalar = Float[Array, ""]

BudgetRule = Callable[[Scalar, Scalar, Scalar], Scalar]
"""(multiplier, excess, rate) -> weight of the excess's gradient."""


def dual_ascent(multiplier: Scalar, excess: Scalar, rate: Scalar) -> Scalar:
    """``l g``: the Lagrangian's own gradient (Arrow, Hurwicz and Uzawa, 1958)."""
    del excess, rate
    return multiplier


def augmented(multiplier: Scalar, excess: Scalar, rate: Scalar) -> Scalar:
    """``max(0, l + r g)``: of the augmented Lagrangian (Rockafellar, 1973).

    It answers at once where the multiplier is behind, which damps its swings.
    """
    return jnp.maximum(multiplier + rate * excess, 0)


BUDGETS: dict[str, BudgetRule] = {"dual_ascent": dual_ascent, "augmented": augmented}


def ascended(multiplier: Scalar, excess: Scalar, rate: Scalar) -> Scalar:
    """The next multiplier: ``max(0, l + r g)``."""
    return jnp.maximum(multiplier + rate * excess, 0)


@dataclasses.dataclass(frozen=True)
class Budget:
    """What a search may cost, and how it is held to that.

    Attributes:
      cost: kind -> probability of every choice [edge, op], to the expected cost.
      keeps: what a genotype keeps.
    """

    rule: BudgetRule
    cost: Callable[[Mixture], Scalar]
    space: Space
    keeps: moves.Rule

    def excess(self, mixture: Mixture, mask: Mask, target: Scalar) -> Scalar:
        """The expected cost of the mixture's genotype over the target, less 1."""
        kept = {
            kind: kept_shares(cell, mixture[kind], jnp.asarray(mask[kind]), self.keeps)
            for kind, cell in self.space.cells.items()
        }
        return self.cost(kept) / target - 1


def kept_shares(
    cell: Cell,
    weights: Float[Array, "edge op"],
    mask: Float[Array, "edge op"],
    rule: moves.Rule,
) -> Float[Array, "edge op"]:
    """How likely a genotype keeps each choice, to go by the weights.

    Where all edges are kept, each edge's weights in proportion; where some of a node's
    are, so many times the node's weights in proportion, which add up to that number.
    """
    allowed = np.array(
        [
            [
                o < len(edge.operations)
                and (rule.keeps_none or edge.operations[o] != "none")
                for o in range(cell.shape[1])
            ]
            for edge in cell.edges
        ]
    )
    present = jnp.where(mask & allowed, weights, 0)
    sums = present.sum(-1)
    count = np.ones(len(cell.edges), sums.dtype)
    if rule.keeps is not None:
        ends = np.array([edge.target for edge in cell.edges])
        rivals = ends[:, None] == ends
        count = np.minimum(rule.keeps, rivals.sum(-1)).astype(sums.dtype)
        sums = rivals.astype(sums.dtype) @ sums
    safe = jnp.where(sums > 0, sums, 1)
    return present * (count / safe)[:, None]


def repaired(
    space: Space,
    genotype: Genotype,
    worth: Callable[[Genotype], float],
    cost: Callable[[Genotype], float],
    target: float,
) -> Genotype:
    """A genotype that meets a target, at the least loss of worth.

    Decision after decision the cheapest in worth lost for cost saved is changed, until
    the target is met; then whatever raises the worth within it. If nothing meets the
    target, what comes of it is as cheap as single changes can make it.

    Args:
      worth: such as the sum of the weights of what is kept.
    """
    while cost(genotype) > target:
        now = cost(genotype), worth(genotype)
        cheaper = [
            (_loss(now, (price, worth(other)), target), n, other)
            for n, (other, price) in enumerate(_priced(space, genotype, cost))
            if price < now[0]
        ]
        if not cheaper:
            return genotype
        genotype = min(cheaper, key=lambda change: change[:2])[2]
    return _raised(space, genotype, worth, cost, target)


def _loss(
    now: tuple[float, float], then: tuple[float, float], target: float
) -> tuple[float, float]:
    """Worth lost for what is saved of the excess; what is saved beyond is no gain."""
    saved = now[0] - max(then[0], target)
    return (now[1] - then[1]) / saved, then[0]


def _raised(
    space: Space,
    genotype: Genotype,
    worth: Callable[[Genotype], float],
    cost: Callable[[Genotype], float],
    target: float,
) -> Genotype:
    while True:
        best = max(
            (g for g, price in _priced(space, genotype, cost) if price <= target),
            key=worth,
            default=genotype,
        )
        if worth(best) <= worth(genotype):
            return genotype
        genotype = best


def _priced(
    space: Space, genotype: Genotype, cost: Callable[[Genotype], float]
) -> Iterator[tuple[Genotype, float]]:
    for other in moves.neighbours(space, genotype):
        yield other, cost(other)


def kept_weight(
    weights: Mapping[str, Float[np.ndarray, "edge op"]],
) -> Callable[[Mapping[str, np.ndarray]], float]:
    """(one-hot mixture of a genotype) -> the logarithms of the weights that it keeps.

    The logarithm of the probability with which independent draws would give it.
    """
    logarithms = {
        kind: np.log(np.maximum(np.asarray(w, np.float64), 1e-12))
        for kind, w in weights.items()
    }
    return lambda chosen: sum(
        float((logarithms[kind] * kept).sum()) for kind, kept in chosen.items()
    )
