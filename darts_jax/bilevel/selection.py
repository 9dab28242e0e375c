"""Genotypes chosen by the accuracy of the trained supernet, not by its parameters.

Pure control flow on the host: the score of a mixture, and the tuning of the supernet
between two decisions, are functions handed in. To add one: ``SELECTIONS["mine"] =
mine``.
"""

import dataclasses
from collections.abc import Callable
from typing import Protocol

import numpy as np
from jaxtyping import Bool

from darts_jax.bilevel.discretization import (
    DISCRETIZATIONS,
    HostAlpha,
    one_hot,
    random_genotype,
)
from darts_jax.documentation import implements
from darts_jax.spaces.graph import Cell, CellGenotype, Choice, Genotype, Space
from darts_jax.spaces.moves import RULES
from darts_jax.types import Mixture

HostMask = dict[str, Bool[np.ndarray, "edge op"]]
Score = Callable[[Mixture], float]


@dataclasses.dataclass(frozen=True)
class TrainedSupernet:
    """A trained supernet, as a selection sees it.

    Attributes:
      alpha: its architecture parameters.
      mask: operations with which it has been trained.
      mixture: weights of the operations that a mask leaves.
      score: of a mixture on held-out data; more is better.
      tune: trains the weights with what a mask leaves; ``score`` is then of the tuned
        supernet.
    """

    alpha: HostAlpha
    mask: HostMask
    mixture: Callable[[HostMask], Mixture]
    score: Score
    tune: Callable[[HostMask], None]


class Selection(Protocol):
    """Choice of a genotype by measurements of a trained supernet.

    Args:
      space: search space.
      trained: the supernet, which the choice may train on.
      rng: source of all random numbers.

    Returns:
      The genotype.
    """

    def __call__(
        self, space: Space, trained: TrainedSupernet, rng: np.random.Generator
    ) -> Genotype: ...


@implements(Selection)
def perturbation(
    space: Space, trained: TrainedSupernet, rng: np.random.Generator
) -> Genotype:
    """Keeps what hurts most to lose: DARTS-PT (Wang et al., 2021, algorithm 1).

    Edges in random order: each keeps the operation without which the accuracy is
    lowest, the others' weights as they are; ``none`` is never kept where there is
    something else. After every such decision the supernet is tuned. Then nodes in
    random order: each keeps the edges, as many as the space's genotypes keep, without
    which the accuracy is lowest. In a space whose genotypes keep all edges the second
    part is left out.
    """
    mask = {kind: m.copy() for kind, m in trained.mask.items()}
    edges = [(k, e) for k, cell in space.cells.items() for e in range(len(cell.edges))]
    for place in rng.permutation(len(edges)):
        kind, e = edges[place]
        _decide_edge(space.cells[kind], kind, e, mask, trained)
        trained.tune(mask)
    chosen = {
        (kind, e): space.cells[kind].edges[e].operations[int(np.argmax(mask[kind][e]))]
        for kind, e in edges
    }
    kept = dict.fromkeys(edges, True)
    if DISCRETIZATIONS[space.discretization] is not DISCRETIZATIONS["argmax"]:
        _drop_edges(space, mask, kept, trained, rng)
    cells = {}
    for kind, cell in space.cells.items():
        choices = tuple(
            Choice(edge.target, edge.source, chosen[kind, e])
            for e, edge in enumerate(cell.edges)
            if kept[kind, e]
        )
        cells[kind] = CellGenotype(cell.inputs, choices, cell.output)
    return Genotype(space.name, cells)


def _decide_edge(
    cell: Cell, kind: str, e: int, mask: HostMask, trained: TrainedSupernet
) -> None:
    """Leaves one operation of an edge in the mask."""
    left = list(np.flatnonzero(mask[kind][e]))
    wanted = [o for o in left if cell.edges[e].operations[o] != "none"] or left
    scores = []
    for o in wanted if len(left) > 1 else []:
        mixture = trained.mixture(mask)
        mixture.weights[kind][e, o] = 0
        scores.append(trained.score(mixture))
    best = wanted[int(np.argmin(scores))] if scores else wanted[0]
    mask[kind][e] = np.arange(mask[kind].shape[1]) == best


def _drop_edges(
    space: Space,
    mask: HostMask,
    kept: dict[tuple[str, int], bool],
    trained: TrainedSupernet,
    rng: np.random.Generator,
) -> None:
    """Keeps as many edges into every node as the space's genotypes have."""
    keeps = RULES.get(space.discretization, RULES["two_strongest"]).keeps
    nodes = [
        (kind, target)
        for kind, cell in space.cells.items()
        for target in range(cell.inputs, cell.states)
    ]

    def mixture(gone: tuple[str, int] | None = None) -> Mixture:
        left = trained.mixture(mask)
        for (kind, e), stays in kept.items():
            if stays and (kind, e) != gone:
                continue
            left.weights[kind][e] = 0
            if kind in left.edge_shares:
                left.edge_shares[kind][e] = 0
        return left

    for place in rng.permutation(len(nodes)):
        kind, target = nodes[place]
        incoming = space.cells[kind].incoming(target)
        scores = [trained.score(mixture((kind, e))) for e in incoming]
        for i in np.argsort(scores, kind="stable")[keeps:]:
            kept[kind, incoming[i]] = False


@implements(Selection)
def best_sampled(
    space: Space, trained: TrainedSupernet, rng: np.random.Generator, samples: int = 100
) -> Genotype:
    """Draws genotypes uniformly and returns the best with shared weights.

    Random search with weight sharing (Li and Talwalkar, 2019, section 3.2).

    Args:
      samples: number of genotypes, each scored once.
    """
    drawn = [random_genotype(space, rng) for _ in range(samples)]
    scores = [trained.score(one_hot(space, genotype)) for genotype in drawn]
    return drawn[int(np.argmax(scores))]


@implements(Selection)
def best_of_policy(
    space: Space, trained: TrainedSupernet, rng: np.random.Generator, samples: int = 100
) -> Genotype:
    """Draws genotypes from softmax(alpha) and returns the best with shared weights.

    ENAS (Pham et al., 2018, section 2.3). The space's rule reads each off
    Gumbel-perturbed logits, whose largest is a draw from the softmax.

    Args:
      samples: number of genotypes, each scored once.
    """
    rule = DISCRETIZATIONS[space.discretization]
    drawn = []
    for _ in range(samples):
        noisy = {
            name: np.asarray(a) + rng.gumbel(size=np.shape(a))
            for name, a in trained.alpha.items()
        }
        drawn.append(rule(space, noisy))
    scores = [trained.score(one_hot(space, genotype)) for genotype in drawn]
    return drawn[int(np.argmax(scores))]


SELECTIONS: dict[str, Selection] = {
    "perturbation": perturbation,
    "best_sampled": best_sampled,
    "best_of_policy": best_of_policy,
}
"""`search.discretization` -> genotype by measurements of the trained supernet."""
