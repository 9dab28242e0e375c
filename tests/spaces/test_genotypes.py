"""Published genotypes against the reference list, and every form that one is kept in.

The reference is compared where the project stands next to its material; a digest
that was taken from it guards the table everywhere.
"""

import hashlib
import itertools
import json

import pytest

from darts_jax.errors import InputError
from darts_jax.models.operations.image import OPERATIONS
from darts_jax.spaces import get_space
from darts_jax.spaces.graph import Genotype
from darts_jax.spaces.nasbench201 import OPERATIONS as BENCHMARK_OPERATIONS
from darts_jax.spaces.published import PUBLISHED, SOURCES, get_genotype
from darts_jax.spaces.published_mobile import MOBILE_NETWORKS
from tests.support.paths import SHARED

REFERENCE = SHARED / "genotypes.json"
DIGEST = "41c15b1e5c355ce6cc70dbe1bbb6b1bf7e3745236a5bbf457831b8361b6112b9"
LARGER = ("NASNet", "AmoebaNet")  # five nodes, and operations of their own

# Mobile networks are chains, which `test_mobile` knows.
CELLS = {n: genotype for n, genotype in PUBLISHED.items() if n not in MOBILE_NETWORKS}

names = pytest.mark.parametrize("name", CELLS)


def pairs(genotype):
    """The published form: two pairs of operation and source per node."""
    tree = {}
    for kind, cell in genotype.cells.items():
        tree[kind] = [[c.operation, c.source] for c in cell.choices]
        tree[f"{kind}_concat"] = list(cell.output)
    return tree


def test_table_has_the_digest_of_the_reference():
    tree = {name: pairs(genotype) for name, genotype in CELLS.items()}
    text = json.dumps(tree, sort_keys=True)
    assert hashlib.sha256(text.encode()).hexdigest() == DIGEST
    assert len(CELLS) == 14
    assert list(SOURCES) == list(PUBLISHED)


def test_table_equals_the_reference():
    if not REFERENCE.exists():
        pytest.skip(f"no reference at {REFERENCE}")
    reference = json.loads(REFERENCE.read_text())["genotypes"]
    assert list(CELLS) == list(reference)
    for name, entry in reference.items():
        assert PUBLISHED[name] == Genotype.from_pairs(entry["genotype"]), name


@names
def test_genotype_is_of_its_space(name):
    genotype = get_genotype(name)
    space = get_space(genotype.space)
    assert list(genotype.cells) == list(space.cells) == ["normal", "reduce"]
    for kind, cell in genotype.cells.items():
        assert {c.operation for c in cell.choices} <= set(OPERATIONS)
        targets = [c.target for c in cell.choices]
        assert targets == [t for t in range(2, cell.states) for _ in range(2)]
        if name in LARGER:
            assert cell.states == 7
            continue
        candidates = {(e.source, e.target): e for e in space.cells[kind].edges}
        for c in cell.choices:
            assert c.operation in candidates[c.source, c.target].operations
        assert cell.output == space.cells[kind].output


@names
def test_json_round_trip(name):
    genotype = PUBLISHED[name]
    assert Genotype.from_json(genotype.to_json()) == genotype
    assert Genotype.from_json(json.dumps(pairs(genotype))) == genotype


def test_every_benchmark_string_round_trips():
    strings = [
        f"|{a}~0|+|{b}~0|{c}~1|+|{d}~0|{e}~1|{f}~2|"
        for a, b, c, d, e, f in itertools.product(BENCHMARK_OPERATIONS, repeat=6)
    ]
    assert len(set(strings)) == 15_625
    for string in strings:
        assert Genotype.from_nasbench201(string).to_nasbench201() == string


def test_benchmark_genotype_is_of_its_space():
    string = "|none~0|+|skip_connect~0|nor_conv_1x1~1|+|none~0|none~1|avg_pool_3x3~2|"
    genotype = Genotype.from_nasbench201(string)
    cell = genotype.cells["normal"]
    space = get_space(genotype.space).cells["normal"]
    assert [(c.source, c.target) for c in cell.choices] == [
        (e.source, e.target) for e in space.edges
    ]
    assert cell.output == space.output
    assert Genotype.from_json(genotype.to_json()) == genotype


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "null",
        "[]",
        "3",
        "{}",
        '{"cells": {}',
        '{"cells": {"normal": {}}}',
        '{"cells": []}',
        '{"normal": [["skip_connect", 0]]}',
        '{"normal": [["skip_connect"]], "normal_concat": [2]}',
        '{"normal": [["skip_connect", 2]], "normal_concat": [2]}',
        '{"normal": [["skip_connect", -1]], "normal_concat": [2]}',
        '{"normal": [["skip_connect", 0]], "normal_concat": [9]}',
        '{"normal": [["skip_connect", 0]], "normal_concat": [-1]}',
        '{"normal": [["skip_connect", 0]], "normal_concat": []}',
        '{"space": "darts", "cells": {"normal": {"inputs": 2, "output": [2],'
        ' "edges": [["skip_connect", 0]]}}}',
    ],
)
def test_malformed_json_is_refused(text):
    with pytest.raises(InputError, match=r"genotype|not forward"):
        Genotype.from_json(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "||",
        "skip_connect",
        "|skip_connect~|",
        "|~0|",
        "|skip_connect~x|",
        "|skip_connect~1|",
        "|skip_connect~0|+",
        "|skip_connect~0|+||",
        "|skip_connect~0|+|skip_connect~2|",
    ],
)
def test_malformed_benchmark_string_is_refused(text):
    with pytest.raises(InputError):
        Genotype.from_nasbench201(text)


def test_unknown_name_is_told_the_nearest():
    with pytest.raises(InputError, match=r"'DARTS_V3'; did you mean 'DARTS_V\d'"):
        get_genotype("DARTS_V3")
    with pytest.raises(InputError, match="known: NASNet"):
        get_genotype("?")
