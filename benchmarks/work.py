"""Work of a compiled program, from its text, with loops counted as often as they run.

The compiler's own analysis counts a loop's body once. Here a body counts as often as
the compiler has noted (``known_trip_count``) or its condition's constant says
(``i < 14``: a scan begins at 0), a conditional as its dearest branch, and a loop that
is bounded by an argument once: the program's loop over steps, so that the result is the
work of one step.

- Products: twice the multiplications of convolutions and matrix products, those with
  padding and with the gaps of a dilation left out.
- Vector operations: one for every element that an arithmetic instruction makes, or a
  reduction reads.
- Bytes: what every instruction outside of a fusion reads and writes, in the tiles of
  its layout. Of an operand that is sliced, the slice counts; of one that is updated in
  place, the update. ``hbm`` is the share in the device's main memory, ``all`` includes
  the on-chip memories that the compiler has assigned.
"""

import dataclasses
import math
import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from hlo import Computation, Instruction, Shape, read_computations

_FREE = frozenset([
    "parameter", "constant", "bitcast", "get-tuple-element", "tuple", "copy-done",
    "slice-done", "async-done", "async-update", "after-all", "iota", "partition-id",
    "replica-id", "all-reduce-done", "all-gather-done", "collective-permute-done",
    "opt-barrier",
])  # fmt: skip
_ARITHMETIC = frozenset([
    "add", "subtract", "multiply", "divide", "maximum", "minimum", "negate", "abs",
    "select", "compare", "clamp", "convert", "and", "or", "xor", "not",
    "shift-left", "shift-right-logical", "shift-right-arithmetic", "rsqrt", "sqrt",
    "exponential", "log", "power", "tanh", "logistic", "remainder", "sign", "floor",
])  # fmt: skip
_COLLECTIVES = (
    "all-reduce", "all-gather", "reduce-scatter", "all-to-all", "collective-permute",
    "collective-broadcast",
)  # fmt: skip
_SLICES = frozenset(("slice", "dynamic-slice", "gather"))
# Custom calls of the TPU compiler that only give memory another name.
_NAMING = re.compile(
    'custom_call_target="(AllocateBuffer|ConcatBitcast|AssumeGatherIndicesInBound)"'
)


@dataclasses.dataclass(frozen=True)
class Cost:
    """Work, or a sum of it."""

    products: float = 0.0
    vector: float = 0.0
    hbm: float = 0.0
    all: float = 0.0

    def __add__(self, other: "Cost") -> "Cost":
        pairs = zip(dataclasses.astuple(self), dataclasses.astuple(other), strict=True)
        return Cost(*(a + b for a, b in pairs))

    def times(self, count: int) -> "Cost":
        return Cost(*(count * a for a in dataclasses.astuple(self)))


class Run(NamedTuple):
    """An instruction outside of fusions that a step runs.

    Attributes:
      inside: the computation that it stands in.
      times: how often a step runs it.
    """

    inside: Computation
    instruction: Instruction
    times: int


