"""Spaces of users' own networks: named choices, each of several options.

A choice is a kind of cell with one edge, whose operations are the options. So whatever
is known of cells holds for choices. A run keeps its choices in ``space.json``, by which
they are known without the network. This module needs the standard library only.
"""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from darts_jax.errors import InputError, unknown_name_error
from darts_jax.spaces.graph import (
    Cell,
    CellGenotype,
    Edge,
    Genotype,
    KeptEdge,
    Macro,
    Space,
)

FAMILY = "module"
FILE = "space.json"

Condition = tuple[str, frozenset[str]]
"""Name of another decision, and the options under which a place is reached."""


@dataclasses.dataclass(frozen=True)
class Decision:
    """A decision that a network leaves open.

    Attributes:
      name: of the decision, as the user gave it.
      options: names of the alternatives.
      within: one tuple for each place that asks for it: the options of other decisions
        under which the place is reached; () where it always is.
      kind: class of what asks: "Choice", "InputChoice" or "ValueChoice".
    """

    name: str
    options: tuple[str, ...]
    within: tuple[tuple[Condition, ...], ...] = ((),)
    kind: str = "Choice"

    def is_reached(self, choices: Mapping[str, str]) -> bool:
        """Returns whether a network with these choices asks for the decision.

        Args:
          choices: name of every decision -> option.
        """
        return any(
            all(choices[other] in options for other, options in place)
            for place in self.within
        )

    @property
    def condition(self) -> str:
        """The condition in words, as "middle = block"; empty where there is none."""
        if () in self.within:
            return ""
        places = (
            " and ".join(
                f"{other} = {' or '.join(sorted(options))}" for other, options in place
            )
            for place in self.within
        )
        return "; or ".join(places)


@dataclasses.dataclass(frozen=True)
class ChoiceSpace(Space):
    """The space of a user's network.

    Attributes:
      decisions: in the order in which the network asks for them.
    """

    decisions: tuple[Decision, ...] = ()


def module_space(name: str, decisions: Sequence[Decision]) -> ChoiceSpace:
    """Returns the space of a network's decisions.

    Args:
      name: of the space.
      decisions: in the order in which the network asks for them.

    Raises:
      InputError: a choice without options, or with one that is there twice.
    """
    kinds = tuple(decision.name for decision in decisions)
    cells = {
        decision.name: Cell(1, 1, (Edge(0, 1, decision.options),), output=(1,))
        for decision in decisions
    }
    macro = Macro(
        lambda cells: kinds,
        reductions=(),
        stem_multiplier=1,
        preprocesses=False,
        final_norm=False,
    )
    return ChoiceSpace(
        name,
        cells,
        macro,
        discretization="argmax",
        family=FAMILY,
        decisions=tuple(decisions),
    )


def is_module(name: str) -> bool:
    """Returns whether a name is that of a user's own network.

    Args:
      name: of a space.
    """
    from darts_jax.spaces import SPACES

    return name in SPACES and isinstance(SPACES[name], ChoiceSpace)


def get_decisions(name: str) -> tuple[Decision, ...]:
    """Returns the decisions of a user's network.

    Args:
      name: of its space, which is registered.
    """
    from darts_jax.spaces import SPACES

    space = SPACES[name]
    assert isinstance(space, ChoiceSpace)
    return space.decisions


def choices_of(genotype: Genotype) -> dict[str, str]:
    """Returns name -> option of the choices of a genotype.

    Args:
      genotype: of a user's network.
    """
    return {kind: cell.choices[0].operation for kind, cell in genotype.cells.items()}


def genotype_of(space: ChoiceSpace, choices: Mapping[str, object]) -> Genotype:
    """Returns choices as a genotype.

    Args:
      space: of a user's network.
      choices: name of every choice -> option.

    Raises:
      InputError: a choice is missing or unknown, or has no such option.
    """
    known = {decision.name: decision.options for decision in space.decisions}
    for name in choices:
        if name not in known:
            raise unknown_name_error("choice", name, list(known))
    missing = [name for name in known if name not in choices]
    if missing:
        raise InputError(
            f"choice {missing[0]!r} is not made; want one of "
            f"{', '.join(known[missing[0]])}"
        )
    cells = {}
    for name, options in known.items():
        option = str(choices[name])
        if option not in options:
            raise unknown_name_error(f"option of choice {name!r}:", option, options)
        cells[name] = CellGenotype(1, (KeptEdge(1, 0, option),), (1,))
    return Genotype(space.name, cells)


