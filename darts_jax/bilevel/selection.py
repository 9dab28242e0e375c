"""Genotypes chosen by the accuracy of the trained supernet, not by its parameters.

Pure control flow on the host: the score of a mixture, and the tuning of the supernet
between two decisions, are functions handed in. To add one: ``SELECTIONS["mine"] =
mine``.
"""

import dataclasses
import functools
import heapq
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Protocol, TypeVar

import numpy as np
from jaxtyping import Bool, Float

from darts_jax.bilevel.discretization import (
    DISCRETIZATIONS,
    HostAlpha,
    one_hot,
    random_genotype,
    softmax_weights,
    stack_one_hot,
)
from darts_jax.bilevel.evolution import NO_LIMIT, CostLimit, evolve, run_generations
from darts_jax.documentation import implements
from darts_jax.spaces.graph import Contest, Genotype, KeptEdge, Space
from darts_jax.spaces.moves import RULES, assemble_genotype, decision_nodes
from darts_jax.types import Mixture

HostMask = dict[str, Bool[np.ndarray, "edge op"]]
Score = Callable[[Mixture], float]
Numbers = Float[np.ndarray, " genotype"]
Merits = Callable[[Sequence[Genotype], Numbers], Numbers]


def _scores_alone(genotypes: Sequence[Genotype], scores: Numbers) -> Numbers:
    """Returns the scores themselves.

    Args:
      genotypes: that were sampled.
      scores: of each on held-out data.
    """
    del genotypes
    return scores


_T = TypeVar("_T")


@dataclasses.dataclass(frozen=True)
class TrainedSupernet:
    """A trained supernet, as a selection sees it.

    Attributes:
      alpha: its architecture parameters.
      mask: operations with which it has been trained.
      mixture: weights of the operations that a mask leaves.
      score: of a mixture on held-out data; more is better.
      tune: trains the weights with what a mask leaves, nothing of an edge that is
        dropped; ``score`` is then of the tuned supernet.
      merits: (genotypes, their scores) -> numbers by which a selection among sampled
        genotypes takes the best; the scores themselves, unless something is added.
      score_paths: scores of many one-hot mixtures [path, edge, op] by one program; None
        where each is scored by itself.
      limit: cost that a selection which looks for genotypes keeps to.
    """

    alpha: HostAlpha
    mask: HostMask
    mixture: Callable[[HostMask], Mixture]
    score: Score
    tune: Callable[[HostMask], None]
    merits: Merits = _scores_alone
    score_paths: Callable[[Mixture], Numbers] | None = None
    limit: CostLimit = NO_LIMIT

    def score_genotypes(self, space: Space, genotypes: Sequence[Genotype]) -> Numbers:
        """Returns the score of every genotype's path.

        Args:
          space: search space.
          genotypes: of it.
        """
        if self.score_paths is not None:
            return self.score_paths(stack_one_hot(space, genotypes))
        return np.array([self.score(one_hot(space, one)) for one in genotypes])


