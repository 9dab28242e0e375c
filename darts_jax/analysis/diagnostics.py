"""Diagnostics of a search from its architecture parameters: numbers and warnings.

Functions take the logits [edge, op] of one kind of cell, or a genotype, in NumPy. Edge
logits take no part.
"""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float

from darts_jax.bilevel.discretization import (
    HostAlpha,
    WeightReader,
    Weights,
    require_finite_alpha,
    softmax_weights,
)
from darts_jax.bilevel.stopping import rank_operations
from darts_jax.spaces.graph import Cell, CellGenotype, Genotype, Space


def edge_entropy(cell: Cell, weights: Weights) -> Float[np.ndarray, " edge"]:
    """Computes the entropy of every edge's weights, as a share of its maximum.

    ``-sum_o p log p / log K`` for K operations: 1 is undecided, 0 is decided. An edge
    with one operation is decided.

    Args:
      cell: the cell.
      weights: weights as a reading of `bilevel.discretization` returns them [edge, op];
        they are scaled to a sum of 1 on every edge.
    """
    parts = _parts(cell, weights)
    safe = np.where(parts > 0, parts, 1.0)
    count = np.sum(cell.mask, axis=-1)
    # log 1 is 0 on either side of the fraction
    return -(safe * np.log(safe)).sum(-1) / np.log(np.maximum(count, 2))


def ranking_changes(
    cell: Cell,
    before: Float[np.ndarray, "edge op"],
    after: Float[np.ndarray, "edge op"],
) -> int:
    """Counts the pairs of operations of an edge that changed their order.

    Args:
      cell: the cell.
      before: architecture parameters [edge, op].
      after: architecture parameters later on [edge, op].

    Returns:
      Kendall's distance of the rankings, summed over edges; 0 if no order changed.
    """
    earlier = _pair_order(cell, before)
    later = _pair_order(cell, after)
    return int((earlier * later < 0).sum()) // 2


def _pair_order(
    cell: Cell, logits: Float[np.ndarray, "edge op"]
) -> Float[np.ndarray, "edge op op"]:
    """Returns 1 or -1 for each pair of operations of an edge, by which ranks first."""
    places = np.argsort(rank_operations(cell, logits))
    return np.sign(places[:, :, None] - places[:, None, :])


def skip_share(cell: Cell, weights: Weights) -> float:
    """Returns the mean weight of ``skip_connect`` over the edges that may be it.

    Args:
      cell: the cell.
      weights: weights as a reading of `bilevel.discretization` returns them [edge, op].

    Returns:
      The mean in [0, 1]; 0 if no edge may be a skip connection.
    """
    return _share(cell, weights, "skip_connect")


def describe_epoch(
    space: Space,
    alpha: HostAlpha,
    before: HostAlpha,
    genotype: Genotype | None,
    read: WeightReader = softmax_weights,
) -> dict[str, float]:
    """Computes the diagnostic numbers of an epoch over all kinds of cells.

    Args:
      space: the search space.
      alpha: architecture parameters after the epoch.
      before: architecture parameters an epoch earlier.
      genotype: the genotype of ``alpha``; without one all numbers are NaN.
      read: weights of the parameters.

    Returns:
      ``entropy`` (mean over edges), ``ranking_changes`` (sum), ``skip_share`` (mean
      over kinds), and ``skips``, the number kept by the cells that do not reduce.
    """
    if genotype is None:
        names = ("entropy", "ranking_changes", "skip_share", "skips")
        return dict.fromkeys(names, float("nan"))
    weights = {kind: read(cell, alpha[kind]) for kind, cell in space.cells.items()}
    cells = space.cells.items()
    entropies = [edge_entropy(cell, weights[kind]) for kind, cell in cells]
    return {
        "entropy": float(np.mean(np.concatenate(entropies))),
        "ranking_changes": sum(
            ranking_changes(cell, before[kind], alpha[kind]) for kind, cell in cells
        ),
        "skip_share": float(np.mean([skip_share(c, weights[k]) for k, c in cells])),
        "skips": sum(
            genotype.cells[kind].skips
            for kind in space.cells
            if kind not in space.macro.reductions
        ),
    }


