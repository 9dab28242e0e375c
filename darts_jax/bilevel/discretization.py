"""From saved architecture parameters to a genotype: pure functions on the host.

A rule reads weights off the parameters (`softmax_weights` unless its paper has others)
and keeps operations by them. To add one: ``DISCRETIZATIONS["mine"] = mine``.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from jaxtyping import Float

from darts_jax.errors import InputError
from darts_jax.spaces.graph import Cell, CellGenotype, Choice, Genotype, Space
from darts_jax.types import EDGES, Mixture

HostAlpha = Mapping[str, Float[np.ndarray, "edge op"] | Float[np.ndarray, " edge"]]
"""kind -> [edge, op]; ``"<kind>.edges"`` -> [edge], read by `edge_weighted` alone."""

Weights = Float[np.ndarray, "edge op"]
Discretization = Callable[[Space, HostAlpha], Genotype]
WeightReader = Callable[[Cell, Float[np.ndarray, "edge op"]], Weights]
"""(cell, parameters) -> weights; -1 where an edge has no such operation."""


def softmax_weights(cell: Cell, logits: Float[np.ndarray, "edge op"]) -> Weights:
    """Softmax in double precision, over the operations of an edge."""
    masked = np.where(cell.mask, np.asarray(logits, np.float64), -np.inf)
    powers = np.exp(masked - masked.max(-1, keepdims=True))
    return np.where(cell.mask, powers / powers.sum(-1, keepdims=True), -1.0)


def sigmoid_weights(cell: Cell, logits: Float[np.ndarray, "edge op"]) -> Weights:
    """Of every operation by itself, in double precision (FairDARTS)."""
    half = np.asarray(logits, np.float64) / 2
    return np.where(cell.mask, (1 + np.tanh(half)) / 2, -1.0)


def simplex_weights(cell: Cell, shares: Float[np.ndarray, "edge op"]) -> Weights:
    """The parameters themselves (GAEA), as shares of an edge's operations."""
    masked = np.where(cell.mask, np.asarray(shares, np.float64), 0.0)
    return np.where(cell.mask, masked / masked.sum(-1, keepdims=True), -1.0)


def kinds_with_invalid_alpha(space: Space, alpha: HostAlpha) -> list[str]:
    """Returns the kinds of cells whose parameters are NaN or infinitely strong.

    Minus infinity is sound, as it marks what was pruned, unless an edge has no other.
    """

    def is_sound(kind: str, cell: Cell) -> bool:
        own = np.where(cell.mask, np.asarray(alpha[kind], np.float64), -np.inf)
        edges = np.asarray(alpha.get(kind + EDGES, 0.0), np.float64)
        return bool(np.isfinite(own.max(-1)).all() and np.isfinite(edges).all())

    return [kind for kind, cell in space.cells.items() if not is_sound(kind, cell)]


def require_finite_alpha(space: Space, alpha: HostAlpha, where: str = "") -> None:
    """Refuses architecture parameters off which nothing can be read.

    Args:
      where: follows the words "the architecture parameters of a cell".

    Raises:
      InputError: those of a kind of cell are NaN or infinitely strong.
    """
    kinds = kinds_with_invalid_alpha(space, alpha)
    if kinds:
        raise InputError(
            f"the architecture parameters of the {kinds[0]} cell{where} are NaN or "
            "infinite, so that no genotype can be read off them; want those of an "
            "earlier epoch, or a search with a smaller search.architecture."
            "learning_rate"
        )


def two_strongest(
    space: Space, alpha: HostAlpha, read: WeightReader = softmax_weights
) -> Genotype:
    """The published rule of DARTS (Liu et al., 2019, section 2.4).

    Every node keeps the two incoming edges whose strongest operation has the largest
    softmax weight, with that operation; ``none`` takes part in the softmax and is
    never chosen. A node's edges come strongest first; ties go to the earlier source.
    """
    return _genotype(space, alpha, read, lambda _, *given: _two_strongest(*given))


