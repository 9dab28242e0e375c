"""Genotypes that fit their space, and mutants that do not.

The oracle below reads nothing but a space's cells: edges, inputs, output. It is asked
of every mutant, and the readers must say the same.
"""

import ast
import copy
import itertools
import json
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import darts_jax
from darts_jax.errors import InputError
from darts_jax.spaces import SPACES, moves
from darts_jax.spaces.fit import (
    check_genotype,
    describe_dead_states,
    describe_departures,
)
from darts_jax.spaces.graph import CellGenotype, Genotype, KeptEdge
from darts_jax.spaces.nasbench201 import OPERATIONS as BENCHMARK_OPERATIONS
from darts_jax.spaces.published import NAMED
from tests.support.tiny import ragged_space

many = settings(derandomize=True, deadline=None, max_examples=500, database=None)
FAMILIES = ("darts", "s1", "nasbench201", "recurrent", "transformer", "mobile_small")
TREES = [json.loads(genotype.to_json()) for genotype in NAMED.values()]
STRINGS = {
    f"|{a}~0|+|{b}~0|{c}~1|+|{d}~0|{e}~1|{f}~2|"
    for a, b, c, d, e, f in itertools.product(BENCHMARK_OPERATIONS, repeat=6)
}


def whole(*values):
    return all(type(value) is int for value in values)


def fits(tree):
    """Returns whether JSON holds a genotype, by the definition of its space alone."""
    if tree in TREES:
        return True
    if not isinstance(tree, dict) or set(tree) - {"widths"} != {"space", "cells"}:
        return False
    name = tree["space"]
    cells = tree["cells"]
    widths = tree.get("widths", {})
    if not (isinstance(name, str) and name in SPACES):
        return False
    space = SPACES[name]
    if not (isinstance(cells, dict) and set(cells) == set(space.cells)):
        return False
    if not (isinstance(widths, dict) and whole(*widths.values())):
        return False
    if set(widths) - {"stem", "features", *space.cells, *space.macro.reductions}:
        return False
    if any(width < 1 for width in widths.values()):
        return False
    return all(fits_cell(space, kind, cell, widths) for kind, cell in cells.items())


def fits_cell(space, kind, tree, widths):
    if not isinstance(tree, dict) or set(tree) != {"inputs", "edges", "output"}:
        return False
    edges, output, own = tree["edges"], tree["output"], space.cells[kind]
    if not (isinstance(edges, list) and isinstance(output, list)):
        return False
    if not all(isinstance(e, list) and len(e) == 3 for e in edges):
        return False
    if not whole(tree["inputs"], *output, *(n for e in edges for n in e[1:])):
        return False
    if tree["inputs"] != own.inputs or not all(isinstance(e[0], str) for e in edges):
        return False
    if kind in space.macro.widths and is_chain(own):
        return fits_stage(own, edges, output, kind in widths)
    places = [(source, target) for _, source, target in edges]
    into = {node: [s for s, t in places if t == node] for node in range(own.states)}
    for operation, source, target in edges:
        allowed = [
            e.operations for e in own.edges if (e.source, e.target) == (source, target)
        ]
        zero = operation == "none" and into.get(target) == [0]
        if not allowed or not (operation in allowed[0] or zero):
            return False
    if len(set(places)) < len(places):
        return False
    empty = {node for node in range(own.inputs, own.states) if not into[node]}
    if space.family == "recurrent":
        return all(len(into[n]) == 1 for n in range(1, 9)) and output == [*own.output]
    if empty and space.family != "cells":
        return False
    unread = empty - {source for source, _ in places}
    return (
        empty <= unread & set(own.output)
        and output == [state for state in own.output if state not in empty]
        and bool(output)
    )


def is_chain(own):
    return all(edge.target == edge.source + 1 for edge in own.edges)


def fits_stage(own, edges, output, has_width):
    if [[s, t] for _, s, t in edges] != [[i, i + 1] for i in range(len(edges))]:
        return False
    names = [name for name, _, _ in edges]
    widths = [o for e in own.edges for o in e.operations if o.startswith("width_")]
    chosen = bool(widths and names and names[-1] in widths)
    if widths and not (chosen or has_width):
        return False
    names = names[: len(names) - chosen]
    blocks = {o for e in own.edges for o in e.operations} - set(widths)
    return bool(
        names
        and output == [len(edges)]
        and names[0] in own.edges[0].operations
        and set(names) <= blocks
    )