@dataclasses.dataclass(frozen=True)
class Measured:
    """The measure of a user's networks, for whoever reads their results.

    Attributes:
      name: in records, as ``held_out_<name>``.
      more_is_better: whether a larger number is a better one.
      scale: factor to the number that people are shown.
      unit: of that number, as "%".
    """

    name: str
    more_is_better: bool
    scale: float = 1.0
    unit: str = ""


def write_space(space: ChoiceSpace, measured: Measured) -> str:
    """Returns the content of ``space.json``.

    Args:
      space: of the user's network.
      measured: measure of its networks.
    """
    choices = [
        {
            "name": decision.name,
            "kind": decision.kind,
            "options": list(decision.options),
            "within": [
                [{"choice": other, "options": sorted(own)} for other, own in place]
                for place in decision.within
            ],
        }
        for decision in space.decisions
    ]
    tree = {
        "space": space.name,
        "choices": choices,
        "measure": dataclasses.asdict(measured),
    }
    return json.dumps(tree, indent=1) + "\n"


def read_space(folder: Path) -> tuple[ChoiceSpace, Measured] | None:
    """Reads the choices of a run of a user's network.

    Args:
      folder: of the run.

    Returns:
      The space and the measure; None where the run is of no such network.

    Raises:
      InputError: the file is damaged.
    """
    path = folder / FILE
    try:
        text = path.read_text()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read: {error}") from None
    try:
        return _parse(json.loads(text))
    except (ValueError, TypeError, LookupError, AttributeError, InputError) as error:
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise InputError(
            f"{path}, the choices of the run, is damaged ({reason})"
        ) from (None)


def _parse(tree: Any) -> tuple[ChoiceSpace, Measured]:
    decisions = tuple(
        Decision(
            str(choice["name"]),
            tuple(map(str, choice["options"])),
            tuple(
                tuple(
                    (str(other["choice"]), frozenset(map(str, other["options"])))
                    for other in place
                )
                for place in choice["within"]
            ),
            str(choice["kind"]),
        )
        for choice in tree["choices"]
    )
    names = [decision.name for decision in decisions]
    if not decisions or len(set(names)) < len(names):
        raise InputError("want choices, each once")
    for decision in decisions:
        for other, _ in (condition for place in decision.within for condition in place):
            if other not in names:
                raise InputError(f"{decision.name!r} is within {other!r}, unknown")
    told = tree["measure"]
    measured = Measured(
        name=str(told["name"]),
        more_is_better=bool(told["more_is_better"]),
        scale=float(told["scale"]),
        unit=str(told["unit"]),
    )
    return module_space(str(tree["space"]), decisions), measured


def register_recorded(folder: Path) -> Measured | None:
    """Registers the space of a run of a user's network, whose module may be elsewhere.

    Args:
      folder: of the run.

    Returns:
      The measure of its networks; None where the run is of no such network.

    Raises:
      InputError: the file is damaged, or another space of this name is known here.
    """
    from darts_jax.spaces import SPACES

    found = read_space(folder)
    if found is None:
        return None
    space, measured = found
    known = SPACES.get(space.name)
    if known is None:
        SPACES[space.name] = space
    elif not isinstance(known, ChoiceSpace):
        raise InputError(
            f"{folder / FILE} is of a network {space.name!r}, the name of another "
            "space here; want another name for that"
        )
    elif known.decisions != space.decisions:
        raise InputError(
            f"the run in {folder} is of a network {space.name!r} with other choices "
            f"than here: {_difference(space.decisions, known.decisions)}; want another "
            "name for one of them, or another process"
        )
    return measured


def _difference(theirs: Sequence[Decision], ours: Sequence[Decision]) -> str:
    """Returns the first difference of two networks' decisions in words."""
    before = {decision.name: decision for decision in theirs}
    now = {decision.name: decision for decision in ours}
    for name in {**before, **now}:
        if name not in now:
            return f"it has {name!r}"
        if name not in before:
            return f"it has no {name!r}"
    for name, decision in before.items():
        if decision.options != now[name].options:
            return (
                f"{name!r} of {', '.join(decision.options)}, here of "
                f"{', '.join(now[name].options)}"
            )
    return "they depend on each other in another way, or have another order"
