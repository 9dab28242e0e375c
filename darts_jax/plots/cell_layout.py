"""Layout of a drawn cell: places of its states and labels.

A cell is drawn left to right as a layered graph (Sugiyama et al., 1981). States stand
in *state columns*, by their longest path from the inputs; between two of them is a
*gap column* with the labels. An edge is a chain of slots, one in each column from its
source to its target, so labels, states and passing edges never share a place. Within a
column, slots are ordered to avoid crossings and then moved as close to their neighbours
as the order and their heights allow. Lengths are in inches, y down.
"""

import dataclasses
import itertools
import math
import random
from collections.abc import Sequence
from statistics import fmean as _mean

from darts_jax.plots.style import place_apart, text_width
from darts_jax.spaces.graph import CellGenotype

Point = tuple[float, float]

RADIUS = 0.19
"""Radius of a node, and half the height of the box of an input or output."""

BOX = 0.28
"""Half the width of the box of an input or output."""

_TURN = 0.5  # room for a curve to change its height between two columns
_HEIGHTS = {"state": 0.56, "label": 0.36, "bend": 0.2}


@dataclasses.dataclass(eq=False)
class Slot:
    """A place in a column.

    Attributes:
      column: index of the column.
      kind: "state", "label" or "bend", an edge that passes.
      number: number of the state.
      y: height of its centre.
      left: slots before it on the edges through it.
      right: slots behind it on the edges through it.
    """

    column: int
    kind: str
    number: int = 0
    y: float = 0.0
    left: list["Slot"] = dataclasses.field(default_factory=list)
    right: list["Slot"] = dataclasses.field(default_factory=list)

    @property
    def height(self) -> float:
        """Room that it takes in its column."""
        # Many edges leave the inputs: let them spread.
        return 0.9 if self.column == 0 and self.kind == "state" else _HEIGHTS[self.kind]

    def port(self, neighbour: "Slot", side: Sequence["Slot"]) -> float:
        """Returns how far below its centre a state meets the edge to a neighbour.

        Args:
          neighbour: next slot on the edge.
          side: all next slots on that side, `left` or `right`.
        """
        last = len(side) - 1
        if not last:
            return 0.0
        rank = sorted(side, key=lambda slot: slot.y).index(neighbour) / last
        return RADIUS * min(0.68, 0.28 * last) * (2 * rank - 1)


