"""A compiled program, read from its text: computations, instructions, shapes."""

import dataclasses
import functools
import math
import re

_WIDTHS = {"pred": 1, "bf16": 2}  # else the digits of the type's name, in bits
_ARRAY = re.compile(r"\b([a-z]+\d*)\[([\d,]*)\](?:\{([\d,]*)((?::[^}]*)?)\})?")
_METADATA = re.compile(r', metadata=\{(?:[^{}"]|"[^"]*")*\}')
_SOURCE = re.compile(r'op_name="([^"]*)"')


@dataclasses.dataclass(frozen=True)
class Shape:
    """An array as it lies in memory.

    Attributes:
      bytes: with what its tiles add.
      in_hbm: whether in main memory, rather than in one on the chip.
    """

    shape: tuple[int, ...]
    bytes: int
    in_hbm: bool

    @classmethod
    def of(cls, kind: str, sizes: str, order: str, rest: str) -> "Shape":
        shape = tuple(int(n) for n in sizes.split(",") if n)
        digits = re.sub(r"\D", "", kind)
        width = _WIDTHS.get(kind) or max(1, int(digits or 8) // 8)
        tile = re.search(r"T\(([\d,]+)\)", rest)
        physical = [shape[int(axis)] for axis in order.split(",") if axis]
        for i, n in enumerate(reversed(tile[1].split(",") if tile else [])):
            physical += [1] * (i + 1 - len(physical))
            physical[i] = -(-physical[i] // int(n)) * int(n)
        return cls(shape, width * math.prod(physical or shape), "S(" not in rest)

    @property
    def elements(self) -> int:
        return math.prod(self.shape)


@dataclasses.dataclass(frozen=True)
class Instruction:
    """Line of a computation.

    Attributes:
      results: its arrays, those of a tuple in a row.
      attributes: what follows the operands; of a constant or parameter, its literal.
      source: path of the operation that it was made of, by the program's functions.
    """

    name: str
    opcode: str
    results: tuple[Shape, ...]
    operands: tuple[str, ...]
    attributes: str
    source: str = ""

    def named(self, attribute: str) -> list[str]:
        """The computations that an attribute names."""
        found = re.search(
            rf"\b{attribute}=(?:\{{([^}}]*)\}}|(%\S+?)(?:,|$))", self.attributes
        )
        return re.findall(r"%([\w.\-]+)", found[0]) if found else []

    @property
    def array(self) -> Shape:
        return self.results[0]


@dataclasses.dataclass(frozen=True)
class Computation:
    """Instructions by name, in order, and which of them is the result."""

    instructions: dict[str, Instruction]
    root: str

    def operand(self, instruction: Instruction, i: int) -> Instruction:
        return self.instructions[instruction.operands[i]]

    def readers(self, name: str) -> list[Instruction]:
        """Returns who reads a value, bitcasts looked through."""
        found = []
        for user in self.uses.get(name, ()):
            transparent = user.opcode == "bitcast"
            found += self.readers(user.name) if transparent else [user]
        return found

    @functools.cached_property
    def uses(self) -> dict[str, list[Instruction]]:
        uses: dict[str, list[Instruction]] = {}
        for instruction in self.instructions.values():
            for name in dict.fromkeys(instruction.operands):
                uses.setdefault(name, []).append(instruction)
        return uses


def read_computations(text: str) -> tuple[dict[str, Computation], str]:
    """The computations of a module by name, and the name of the entry."""
    computations: dict[str, Computation] = {}
    entry, name, lines = "", "", []
    for line in text.splitlines():
        head = re.match(r"(ENTRY )?%([\w.\-]+) \(.*\{$", line)
        if head:
            name, lines = head[2], []
            entry = name if head[1] else entry
        elif line == "}":
            computations[name] = _computation(lines)
        elif name and line.startswith("  "):
            lines.append(line.strip())
    return computations, entry


def _computation(lines: list[str]) -> Computation:
    instructions, root = {}, ""
    for line in lines:
        instruction = _instruction(line.removeprefix("ROOT "))
        instructions[instruction.name] = instruction
        if line.startswith("ROOT "):
            root = instruction.name
    return Computation(instructions, root)


def _instruction(line: str) -> Instruction:
    name, _, rest = line.partition(" = ")
    end = _closing(rest) + 1 if rest[0] == "(" else rest.index(" ")
    results = tuple(Shape.of(*found) for found in _ARRAY.findall(rest[:end]))
    opcode, _, _ = rest[end + 1 :].partition("(")
    arguments = rest[end + 1 + len(opcode) :]
    stop = _closing(arguments)
    inner = arguments[1:stop]
    literal = opcode in ("parameter", "constant")
    attributes = inner if literal else _METADATA.sub("", arguments[stop + 1 :])
    operands = () if literal else tuple(re.findall(r"%([\w.\-]+)", inner))
    source = _SOURCE.search(arguments)
    return Instruction(
        name=name.lstrip("%"),
        opcode=opcode,
        results=results,
        operands=operands,
        attributes=attributes,
        source=source[1] if source else "",
    )


def _closing(text: str) -> int:
    """Finds where the parenthesis closes that the text opens with."""
    depth = 0
    for i, char in enumerate(text):
        depth += (char == "(") - (char == ")")
        if not depth:
            return i
    raise ValueError(f"unbalanced: {text[:80]}")