def read(reader, text):
    """The genotype, and nothing but an InputError of one line if it is none."""
    try:
        return reader(text)
    except InputError as error:
        told = str(error)
    assert len(told.splitlines()) == 1
    assert len(told) < 1200
    return None


def quietly(text):
    return darts_jax.read_genotype(text, lambda note: None)


NUMBERS = (-1, 0, 1, 2, 3, 5, 9, 10**30, 0.5, float("nan"))
TEXTS = ("none", "skip_connect", "sep_conv_3x3", "nor_conv_1x1", "tanh", "width_0.5")
NAMES = ("darts", "nasbench201", "s2", "nowhere", "", "a\nb", "0", "2")
LEAVES = st.sampled_from([*NUMBERS, *TEXTS, *NAMES, True, False, None, [], {}])


def places(tree, path=()):
    """Every place of a tree."""
    yield path
    items = tree.items() if isinstance(tree, dict) else ()
    if isinstance(tree, list):
        items = enumerate(tree)
    for key, value in items:
        yield from places(value, (*path, key))


@st.composite
def mutants(draw):
    """A genotype of some space as JSON, changed in one to three places."""
    space = SPACES[draw(st.sampled_from(FAMILIES))]
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    tree = json.loads(moves.sample_genotype(space, rng).to_json())
    for _ in range(draw(st.integers(1, 3))):
        path = draw(st.sampled_from([p for p in places(tree) if p] or [("space",)]))
        parent = tree
        for key in path[:-1]:
            parent = parent[key]
        key = path[-1]
        parent = parent or {key: None}
        change = draw(st.sampled_from(["leaf", "leaf", "delete", "double", "other"]))
        other = (
            draw(st.sampled_from([*parent]))
            if isinstance(parent, dict)
            else (draw(st.integers(0, len(parent) - 1)))
        )
        if change == "leaf":
            parent[key] = draw(LEAVES)
        elif change == "delete":
            del parent[key]
        elif change == "double" and isinstance(parent, list):
            parent.insert(key, copy.deepcopy(parent[key]))
        elif change == "double":
            parent[f"{key}{draw(st.integers(1, 3))}"] = copy.deepcopy(parent[key])
        else:
            parent[key], parent[other] = parent[other], parent[key]
    return tree


@many
@given(mutants())
def test_json_is_accepted_if_and_only_if_it_fits(tree):
    genotype = read(quietly, json.dumps(tree))
    assert (genotype is not None) == fits(tree)
    if genotype is not None:
        assert json.loads(genotype.to_json())["cells"] == tree["cells"]


def printed(tree, form):
    """A DARTS genotype as people's code prints it."""
    parts = []
    for kind, cell in tree["cells"].items():
        edges = sorted(cell["edges"], key=lambda edge: edge[2])
        rows = {
            "pairs": [(name, source) for name, source, _ in edges],
            "triples": [(name, source, target) for name, source, target in edges],
            "turned": [(name, target, source) for name, source, target in edges],
        }[form]
        parts.append(f"{kind}={rows}, {kind}_concat=range(2, 6)")
    return f"Genotype({', '.join(parts)})"


def is_expression(text):
    if not text.endswith(")") or text.count("(") != text.count(")"):
        return False
    try:
        ast.parse(text, mode="eval")
    except SyntaxError:
        return False
    return True