def one_strongest(
    space: Space, alpha: HostAlpha, read: WeightReader = softmax_weights
) -> Genotype:
    """The same of one edge a node, for recurrent cells (Liu et al., 2019, code)."""
    return _genotype(
        space, alpha, read, lambda _, cell, weights: _best_edges(cell, weights, 1)
    )


def argmax(
    space: Space, alpha: HostAlpha, read: WeightReader = softmax_weights
) -> Genotype:
    """NAS-Bench-201's rule: every edge its strongest operation, ``none`` included."""
    return _genotype(space, alpha, read, lambda _, *given: _argmax(*given))


def edge_weighted(
    space: Space, alpha: HostAlpha, read: WeightReader = softmax_weights
) -> Genotype:
    """PC-DARTS's rule (Xu et al., 2020, section 3.3): `two_strongest` by both weights.

    An operation's softmax weight is multiplied by the softmax of its edge's logit over
    the edges that end in the same node.

    Raises:
      InputError: a kind without edge logits.
    """

    def rule(kind: str, cell: Cell, weights: Weights) -> tuple[Choice, ...]:
        if kind + EDGES not in alpha:
            raise InputError(
                f"edge_weighted needs edge logits, and {kind!r} has none; "
                "two_strongest does without"
            )
        shares = _edge_shares(cell, alpha[kind + EDGES])
        return _two_strongest(cell, weights * shares[:, None])

    return _genotype(space, alpha, read, rule)


def threshold(
    space: Space,
    alpha: HostAlpha,
    read: WeightReader = sigmoid_weights,
    level: float = 0.85,
    most: int = 2,
) -> Genotype:
    """FairDARTS's rule (Chu et al., 2020): what is above a level, however little.

    Every node keeps at most ``most`` incoming edges, those whose strongest operation
    other than ``none`` has a sigmoid above ``level``. A node that keeps none is zero:
    one edge from the first input, with ``none``.
    """

    def rule(kind: str, cell: Cell, weights: Weights) -> tuple[Choice, ...]:
        choices: list[Choice] = []
        for target in range(cell.inputs, cell.states):
            strongest = _strongest(cell, weights, target)[:most]
            kept = [choice for weight, choice in strongest if weight > level]
            choices += kept or [Choice(target, 0, "none")]
        return tuple(choices)

    return _genotype(space, alpha, read, rule)


def few_skips(
    space: Space, alpha: HostAlpha, read: WeightReader = softmax_weights, most: int = 2
) -> Genotype:
    """P-DARTS's rule (Chen et al., 2019, section 3.3): at most 2 skips per normal cell.

    `two_strongest`; while a cell that does not reduce keeps more than ``most``
    ``skip_connect``, the one of the smallest softmax weight gets weight 0 and the
    cell is read off again.
    """

    def rule(kind: str, cell: Cell, weights: Weights) -> tuple[Choice, ...]:
        choices = _two_strongest(cell, weights)
        if kind in space.macro.reductions:
            return choices
        while len(skips := _skips(cell, weights, choices)) > most:
            weights[min(skips, key=lambda skip: weights[skip])] = 0
            choices = _two_strongest(cell, weights)
        return choices

    return _genotype(space, alpha, read, rule)


# Relaxation -> how its parameters are read, if not by their softmax.
WEIGHT_READERS: dict[str, WeightReader] = {
    "sigmoid": sigmoid_weights,
    "simplex": simplex_weights,
}


def weight_reader(relaxation: str) -> WeightReader:
    """How the parameters of a search with this relaxation are read."""
    return WEIGHT_READERS.get(relaxation, softmax_weights)


DISCRETIZATIONS: dict[str, Discretization] = {
    "one_strongest": one_strongest,
    "two_strongest": two_strongest,
    "argmax": argmax,
    "edge_weighted": edge_weighted,
    "threshold": threshold,
    "few_skips": few_skips,
}


