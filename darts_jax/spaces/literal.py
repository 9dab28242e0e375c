"""A reader of printed Python values, which runs nothing.

It understands the parts of printed genotypes: strings, numbers, None, True, False,
lists, tuples, dictionaries, ``range``, and calls of genotypes' classes by keyword,
which become dictionaries. Sizes and depth are bounded. This module needs the standard
library only.
"""

import re
from collections.abc import Callable
from typing import Any, NoReturn

from darts_jax.errors import InputError

LONGEST = 1 << 16
"""Most characters of one value."""

_DEEPEST = 12
_TOKEN = re.compile(
    r"""(?P<space>(?:\s|\#[^\n]*)+)
    |(?P<text>[uU]?(?:'[^'\\\n]*'|"[^"\\\n]*"))
    |(?P<number>[+-]?[0-9]+(?:\.[0-9]*)?(?:[eE][+-]?[0-9]+)?)
    |(?P<name>[A-Za-z_][A-Za-z_0-9.]*)
    |(?P<mark>[()\[\]{}=,:])""",
    re.VERBOSE,
)
_CLOSING = {"(": ")", "[": "]", "{": "}"}
_CONSTANTS = {"None": None, "True": True, "False": False}
_LARGEST = 10_000


def read_literal(text: str, start: int = 0) -> tuple[Any, int]:
    """Reads the value that begins at a position of a text.

    Args:
      text: the text.
      start: the position.

    Returns:
      The value, and the position behind it. A call becomes the dictionary of its
      keywords, a tuple a list.

    Raises:
      InputError: something else is written there, or it is cut off.
    """
    reader = _Reader(text, start)
    value = reader.value(0)
    return value, reader.end


class _Reader:
    """Recursive-descent parser over the tokens of a text."""

    def __init__(self, text: str, start: int) -> None:
        self.text = text
        self.start = start
        self.place = start
        self.end = start
        self.kind = self.token = ""
        self._advance()

    def value(self, depth: int) -> Any:
        if depth > _DEEPEST:
            raise InputError(f"brackets are nested more than {_DEEPEST} deep")
        kind = self.kind
        token = self.token
        if kind == "text":
            self._advance()
            return token.lstrip("uU")[1:-1]
        if kind == "number":
            self._advance()
            return self._number(token)
        if kind == "name":
            self._advance()
            if self.token == "(":
                return self._call(token, depth)
            if token in _CONSTANTS:
                return _CONSTANTS[token]
            raise InputError(f"{token[:40]!r} is a name, and no value is known of it")
        if token in ("(", "["):
            return self._items(lambda: self.value(depth + 1))
        if token == "{":
            return self._pairs(":", lambda: self.value(depth + 1), depth)
        return self._refuse("a value")

    def _call(self, name: str, depth: int) -> Any:
        short = name.rpartition(".")[2]
        if short == "range":
            return self._range(self._items(lambda: self.value(depth + 1)))
        if short in ("list", "tuple") or re.fullmatch("u?int[0-9]*", short):
            values = self._items(lambda: self.value(depth + 1))
            if len(values) == 1:
                return values[0]
        elif short[:1].isupper():
            return self._pairs("=", self._keyword, depth)
        raise InputError(f"{name[:40]}(...) is no call that a genotype is printed with")

    def _keyword(self) -> str:
        name = self.token
        if self.kind != "name":
            self._refuse("keyword=value")
        self._advance()
        return name

    def _range(self, bounds: list[Any]) -> list[int]:
        whole = all(type(n) is int and abs(n) <= _LARGEST for n in bounds)
        if not (whole and 1 <= len(bounds) <= 3) or bounds[2:] == [0]:
            raise InputError(f"range({str(bounds)[1:41]}) is no range of states")
        return list(range(*bounds))

    def _items(self, item: Callable[[], Any]) -> list[Any]:
        closing = _CLOSING[self.token]
        values = []
        self._advance()
        while self.token != closing:
            values.append(item())
            if self.token != closing:
                self._expect(",")
        self._advance()
        return values

    def _pairs(self, between: str, key: Callable[[], Any], depth: int) -> Any:
        named: dict[str, Any] = {}

        def pair() -> None:
            name = key()
            if not isinstance(name, str):
                raise InputError(f"key {str(name)[:40]} is no text")
            if name in named:
                raise InputError(f"{name[:40]!r} is given twice")
            self._expect(between)
            named[name] = self.value(depth + 1)

        self._items(pair)
        return named

    def _number(self, token: str) -> int | float:
        digits = token.lstrip("+-")
        if digits.isdigit() and len(digits) > 9:
            raise InputError(f"{token[:20]}... is no number of a genotype")
        return int(token) if digits.isdigit() else float(token)

    def _expect(self, mark: str) -> None:
        if self.token != mark:
            self._refuse(repr(mark))
        self._advance()

    def _advance(self) -> None:
        while True:
            if self.place - self.start > LONGEST:
                raise InputError(f"it is longer than {LONGEST} characters")
            self.end = self.place
            found = _TOKEN.match(self.text, self.place)
            if found is None:
                self.kind = self.token = ""
                return
            self.place = found.end()
            if found.lastgroup != "space":
                self.kind = str(found.lastgroup)
                self.token = found.group()
                return

    def _refuse(self, wanted: str) -> NoReturn:
        if self.place >= len(self.text) and not self.token:
            raise InputError(f"it is cut off: its end lacks {wanted}")
        there = self.token or self.text[self.place : self.place + 1]
        if there in ("'", '"'):
            raise InputError("it is cut off, or a text in it does not end")
        raise InputError(f"{there[:40]!r} stands where {wanted} is wanted")