class CellLayout:
    """Places of the states, labels and edges of a cell.

    Attributes:
      cell: the cell.
      states: slot of each state.
      shown: whether a state is: one without edges is left out.
      edges: name of the operation, None on the way to the output, and slots of each
        edge.
      columns: slots of each column, from top to bottom.
      label: width and height of a label.
      x: centre of each column.
      halves: half the width of each column.
      width: width of the drawing.
      height: height of the drawing.
    """

    def __init__(self, cell: CellGenotype) -> None:
        self.cell = cell
        layers = _layers(cell)
        self.states = [Slot(2 * layer, "state", i) for i, layer in enumerate(layers)]
        self.edges: list[tuple[str | None, list[Slot]]] = []
        self.columns: list[list[Slot]] = [[] for _ in range(2 * layers[-1] + 1)]
        read = {state for c in cell.choices for state in (c.source, c.target)}
        shown = {*range(cell.inputs), *read, *cell.output, cell.states}
        self.shown = [i in shown for i in range(len(self.states))]
        for slot in self.states:
            if self.shown[slot.number]:
                self.columns[slot.column].append(slot)
        for choice in cell.choices:
            self._add(choice.operation, choice.source, choice.target)
        for state in cell.output:
            self._add(None, state, cell.states)
        _order(self.columns)
        _straighten(self.columns)
        self._measure()

    def _add(self, operation: str | None, source: int, target: int) -> None:
        first = self.states[source]
        last = self.states[target]
        columns = range(first.column + 1, last.column)
        gaps = [column for column in columns if column % 2]
        labelled = gaps[len(gaps) // 2] if operation is not None else -1
        inner = [Slot(c, "label" if c == labelled else "bend") for c in columns]
        for slot in inner:
            self.columns[slot.column].append(slot)
        chain = [first, *inner, last]
        for a, b in itertools.pairwise(chain):
            a.right.append(b)
            b.left.append(a)
        self.edges.append((operation, chain))

    def _measure(self) -> None:
        margin = 0.4
        widths = [text_width(c.operation) for c in self.cell.choices]
        self.label = (max(widths, default=0.0) + 0.26, 0.24)
        halves = [self._half(index) for index in range(len(self.columns))]
        self.x = [margin]
        for a, b in itertools.pairwise(halves):
            self.x.append(self.x[-1] + a + _TURN + b)
        self.halves = halves
        slots = list(itertools.chain.from_iterable(self.columns))
        top = min(slot.y - slot.height / 2 for slot in slots)
        for slot in slots:
            slot.y -= top
        self.height = max(slot.y + slot.height / 2 for slot in slots) + 0.1
        self.width = self.x[-1] + margin

    def _half(self, index: int) -> float:
        """Returns half the width of a column; 0 for a gap without labels."""
        if any(slot.kind == "label" for slot in self.columns[index]):
            return self.label[0] / 2
        if index in (0, len(self.columns) - 1):
            return BOX
        return 0.0 if index % 2 else RADIUS

    def reach(self, slot: Slot, port: float) -> float:
        """Returns how far from its centre a state begins at the height of a port.

        Args:
          slot: the state.
          port: height below its centre.
        """
        if self.halves[slot.column] == BOX:
            return BOX
        return math.sqrt(RADIUS**2 - port**2)

    def points(self, chain: Sequence[Slot]) -> list[Point]:
        """Returns the points of an edge; it stays level across every slot on its way.

        Args:
          chain: slots of the edge, from its source to its target.
        """
        first, *inner, last = chain
        start = first.port(inner[0], first.right)
        stop = last.port(inner[-1], last.left)
        x = self.x[first.column] + self.reach(first, start)
        points = [(x, first.y + start)]
        for slot in inner:
            x = self.x[slot.column]
            half = self.halves[slot.column]
            if half:
                points += [(x - half, slot.y), (x + half, slot.y)]
        x = self.x[last.column] - self.reach(last, stop)
        return [*points, (x, last.y + stop)]


def _layers(cell: CellGenotype) -> list[int]:
    """Returns the longest path from an input to each state and, last, to the output."""
    layers = [0] * cell.inputs
    for state in range(cell.inputs, cell.states):
        sources = [c.source for c in cell.choices if c.target == state]
        layers.append(1 + max((layers[source] for source in sources), default=0))
    return [*layers, 1 + max(layers)]


def _order(columns: list[list[Slot]]) -> None:
    """Sorts the columns after the first so that few edges cross (barycentres)."""
    rng = random.Random(0)
    last = len(columns) - 1
    best = [list(column) for column in columns]
    least = _disorder(columns)
    for _ in range(40):
        for column in columns[1:]:
            rng.shuffle(column)
        for _ in range(4):
            for index in range(1, last + 1):
                _sort_near(columns[index], columns[index - 1])
            for index in range(last - 1, 0, -1):
                _sort_near(columns[index], columns[index + 1])
            disorder = _disorder(columns)
            if disorder < least:
                best = [list(column) for column in columns]
                least = disorder
    columns[:] = best


def _sort_near(column: list[Slot], fixed: Sequence[Slot]) -> None:
    """Sorts a column by the mean place of each slot's neighbours in a fixed one."""
    rank = {id(slot): float(i) for i, slot in enumerate(fixed)}

    def centre(slot: Slot) -> float:
        near = [rank[id(n)] for n in slot.left + slot.right if id(n) in rank]
        return _mean(near) if near else 0.0

    column.sort(key=centre)


def _disorder(columns: Sequence[Sequence[Slot]]) -> float:
    """Counts crossings, those just before a state thrice, and then inversions.

    A node's operations are to stand together, and nodes by their number if possible.
    """
    rank = {id(slot): i for column in columns for i, slot in enumerate(column)}
    total = 0.0
    for index, column in enumerate(columns):
        lines = [(rank[id(a)], rank[id(b)]) for a in column for b in a.right]
        crossings = sum(
            (a0 - a1) * (b0 - b1) < 0
            for (a0, b0), (a1, b1) in itertools.combinations(lines, 2)
        )
        total += crossings * (3 if index % 2 else 1)
        numbers = [slot.number for slot in column if slot.kind == "state"]
        total += 0.1 * sum(a > b for a, b in itertools.combinations(numbers, 2))
    return total


def _straighten(columns: Sequence[Sequence[Slot]]) -> None:
    for column in columns:
        for i, slot in enumerate(column):
            slot.y = (i - (len(column) - 1) / 2) * 0.4
    filled = [column for column in columns if column]
    for column in [*filled, *reversed(filled)] * 40:
        places = place_apart(
            [_pull(slot) for slot in column], [s.height for s in column]
        )
        for slot, y in zip(column, places, strict=True):
            slot.y = y


def _pull(slot: Slot) -> float:
    """Returns the height to which a slot's neighbours pull it."""
    near = slot.left + slot.right
    # Edges in passing want to be straight; states give way.
    weights = [1.0 if "state" in (slot.kind, n.kind) else 40.0 for n in near]
    return _mean([n.y for n in near], weights) if near else slot.y
