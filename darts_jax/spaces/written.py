"""Parsers of the forms in which genotypes are written; each checks the result.

- This project's JSON: the space, and of every kind of cell its inputs, edges, output;
  of a user's own network, the option of every choice by name.
- Pairs, as the code of Liu et al. (2019) prints them: of every kind its
  ``[operation, source]`` in the order of the nodes, and ``<kind>_concat``. A node's
  pairs may be a list of their own (Dong and Yang, 2019). Of triples, as FairDARTS (Chu
  et al., 2020) prints them, the two numbers are a state and an earlier one: as edges
  lead forward, the larger is the node.
- NAS-Bench-201's string.

Nothing is guessed and nothing is run. A form that does not name its space belongs to
the usual space of that form or, if it does not fit there, to the first in ``SPACES``
that it fits. This module needs the standard library only.
"""

import itertools
import json
import operator
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from darts_jax.errors import InputError
from darts_jax.spaces import SPACES, get_space, modules
from darts_jax.spaces.fit import check_genotype
from darts_jax.spaces.graph import CellGenotype, Genotype, KeptEdge, Space
from darts_jax.spaces.moves import RULES

# Fields that other code writes beside the cells, where they hold nothing.
_EMPTY = ("connectN", "connects")
_CONCAT = "_concat"
_GROUP = r"\|(?:[^|~+\s]+~[0-9]{1,3}\|)+"
_BENCHMARK = re.compile(rf"{_GROUP}(?:\+{_GROUP})*")
_LONGEST = 1 << 20  # characters of a text
_MOST = 1 << 20  # of a number


def parse_json(text: str) -> Genotype:
    """Reads this project's JSON, or JSON of pairs.

    Args:
      text: the JSON.

    Raises:
      InputError: the text is not JSON, not a genotype, or one that its space lacks.
    """
    if len(text) > _LONGEST:
        raise InputError(f"not a genotype: {len(text)} characters of JSON")
    try:
        tree = json.loads(text.lstrip("\ufeff"), object_pairs_hook=_once)
    except InputError:
        raise
    except RecursionError:
        raise InputError("not a genotype: nested too deep") from None
    except ValueError as error:
        raise InputError(f"not a genotype: {_line(error)}") from None
    return parse_tree(tree)


def parse_tree(tree: Any) -> Genotype:
    """Reads the value of a JSON text or of a printed Python value.

    Args:
      tree: a mapping, of ``cells`` or of pairs.

    Raises:
      InputError: it is not a genotype, or one that its space lacks.
    """
    if not isinstance(tree, Mapping):
        raise InputError(
            f"not a genotype: {_short(tree)}; want an object with 'cells' or "
            "'<kind>_concat'"
        )
    if "choices" in tree:
        return _of_choices(tree)
    return check_genotype(_of_cells(tree)) if "cells" in tree else parse_pairs(tree)


def parse_pairs(pairs: Any, space: str | None = None) -> Genotype:
    """Reads pairs or triples, ``{"normal": [...], "normal_concat": [...], ...}``.

    Args:
      pairs: a mapping, or a named tuple as published code has it.
      space: name of its space; None: ``recurrent`` if ``concat`` is the only output,
        ``darts`` otherwise, or the first space that it fits.

    Raises:
      InputError: it is not a genotype, or none of the space.
    """
    tree: Any = pairs._asdict() if hasattr(pairs, "_asdict") else pairs
    if not isinstance(tree, Mapping):
        raise InputError(f"not a genotype: {_short(pairs)}; want a mapping of pairs")
    single = "concat" in tree
    if single:
        kinds = [k for k in tree if k != "concat"]
        if len(kinds) != 1:
            raise InputError(
                f"not a genotype: 'concat' beside {len(kinds)} lists of edges; want one"
            )
        tree = {kinds[0]: tree[kinds[0]], kinds[0] + _CONCAT: tree["concat"]}
    listed = [k for k, value in tree.items() if not (k in _EMPTY and value is None)]
    kinds = list(dict.fromkeys(str(key).removesuffix(_CONCAT) for key in listed))
    halves = [k for k in kinds if k not in tree or k + _CONCAT not in tree]
    if halves or not kinds:
        lacking = f"{halves[0][:60]!r} lacks edges or concat" if halves else "no cells"
        raise InputError(f"not a genotype: {lacking}; want 'cells' or '<kind>_concat'")
    usual = "recurrent" if single else "darts"
    return _fitting(lambda space: _paired(tree, kinds, space), space, usual)


