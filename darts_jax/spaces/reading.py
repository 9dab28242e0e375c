"""Reads a genotype from a name, a run, a file, a log or a text.

This module needs the standard library only.
"""

import codecs
import json
import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from darts_jax.errors import InputError, unknown_name_error
from darts_jax.spaces.fit import describe_departures
from darts_jax.spaces.graph import Genotype
from darts_jax.spaces.literal import read_literal
from darts_jax.spaces.modules import register_recorded
from darts_jax.spaces.published import NAMED
from darts_jax.spaces.written import parse_json, parse_nasbench201, parse_tree

_FILE = "genotype.json"
_LARGEST = 1 << 26
# The longest first: the mark of UTF-32 begins with that of UTF-16.
_MARKS = {
    codecs.BOM_UTF8: "utf-8",
    codecs.BOM_UTF32_LE: "utf-32-le",
    codecs.BOM_UTF32_BE: "utf-32-be",
    codecs.BOM_UTF16_LE: "utf-16-le",
    codecs.BOM_UTF16_BE: "utf-16-be",
}
# A call whose first argument is written out, not one in code or of a named tuple.
_PRINTED = re.compile(
    r"""(?<![A-Za-z0-9_])Genotype\(\s*(?:\#[^\n]*\n\s*)*
    (?:\w+\s*=\s*[\[('"]|\w*\s*=?\s*\Z)""",
    re.VERBOSE,
)
_BENCHMARK = re.compile(r"[\w|~+]+")


def read_genotype(
    source: str | Path, notify: Callable[[str], object] = warnings.warn
) -> Genotype:
    """Reads a genotype in any of its written forms, and checks it against its space.

    Args:
      source: a run directory; a file that contains JSON, a NAS-Bench-201 string, or
        ``Genotype(normal=[...], ...)`` as published code prints it, anywhere in it (the
        last one counts); such a text itself; or a published name. A path comes before
        a name.
      notify: receives remarks on how it was read, one line each.

    Returns:
      The genotype; it fits its space, or is a published one.

    Raises:
      InputError: it is none of these, or its space has no such genotype, in one line
        that names the file.
    """
    text = str(source)
    path = _file(source)
    if path is not None:
        return read_genotype_file(path, notify)
    if re.search(r"Genotype\(|[|{\n]", text):
        return _told(_last(text), "", notify)
    if text in NAMED:
        return NAMED[text]
    if not isinstance(source, str) or Path(text).suffix or len(Path(text).parts) > 1:
        raise InputError(f"no genotype file {_short(text)}")
    name = text if len(text) <= 60 else f"{text[:57]}..."
    raise unknown_name_error("genotype", name, list(NAMED))


def read_genotype_file(
    path: Path, notify: Callable[[str], Any] = lambda note: None
) -> Genotype:
    """Reads the genotype in a file, as `read_genotype` does.

    Beside it may lie the choices of the network that it is of, as in a run directory.

    Args:
      path: of the file.
      notify: receives remarks on how it was read.

    Raises:
      InputError: as `read_genotype`.
    """
    register_recorded(path.parent)
    try:
        found = _last(_decoded(path))
        return _told(found, f"{path}: ", notify)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


class _Found(NamedTuple):
    """A genotype of a text, its line, and the number of genotypes in the text."""

    genotype: Genotype
    line: int = 1
    of: int = 1


def _file(source: str | Path) -> Path | None:
    """Returns the genotype's file, if the source is a path of one or of a run."""
    try:
        path = Path(source) if isinstance(source, str) else source
        is_run = path.is_dir()
        is_file = path.is_file()
    except (OSError, ValueError):  # a text that is too long for a name, or holds a NUL
        return None
    if is_run and not (path / _FILE).is_file():
        raise InputError(_absent(path))
    return path / _FILE if is_run else path if is_file else None


