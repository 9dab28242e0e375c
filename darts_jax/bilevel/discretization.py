"""Genotypes from saved architecture parameters: pure functions on the host.

A rule reads weights off the parameters (`softmax_weights` unless its paper has others)
and keeps operations by them. To add one: ``DISCRETIZATIONS["mine"] = mine``.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import jax
import numpy as np
from jaxtyping import Float

from darts_jax.documentation import implements
from darts_jax.errors import InputError
from darts_jax.spaces.graph import Cell, Genotype, KeptEdge, Space
from darts_jax.spaces.moves import KeptEdges
from darts_jax.types import EDGES, Mixture

HostAlpha = Mapping[str, Float[np.ndarray, "edge op"] | Float[np.ndarray, " edge"]]
"""Kind -> parameters [edge, op]; kind + `EDGES` -> [edge], for `edge_weighted`."""

Weights = Float[np.ndarray, "edge op"]


class WeightReader(Protocol):
    """Weights of the operations of one cell, read off its parameters.

    Args:
      cell: shape of the cell.
      logits: architecture parameters.

    Returns:
      Weights in double precision; -1 where there is no operation.
    """

    def __call__(self, cell: Cell, logits: Float[np.ndarray, "edge op"]) -> Weights: ...


class Discretization(Protocol):
    """Rule that reads a genotype off architecture parameters.

    Args:
      space: search space.
      alpha: architecture parameters by kind.
      read: weights from the parameters of a cell; those of the search's relaxation.

    Returns:
      The genotype.
    """

    def __call__(
        self, space: Space, alpha: HostAlpha, read: WeightReader = ...
    ) -> Genotype: ...


@implements(WeightReader)
def softmax_weights(cell: Cell, logits: Float[np.ndarray, "edge op"]) -> Weights:
    """Computes the softmax over the operations of each edge."""
    masked = np.where(cell.mask, np.asarray(logits, np.float64), -np.inf)
    powers = np.exp(masked - masked.max(-1, keepdims=True))
    return np.where(cell.mask, powers / powers.sum(-1, keepdims=True), -1.0)


@implements(WeightReader)
def sigmoid_weights(cell: Cell, logits: Float[np.ndarray, "edge op"]) -> Weights:
    """Computes the sigmoid of every operation by itself (FairDARTS)."""
    half = np.asarray(logits, np.float64) / 2
    return np.where(cell.mask, (1 + np.tanh(half)) / 2, -1.0)


@implements(WeightReader)
def simplex_weights(cell: Cell, logits: Float[np.ndarray, "edge op"]) -> Weights:
    """Computes shares of an edge's operations from parameters on the simplex (GAEA)."""
    masked = np.where(cell.mask, np.asarray(logits, np.float64), 0.0)
    return np.where(cell.mask, masked / masked.sum(-1, keepdims=True), -1.0)


def kinds_with_invalid_alpha(space: Space, alpha: HostAlpha) -> list[str]:
    """Returns the kinds of cells whose parameters are NaN or infinitely strong.

    Minus infinity is valid, as it marks what was pruned, unless an edge has nothing
    else.

    Args:
      space: search space.
      alpha: architecture parameters by kind.
    """

    def is_sound(kind: str, cell: Cell) -> bool:
        own = np.where(cell.mask, np.asarray(alpha[kind], np.float64), -np.inf)
        edges = np.asarray(alpha.get(kind + EDGES, 0.0), np.float64)
        return bool(np.isfinite(own.max(-1)).all() and np.isfinite(edges).all())

    return [kind for kind, cell in space.cells.items() if not is_sound(kind, cell)]