def parse_nasbench201(text: str, space: str | None = None) -> Genotype:
    """Reads a NAS-Bench-201 string, ``|op~0|+|op~0|op~1|+...``, a group per node.

    Args:
      text: the string.
      space: name of its space; None: ``nasbench201``, or the first that it fits.

    Raises:
      InputError: it is no such string, or none of the space.
    """
    text = text.strip()
    if not _BENCHMARK.fullmatch(text):
        raise InputError(
            f"not a NAS-Bench-201 string: {_short(text)}; want |op~0|+|op~0|op~1|+..."
        )
    entries = [
        [part.split("~") for part in group.strip("|").split("|")]
        for group in text.split("+")
    ]
    for node, entry in enumerate(entries, start=1):
        sources = [int(source) for _, source in entry]
        if sources != list(range(node)):
            wanted = "|".join(f"op~{source}" for source in range(node))
            raise InputError(
                f"not a NAS-Bench-201 string: node {node} has the sources {sources}; "
                f"want |{wanted}|, one of each in order"
            )

    def build(space: Space) -> Genotype:
        (kind, cell), *more = space.cells.items()
        if more or cell.inputs != 1 or cell.nodes != len(entries):
            raise InputError(
                f"the string has {len(entries)} nodes of one cell; a cell of space "
                f"{space.name!r} has {cell.nodes}"
            )
        choices = tuple(
            KeptEdge(node, int(source), operation)
            for node, entry in enumerate(entries, start=1)
            for operation, source in entry
        )
        return Genotype(space.name, {kind: CellGenotype(1, choices, cell.output)})

    return _fitting(build, space, "nasbench201")


def _fitting(
    build: Callable[[Space], Genotype], space: str | None, usual: str
) -> Genotype:
    """Returns the genotype of the named space, else of the first space that it fits."""
    if space is not None:
        return check_genotype(build(get_space(space)))
    try:
        return check_genotype(build(SPACES[usual]))
    except InputError as error:
        for other in SPACES.values():
            try:
                return check_genotype(build(other))
            except InputError:
                continue
        raise error


def _of_cells(tree: Mapping[str, Any]) -> Genotype:
    _require_keys("the genotype", tree, ("space", "cells"), ("widths",))
    space = tree["space"]
    widths = tree.get("widths", {})
    if not isinstance(space, str) or len(space) > 100:
        raise InputError(f"space of the genotype is {_short(space)}; want its name")
    for name, value in (("cells", tree["cells"]), ("widths", widths)):
        if not isinstance(value, Mapping):
            raise InputError(
                f"{name} of the genotype are {_short(value)}; want {{...}}"
            )
    cells = {str(kind): _cell(str(kind), cell) for kind, cell in tree["cells"].items()}
    numbers = {
        str(name): _whole(f"width {str(name)[:60]!r} of the genotype", width)
        for name, width in widths.items()
    }
    return Genotype(space, cells, numbers)


def _of_choices(tree: Mapping[str, Any]) -> Genotype:
    _require_keys("the genotype", tree, ("space", "choices"))
    choices = tree["choices"]
    if not isinstance(choices, Mapping):
        raise InputError(f"choices of the genotype are {_short(choices)}; want {{...}}")
    name = _name("the genotype: space", tree["space"])
    space = get_space(name) if modules.is_module(name) else None
    if not isinstance(space, modules.ChoiceSpace):
        raise InputError(
            f"the genotype is of a network {name[:60]!r}, which is not known here; "
            "want darts_jax.space_of(module, example), a --config FILE that calls it, "
            f"or {modules.FILE} of a run beside the genotype"
        )
    return modules.genotype_of(space, choices)


def _cell(kind: str, tree: Any) -> CellGenotype:
    where = f"cell {kind[:60]!r} of the genotype"
    if not isinstance(tree, Mapping):
        raise InputError(f"{where} is {_short(tree)}; want inputs, edges and output")
    _require_keys(where, tree, ("inputs", "edges", "output"))
    choices = []
    for edge in _sequence(f"edges of {where}", tree["edges"]):
        edge = _sequence(f"an edge of {where}", edge)
        if len(edge) != 3:
            raise InputError(
                f"{where}: edge {_short(edge)}; want [operation, source, target]"
            )
        operation, source, target = edge
        place = f"{where}, edge {_short(edge)}"
        choices.append(
            KeptEdge(
                _whole(f"{place}: target", target),
                _whole(f"{place}: source", source),
                _name(place, operation),
            )
        )
    inputs = _whole(f"inputs of {where}", tree["inputs"])
    return _made(where, inputs, choices, _output(where, tree["output"]))


def _paired(tree: Mapping[str, Any], kinds: Sequence[str], space: Space) -> Genotype:
    missing = [kind for kind in kinds if kind not in space.cells]
    if missing:
        raise InputError(
            f"the genotype has a cell {missing[0][:60]!r}; space {space.name!r} has "
            f"{', '.join(space.cells)}"
        )
    cells = {
        kind: _paired_cell(space, kind, tree[kind], tree[kind + _CONCAT])
        for kind in kinds
    }
    return Genotype(space.name, cells)


