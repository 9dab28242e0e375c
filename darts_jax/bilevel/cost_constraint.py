"""A hard limit of what an architecture costs: dual ascent, and the repair of genotypes.

The constrained problem is ``min_a V(w*(a), a)`` such that ``g(a) <= 0``, with the
excess ``g = cost(a) / target - 1`` of the genotype that would be read off now. A rule
makes of the multiplier and the excess the weight with which the gradient of the
mixture's expected cost joins the architecture's; the multiplier itself follows the
excess. So nobody chooses how much a unit of cost is worth, and what is held to the
target is what will be kept: a mixture is still undecided when its genotype has long
become cheap. To add a rule: ``BUDGET_RULES["mine"] = mine``.

A search may end while its genotype swings about the target. `repair_genotype` gives up
as little weight as it can until the genotype meets it.
"""

import dataclasses
from collections.abc import Callable, Iterator, Mapping

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from darts_jax.spaces import moves
from darts_jax.spaces.graph import Cell, Genotype, Space
from darts_jax.types import AnyArray, Mask, Mixture, RelaxationFunction

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


BUDGET_RULES: dict[str, BudgetRule] = {
    "dual_ascent": dual_ascent,
    "augmented": augmented,
}


def next_multiplier(multiplier: Scalar, excess: Scalar, rate: Scalar) -> Scalar:
    """The next multiplier: ``max(0, l + r g)``."""
    return jnp.maximum(multiplier + rate * excess, 0)


Kept = Callable[[Cell, Array, Array, moves.KeptEdges], Array]
"""(cell, weights, mask, rule) -> what a genotype keeps of every choice [edge, op]."""


@dataclasses.dataclass(frozen=True)
class CostConstraint:
    """What a search may cost, and how it is held to that.

    Attributes:
      cost: kind -> probability of every choice [edge, op], to the expected cost.
      keeps: what a genotype keeps.
      relaxation: of the expected cost: the search's own, or one with the same draws
        where the search's lets slopes pass through what is drawn alone. The costs of
        all operations are known, also of those that do not run.
      read: the relaxation by which a genotype is read off.
    """

    rule: BudgetRule
    cost: Callable[[dict[str, Array]], Scalar]
    space: Space
    keeps: moves.KeptEdges
    relaxation: RelaxationFunction
    read: RelaxationFunction

    def expected_excess(self, mixture: Mixture, mask: Mask, target: Scalar) -> Scalar:
        """The expected cost of the mixture's genotype over the target, less 1."""
        return self._excess(choice_probabilities, mixture.weights, mask, target)

    def excess(self, mixture: Mixture, mask: Mask, target: Scalar) -> Scalar:
        """Returns the cost of the genotype that is read off a mixture, likewise."""
        return self._excess(hard_choices, mixture.weights, mask, target)

    def _excess(
        self, kept: Kept, weights: dict[str, Array], mask: Mask, target: Scalar
    ) -> Scalar:
        shares = {
            kind: kept(cell, weights[kind], jnp.asarray(mask[kind]), self.keeps)
            for kind, cell in self.space.cells.items()
        }
        return self.cost(shares) / target - 1


def hard_choices(
    cell: Cell,
    weights: Float[Array, "edge op"],
    mask: Bool[Array, "edge op"],
    rule: moves.KeptEdges,
) -> Float[Array, "edge op"]:
    """1 for what a genotype keeps: every edge's strongest, of a node's edges the best.

    `discretization.argmax` and `discretization.two_strongest`, inside a program.
    """
    present = _present(cell, weights, mask, rule)
    chosen = jax.nn.one_hot(present.argmax(-1), cell.shape[1], dtype=weights.dtype)
    if rule.keeps is None:
        return chosen
    best, rivals = present.max(-1), _rivals(cell)
    # Ties go to the earlier edge.
    earlier = np.tril(np.ones_like(rivals), -1)
    ahead = (best > best[:, None]) | ((best == best[:, None]) & earlier)
    kept = (ahead & rivals).sum(-1) < rule.keeps
    return chosen * kept[:, None].astype(weights.dtype)


def choice_probabilities(
    cell: Cell,
    weights: Float[Array, "edge op"],
    mask: Bool[Array, "edge op"],
    rule: moves.KeptEdges,
) -> Float[Array, "edge op"]:
    """How likely a genotype keeps each choice, to go by the weights.

    Where all edges are kept, each edge's weights in proportion; where some of a node's
    are, so many times the node's weights in proportion, which add up to that number.
    """
    present = _present(cell, weights, mask, rule)
    sums = present.sum(-1)
    rivals, count = _rivals(cell), np.ones(len(cell.edges))
    if rule.keeps is not None:
        count = np.minimum(rule.keeps, rivals.sum(-1))
        sums = jnp.asarray(rivals, sums.dtype) @ sums
    safe = jnp.where(sums > 0, sums, 1)
    return present * (jnp.asarray(count, sums.dtype) / safe)[:, None]


def _present(
    cell: Cell,
    weights: Float[Array, "edge op"],
    mask: Bool[Array, "edge op"],
    rule: moves.KeptEdges,
) -> Float[Array, "edge op"]:
    """The weights of what a genotype may keep; 0 for the rest."""
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
    """Which edges end in the same node."""
    ends = np.array([edge.target for edge in cell.edges])
    return ends[:, None] == ends


def repair_genotype(
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
    for other in moves.list_neighbours(space, genotype):
        yield other, cost(other)


def log_probability_of(
    weights: Mapping[str, Float[np.ndarray, "edge op"]],
) -> Callable[[Mapping[str, AnyArray]], float]:
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