def require_finite_alpha(space: Space, alpha: HostAlpha, where: str = "") -> None:
    """Refuses architecture parameters off which nothing can be read.

    Args:
      space: search space.
      alpha: architecture parameters by kind.
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


@implements(Discretization)
def two_strongest(
    space: Space, alpha: HostAlpha, read: WeightReader = softmax_weights
) -> Genotype:
    """Reads off a genotype by the rule of DARTS (Liu et al., 2019, section 2.4).

    Every node keeps the two incoming edges whose strongest operation has the largest
    softmax weight, with that operation; ``none`` takes part in the softmax and is never
    chosen. A node's edges come strongest first; ties go to the earlier source.
    """
    return _genotype(
        space, alpha, read, lambda _, cell, weights: _best_edges(cell, weights, 2)
    )


@implements(Discretization)
def one_strongest(
    space: Space, alpha: HostAlpha, read: WeightReader = softmax_weights
) -> Genotype:
    """Reads off one edge per node, for recurrent cells (Liu et al., 2019, code)."""
    return _genotype(
        space, alpha, read, lambda _, cell, weights: _best_edges(cell, weights, 1)
    )


@implements(Discretization)
def argmax(
    space: Space, alpha: HostAlpha, read: WeightReader = softmax_weights
) -> Genotype:
    """Reads off the strongest operation of every edge, ``none`` included.

    The rule of NAS-Bench-201 (Dong and Yang, 2020).
    """
    return _genotype(
        space, alpha, read, lambda _, cell, weights: _argmax(cell, weights)
    )


@implements(Discretization)
def edge_weighted(
    space: Space, alpha: HostAlpha, read: WeightReader = softmax_weights
) -> Genotype:
    """Reads off two edges per node by both weights of PC-DARTS.

    Xu et al. (2020), section 3.3. An operation's softmax weight is multiplied by the
    softmax of its edge's logit over the edges that end in the same node; then as
    `two_strongest`. Both are shares on the simplex where ``read`` reads those (GAEA).
    A cell with contests keeps as many edges of each as it says (Zela et al., 2020,
    NAS-Bench-1Shot1, section 3).

    Raises:
      InputError: a kind without edge logits.
    """

    share = _simplex_edge_shares if read is simplex_weights else _edge_shares

    def rule(kind: str, cell: Cell, weights: Weights) -> tuple[KeptEdge, ...]:
        if kind + EDGES not in alpha:
            raise InputError(
                f"edge_weighted needs edge logits, and {kind!r} has none; "
                "two_strongest does without"
            )
        shares = share(cell, alpha[kind + EDGES])
        return _best_edges(cell, weights * shares[:, None], 2)

    return _genotype(space, alpha, read, rule)


@implements(Discretization)
def threshold(
    space: Space,
    alpha: HostAlpha,
    read: WeightReader = sigmoid_weights,
    level: float = 0.85,
    most: int = 2,
) -> Genotype:
    """Reads off what is above a level, however little: FairDARTS (Chu et al., 2020).

    Every node keeps at most ``most`` incoming edges, those whose strongest operation
    other than ``none`` has a sigmoid above ``level``. A node that keeps none is zero:
    one edge from the first input, with ``none``.

    Args:
      level: least weight, 0 to 1.
      most: number of edges per node.
    """

    def rule(kind: str, cell: Cell, weights: Weights) -> tuple[KeptEdge, ...]:
        choices: list[KeptEdge] = []
        for target in range(cell.inputs, cell.states):
            strongest = _strongest(cell, weights, cell.incoming(target))[:most]
            kept = [choice for weight, choice in strongest if weight > level]
            choices += kept or [KeptEdge(target, 0, "none")]
        return tuple(choices)

    return _genotype(space, alpha, read, rule)


@implements(Discretization)
def few_skips(
    space: Space, alpha: HostAlpha, read: WeightReader = softmax_weights, most: int = 2
) -> Genotype:
    """Reads off at most 2 skips per normal cell.

    P-DARTS (Chen et al., 2019), section 3.3. As `two_strongest`; while a cell that does
    not reduce keeps more than ``most`` ``skip_connect``, the one of the smallest
    softmax weight gets weight 0 and the cell is read off again.

    Args:
      most: number of skips.
    """

    def rule(kind: str, cell: Cell, weights: Weights) -> tuple[KeptEdge, ...]:
        choices = _best_edges(cell, weights, 2)
        if kind in space.macro.reductions:
            return choices
        while len(skips := _skips(cell, weights, choices)) > most:
            weights[min(skips, key=lambda skip: weights[skip])] = 0
            choices = _best_edges(cell, weights, 2)
        return choices

    return _genotype(space, alpha, read, rule)


# Relaxation -> how its parameters are read, if not by their softmax.
WEIGHT_READERS: dict[str, WeightReader] = {
    "sigmoid": sigmoid_weights,
    "simplex": simplex_weights,
}


def weight_reader(relaxation: str) -> WeightReader:
    """Returns the function that reads weights off the parameters of a relaxation.

    Args:
      relaxation: name in ``RELAXATIONS``.
    """
    return WEIGHT_READERS.get(relaxation, softmax_weights)


DISCRETIZATIONS: dict[str, Discretization] = {
    "one_strongest": one_strongest,
    "two_strongest": two_strongest,
    "argmax": argmax,
    "edge_weighted": edge_weighted,
    "threshold": threshold,
    "few_skips": few_skips,
}
"""`search.discretization` -> genotype from architecture parameters alone."""


def is_mixture(space: Space, genotype: Genotype) -> bool:
    """Returns whether a mixture of the space's cells is the genotype's very network.

    Args:
      space: search space.
      genotype: of it, with any states.
    """
    return not genotype.widths and all(
        cell.output == space.cells[kind].output
        and all(
            choice.operation in edge.operations
            for choice in cell.choices
            for edge in space.cells[kind].edges
            if (edge.source, edge.target) == (choice.source, choice.target)
        )
        for kind, cell in genotype.cells.items()
    )


def one_hot(space: Space, genotype: Genotype) -> Mixture:
    """Returns the mixture of a genotype: weight 1 for what it keeps, float32.

    Args:
      space: search space.
      genotype: one of it.
    """
    mixture: dict[str, Any] = {}
    for kind, cell in space.cells.items():
        weights = np.zeros(cell.shape, np.float32)
        places = {(edge.source, edge.target): e for e, edge in enumerate(cell.edges)}
        for choice in genotype.cells[kind].choices:
            e = places[choice.source, choice.target]
            weights[e, cell.edges[e].operations.index(choice.operation)] = 1
        mixture[kind] = weights
    return Mixture(mixture)


def stack_one_hot(space: Space, genotypes: Sequence[Genotype]) -> Mixture:
    """Returns the mixtures of genotypes, float32 [genotype, edge, op] by kind.

    Args:
      space: search space.
      genotypes: of it.
    """
    each = [one_hot(space, genotype) for genotype in genotypes]
    return jax.tree.map(lambda *weights: np.stack(weights), *each)


def keep_strongest(cell: Cell, weights: Weights, count: int) -> np.ndarray:
    """Returns the mask of the operations of largest weight on every edge.

    The pruning of stages (Chen et al., 2019, P-DARTS; Chen et al., 2021, DrNAS). Ties
    go to the earlier operation. An edge with no more operations keeps all.

    Args:
      cell: shape of the cell.
      weights: as a reader of weights gives them.
      count: number of operations to keep.
    """
    order = np.argsort(-weights, axis=-1, kind="stable")
    kept = np.zeros(cell.shape, bool)
    np.put_along_axis(kept, order[:, :count], True, axis=-1)
    return kept & np.array(cell.mask)


def random_genotype(space: Space, rng: np.random.Generator) -> Genotype:
    """Draws a genotype uniformly: the space's rule on exchangeable parameters.

    Args:
      space: search space.
      rng: source of the draws.
    """
    alpha = {kind: rng.normal(size=cell.shape) for kind, cell in space.cells.items()}
    return DISCRETIZATIONS[space.discretization](space, alpha)


def _genotype(
    space: Space,
    alpha: HostAlpha,
    read: WeightReader,
    rule: Callable[[str, Cell, Weights], tuple[KeptEdge, ...]],
) -> Genotype:
    require_finite_alpha(space, alpha)
    cells = {
        kind: cell.keep(rule(kind, cell, read(cell, alpha[kind])))
        for kind, cell in space.cells.items()
    }
    return Genotype(space.name, cells)


def _best_edges(cell: Cell, weights: Weights, count: int) -> tuple[KeptEdge, ...]:
    kept = [
        choice
        for contest in KeptEdges(count, keeps_none=False).contests(cell)
        for _, choice in _strongest(cell, weights, contest.edges)[: contest.keeps]
    ]
    return tuple(sorted(kept, key=lambda choice: choice.target))


def _strongest(
    cell: Cell, weights: Weights, edges: Sequence[int]
) -> list[tuple[float, KeptEdge]]:
    """Returns the best of every edge but for ``none``, strongest first."""
    candidates = []
    for e in edges:
        edge = cell.edges[e]
        allowed = [o for o, op in enumerate(edge.operations) if op != "none"]
        best = allowed[int(np.argmax(weights[e, allowed]))]
        choice = KeptEdge(edge.target, edge.source, edge.operations[best])
        candidates.append((float(weights[e, best]), choice))
    return sorted(candidates, key=lambda pair: -pair[0])


def _argmax(cell: Cell, weights: Weights) -> tuple[KeptEdge, ...]:
    best = weights.argmax(-1)
    return tuple(
        KeptEdge(edge.target, edge.source, edge.operations[o])
        for edge, o in zip(cell.edges, best, strict=True)
    )


def _skips(
    cell: Cell, weights: Weights, choices: tuple[KeptEdge, ...]
) -> list[tuple[int, int]]:
    """Returns (edge, op) of the kept skips that still have a weight to lose."""
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
    """Computes the softmax over edges that compete, in double precision."""
    groups = np.array(cell.rivals)
    rivals = groups[:, None] == groups
    rivals = np.where(rivals, np.asarray(logits, np.float64), -np.inf)
    powers = np.exp(rivals - rivals.max(-1, keepdims=True))
    return np.diagonal(powers) / powers.sum(-1)


def _simplex_edge_shares(
    cell: Cell, shares: Float[np.ndarray, " edge"]
) -> Float[np.ndarray, " edge"]:
    """Divides parameters by their sum over edges that compete."""
    groups = np.array(cell.rivals)
    exact = np.asarray(shares, np.float64)
    return exact / ((groups[:, None] == groups) @ exact)