class Program:
    """A program's text, taken apart.

    Attributes:
      unbounded: loops met so far whose number of turns the text does not say.
    """

    def __init__(self, text: str) -> None:
        self.unbounded: set[str] = set()
        self._computations, self._entry = read_computations(text)
        self._runs: dict[tuple[str, bool], list[Run]] = {}

    def cost(self, *, loops: bool = True) -> Cost:
        """Returns the cost of one run, the loop over steps counted once.

        Args:
          loops: whether bodies of other loops count as often as they run.
        """
        return self._total(self.runs(loops=loops))

    def runs(self, *, loops: bool = True) -> list[Run]:
        """Returns what a step runs; arguments as for `cost`."""
        return self._list(self._entry, loops)

    def cost_of(self, run: Run) -> Cost:
        """Returns the cost of one time that an instruction is run."""
        moved = self._bytes(run.inside, run.instruction)
        arithmetic = self._arithmetic(run.inside, run.instruction)
        return dataclasses.replace(arithmetic, **moved)

    def collectives(self) -> dict[str, tuple[int, float]]:
        """Kind -> how many a step runs, and bytes that a device takes part with."""
        found: dict[str, tuple[int, float]] = {}
        for run in self.runs():
            for kind, size in self._messages(run.inside, run.instruction):
                count, total = found.get(kind, (0, 0.0))
                found[kind] = count + run.times, total + run.times * size
        return found

    def _messages(
        self, inside: Computation, i: Instruction
    ) -> Iterator[tuple[str, float]]:
        if i.opcode in ("fusion", "async-start"):
            parts = self._computations[i.named("calls")[0]]
            for j in parts.instructions.values():
                yield from self._messages(parts, j)
        kind = i.opcode.removesuffix("-start")
        if kind not in _COLLECTIVES:
            return
        sent = sum(a.bytes for j in i.operands for a in inside.instructions[j].results)
        got = sum(a.bytes for a in i.results)
        # (what is sent, what comes): started, a gathering names both.
        pair = i.opcode in ("all-gather-start", "collective-permute-start")
        yield kind, max(sent, got - sent if pair else got)

    def _total(self, runs: Iterable[Run]) -> Cost:
        return sum((self.cost_of(run).times(run.times) for run in runs), Cost())

    def _list(self, name: str, loops: bool) -> list[Run]:
        if (name, loops) not in self._runs:
            inside = self._computations[name]
            self._runs[name, loops] = [
                run
                for i in inside.instructions.values()
                for run in self._runs_of(inside, i, loops)
            ]
        return self._runs[name, loops]

    def _runs_of(self, inside: Computation, i: Instruction, loops: bool) -> list[Run]:
        if i.opcode in _FREE or _NAMING.search(i.attributes):
            return []
        if i.opcode == "while":
            turns = self._turns(i) if loops else 1
            body = self._list(i.named("body")[0], loops)
            return [run._replace(times=turns * run.times) for run in body]
        if i.opcode == "conditional":
            branches = (self._list(b, loops) for b in _branches(i))
            return max(
                branches, key=lambda runs: dataclasses.astuple(self._total(runs))
            )
        if i.opcode == "call":
            return self._list(i.named("to_apply")[0], loops)
        return [Run(inside, i, 1)]

    def _turns(self, loop: Instruction) -> int:
        known = re.search(r'known_trip_count"?:\{"?n"?:"?(\d+)', loop.attributes)
        if known:
            return int(known[1])
        condition = self._computations[loop.named("condition")[0]]
        compare = condition.instructions[condition.root]
        limits = [condition.instructions[name] for name in compare.operands]
        if "direction=LT" in compare.attributes and limits[-1].opcode == "constant":
            return int(limits[-1].attributes)
        self.unbounded.add(loop.name)
        return 1

    def _arithmetic(self, inside: Computation, i: Instruction) -> Cost:
        if i.opcode == "fusion" or i.opcode == "async-start":
            parts = self._computations[i.named("calls")[0]]
            each = (self._arithmetic(parts, j) for j in parts.instructions.values())
            return sum(each, Cost())
        if i.opcode == "convolution" or i.opcode == "custom-call":
            return Cost(products=2.0 * _products(inside, i))
        if i.opcode == "dot":
            return Cost(products=2.0 * _dot_products(inside, i))
        if i.opcode in _ARITHMETIC:
            return Cost(vector=float(i.array.elements))
        if i.opcode in ("reduce", "reduce-window"):
            return Cost(vector=float(inside.operand(i, 0).array.elements))
        return Cost()

    def _bytes(self, inside: Computation, i: Instruction) -> dict[str, float]:
        moved = list(self._writes(i))
        if i.opcode in ("copy-start", "slice-start"):
            # (source, target, flag): what is copied lies in both.
            source, target = i.results[:2]
            moved = [target, dataclasses.replace(source, bytes=target.bytes)]
        elif i.opcode in _SLICES:
            moved *= 2
        elif i.opcode == "dynamic-update-slice":
            moved = [inside.operand(i, 1).array] * 2
        else:
            for number, name in enumerate(i.operands):
                moved += self._reads(i, number, inside.instructions[name].results)
        return {
            "hbm": float(sum(a.bytes for a in moved if a.in_hbm)),
            "all": float(sum(a.bytes for a in moved)),
        }

    def _writes(self, i: Instruction) -> tuple[Shape, ...]:
        if i.opcode != "fusion":
            return i.results
        parts = self._computations[i.named("calls")[0]]
        root = parts.instructions[parts.root]
        if root.opcode != "tuple":
            return (_updated(parts, root.name, i.array), *i.results[1:])
        pairs = zip(root.operands, i.results, strict=True)
        return tuple(_updated(parts, name, result) for name, result in pairs)

    def _reads(
        self, i: Instruction, number: int, arrays: tuple[Shape, ...]
    ) -> list[Shape]:
        if i.opcode != "fusion":
            return list(arrays)
        parts = self._computations[i.named("calls")[0]]
        parameter = next(
            p.name
            for p in parts.instructions.values()
            if p.opcode == "parameter" and int(p.attributes) == number
        )
        size = 0
        for reader in parts.readers(parameter):
            if reader.opcode in _SLICES:
                size += reader.array.bytes
            elif reader.opcode != "dynamic-update-slice":
                return list(arrays)
        whole = arrays[0]
        return [dataclasses.replace(whole, bytes=min(size, whole.bytes))]