def meaning(text):
    """Returns what Python makes of the text: kind -> edges and output."""
    names = {"__builtins__": {}, "Genotype": dict, "range": range}
    # Whatever follows the genotype, as in a log, is no part of it.
    ends = (n for n in range(1, len(text) + 1) if is_expression(text[:n]))
    tree = eval(text[: next(ends)], names)
    cells = {}
    for kind in ("normal", "reduce"):
        rows, output = tree[kind], [*tree[f"{kind}_concat"]]
        if len(rows[0]) == 2:
            edges = [[name, s, 2 + i // 2] for i, (name, s) in enumerate(rows)]
            assert len(rows) % 2 == 0
        else:
            edges, states = [], {0, 1}
            for name, *two in sorted(rows, key=lambda row: max(row[1:])):
                if min(two) in states:
                    edges.append([name, min(two), max(two)])
                    states.add(max(two))
            output = [state for state in output if state in states]
        cells[kind] = {"inputs": 2, "edges": edges, "output": output}
    assert len(tree) == 4
    return cells


TOKEN = re.compile(r"'\w+'|\w+|\([^()]*\), |[^\w\s]")


@st.composite
def printed_mutants(draw):
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    tree = json.loads(moves.sample_genotype(SPACES["darts"], rng).to_json())
    text = printed(tree, draw(st.sampled_from(["pairs", "triples", "turned"])))
    for _ in range(draw(st.integers(1, 2))):
        found = draw(st.sampled_from([*TOKEN.finditer(text)]))
        new = draw(st.sampled_from(["", found.group() * 2, "9", "0", "1", "2", "0.5"]))
        if draw(st.booleans()) and found.group().startswith("'"):
            new = draw(st.sampled_from(["'none'", "'skip_connect'", "'sep_conv_9x9'"]))
        text = text[: found.start()] + new + text[found.end() :]
    return text


@many
@given(printed_mutants())
def test_printed_text_is_read_as_python_means_it_or_refused(text):
    genotype = read(quietly, text)
    if genotype is None:
        return
    tree = json.loads(genotype.to_json())
    assert fits(tree)
    assert tree["cells"] == meaning(text)


@st.composite
def benchmark_mutants(draw):
    text = draw(st.sampled_from(sorted(STRINGS)[::777]))
    for _ in range(draw(st.integers(1, 2))):
        found = draw(st.sampled_from([*re.finditer(r"\w+~\d\|?|\||\+|\w", text)]))
        new = ["", found.group() * 2, "|", "+", "~", "1", "0", "none", "none~0", "|+|"]
        text = text[: found.start()] + draw(st.sampled_from(new)) + text[found.end() :]
    return text


@many
@given(benchmark_mutants())
def test_a_string_is_accepted_if_and_only_if_the_benchmark_has_it(text):
    genotype = read(Genotype.from_nasbench201, text)
    assert (genotype is not None) == (text in STRINGS)
    if genotype is not None:
        assert genotype.to_nasbench201() == text


@pytest.mark.parametrize("name", SPACES)
def test_whatever_is_drawn_fits(name):
    rng = np.random.default_rng(0)
    for _ in range(20):
        genotype = moves.sample_genotype(SPACES[name], rng)
        assert check_genotype(genotype) is genotype
        assert fits(json.loads(genotype.to_json()))
        assert describe_departures(genotype) == []


def test_an_own_space_is_checked_like_any_other(monkeypatch):
    space = ragged_space()
    text = moves.sample_genotype(space, np.random.default_rng(0)).to_json()
    with pytest.raises(InputError, match="unknown space 'ragged'"):
        Genotype.from_json(text)
    monkeypatch.setitem(SPACES, "ragged", space)
    assert Genotype.from_json(text).space == "ragged"
    with pytest.raises(InputError, match=r"0->2: unknown operation 'noise'"):
        Genotype.from_json(text.replace('"skip_connect",\n     0', '"noise",\n     0'))
    # Of pairs that no space is named for, the own one too.
    pairs = [["skip_connect", 0], ["skip_connect", 1], ["skip_connect", 2]]
    tree = {"normal": [*pairs, ["skip_connect", 0]], "normal_concat": [2, 3]}
    assert Genotype.from_pairs(tree).space == "ragged"
    with pytest.raises(InputError, match="space 'darts' wants 8"):
        Genotype.from_pairs(tree, "darts")


NONE = "|none~0|+|none~0|none~1|+|none~0|none~1|none~2|"


def test_what_cannot_learn_is_known():
    dead = "no path without `none` leads through the normal cell"
    for text in (
        NONE,
        "|skip_connect~0|+|skip_connect~0|none~1|+|none~0|none~1|none~2|",
        "|none~0|+|none~0|skip_connect~1|+|none~0|skip_connect~1|skip_connect~2|",
    ):
        (told,) = describe_dead_states(Genotype.from_nasbench201(text))
        assert told.startswith(dead)
    alive = "|none~0|+|none~0|none~1|+|skip_connect~0|none~1|none~2|"
    assert describe_dead_states(Genotype.from_nasbench201(alive)) == []
    choices = [KeptEdge(n, s, "skip_connect") for n in (3, 4, 5) for s in (0, 1)]
    cell = CellGenotype(2, (KeptEdge(2, 0, "none"), *choices), (2, 3, 4, 5))
    genotype = check_genotype(Genotype("s2", {"normal": cell, "reduce": cell}))
    assert [told.split(":")[0] for told in describe_dead_states(genotype)] == [
        f"no path without `none` leads to state 2 of the {kind} cell"
        for kind in ("normal", "reduce")
    ]
    for genotype in NAMED.values():
        assert describe_dead_states(genotype) == []
