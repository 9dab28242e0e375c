"""Texts as numbers: Penn Treebank, or any file, in words or in characters."""

import dataclasses
import io
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from jaxtyping import Int

from darts_jax.data.places import locate
from darts_jax.errors import InputError

Tokens = Int[np.ndarray, " token"]
END = "<eos>"
"""Ends every line of words."""
UNKNOWN = "<unk>"
"""Stands for what the training text has less than twice."""

PREFIXES = (
    *("ptb", "ptb:PATH", "ptb_chars", "ptb_chars:PATH"),
    *("text:PATH", "chars:PATH"),
)

_PARTS = {"train": "training", "valid": "validation", "test": "test"}


@dataclasses.dataclass(frozen=True, eq=False)
class Corpus:
    """A text to learn from, one to choose by and one to test on.

    Attributes:
      train: int32, numbers of the vocabulary; so are the others.
      vocabulary: what every number stands for.
      note: what a reader of results on this text must know; shown beside them.
    """

    name: str
    train: Tokens
    valid: Tokens
    test: Tokens
    vocabulary: tuple[str, ...]
    note: str = ""

    def first(self, tokens: int, held_out: int = 0) -> "Corpus":
        """Returns the first tokens of each part.

        Args:
          tokens: number of tokens to train on; 0 or more than there are: all.
          held_out: number of tokens to validate on, and to test on, likewise.
        """
        wanted = {"train": tokens, "valid": held_out, "test": held_out}
        short = {
            part: (count, len(whole))
            for part, count in wanted.items()
            for whole in [getattr(self, part)]
            if 0 < count < len(whole)
        }
        told = [
            f"the first {count:,} of {whole:,} {_PARTS[part]} tokens"
            for part, (count, whole) in short.items()
        ]
        kept = {part: getattr(self, part)[: wanted[part]] for part in short}
        note = "; ".join(filter(None, [self.note, *told]))
        return dataclasses.replace(self, note=note, **kept)


def load_text(
    name: str, directory: Path | None, valid: float = 0.1, test: float = 0.1
) -> Corpus:
    """A corpus by name.

    Args:
      name: ``ptb``, the archive ``ptb.zip`` of the directory, or ``ptb:PATH``, an
        archive or a folder, and ``ptb_chars`` for its characters; ``text:PATH`` or
        ``chars:PATH``, a file of any text in words or in characters.
      valid: share of a file that validates; it stands before the share that tests.
      test: the last share of a file.

    Raises:
      InputError: no such name or file, or a part without text.
    """
    kind, _, rest = name.partition(":")
    path = locate(rest, directory)
    if kind in _TREEBANKS:
        place = path if rest else (directory or Path()) / "ptb.zip"
        reading, parts = _READINGS[_TREEBANKS[kind]], _penn_treebank(place)
        return _numbered(kind, *(list(reading(part)) for part in parts))
    if kind not in _READINGS or not rest:
        raise InputError(f"no text {name!r}; want one of {', '.join(PREFIXES)}")
    tokens = list(_READINGS[kind](_decoded(_read(path), str(path))))
    ends = [int(len(tokens) * share) for share in (1 - valid - test, 1 - test)]
    divided = tokens[: ends[0]], tokens[ends[0] : ends[1]], tokens[ends[1] :]
    if not all(divided):
        raise InputError(f"{path} has {len(tokens)} tokens, too few for three parts")
    return _numbered(path.stem, *(_known(divided[0], part) for part in divided))


def _words(text: str) -> Iterator[str]:
    for line in text.splitlines():
        yield from line.split()
        yield END


_READINGS: dict[str, Callable[[str], Iterator[str]]] = {"text": _words, "chars": iter}
_TREEBANKS = {"ptb": "text", "ptb_chars": "chars"}


def _penn_treebank(place: Path) -> tuple[str, ...]:
    """Reads the three parts of a folder or archive that has ``ptb.train.txt``."""
    if place.is_dir():
        files = {path.name: path for path in place.rglob("ptb.*.txt")}
        read = {name: _read(path) for name, path in files.items()}
    else:
        read = _archived(place)
    wanted = [f"ptb.{part}.txt" for part in ("train", "valid", "test")]
    missing = [name for name in wanted if name not in read]
    if missing:
        raise InputError(f"{place} lacks {', '.join(missing)}")
    return tuple(_decoded(read[name], name) for name in wanted)


def _archived(place: Path) -> dict[str, bytes]:
    """The files of an archive by their last names, macOS's shadows left out."""
    try:
        with zipfile.ZipFile(io.BytesIO(_read(place))) as archive:
            names = [n for n in archive.namelist() if not n.startswith("__MACOSX")]
            return {Path(name).name: archive.read(name) for name in names}
    except InputError:
        raise
    except Exception as error:  # zipfile answers damage with a dozen kinds of exception
        raise InputError(f"archive {place} is damaged: {error}") from None


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(
            f"cannot read the text {path} ({error.strerror}); give its path, as "
            "ptb:PATH or text:PATH, or the directory that has ptb.zip as data.directory"
        ) from None


def _decoded(data: bytes, what: str) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise InputError(f"{what} is no UTF-8 text: {error}") from None


def _known(train: list[str], part: list[str]) -> list[str]:
    counts = Counter(train)
    return [token if counts[token] > 1 else UNKNOWN for token in part]


def _numbered(name: str, train: list[str], valid: list[str], test: list[str]) -> Corpus:
    """Numbers words by their first place in the three parts, one after the other."""
    numbers: dict[str, int] = {}

    def numbered(part: list[str]) -> Tokens:
        return np.array([numbers.setdefault(t, len(numbers)) for t in part], np.int32)

    parts = numbered(train), numbered(valid), numbered(test)
    return Corpus(name, *parts, vocabulary=tuple(numbers))


def split_into_rows(tokens: Tokens, rows: int) -> Int[np.ndarray, "row token"]:
    """Divides a text into rows that are read side by side; the rest is left out.

    Args:
      tokens: the text.
      rows: number of rows.

    Raises:
      InputError: a row would have fewer than two tokens.
    """
    columns = len(tokens) // rows
    if columns < 2:
        raise InputError(
            f"{len(tokens)} tokens make no {rows} texts to read side by side: want a "
            "smaller batch_size"
        )
    return tokens[: rows * columns].reshape(rows, columns)
