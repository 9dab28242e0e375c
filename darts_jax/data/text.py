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
"""Stands for every token that the training text has less than twice."""

PREFIXES = (
    *("ptb", "ptb:PATH", "ptb_chars", "ptb_chars:PATH"),
    *("text:PATH", "chars:PATH"),
)

_PARTS = {"train": "training", "valid": "validation", "test": "test"}


@dataclasses.dataclass(frozen=True, eq=False)
class Corpus:
    """Texts to train, to validate and to test on, as numbers of a vocabulary.

    Attributes:
      name: used in reports.
      train: int32 [token], indices of the vocabulary.
      valid: like ``train``.
      test: like ``train``.
      vocabulary: the word or character of every index.
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
        notes = [
            f"the first {count:,} of {whole:,} {_PARTS[part]} tokens"
            for part, (count, whole) in short.items()
        ]
        kept = {part: getattr(self, part)[: wanted[part]] for part in short}
        note = "; ".join(filter(None, [self.note, *notes]))
        return dataclasses.replace(self, note=note, **kept)


def load_text(
    name: str, directory: Path | None, valid: float = 0.1, test: float = 0.1
) -> Corpus:
    """Loads a corpus by name.

    Args:
      name: ``ptb``, the archive ``ptb.zip`` of the directory, or ``ptb:PATH``, an
        archive or a folder, and ``ptb_chars`` for its characters; ``text:PATH`` or
        ``chars:PATH``, a file of any text in words or in characters.
      directory: where data lie; None: the working directory.
      valid: share of a file to validate on, just before the share to test on.
      test: share of a file to test on, at its end.

    Returns:
      The corpus; tokens that the training part of a file has less than twice are
      `UNKNOWN`.

    Raises:
      InputError: no such name or file, or a part without text.
    """
    kind, _, rest = name.partition(":")
    path = locate(rest, directory)
    if kind in _TREEBANKS:
        place = path if rest else (directory or Path()) / "ptb.zip"
        split = _SPLITS[_TREEBANKS[kind]]
        train, validation, testing = (list(split(t)) for t in _read_treebank(place))
        return _make_corpus(kind, train, validation, testing)
    if kind not in _SPLITS or not rest:
        raise InputError(f"no text {name!r}; want one of {', '.join(PREFIXES)}")
    tokens = list(_SPLITS[kind](_decode(_read(path), str(path))))
    train_end = int(len(tokens) * (1 - valid - test))
    valid_end = int(len(tokens) * (1 - test))
    train = tokens[:train_end]
    validation = tokens[train_end:valid_end]
    testing = tokens[valid_end:]
    if not (train and validation and testing):
        raise InputError(f"{path} has {len(tokens)} tokens, too few for three parts")
    frequent = {token for token, count in Counter(train).items() if count > 1}
    return _make_corpus(
        path.stem,
        _replace_rare(train, frequent),
        _replace_rare(validation, frequent),
        _replace_rare(testing, frequent),
    )


def _split_words(text: str) -> Iterator[str]:
    for line in text.splitlines():
        yield from line.split()
        yield END


_SPLITS: dict[str, Callable[[str], Iterator[str]]] = {
    "text": _split_words,
    "chars": iter,
}
_TREEBANKS = {"ptb": "text", "ptb_chars": "chars"}


def _read_treebank(place: Path) -> tuple[str, ...]:
    """Reads the three parts of a folder or archive that has ``ptb.train.txt``."""
    if place.is_dir():
        files = {path.name: path for path in place.rglob("ptb.*.txt")}
        read = {name: _read(path) for name, path in files.items()}
    else:
        read = _read_archive(place)
    wanted = [f"ptb.{part}.txt" for part in ("train", "valid", "test")]
    missing = [name for name in wanted if name not in read]
    if missing:
        raise InputError(f"{place} lacks {', '.join(missing)}")
    return tuple(_decode(read[name], name) for name in wanted)


def _read_archive(place: Path) -> dict[str, bytes]:
    """Returns file name -> content of an archive, without macOS's own copies."""
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


def _decode(data: bytes, what: str) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise InputError(f"{what} is no UTF-8 text: {error}") from None


def _replace_rare(tokens: list[str], frequent: set[str]) -> list[str]:
    return [token if token in frequent else UNKNOWN for token in tokens]


def _make_corpus(
    name: str, train: list[str], valid: list[str], test: list[str]
) -> Corpus:
    """Numbers words by their first place in the three parts, one after the other."""
    numbers: dict[str, int] = {}

    def encode(part: list[str]) -> Tokens:
        return np.array([numbers.setdefault(t, len(numbers)) for t in part], np.int32)

    return Corpus(
        name=name,
        train=encode(train),
        valid=encode(valid),
        test=encode(test),
        # The last of all: every part may add words.
        vocabulary=tuple(numbers),
    )


def split_into_rows(tokens: Tokens, rows: int) -> Int[np.ndarray, "row token"]:
    """Divides a text into rows that are read side by side; the rest is left out.

    Args:
      tokens: the text.
      rows: number of rows.

    Returns:
      int32 [row, token].

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
