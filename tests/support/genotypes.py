"""Genotypes as dicts of what they keep, and scores whose optimum is known."""

import numpy as np

from darts_jax.baselines import Evaluation
from darts_jax.spaces import get_space
from darts_jax.spaces.graph import Cell, Macro, Space, dense_edges
from darts_jax.spaces.moves import sample_genotype


def places(genotype):
    """{(kind, target, source): operation} of what is kept."""
    return {
        (kind, c.target, c.source): c.operation
        for kind, cell in genotype.cells.items()
        for c in cell.choices
    }


def contests(space, cell):
    """Yields edges that compete and how many are kept: by node, or as the cell says."""
    for contest in cell.contests:
        yield [cell.edges[e] for e in contest.edges], contest.keeps
    if cell.contests:
        return
    few = 1 if space.discretization == "one_strongest" else 2
    for target in range(cell.inputs, cell.states):
        edges = [e for e in cell.edges if e.target == target]
        yield edges, len(edges) if space.discretization == "argmax" else few


def is_valid(space, genotype):
    """Checks by the space's own data: all edges, or some of a contest, never none."""
    kept = places(genotype)
    every = space.discretization == "argmax"
    for kind, cell in space.cells.items():
        for edges, keeps in contests(space, cell):
            known = {(kind, e.target, e.source): e.operations for e in edges}
            here = {place: op for place, op in kept.items() if place in known}
            if len(here) != keeps:
                return False
            if not all(op in known[place] for place, op in here.items()):
                return False
            if not every and "none" in here.values():
                return False
    listed = sum(len(cell.choices) for cell in genotype.cells.values())
    return listed == len(kept) and genotype.space == space.name


def differences(one, other):
    """Counts decisions that differ: operations of edges that both keep, other edges."""
    a, b = places(one), places(other)
    return sum(a[p] != b[p] for p in a.keys() & b.keys()), len(a.keys() - b.keys())


def draws(name, count=20):
    space = get_space(name)
    rng = np.random.default_rng(0)
    return space, [sample_genotype(space, rng) for _ in range(count)]


def tiny_space():
    """48 genotypes, with edges to leave out."""
    cell = Cell(2, 2, dense_edges(2, 2, ("none", "skip_connect", "sep")), output=(2, 3))
    macro = Macro(lambda cells: ("normal",) * cells, (), 1, True, False)
    return Space("tiny", {"normal": cell}, macro, "two_strongest")


def additive(space, seed=0):
    """A worth for every operation of every edge, summed, and the best that there is."""
    rng = np.random.default_rng(seed)
    worth = {
        (kind, e.target, e.source, op): rng.normal()
        for kind, cell in space.cells.items()
        for e in cell.edges
        for op in e.operations
    }

    def evaluate(genotype):
        kept = places(genotype).items()
        return Evaluation(sum(worth[(*place, op)] for place, op in kept))

    best = 0.0
    for kind, cell in space.cells.items():
        for edges, keeps in contests(space, cell):
            tops = [
                max(
                    worth[kind, e.target, e.source, op]
                    for op in e.operations
                    if op != "none" or space.discretization == "argmax"
                )
                for e in edges
            ]
            best += sum(sorted(tops)[-keeps:])
    return evaluate, best