class Selection(Protocol):
    """Chooses a genotype by measurements of a trained supernet.

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
    space: Space,
    trained: TrainedSupernet,
    rng: np.random.Generator,
    keeps_none: bool = False,
) -> Genotype:
    """Keeps what hurts most to lose: DARTS-PT (Wang et al., 2021, algorithm 1).

    As its released code: an edge of every kind of cell, in random order, keeps the
    operation without which the accuracy is lowest, the others' weights as they are.
    Then a node of every kind, in random order, keeps the edges, as many as the space's
    genotypes keep, without which the accuracy is lowest; in a space whose genotypes
    keep all edges this part is left out. Between two such decisions the supernet is
    tuned. The released code scores a node's edges again after each that it gives up,
    but with that one still in place.

    Args:
      keeps_none: True if ``none`` may be kept where the space's genotypes have it;
        otherwise it is kept only where there is nothing else.
    """
    rule = RULES.get(space.discretization, RULES["two_strongest"])
    project = _Projection(space, trained, may_be_none=keeps_none and rule.keeps_none)
    edges = {kind: range(len(cell.edges)) for kind, cell in space.cells.items()}
    decisions = [
        functools.partial(project.decide_edges, chosen)
        for chosen in _rounds(_shuffle(edges, rng))
    ]
    contests = {kind: rule.contests(cell) for kind, cell in space.cells.items()}
    if rule.keeps is not None:
        crowded = {
            kind: [contest for contest in own if contest.keeps < len(contest.edges)]
            for kind, own in _shuffle(contests, rng).items()
        }
        decisions += [
            functools.partial(project.decide_contests, chosen)
            for chosen in _rounds(crowded)
        ]
    for number, decide in enumerate(decisions):
        if number:
            project.tune()
        decide()
    return project.genotype()


def _shuffle(
    members: Mapping[str, Sequence[_T]], rng: np.random.Generator
) -> dict[str, list[_T]]:
    """Returns the members of every kind in random order."""
    return {
        kind: [own[i] for i in rng.permutation(len(own))]
        for kind, own in members.items()
    }


def _rounds(members: Mapping[str, Sequence[_T]]) -> list[dict[str, _T]]:
    """Returns one member of every kind that has more, round by round."""
    return [
        {kind: own[i] for kind, own in members.items() if i < len(own)}
        for i in range(max(map(len, members.values())))
    ]


class _Projection:
    """Supernet of which less is left, decision by decision.

    Args:
      space: search space.
      trained: a trained supernet.
      may_be_none: True if an edge may keep ``none``.
    """

    def __init__(
        self, space: Space, trained: TrainedSupernet, may_be_none: bool
    ) -> None:
        self._space = space
        self._trained = trained
        self._may_be_none = may_be_none
        self._mask = {kind: m.copy() for kind, m in trained.mask.items()}
        self._kept = {
            kind: np.ones(len(cell.edges), bool) for kind, cell in space.cells.items()
        }

    def tune(self) -> None:
        """Tunes the supernet with what is left."""
        left = {kind: m & self._kept[kind][:, None] for kind, m in self._mask.items()}
        self._trained.tune(left)

    def decide_edges(self, chosen: Mapping[str, int]) -> None:
        """Leaves one operation of an edge of every kind, kind after kind.

        Args:
          chosen: kind of cell -> edge.
        """
        for kind, e in chosen.items():
            mask = self._mask[kind]
            operations = self._space.cells[kind].edges[e].operations
            left = list(np.flatnonzero(mask[e]))
            wanted = [o for o in left if self._may_be_none or operations[o] != "none"]
            wanted = wanted or left
            scores = []
            for o in wanted if len(left) > 1 else []:
                mixture = self._mixture()
                mixture.weights[kind][e, o] = 0
                scores.append(self._trained.score(mixture))
            best = wanted[int(np.argmin(scores))] if scores else wanted[0]
            mask[e] = np.arange(mask.shape[1]) == best

    def decide_contests(self, chosen: Mapping[str, Contest]) -> None:
        """Keeps as many of the edges that compete, by kind, as genotypes have.

        Args:
          chosen: kind of cell -> edges that compete.
        """
        for kind, contest in chosen.items():
            scores = []
            for e in contest.edges:
                mixture = self._mixture()
                _drop_edge(mixture, kind, e)
                scores.append(self._trained.score(mixture))
            for i in np.argsort(scores, kind="stable")[contest.keeps :]:
                self._kept[kind][contest.edges[i]] = False

    def genotype(self) -> Genotype:
        """Returns the genotype of what is left."""
        cells = {}
        for kind, cell in self._space.cells.items():
            choices = tuple(
                KeptEdge(
                    edge.target,
                    edge.source,
                    edge.operations[int(np.argmax(self._mask[kind][e]))],
                )
                for e, edge in enumerate(cell.edges)
                if self._kept[kind][e]
            )
            cells[kind] = cell.keep(choices)
        return Genotype(self._space.name, cells)

    def _mixture(self) -> Mixture:
        mixture = self._trained.mixture(self._mask)
        for kind, kept in self._kept.items():
            for e in np.flatnonzero(~kept).tolist():
                _drop_edge(mixture, kind, e)
        return mixture


def _drop_edge(mixture: Mixture, kind: str, e: int) -> None:
    mixture.weights[kind][e] = 0
    if kind in mixture.edge_shares:
        mixture.edge_shares[kind][e] = 0


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
    return _best(space, trained, drawn)


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
    return _best(space, trained, drawn)


@implements(Selection)
def most_probable(
    space: Space, trained: TrainedSupernet, rng: np.random.Generator, samples: int = 100
) -> Genotype:
    """Returns the best, with shared weights, of the genotypes likeliest by alpha.

    SETN (Dong and Yang, 2019), as its code on NAS-Bench-201. The probability of a
    genotype is the product of the softmax weights of the operations that it keeps.

    Args:
      rng: unused.
      samples: number of genotypes, each scored once.
    """
    del rng
    likeliest = _by_probability(_decisions(space, trained.alpha))
    genotypes = [
        assemble_genotype(space, kept) for kept in itertools.islice(likeliest, samples)
    ]
    return _best(space, trained, genotypes)


@implements(Selection)
def evolution(
    space: Space,
    trained: TrainedSupernet,
    rng: np.random.Generator,
    population: int = 50,
    generations: int = 20,
    parents: int = 10,
    mutation: float = 0.1,
) -> Genotype:
    """Returns the best, with shared weights, of all that evolution has met.

    Single path one-shot (Guo et al., 2020, algorithm 1); see `evolve`.

    Args:
      population: genotypes of a generation, each scored once.
      generations: their number.
      parents: best genotypes so far, of which children are made.
      mutation: probability with which a decision is drawn anew.
    """
    proposals = evolve(
        space,
        rng,
        trained.limit,
        population=population,
        generations=generations,
        parents=parents,
        mutation=mutation,
    )
    score = functools.partial(trained.score_genotypes, space)
    asked = run_generations(proposals, score)
    genotypes = [genotype for genotype, _ in asked]
    scores = np.array([score for _, score in asked])
    return genotypes[int(np.argmax(trained.merits(genotypes, scores)))]


def _best(
    space: Space, trained: TrainedSupernet, genotypes: Sequence[Genotype]
) -> Genotype:
    """Returns the genotype of most merit, by its score with shared weights."""
    scores = trained.score_genotypes(space, genotypes)
    return genotypes[int(np.argmax(trained.merits(genotypes, scores)))]


_Kept = tuple[tuple[str, KeptEdge], ...]
"""Kind of cell and choice, of each edge that is kept."""


def _decisions(space: Space, alpha: HostAlpha) -> list[list[tuple[float, _Kept]]]:
    """Returns independent decisions, each as its options with their log probabilities.

    They stand likeliest first. A node decides on all of its edges at once where it
    keeps some; where it keeps all, each edge is a decision of its own.
    """
    decisions = []
    for node in decision_nodes(space):
        cell = space.cells[node.kind]
        weights = softmax_weights(cell, alpha[node.kind])
        rows = {
            edge.source: e
            for e, edge in enumerate(cell.edges)
            if node.targets.get(edge.source) == edge.target
        }
        options = {
            source: [
                (np.log(weights[e, o]), (node.kind, node.choice(source, op)))
                for o, op in enumerate(cell.edges[e].operations)
                if op in node.operations[source] and weights[e, o] > 0
            ]
            for source, e in rows.items()
        }
        keeps_all = len(node.sources) == 1
        for sets in [((s,),) for s in rows] if keeps_all else [node.sources]:
            combined = [
                (sum(log for log, _ in each), tuple(kept for _, kept in each))
                for sources in sets
                for each in itertools.product(*(options[s] for s in sources))
            ]
            decisions.append(sorted(combined, key=lambda option: -option[0]))
    return decisions


def _by_probability(decisions: list[list[tuple[float, _Kept]]]) -> Iterator[_Kept]:
    """Yields one option of every decision, the most probable combination first."""

    def cost(ranks: tuple[int, ...]) -> float:
        return -sum(own[r][0] for own, r in zip(decisions, ranks, strict=True))

    first = (0,) * len(decisions)
    heap = [(cost(first), first)]
    while heap:
        _, ranks = heapq.heappop(heap)
        chosen = [own[r][1] for own, r in zip(decisions, ranks, strict=True)]
        yield tuple(itertools.chain.from_iterable(chosen))
        # Every combination is reached once: by the last decision that was moved.
        last = max((i for i, r in enumerate(ranks) if r), default=0)
        for i in range(last, len(decisions)):
            if ranks[i] + 1 < len(decisions[i]):
                moved = (*ranks[:i], ranks[i] + 1, *ranks[i + 1 :])
                heapq.heappush(heap, (cost(moved), moved))


SELECTIONS: dict[str, Selection] = {
    "perturbation": perturbation,
    "best_sampled": best_sampled,
    "best_of_policy": best_of_policy,
    "most_probable": most_probable,
    "evolution": evolution,
}
"""`search.discretization` -> genotype by measurements of the trained supernet."""
