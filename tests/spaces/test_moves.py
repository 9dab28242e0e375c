"""Moves between genotypes: neighbours, mutations and uniform draws."""

import math

import numpy as np
import pytest

from darts_jax.errors import InputError
from darts_jax.spaces import SPACES, get_space
from darts_jax.spaces.graph import Cell, Genotype, Space, dense_edges
from darts_jax.spaces.moves import (
    genotype_key,
    list_neighbours,
    mutate,
    sample_genotype,
)
from tests.support.genotypes import (
    differences,
    draws,
    is_valid,
    places,
    tiny_space,
)


@pytest.mark.parametrize("name", list(SPACES))
def test_neighbours_are_valid_distinct_and_differ_in_one_decision(name):
    space, drawn = draws(name)
    for genotype in drawn:
        assert is_valid(space, genotype)
        near = list_neighbours(space, genotype)
        assert len({genotype_key(g) for g in [genotype, *near]}) == len(near) + 1
        for other in near:
            assert is_valid(space, other)
            assert differences(genotype, other) in [(1, 0), (0, 1)]


@pytest.mark.parametrize("name", ["nasbench201", "darts", "s2"])
def test_neighbours_are_counted_by_hand(name):
    space, drawn = draws(name)
    # NAS-Bench-201: 6 edges, 4 other operations. DARTS: in each of two cells, 8 edges
    # with 6 other operations, and 0 + 2 x 1 + 2 x 2 + 2 x 3 other sources. S2: 1 other.
    wanted = {"nasbench201": 24, "darts": 2 * (48 + 12), "s2": 2 * (8 + 12)}[name]
    assert {len(list_neighbours(space, genotype)) for genotype in drawn} == {wanted}


def test_neighbours_are_mutual_where_all_edges_have_the_same_operations():
    space, (genotype, *_) = draws("darts")
    for other in list_neighbours(space, genotype):
        back = {genotype_key(g) for g in list_neighbours(space, other)}
        assert genotype_key(genotype) in back


@pytest.mark.parametrize("name", list(SPACES))
def test_mutations_are_neighbours_and_reach_all(name):
    space, (genotype, *_) = draws(name)
    rng = np.random.default_rng(1)
    near = {genotype_key(g) for g in list_neighbours(space, genotype)}
    found = {genotype_key(mutate(space, genotype, rng)) for _ in range(30 * len(near))}
    assert found == near


def test_mutation_takes_nodes_edges_and_kinds_of_change_alike():
    space, (genotype, *_) = draws("darts")
    rng = np.random.default_rng(2)
    changes = [differences(genotype, mutate(space, genotype, rng)) for _ in range(4000)]
    # The first node has no other source; of the other three half of the changes are.
    share = np.mean([sources for _, sources in changes])
    assert abs(share - 3 / 8) < 4 * math.sqrt(3 / 8 * 5 / 8 / 4000)
    space, (genotype, *_) = draws("nasbench201")
    before = places(genotype)
    moved = [places(mutate(space, genotype, rng)) for _ in range(4000)]
    share = np.mean([m["normal", 1, 0] != before["normal", 1, 0] for m in moved])
    assert abs(share - 1 / 3) < 4 * math.sqrt(1 / 3 * 2 / 3 / 4000)


def test_uniform_draws_are_uniform():
    space = tiny_space()
    rng = np.random.default_rng(0)
    counts = {}
    for _ in range(6000):
        drawn = genotype_key(sample_genotype(space, rng))
        counts[drawn] = counts.get(drawn, 0) + 1
    # Node 2: 2 x 2 operations. Node 3: 3 pairs of sources, 2 x 2 operations.
    assert len(counts) == 4 * 3 * 4
    expected = 6000 / 48
    statistic = sum((n - expected) ** 2 / expected for n in counts.values())
    assert statistic < 47 + 4 * math.sqrt(2 * 47)


def test_order_of_edges_is_no_decision():
    space = get_space("darts")
    rng = np.random.default_rng(0)
    genotype = sample_genotype(space, rng)
    turned = Genotype.from_json(genotype.to_json())
    for cell in turned.cells.values():
        object.__setattr__(cell, "choices", cell.choices[::-1])
    assert turned != genotype
    assert genotype_key(turned) == genotype_key(genotype)
    assert len(list_neighbours(space, turned)) == len(list_neighbours(space, genotype))


def test_moves_refuse_what_is_not_of_the_space():
    darts, bench = get_space("darts"), get_space("nasbench201")
    rng = np.random.default_rng(0)
    with pytest.raises(InputError, match="its space wants"):
        list_neighbours(darts, sample_genotype(bench, rng))
    with pytest.raises(InputError, match="its space wants"):
        mutate(bench, sample_genotype(darts, rng), rng)
    strange = Space("strange", bench.cells, bench.macro, "few_skips")
    with pytest.raises(InputError, match="few_skips"):
        sample_genotype(strange, rng)
    cell = Cell(1, 1, dense_edges(1, 1, ("skip_connect",)), output=(1,))
    alone = Space("alone", {"normal": cell}, bench.macro, "argmax")
    with pytest.raises(InputError, match="no other"):
        mutate(alone, sample_genotype(alone, rng), rng)