def _absent(run: Path) -> str:
    if not (run / "config.json").is_file():
        return f"no genotype in directory {run}: want a run's, with {_FILE}"
    return (
        f"no genotype in run {run} yet: `search` with the same settings goes on to its "
        f"end, or `select {run} --rule RULE --out FILE` reads one off its last epoch"
    )


def _decoded(path: Path) -> str:
    try:
        if path.stat().st_size > _LARGEST:
            raise InputError(f"is larger than {_LARGEST >> 20} MB: want the genotype")
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror or error}") from None
    for mark, encoding in _MARKS.items():
        if data.startswith(mark):
            return data[len(mark) :].decode(encoding, errors="replace")
    if b"\0" in data:
        raise InputError("is no text in UTF-8, and no mark of UTF-16 begins it")
    # A log may hold anything beside the genotype, which is plain ASCII.
    return data.decode("utf-8", errors="replace")


def _last(text: str) -> _Found:
    """Returns the last genotype of a text.

    Raises:
      InputError: there is none, or the last is damaged.
    """
    whole = text.strip()
    if whole.startswith("{"):
        return _Found(_of_object(whole))
    printed = [(m.start(), "printed") for m in _PRINTED.finditer(text)]
    cells = [
        (m.start(), "benchmark")
        for m in _BENCHMARK.finditer(text)
        if m.group().startswith("|") and "~" in m.group()
    ]
    places = sorted(printed + cells)
    if not places and whole.startswith("|"):
        return _Found(parse_nasbench201(whole))
    if not places:
        raise InputError(
            f"not a genotype: {_short(whole)}; want JSON, Genotype(normal=[...], ...) "
            "as it is printed, or a NAS-Bench-201 string"
        )
    place, form = places[-1]
    line = text.count("\n", 0, place) + 1
    try:
        if form == "printed":
            genotype = parse_tree(_own(read_literal(text, place)[0]))
        else:
            genotype = parse_nasbench201(
                re.split(r"[^\w|~+]", text[place:], maxsplit=1)[0]
            )
    except InputError as error:
        at = f"line {line}, " if "\n" in whole else ""
        which = f"the last of {len(places)} genotypes: " if len(places) > 1 else ""
        raise InputError(f"{at}{which}{error}") from None
    return _Found(genotype, line, len(places))


def _of_object(text: str) -> Genotype:
    """Reads JSON, or a dictionary as Python prints it."""
    try:
        json.loads(text)
    except (ValueError, RecursionError) as error:
        if not re.match(r"\{\s*'", text):
            return parse_json(text)
        tree, end = read_literal(text)
        if text[end:].strip():
            raise InputError(
                f"not a genotype: {_short(text[end:])} follows it"
            ) from error
        return parse_tree(tree)
    return parse_json(text)


def _own(tree: Any) -> Any:
    """Converts a printed genotype of this project to the form of its JSON."""
    if not isinstance(tree, dict) or not isinstance(tree.get("cells"), dict):
        return tree
    cells = {kind: _own_cell(cell) for kind, cell in tree["cells"].items()}
    return tree | {"cells": cells}


def _own_cell(cell: Any) -> Any:
    if not isinstance(cell, dict) or not isinstance(cell.get("choices"), list):
        return cell
    others = {key: value for key, value in cell.items() if key != "choices"}
    return others | {"edges": [_own_edge(choice) for choice in cell["choices"]]}


def _own_edge(choice: Any) -> Any:
    names = ("operation", "source", "target")
    if isinstance(choice, dict) and set(choice) == set(names):
        return [choice[name] for name in names]
    return choice


def _told(found: _Found, where: str, notify: Callable[[str], Any]) -> Genotype:
    if found.of > 1:
        notify(
            f"{where}the genotype on line {found.line} is taken, the last of {found.of}"
        )
    for departure in describe_departures(found.genotype):
        notify(f"{where}{departure}")
    return found.genotype


def _short(text: str) -> str:
    text = " ".join(repr(text[:200]).split())
    return text if len(text) <= 60 else f"{text[:57]}..."
