"""Limit on the cost of the architecture: dual ascent, and the repair of genotypes.

The constrained problem is ``min_a V(w*(a), a)`` such that ``g(a) <= 0``, with the
excess ``g = cost(a) / target - 1`` of the genotype that would be read off now. A rule
turns multiplier and excess into the weight of the gradient of the mixture's expected
cost; the multiplier follows the excess. So nobody chooses the price of a unit of cost,
and the target holds for the genotype that is kept: a mixture is still undecided when
its genotype has long become cheap. To add a rule: ``BUDGET_RULES["mine"] = mine``.

A search may end while its genotype swings about the target. `repair_genotype` gives up
as little weight as it can until the genotype meets it.
"""

import dataclasses
import functools
from collections.abc import Callable, Iterator, Mapping
from typing import Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from darts_jax.documentation import implements
from darts_jax.spaces import moves
from darts_jax.spaces.graph import Cell, Genotype, Space
from darts_jax.types import AnyArray, Mask, Mixture, RelaxationFunction

Scalar = Float[Array, ""]
Weights = Float[Array, "edge op"]
Allowed = Bool[Array, "edge op"]


class BudgetRule(Protocol):
    """Weight of the gradient of the excess of the cost.

    Args:
      multiplier: l, 0 or more.
      excess: g, relative: 0 at the target.
      rate: r, 0 or more.

    Returns:
      Weight of the excess's gradient.
    """

    def __call__(self, multiplier: Scalar, excess: Scalar, rate: Scalar) -> Scalar: ...


@implements(BudgetRule)
def dual_ascent(multiplier: Scalar, excess: Scalar, rate: Scalar) -> Scalar:
    """Returns l, the Lagrangian's own gradient (Arrow, Hurwicz and Uzawa, 1958)."""
    del excess, rate
    return multiplier


@implements(BudgetRule)
def augmented(multiplier: Scalar, excess: Scalar, rate: Scalar) -> Scalar:
    """Returns ``max(0, l + r g)``: augmented Lagrangian (Rockafellar, 1973).

    It answers at once where the multiplier is behind, which damps its swings.
    """
    return jnp.maximum(multiplier + rate * excess, 0)


BUDGET_RULES: dict[str, BudgetRule] = {
    "dual_ascent": dual_ascent,
    "augmented": augmented,
}
"""`search.budget.rule` -> weight of the gradient of the expected cost."""


def next_multiplier(multiplier: Scalar, excess: Scalar, rate: Scalar) -> Scalar:
    """Returns ``max(0, l + r g)``, a step of dual ascent.

    Args:
      multiplier: l, 0 or more.
      excess: g, relative: 0 at the target.
      rate: r, 0 or more.

    Returns:
      The next multiplier.
    """
    return jnp.maximum(multiplier + rate * excess, 0)


class Keep(Protocol):
    """Share of every choice in the genotype that is read off weights.

    Args:
      cell: shape of the cell.
      weights: mixing weights.
      mask: False where there is no operation.
      rule: what genotypes keep.

    Returns:
      Share of each choice, 0 to 1.
    """

    def __call__(
        self, cell: Cell, weights: Weights, mask: Allowed, rule: moves.KeptEdges
    ) -> Weights: ...


@dataclasses.dataclass(frozen=True)
class CostConstraint:
    """Limit on the cost of a search's genotype, and the way it is held.

    Attributes:
      rule: entry of ``BUDGET_RULES``.
      cost: expected cost, from the probability [edge, op] of every choice by kind.
      space: search space.
      keeps: what a genotype keeps.
      relaxation: of the expected cost: the search's own, or one with the same draws
        where the search's has gradients only by what is drawn; costs are known of all
        operations.
      read: relaxation by which a genotype is read off.
    """

    rule: BudgetRule
    cost: Callable[[dict[str, Array]], Scalar]
    space: Space
    keeps: moves.KeptEdges
    relaxation: RelaxationFunction
    read: RelaxationFunction

    def excess(
        self, keep: Keep, mixture: Mixture, mask: Mask, target: Scalar
    ) -> Scalar:
        """Returns the excess of the cost of the genotype that a mixture stands for.

        Args:
          keep: `choice_probabilities` for the expected cost, `hard_choices` for the
            cost of the genotype that is read off weights.
          mixture: weight of every operation.
          mask: kind -> [edge, op], False where there is no operation.
          target: largest cost, in the cost's unit.

        Returns:
          Cost over target, less 1.
        """
        shares = {
            kind: keep(cell, mixture.weights[kind], jnp.asarray(mask[kind]), self.keeps)
            for kind, cell in self.space.cells.items()
        }
        return self.cost(shares) / target - 1