def collapse_warnings(
    space: Space,
    alpha: HostAlpha,
    genotype: Genotype,
    read: WeightReader = softmax_weights,
) -> list[str]:
    """Returns one line for each sign that a search went wrong.

    Signs are skips in half of a cell's kept edges (Zela et al., 2020), unless they make
    a chain shorter; a cell that no path crosses; ``none`` with most of the weight; and
    edges that are all but undecided.

    Args:
      space: the search space.
      alpha: architecture parameters after the last epoch.
      genotype: their genotype.
      read: weights of the parameters.
    """
    return [
        f"{kind} cell: {warning}"
        for kind, cell in space.cells.items()
        for warning in _warnings(
            cell, np.asarray(alpha[kind]), genotype.cells[kind], read
        )
    ]


UNDECIDED = 0.999
"""Share of the largest entropy above which edges are undecided.

Parameters that start as 1e-3 N(0, 1) have 0.9999998.
"""

_MOST = 0.5


def _warnings(
    cell: Cell,
    parameters: Float[np.ndarray, "edge op"],
    chosen: CellGenotype,
    read: WeightReader,
) -> list[str]:
    found = []
    weights = read(cell, parameters)
    skips = chosen.skips
    kept = len(chosen.choices)
    if not cell.is_chain and kept and skips / kept >= _MOST:
        found.append(
            f"{skips} of {kept} kept edges are skip_connect; the search has likely "
            "collapsed: stop earlier or regularise more"
        )
    if not chosen.is_connected:
        found.append("no path leads from an input to the output: it computes nothing")
    nothing = _share(cell, weights, "none")
    if nothing > _MOST:
        found.append(
            f"`none` holds {nothing:.0%} of an edge's weight on average; what else is "
            "chosen was hardly trained"
        )
    if is_undecided(cell, weights):
        found.append(
            "its operations weigh the same to within chance; search longer or at a "
            "higher learning rate"
        )
    return found


def is_undecided(cell: Cell, weights: Weights) -> bool:
    """Returns whether the operations of a cell weigh the same to within chance.

    Args:
      cell: the cell.
      weights: weights as a reading of `bilevel.discretization` returns them [edge, op].
    """
    return bool(np.mean(edge_entropy(cell, weights)) > UNDECIDED)


def _share(cell: Cell, weights: Weights, operation: str) -> float:
    """Returns an operation's mean part of the weight of the edges that may be it."""
    parts = _parts(cell, weights)
    found = [
        parts[e, edge.operations.index(operation)]
        for e, edge in enumerate(cell.edges)
        if operation in edge.operations
    ]
    return float(np.mean(found)) if found else 0.0


def _parts(cell: Cell, weights: Weights) -> Float[np.ndarray, "edge op"]:
    """Returns each operation's part of its edge's weight; 0 where there is none."""
    present = np.where(cell.mask, weights, 0)
    return present / present.sum(-1, keepdims=True)


def mean_weights(
    space: Space,
    alpha: Mapping[str, Float[np.ndarray, "epoch edge op"]],
    read: WeightReader = softmax_weights,
) -> dict[str, dict[str, Float[np.ndarray, " epoch"]]]:
    """Returns the mean weight of each operation over the edges that have it, by epoch.

    Args:
      space: the search space.
      alpha: kind -> architecture parameters [epoch, edge, op].
      read: weights of the parameters of an epoch.

    Returns:
      Kind of cell -> operation -> means [epoch].

    Raises:
      InputError: the parameters of an epoch are NaN or infinite.
    """
    for epoch in range(len(next(iter(alpha.values())))):
        own = {kind: alpha[kind][epoch] for kind in space.cells}
        require_finite_alpha(space, own, f" after epoch {epoch + 1}")
    found: dict[str, dict[str, Float[np.ndarray, " epoch"]]] = {}
    for kind, cell in space.cells.items():
        weights = np.stack([read(cell, epoch) for epoch in alpha[kind]])
        found[kind] = {
            name: np.mean(
                [
                    weights[:, e, edge.operations.index(name)]
                    for e, edge in enumerate(cell.edges)
                    if name in edge.operations
                ],
                axis=0,
            )
            for name in cell.operations
        }
    return found
