"""NAS-Bench-101's space, and the three of NAS-Bench-1Shot1 that can be searched.

Ying et al. (2019), section 2; Zela et al. (2020), section 3 and table 1. A cell has
vertices: the input, blocks that apply an operation to the sum of their parents, and an
output that concatenates its own. NAS-Bench-101 has all such graphs of up to 5 blocks
and 9 edges. In NAS-Bench-1Shot1 the number of parents of a vertex is fixed, and which
they are is searched.

In the graph of edges, block i has two states: 2i - 1 is the sum of what it reads, 2i
what it gives. Between them is the edge with the operations. Every parent of the output
has one more state behind all blocks, as large as the block itself. State 0, the cell's
input, is projected to the blocks' width on each edge that leaves it.
"""

from collections.abc import Iterator, Sequence

from darts_jax.spaces.graph import Cell, Contest, Edge, Genotype, Macro, Space
from darts_jax.spaces.structure import POOL

BLOCKS = ("max_pool_3x3", "conv_bn_relu_1x1", "conv_bn_relu_3x3")
PROJECTION = "conv_bn_relu_1x1"

PARENTS = {
    "nasbench1shot1_1": (1, 2, 2, 2, 2),
    "nasbench1shot1_2": (1, 1, 2, 2, 3),
    "nasbench1shot1_3": (1, 1, 1, 2, 2, 2),
}
"""Space -> number of parents of every block, and last of the output (table 1)."""

_MOST_BLOCKS = 5
_MOST_EDGES = 9


def nasbench101_layout(cells: int) -> tuple[str, ...]:
    """Returns the kinds of blocks: three stacks, 2x2 max pooling between them.

    Args:
      cells: their number in a stack.
    """
    stack = ("normal",) * cells
    return (*stack, POOL, *stack, POOL, *stack)


MACRO = Macro(
    nasbench101_layout,
    reductions=(POOL,),
    stem_multiplier=1,
    preprocesses=False,
    final_norm=False,
    activation="relu",
)


def one_shot_cell(parents: Sequence[int]) -> Cell:
    """Returns the cell of a space.

    Args:
      parents: number of parents of every block, and last of the output.
    """
    *inner, last = parents
    blocks = range(1, len(inner) + 1)
    edges: list[Edge] = []
    contests: list[Contest] = []

    def compete(incoming: Iterator[Edge], keeps: int) -> None:
        first = len(edges)
        edges.extend(incoming)
        contests.append(Contest(tuple(range(first, len(edges))), keeps))

    for block, keeps in zip(blocks, inner, strict=True):
        compete((_edge(v, 2 * block - 1) for v in range(block)), keeps)
        compete(iter([Edge(2 * block - 1, 2 * block, BLOCKS)]), 1)
    behind = 2 * len(inner) + 1
    vertices = range(len(inner) + 1)
    compete((_edge(v, behind + v) for v in vertices), last)
    output = tuple(behind + v for v in vertices)
    return Cell(1, output[-1], tuple(edges), output, tuple(contests))


def all_graphs_cell(blocks: int) -> Cell:
    """Returns the cell of all graphs: each edge between two vertices may be ``none``.

    Args:
      blocks: their number.
    """
    edges = []
    for block in range(1, blocks + 1):
        edges += [_edge(v, 2 * block - 1, "none") for v in range(block)]
        edges.append(Edge(2 * block - 1, 2 * block, BLOCKS))
    output = tuple(range(2 * blocks + 1, 3 * blocks + 2))
    edges += [_edge(v, state, "none") for v, state in enumerate(output)]
    return Cell(1, output[-1], tuple(edges), output)


Graph = tuple[set[tuple[int, int]], dict[int, str]]
"""Edges between vertices, and block -> operation. Vertex 0 is the input, the last is
the output."""


def cell_graph(genotype: Genotype) -> Graph:
    """Returns the graph of a cell, of what leads from the input to the output.

    Args:
      genotype: of a space of this module.
    """
    last = len(PARENTS.get(genotype.space, range(_MOST_BLOCKS + 1)))
    edges = set()
    operations = {}
    for choice in genotype.cells["normal"].choices:
        behind = choice.target - 2 * last + 1
        if behind < 0 and choice.target % 2 == 0:
            operations[choice.target // 2] = choice.operation
        elif choice.operation != "none":
            end = last if behind >= 0 else (choice.target + 1) // 2
            edges.add((choice.source // 2, end))
    reached = {0}
    for source, target in sorted(edges):
        reached |= {target} if source in reached else set()
    needed = {last}
    for source, target in sorted(edges, reverse=True):
        needed |= {source} if target in needed else set()
    alive = reached & needed
    edges = {edge for edge in edges if alive.issuperset(edge)}
    return edges, {block: op for block, op in operations.items() if block in alive}


def _is_known(genotype: Genotype) -> bool:
    """Returns whether NAS-Bench-101 has trained a cell."""
    edges, _ = cell_graph(genotype)
    return 1 <= len(edges) <= _MOST_EDGES


def _edge(vertex: int, target: int, *besides: str) -> Edge:
    operation = "skip_connect" if vertex else PROJECTION
    return Edge(2 * vertex, target, (*besides, operation))


def _space(name: str) -> Space:
    return Space(
        name,
        {"normal": one_shot_cell(PARENTS[name])},
        MACRO,
        discretization="edge_weighted",
        supernet_variants={"max_pool_3x3": "max_pool_3x3_plain"},
    )


ONE_SHOT_1, ONE_SHOT_2, ONE_SHOT_3 = map(_space, PARENTS)

# Its supernet would have to know that a cell has 9 edges at most.
NASBENCH101 = Space(
    "nasbench101",
    {"normal": all_graphs_cell(_MOST_BLOCKS)},
    MACRO,
    discretization="argmax",
    family="table",
    admits=_is_known,
)
