"""Kernels that a program compiled for a GPU launches, by kind and by source."""

import re
from collections import Counter
from typing import Any

from hlo import Instruction
from work import Program, Run

KINDS = (*("fusions", "triton", "cudnn", "cublas", "copies", "collectives", "others"),)
_LIBRARIES = {"__cudnn": "cudnn", "__cublas": "cublas", "triton": "triton"}
_COPIES = frozenset(("copy", "copy-start", "slice-start"))
_COLLECTIVE = re.compile("(all-reduce|all-gather|reduce-scatter|all-to-all|collective)")


def kernels_by_kind(program: Program) -> dict[str, int]:
    """Kind -> kernels of a step.

    ``grouped`` are those of ``cudnn`` that are grouped convolutions.
    """
    counts = Counter(dict.fromkeys(KINDS, 0))
    grouped = 0
    for run in program.runs():
        counts[kind_of(run.instruction)] += run.times
        grouped += run.times * is_grouped(run.instruction)
    return {**counts, "grouped": grouped}


def kind_of(i: Instruction) -> str:
    """Returns one of `KINDS`."""
    if _COLLECTIVE.match(i.opcode) or (
        i.opcode == "async-start" and _COLLECTIVE.search(i.attributes)
    ):
        return "collectives"
    if i.opcode in _COPIES:
        return "copies"
    if i.opcode not in ("fusion", "custom-call"):
        return "others"
    told = (
        r'custom_call_target="([^"]*)"'
        if i.opcode == "custom-call"
        else '"kind":"([^"]*)"'
    )
    name = re.search(told, i.attributes)
    for part, kind in _LIBRARIES.items():
        if name and part in name[1]:
            return kind
    return "fusions" if i.opcode == "fusion" else "others"


def is_grouped(i: Instruction) -> bool:
    """Returns whether a kernel is a grouped convolution of cuDNN."""
    counts = re.findall(r"(?:feature|batch)_group_count=(\d+)", i.attributes)
    return i.opcode == "custom-call" and any(int(count) > 1 for count in counts)


def dearest(program: Program, count: int) -> list[dict[str, Any]]:
    """The kernels that move most bytes a step; alike ones are one entry."""
    launches: Counter[tuple[str, str, str]] = Counter()
    moved: Counter[tuple[str, str, str]] = Counter()
    for run in program.runs():
        key = _likeness(run)
        launches[key] += run.times
        moved[key] += run.times * program.cost_of(run).all
    return [
        {
            "gb": round(size / 1e9, 3),
            "launches": launches[key],
            "kind": key[0],
            "results": key[1],
            "source": key[2],
        }
        for key, size in moved.most_common(count)
    ]


def _likeness(run: Run) -> tuple[str, str, str]:
    i = run.instruction
    shapes = " ".join("x".join(map(str, a.shape)) or "scalar" for a in i.results[:3])
    return kind_of(i), shapes, source_of(i)


def source_of(i: Instruction) -> str:
    """Returns the innermost functions that an instruction comes from."""
    parts = [
        p for p in i.source.split("/") if p not in ("while", "body", "closed_call")
    ]
    return "/".join(parts[-4:])
