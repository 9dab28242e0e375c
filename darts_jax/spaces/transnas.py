"""The two spaces of TransNAS-Bench-101 (Duan et al., 2021), which are looked up.

``transnas_micro`` has NAS-Bench-201's cell without pooling, 4,096 cells.
``transnas_macro`` is a chain of 4 to 6 modules of residual blocks, each of which may
double the channels, halve the image, or both: 3,256 networks.
"""

from darts_jax.spaces.graph import Cell, Edge, Genotype, Macro, Space, dense_edges

OPERATIONS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3")
"""Operation of each digit of the benchmark's cells, as ``1_02_333``."""
MODULES = ("basic", "basic_double", "basic_halve", "basic_double_halve")
"""Module of each digit, from 1, of the benchmark's chains, as ``1234``."""

_LEFT_OUT = "skip_connect"
_SHORTEST = 4
_LONGEST = 6
_DOUBLINGS = range(1, 4)
_HALVINGS = range(1, 5)

_MACRO = Macro(
    lambda cells: ("normal",),
    reductions=(),
    stem_multiplier=1,
    preprocesses=False,
    final_norm=False,
)


def modules_of(genotype: Genotype) -> list[str]:
    """Returns the modules of a chain, first to last.

    Args:
      genotype: of the space ``transnas_macro``.
    """
    choices = genotype.cells["normal"].choices
    return [c.operation for c in choices if c.operation != _LEFT_OUT]


def _is_known(genotype: Genotype) -> bool:
    """Returns whether the benchmark has trained a chain; what is left out is behind."""
    modules = modules_of(genotype)
    choices = genotype.cells["normal"].choices
    doublings = sum("double" in module for module in modules)
    halvings = sum("halve" in module for module in modules)
    first = [choice.operation for choice in choices[: len(modules)]]
    return first == modules and doublings in _DOUBLINGS and halvings in _HALVINGS


TRANSNAS_MICRO = Space(
    "transnas_micro",
    {"normal": Cell(1, 3, dense_edges(1, 3, OPERATIONS), output=(3,))},
    _MACRO,
    discretization="argmax",
    family="table",
)
TRANSNAS_MACRO = Space(
    "transnas_macro",
    {
        "normal": Cell(
            1,
            _LONGEST,
            tuple(
                Edge(i, i + 1, MODULES if i < _SHORTEST else (*MODULES, _LEFT_OUT))
                for i in range(_LONGEST)
            ),
            output=(_LONGEST,),
        )
    },
    _MACRO,
    discretization="argmax",
    family="table",
    admits=_is_known,
)
