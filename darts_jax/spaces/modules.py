"""Spaces of users' own networks: named choices, each of several options.

A choice is a kind of cell with one edge, whose operations are the options. So whatever
is known of cells holds for choices. This module needs the standard library only.
"""

from collections.abc import Mapping, Sequence

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


def module_space(name: str, choices: Mapping[str, Sequence[str]]) -> Space:
    """Returns the space of named choices.

    Args:
      name: of the space.
      choices: name of a choice -> names of its options.

    Raises:
      InputError: a choice without options, or with one that is there twice.
    """
    kinds = tuple(choices)
    cells = {
        kind: Cell(1, 1, (Edge(0, 1, tuple(options)),), output=(1,))
        for kind, options in choices.items()
    }
    macro = Macro(
        lambda cells: kinds,
        reductions=(),
        stem_multiplier=1,
        preprocesses=False,
        final_norm=False,
    )
    return Space(name, cells, macro, discretization="argmax", family=FAMILY)


def is_module(name: str) -> bool:
    """Returns whether a name is that of a user's own network.

    Args:
      name: of a space.
    """
    from darts_jax.spaces import SPACES

    return name in SPACES and SPACES[name].family == FAMILY


def options_of(space: Space) -> dict[str, tuple[str, ...]]:
    """Returns name -> options of the choices of a space.

    Args:
      space: of the family of users' networks.
    """
    return {kind: cell.edges[0].operations for kind, cell in space.cells.items()}


def choices_of(genotype: Genotype) -> dict[str, str]:
    """Returns name -> option of the choices of a genotype.

    Args:
      genotype: of a user's network.
    """
    return {kind: cell.choices[0].operation for kind, cell in genotype.cells.items()}


def genotype_of(space: Space, choices: Mapping[str, object]) -> Genotype:
    """Returns choices as a genotype.

    Args:
      space: of the family of users' networks.
      choices: name of every choice -> option.

    Raises:
      InputError: a choice is missing or unknown, or has no such option.
    """
    known = options_of(space)
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