def _branches(i: Instruction) -> list[str]:
    """Computations of a conditional."""
    pair = [*i.named("true_computation"), *i.named("false_computation")]
    return i.named("branch_computations") or pair


def _updated(parts: Computation, name: str, result: Shape) -> Shape:
    """Returns what a fusion writes of a result: all, or the slice that it updates."""
    i = parts.instructions[name]
    while i.opcode == "bitcast":
        i = parts.operand(i, 0)
    if i.opcode != "dynamic-update-slice":
        return result
    return dataclasses.replace(result, bytes=parts.operand(i, 1).array.bytes)


def _products(inside: Computation, i: Instruction) -> int:
    """Multiplications of a convolution or of a library's call; 0 of another one."""
    called = re.search(r'custom_call_target="([^"]*)"', i.attributes)
    target = called[1] if called else ""
    arrays = [inside.operand(i, n).array.shape for n in range(min(2, len(i.operands)))]
    if "gemm" in target or "matmul" in target:
        return _dot_products(inside, i)
    if called and not target.startswith("__cudnn$conv"):
        return 0
    result = i.array.shape
    if "BackwardInput" in target:
        return _multiplications(i, lhs=result, rhs=arrays[1], result=arrays[0])
    if "BackwardFilter" in target:
        return _multiplications(i, lhs=arrays[0], rhs=result, result=arrays[1])
    return _multiplications(i, lhs=arrays[0], rhs=arrays[1], result=result)


def _dot_products(inside: Computation, i: Instruction) -> int:
    """Multiplications of a matrix product, as an instruction or a library's call."""
    axes = re.search(
        r'lhs_contracting_dim(?:ension)?s"?[=:](?:\{|\[)([\d,"]*)', i.attributes
    )
    assert axes is not None, i
    left = inside.operand(i, 0).array.shape
    contracted = [left[int(axis)] for axis in re.findall(r"\d+", axes[1])]
    return math.prod((i.array.elements, *contracted))


def _multiplications(
    i: Instruction,
    *,
    lhs: tuple[int, ...],
    rhs: tuple[int, ...],
    result: tuple[int, ...],
) -> int:
    """Counts those of a convolution that meet a pixel: neither padding nor a gap."""
    left, right, out = re.split(
        "_|->", re.search(r"dim_labels=(\S+?)(?:,|$)", i.attributes)[1]
    )
    window = dict(re.findall(r"(\w+)=([\dx_\-]+)", _braces(i.attributes, "window")))
    groups = {
        kind: int(count)
        for kind, count in re.findall(
            r"(feature|batch)_group_count=(\d+)", i.attributes
        )
    }
    count = lhs[left.index("f")] // groups.get("feature", 1)
    count *= lhs[left.index("b")] // groups.get("batch", 1)
    count *= result[out.index("f")]
    for axis in range(len(left) - 2):
        label = str(axis)
        sizes = (
            lhs[left.index(label)],
            rhs[right.index(label)],
            result[out.index(label)],
        )
        count *= _meetings(window, axis, *sizes)
    return count


def _meetings(
    window: dict[str, str], axis: int, pixels: int, taps: int, outputs: int
) -> int:
    """Pairs of a tap and an output that meet a pixel, along an axis."""

    def of(name: str, default: str) -> int:
        values = window.get(name)
        return int((values.split("x")[axis] if values else default).split("_")[0])

    stride, gap = of("stride", "1"), of("lhs_dilate", "1")
    dilation, before = of("rhs_dilate", "1"), of("pad", "0_0")
    places = (
        output * stride + tap * dilation - before
        for output in range(outputs)
        for tap in range(taps)
    )
    return sum(p % gap == 0 and 0 <= p // gap < pixels for p in places)


def _braces(text: str, attribute: str) -> str:
    found = re.search(rf"\b{attribute}=\{{([^}}]*)\}}", text)
    return found[1] if found else ""