@implements(Keep)
def hard_choices(
    cell: Cell, weights: Weights, mask: Allowed, rule: moves.KeptEdges
) -> Weights:
    """Returns 1 for what a genotype keeps: strongest operations of the best edges.

    `discretization.argmax` and `discretization.two_strongest`, inside a program.
    """
    present = _present(cell, weights, mask, rule)
    chosen = jax.nn.one_hot(present.argmax(-1), cell.shape[1], dtype=weights.dtype)
    if rule.keeps is None and not cell.contests:
        return chosen
    best = present.max(-1)
    rivals = _rivals(cell)
    # Ties go to the earlier edge.
    earlier = np.tril(np.ones_like(rivals), -1)
    ahead = (best > best[:, None]) | ((best == best[:, None]) & earlier)
    kept = (ahead & rivals).sum(-1) < _kept_rivals(cell, rule)
    return chosen * kept[:, None].astype(weights.dtype)


@implements(Keep)
def choice_probabilities(
    cell: Cell, weights: Weights, mask: Allowed, rule: moves.KeptEdges
) -> Weights:
    """Returns the probability that a genotype keeps each choice, by its weight.

    Where all edges are kept, the weights over their sum on each edge; where k edges of
    a node are, k times the weights over their sum at the node.
    """
    present = _present(cell, weights, mask, rule)
    sums = present.sum(-1)
    rivals = _rivals(cell)
    count = np.ones(len(cell.edges))
    if rule.keeps is not None or cell.contests:
        count = np.minimum(_kept_rivals(cell, rule), rivals.sum(-1))
        sums = jnp.matmul(jnp.asarray(rivals, sums.dtype), sums, precision="highest")
    safe = jnp.where(sums > 0, sums, 1)
    return present * (jnp.asarray(count, sums.dtype) / safe)[:, None]


def _present(
    cell: Cell, weights: Weights, mask: Allowed, rule: moves.KeptEdges
) -> Weights:
    """Returns the weights of choices that a genotype may keep; 0 for the others."""
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
    return jnp.where(mask & allowed, weights, 0)


def _rivals(cell: Cell) -> Bool[np.ndarray, "edge edge"]:
    """Returns for each pair of edges whether they compete."""
    groups = np.array(cell.rivals)
    return groups[:, None] == groups


def _kept_rivals(cell: Cell, rule: moves.KeptEdges) -> Int[np.ndarray, " edge"]:
    """Returns for each edge how many of those that compete with it are kept."""
    kept = {e: c.keeps for c in rule.contests(cell) for e in c.edges}
    return np.array([kept[e] for e in range(len(cell.edges))])


def repair_genotype(
    space: Space,
    genotype: Genotype,
    worth: Callable[[Genotype], float],
    cost: Callable[[Genotype], float],
    target: float,
) -> Genotype:
    """Returns a genotype that meets a target, at the least loss of worth.

    One decision after another is changed, always the one that loses the least worth for
    the cost it saves, until the target is met; then those that raise the worth within
    it. If nothing meets the target, the result is as cheap as single changes can make
    it.

    Args:
      space: search space.
      genotype: the start.
      worth: value of a genotype, such as `log_probability_of` it.
      cost: cost of a genotype.
      target: largest cost, in the same unit.
    """
    near = functools.partial(_neighbours_with_costs, space, cost)
    while cost(genotype) > target:
        now = cost(genotype), worth(genotype)
        cheaper = [
            (_worth_per_excess(now, (price, worth(other)), target), n, other)
            for n, (other, price) in enumerate(near(genotype))
            if price < now[0]
        ]
        if not cheaper:
            return genotype
        genotype = min(cheaper, key=lambda change: change[:2])[2]
    return _improve_within(genotype, worth, target, near)


def _worth_per_excess(
    now: tuple[float, float], then: tuple[float, float], target: float
) -> tuple[float, float]:
    """Returns the worth lost per excess saved; saving beyond the target is no gain."""
    saved = now[0] - max(then[0], target)
    return (now[1] - then[1]) / saved, then[0]


def _improve_within(
    genotype: Genotype,
    worth: Callable[[Genotype], float],
    target: float,
    near: Callable[[Genotype], Iterator[tuple[Genotype, float]]],
) -> Genotype:
    """Returns the genotype after all single changes that raise the worth."""
    while True:
        best = max(
            (other for other, price in near(genotype) if price <= target),
            key=worth,
            default=genotype,
        )
        if worth(best) <= worth(genotype):
            return genotype
        genotype = best


def _neighbours_with_costs(
    space: Space, cost: Callable[[Genotype], float], genotype: Genotype
) -> Iterator[tuple[Genotype, float]]:
    for other in moves.list_neighbours(space, genotype):
        yield other, cost(other)


def log_probability_of(
    weights: Mapping[str, Float[np.ndarray, "edge op"]],
) -> Callable[[Mapping[str, AnyArray]], float]:
    """Returns a function from a genotype's one-hot mixture to its log-probability.

    It is the log-probability, in nats, of independent draws by the weights.

    Args:
      weights: kind -> probabilities.
    """
    logarithms = {
        kind: np.log(np.maximum(np.asarray(w, np.float64), 1e-12))
        for kind, w in weights.items()
    }
    return lambda chosen: sum(
        float((logarithms[kind] * kept).sum()) for kind, kept in chosen.items()
    )