def one_hot(space: Space, genotype: Genotype) -> Mixture:
    """Returns the mixture that a genotype is: weight 1 for what it keeps, float32."""
    mixture: dict[str, Any] = {}
    for kind, cell in space.cells.items():
        weights = np.zeros(cell.shape, np.float32)
        places = {(edge.source, edge.target): e for e, edge in enumerate(cell.edges)}
        for choice in genotype.cells[kind].choices:
            e = places[choice.source, choice.target]
            weights[e, cell.edges[e].operations.index(choice.operation)] = 1
        mixture[kind] = weights
    return Mixture(mixture)


def keep_strongest(cell: Cell, weights: Weights, count: int) -> np.ndarray:
    """Mask of the ``count`` operations of largest weight on every edge.

    How stages prune (Chen et al., 2019, P-DARTS; Chen et al., 2021, DrNAS); ties go to
    the earlier operation. An edge with no more than that keeps all.
    """
    order = np.argsort(-weights, axis=-1, kind="stable")
    kept = np.zeros(cell.shape, bool)
    np.put_along_axis(kept, order[:, :count], True, axis=-1)
    return kept & np.array(cell.mask)


def random_genotype(space: Space, rng: np.random.Generator) -> Genotype:
    """A genotype drawn uniformly: the space's rule on exchangeable parameters."""
    alpha = {kind: rng.normal(size=cell.shape) for kind, cell in space.cells.items()}
    return DISCRETIZATIONS[space.discretization](space, alpha)


def _genotype(
    space: Space,
    alpha: HostAlpha,
    read: WeightReader,
    rule: Callable[[str, Cell, Weights], tuple[Choice, ...]],
) -> Genotype:
    require_finite_alpha(space, alpha)
    cells = {
        kind: CellGenotype(
            cell.inputs, rule(kind, cell, read(cell, alpha[kind])), cell.output
        )
        for kind, cell in space.cells.items()
    }
    return Genotype(space.name, cells)


def _two_strongest(cell: Cell, weights: Weights) -> tuple[Choice, ...]:
    return _best_edges(cell, weights, 2)


def _best_edges(cell: Cell, weights: Weights, count: int) -> tuple[Choice, ...]:
    return tuple(
        choice
        for target in range(cell.inputs, cell.states)
        for _, choice in _strongest(cell, weights, target)[:count]
    )


def _strongest(cell: Cell, weights: Weights, target: int) -> list[tuple[float, Choice]]:
    """The best of every edge into a node but for ``none``, largest weight first."""
    candidates = []
    for e in cell.incoming(target):
        edge = cell.edges[e]
        allowed = [o for o, op in enumerate(edge.operations) if op != "none"]
        best = allowed[int(np.argmax(weights[e, allowed]))]
        choice = Choice(target, edge.source, edge.operations[best])
        candidates.append((float(weights[e, best]), choice))
    return sorted(candidates, key=lambda pair: -pair[0])


def _argmax(cell: Cell, weights: Weights) -> tuple[Choice, ...]:
    best = weights.argmax(-1)
    return tuple(
        Choice(edge.target, edge.source, edge.operations[o])
        for edge, o in zip(cell.edges, best, strict=True)
    )


def _skips(
    cell: Cell, weights: Weights, choices: tuple[Choice, ...]
) -> list[tuple[int, int]]:
    """(edge, op) of the kept skips that still have a weight to lose."""
    kept = {(c.source, c.target) for c in choices if c.operation == "skip_connect"}
    found = [
        (e, edge.operations.index("skip_connect"))
        for e, edge in enumerate(cell.edges)
        if (edge.source, edge.target) in kept
    ]
    return [place for place in found if weights[place] > 0]


def _edge_shares(
    cell: Cell, logits: Float[np.ndarray, " edge"]
) -> Float[np.ndarray, " edge"]:
    """Softmax in double precision, over the edges that end in the same node."""
    ends = np.array([edge.target for edge in cell.edges])
    rivals = np.where(ends[:, None] == ends, np.asarray(logits, np.float64), -np.inf)
    powers = np.exp(rivals - rivals.max(-1, keepdims=True))
    return np.diagonal(powers) / powers.sum(-1)