def _paired_cell(space: Space, kind: str, edges: Any, concat: Any) -> CellGenotype:
    where = f"{kind} of the genotype"
    inputs = space.cells[kind].inputs
    listed = _sequence(where, edges)
    rows = [_sequence(f"an edge of {where}", row) for row in listed]
    output = _output(where, concat)
    if rows and all(len(row) == 3 and isinstance(row[0], str) for row in rows):
        choices = _of_triples(where, rows)
        return _without_unread(_made(where, inputs, choices, output))
    if rows and all(row and not isinstance(row[0], str) for row in rows):
        nodes = [
            [_of_pair(where, pair, node) for pair in row]
            for node, row in enumerate(rows, start=inputs)
        ]
        return _made(where, inputs, [c for node in nodes for c in node], output)
    targets = _targets(space, kind)
    choices = [_of_pair(where, row, next(targets)) for row in rows]
    own = range(inputs, space.cells[kind].states)
    wanted = sum(_usual(space, kind, node) for node in own)
    # A pair is of a node by its place alone: where one is missing, all later shift.
    if len(rows) < wanted or (choices and choices[-1].target == next(targets)):
        raise InputError(
            f"{where} has a list of {len(rows)} edges; space {space.name!r} wants "
            f"{wanted}, each node's after the other's"
        )
    return _made(where, inputs, choices, output)


def _targets(space: Space, kind: str) -> Iterator[int]:
    """Yields the node of each pair in a list, by the space's rule."""
    for node in itertools.count(space.cells[kind].inputs):
        yield from [node] * _usual(space, kind, node)


def _usual(space: Space, kind: str, node: int) -> int:
    """Returns the number of edges listed for a node, even one that the space lacks."""
    rule = RULES.get(space.discretization, RULES["two_strongest"])
    most = len(space.cells[kind].incoming(node)) or node
    return most if rule.keeps is None else min(rule.keeps, most)


def _of_pair(where: str, pair: Any, target: int) -> KeptEdge:
    pair = _sequence(f"an edge of {where}", pair)
    if len(pair) != 2:
        raise InputError(f"{where}: edge {_short(pair)}; want [operation, source]")
    place = f"{where}, edge {_short(pair)}"
    return KeptEdge(target, _whole(f"{place}: source", pair[1]), _name(place, pair[0]))


def _of_triples(where: str, rows: Sequence[Any]) -> list[KeptEdge]:
    """Reads edges of an operation and two states, the later of which is the node."""
    choices = []
    rising = set()
    for row in rows:
        place = f"{where}, edge {_short(row)}"
        states = [_whole(f"{place}: state", state) for state in row[1:]]
        choices.append(KeptEdge(max(states), min(states), _name(place, row[0])))
        rising.add(states[0] < states[1])
    if len(rising) > 1:
        raise InputError(
            f"{where}: some edges name the earlier state first and some the later; "
            "want one order"
        )
    return choices


def _without_unread(cell: CellGenotype) -> CellGenotype:
    """Returns the cell that FairDARTS's network builds from its triples.

    A node without an edge is dropped: from the output, and as the source of edges.
    """
    states = set(range(cell.inputs))
    choices = []
    for choice in sorted(cell.choices, key=lambda c: c.target):
        if choice.source in states:
            states.add(choice.target)
            choices.append(choice)
    output = tuple(state for state in cell.output if state in states)
    return CellGenotype(cell.inputs, tuple(choices), output or cell.output)


def _made(
    where: str, inputs: int, choices: Sequence[KeptEdge], output: tuple[int, ...]
) -> CellGenotype:
    try:
        return CellGenotype(inputs, tuple(choices), output)
    except InputError as error:
        raise InputError(f"{where}: {error}") from None


def _output(where: str, value: Any) -> tuple[int, ...]:
    states = _sequence(f"output of {where}", value)
    return tuple(_whole(f"output of {where}", state) for state in states)


def _sequence(where: str, value: Any) -> Sequence[Any]:
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise InputError(f"{where} is {_short(value)}; want a list")
    return value


def _whole(where: str, value: Any) -> int:
    if hasattr(value, "__index__") and not isinstance(value, bool):
        number = operator.index(value)
        if abs(number) <= _MOST:
            return number
    raise InputError(f"{where} is {_short(value)}; want a whole number")


def _name(where: str, value: Any) -> str:
    if not isinstance(value, str):
        raise InputError(f"{where}: operation is {_short(value)}; want its name")
    return value


def _require_keys(
    where: str, tree: Mapping[str, Any], keys: Sequence[str], also: Sequence[str] = ()
) -> None:
    for key in keys:
        if key not in tree:
            raise InputError(f"{where} has no {key!r}; want {', '.join(keys)}")
    for key in tree:
        if key not in (*keys, *also):
            raise InputError(
                f"{where} has {_short(key)}, which is not known; want "
                f"{', '.join((*keys, *also))}"
            )


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    tree = dict(pairs)
    if len(tree) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise InputError(f"not a genotype: {twice[:60]!r} is given twice")
    return tree


def _short(value: Any) -> str:
    text = " ".join(repr(value).split())
    return text if len(text) <= 80 else f"{text[:77]}..."


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:120]
