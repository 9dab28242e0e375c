"""Examples of any kind for networks of one's own, held in memory.

An example is a tree of arrays: (inputs, targets), a dict, or one array. They come as
arrays, as a source of single examples by number, or as an iterable of batches.
"""

import dataclasses
import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from darts_jax.data.identity import Identity, identify
from darts_jax.data.licences import USERS_OWN
from darts_jax.errors import InputError

_LEAF: Any = jax.tree.structure(0)
_PLAIN = (str, bytes, Mapping, list, tuple, np.ndarray, jax.Array)


@dataclasses.dataclass(frozen=True, eq=False)
class ExampleSet:
    """Examples of a network of one's own.

    Attributes:
      train: tree of arrays [example, ...].
      test: of the same form.
      name: used in reports.
      note: what a reader of results on this set must know; shown beside them.
      licence: the terms under which the examples may be used.
    """

    train: Any
    test: Any
    name: str = "examples"
    note: str = ""
    licence: str = USERS_OWN


def make_example_set(
    train: Any, test: Any = None, name: str = "examples"
) -> ExampleSet:
    """Reads examples into memory.

    Args:
      train: a tree of arrays [example, ...]; a source of single examples by number, as
        Grain's are; or a finite iterable of batches, as loaders are.
      test: likewise; None: the last fifth of ``train``, which then does not train.
      name: used in reports.

    Raises:
      InputError: there are no examples, parts differ in length, or the test has another
        form.
    """
    learned = read_examples(train, "data")
    if test is None:
        kept = count_rows(learned, "data") * 4 // 5
        tested = jax.tree.map(lambda leaf: leaf[kept:], learned)
        learned = jax.tree.map(lambda leaf: leaf[:kept], learned)
    else:
        tested = read_examples(test, "test")
    forms = [_describe(part) for part in (learned, tested)]
    if forms[0] != forms[1]:
        raise InputError(
            f"test examples are {forms[1]}, and training examples {forms[0]}; want one "
            "form"
        )
    return ExampleSet(learned, tested, name)


def read_examples(data: Any, what: str) -> Any:
    """Returns examples as a tree of arrays [example, ...] on the host.

    Args:
      data: as of `make_example_set`.
      what: its name, for errors.

    Raises:
      InputError: there are none, or their parts differ in length or form.
    """
    if not isinstance(data, _PLAIN):
        data = _stack_all(data, what)
    arrays = jax.tree.map(_as_array, data)
    count_rows(arrays, what)
    return arrays


def count_rows(examples: Any, what: str) -> int:
    """Returns the number of examples.

    Args:
      examples: tree of arrays [example, ...].
      what: its name, for errors.

    Raises:
      InputError: there are none, or parts differ in length.
    """
    leaves = jax.tree.leaves(examples)
    lengths = {leaf.shape[0] if leaf.ndim else 0 for leaf in leaves}
    if len(lengths) != 1 or 0 in lengths:
        told = ", ".join(str(list(leaf.shape)) for leaf in leaves[:6]) or "nothing"
        raise InputError(
            f"{what} holds arrays of shapes {told}; want one first axis, of examples"
        )
    return int(lengths.pop())


def _stack_all(data: Any, what: str) -> Any:
    """Returns the examples of a source, or of the batches of a loader, in one tree."""
    join: Callable[[list[np.ndarray]], np.ndarray] = np.stack
    if hasattr(data, "__getitem__") and hasattr(data, "__len__"):
        parts = [data[i] for i in range(len(data))]
    elif isinstance(data, Iterable):
        parts = list(data)
        join = np.concatenate
    else:
        raise InputError(
            f"{what} is {type(data).__name__}; want arrays, a source of examples by "
            "number, or an iterable of batches"
        )
    if not parts:
        raise InputError(f"{what} holds no examples")
    forms = {jax.tree.structure(part) for part in parts}
    if len(forms) > 1:
        raise InputError(f"{what} holds examples of different forms; want one")
    try:
        return jax.tree.map(lambda *leaves: join(list(map(_as_array, leaves))), *parts)
    except ValueError as error:
        reason = str(error).splitlines()[0]
        raise InputError(
            f"{what} holds examples of different shapes: {reason}"
        ) from None


def _as_array(leaf: Any) -> np.ndarray:
    array = np.asarray(leaf)
    if array.dtype.kind not in "biuf":
        raise InputError(f"examples hold {array.dtype}; want numbers")
    # Devices have no wider types, unless asked for.
    narrow = {"float64": np.float32, "int64": np.int32, "uint64": np.uint32}
    wide = jax.dtypes.canonicalize_dtype(array.dtype) == array.dtype
    return array if wide else array.astype(narrow[array.dtype.name])


def _describe(examples: Any) -> str:
    leaves, form = jax.tree.flatten(examples)
    told = ", ".join(f"{leaf.dtype} {list(leaf.shape[1:])}" for leaf in leaves)
    return told if form == _LEAF else f"{form} of {told}"


def identify_examples(examples: ExampleSet) -> Identity:
    """Returns the identity of a set of examples; all bytes are read.

    Args:
      examples: in memory.
    """
    parts = {"train": examples.train, "test": examples.test}
    return Identity(
        kind="examples",
        name=examples.name,
        counts={part: count_rows(tree, part) for part, tree in parts.items()},
        classes=(),
        shape=(),
        mean=(),
        std=(),
        fingerprints={
            part: {"examples": _digest(tree)} for part, tree in parts.items()
        },
        note=examples.note,
        licence=examples.licence,
    )


def _digest(examples: Any) -> str:
    digest = hashlib.sha256(_describe(examples).encode())
    leaves: Sequence[np.ndarray] = jax.tree.leaves(examples)
    for leaf in leaves:
        digest.update(np.ascontiguousarray(leaf).data)
    return digest.hexdigest()


identify.register(ExampleSet, identify_examples)
