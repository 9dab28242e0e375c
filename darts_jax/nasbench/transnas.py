"""TransNAS-Bench-101's networks and their scores on seven tasks (Duan et al., 2021).

A row is an official index in one of the two spaces. ``arch`` text [network] is the
benchmark's name, as ``64-41414-1_02_333`` or ``64-1234-basic``. A column
``{task}_{split}_{epochs}`` is the score at the end of one training, as the benchmark
gives it: top-1 accuracy in percent of the classifications and the jigsaw, mean
intersection over union of the segmentation, structural similarity of the normals and
of the autoencoder, and the negative loss of the room layouts.
"""

import abc
import dataclasses
import functools
import io
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np

from darts_jax.errors import InputError
from darts_jax.nasbench.plain_pickle import PlainUnpickler
from darts_jax.nasbench.table import (
    Progress,
    Table,
    read_columns,
    require_arrays,
)
from darts_jax.spaces.graph import Genotype, KeptEdge, Space
from darts_jax.spaces.moves import assemble_genotype
from darts_jax.spaces.transnas import (
    MODULES,
    OPERATIONS,
    TRANSNAS_MACRO,
    TRANSNAS_MICRO,
    modules_of,
)

TASKS = {
    "class_scene": "top1",
    "class_object": "top1",
    "room_layout": "neg_loss",
    "jigsaw": "top1",
    "segmentsemantic": "mIoU",
    "normal": "ssim",
    "autoencoder": "ssim",
}
"""Task -> the measure that its networks are compared by; more is better."""

_CODED = ("arch",)
_BASE = 64
_SKELETON = "41414"
_LEGACY_PICKLES = 3  # a magic number, the version and the machine precede the object


@dataclasses.dataclass(frozen=True, eq=False)
class TransNAS(Table):
    """A space of the benchmark, as `load_table` reads it.

    Attributes:
      columns: name -> a number of every network.
      texts: the benchmark's name of every network.
    """

    texts: tuple[str, ...]

    space: ClassVar[Space]
    told_epochs: ClassVar[int] = 0
    averaged: ClassVar[str] = "one training"

    @classmethod
    def from_arrays(cls, path: str | Path, arrays: Mapping[str, np.ndarray]) -> Self:
        require_arrays(cls.title, path, arrays, _CODED)
        texts = tuple(str(text) for text in arrays["arch"].ravel())
        columns = read_columns(cls.title, path, arrays, len(texts), _CODED)
        table = cls(columns, texts)
        if len(table._rows) < len(texts):
            raise InputError(f"arch of {cls.title} table {path} has a network twice")
        for row in range(len(texts)):
            table.genotype(row)
        return table

    def row(self, genotype: Genotype) -> int:
        """Returns the row of a network.

        Args:
          genotype: of the table's space.

        Raises:
          InputError: it is of another space, or the table lacks it.
        """
        if genotype.space not in self.spaces:
            raise InputError(
                f"a genotype of space {genotype.space!r} is no network of "
                f"{self.title}; want one of {self.space.name}"
            )
        text = self._text(genotype)
        if text not in self._rows:
            raise InputError(f"the table has no network {text}")
        return self._rows[text]

    @abc.abstractmethod
    def _text(self, genotype: Genotype) -> str:
        """Returns the benchmark's name of a network."""

    @functools.cached_property
    def _rows(self) -> dict[str, int]:
        return {text: row for row, text in enumerate(self.texts)}

    def _unknown(self, text: str) -> InputError:
        return InputError(f"{text[:80]!r} is no network of {self.title}")


class TransNASMicro(TransNAS):
    """Cells of 4,096 kinds in one network."""

    name: ClassVar[str] = "transnas_micro"
    title: ClassVar[str] = "TransNAS-Bench-101 (micro)"
    space: ClassVar[Space] = TRANSNAS_MICRO
    spaces: ClassVar[tuple[str, ...]] = (TRANSNAS_MICRO.name,)

    def genotype(self, row: int) -> Genotype:
        """Returns the cell of a row.

        Args:
          row: from 0.
        """
        text = self.texts[row]
        digits = text.rpartition("-")[2].split("_")
        if [len(each) for each in digits] != [1, 2, 3] or not text.startswith(
            f"{_BASE}-{_SKELETON}-"
        ):
            raise self._unknown(text)
        choices = [
            ("normal", KeptEdge(target, source, self._operation(text, digit)))
            for target, of in enumerate(digits, start=1)
            for source, digit in enumerate(of)
        ]
        return assemble_genotype(TRANSNAS_MICRO, choices)

    def _operation(self, text: str, digit: str) -> str:
        if digit not in {*"0123"}:
            raise self._unknown(text)
        return OPERATIONS[int(digit)]

    def _text(self, genotype: Genotype) -> str:
        groups = ["", "", ""]
        for choice in sorted(genotype.cells["normal"].choices):
            code = OPERATIONS.index(choice.operation)
            groups[choice.target - 1] += str(code)
        return f"{_BASE}-{_SKELETON}-{'_'.join(groups)}"


class TransNASMacro(TransNAS):
    """Chains of residual modules."""

    name: ClassVar[str] = "transnas_macro"
    title: ClassVar[str] = "TransNAS-Bench-101 (macro)"
    space: ClassVar[Space] = TRANSNAS_MACRO
    spaces: ClassVar[tuple[str, ...]] = (TRANSNAS_MACRO.name,)

    def genotype(self, row: int) -> Genotype:
        """Returns the chain of a row.

        Args:
          row: from 0.
        """
        text = self.texts[row]
        digits = text.removeprefix(f"{_BASE}-").removesuffix("-basic")
        edges = TRANSNAS_MACRO.cells["normal"].edges
        if not 4 <= len(digits) <= len(edges) or not {*digits} <= {*"1234"}:
            raise self._unknown(text)
        modules = [MODULES[int(digit) - 1] for digit in digits]
        modules += ["skip_connect"] * (len(edges) - len(modules))
        return assemble_genotype(
            TRANSNAS_MACRO,
            [
                ("normal", KeptEdge(edge.target, edge.source, module))
                for edge, module in zip(edges, modules, strict=True)
            ],
        )

    def _text(self, genotype: Genotype) -> str:
        digits = (MODULES.index(module) + 1 for module in modules_of(genotype))
        return f"{_BASE}-{''.join(map(str, digits))}-basic"


def convert_space(
    space: str, source: Path, progress: Progress
) -> dict[str, np.ndarray]:
    """Returns the arrays of a table.

    The file's seconds are those of each epoch, or of all up to it: a list that never
    falls is taken for the latter.

    Args:
      space: of the file, ``micro`` or ``macro``.
      source: ``transnas-bench_v10141024.pth``.
      progress: told how far it is.

    Raises:
      InputError: the file is missing, damaged, or not what it should be.
    """
    whole = _read_torch(source)
    try:
        networks = whole["data"][space]
        columns: dict[str, list[float]] = {}
        for done, tasks in enumerate(networks.values(), start=1):
            for task, measure in TASKS.items():
                metrics = tasks[task]["metrics"]
                epochs = len(metrics[f"valid_{measure}"])
                for split in ("valid", "test"):
                    name = f"{task}_{split}_{epochs}"
                    score = float(metrics[f"{split}_{measure}"][-1])
                    columns.setdefault(name, []).append(score)
                seconds = _total(metrics["time_elapsed"])
                name = f"train_seconds_{epochs}_{task}"
                columns.setdefault(name, []).append(seconds)
            progress(done, len(networks))
    except (KeyError, TypeError, IndexError, ValueError, AttributeError) as error:
        raise InputError(
            f"{source} is no file of TransNAS-Bench-101: it lacks {error} of the "
            f"{space} space"
        ) from None
    short = [name for name, values in columns.items() if len(values) < len(networks)]
    if short:
        raise InputError(f"{source} lacks {short[0]} of some networks")
    return {
        "arch": np.array([str(text) for text in networks]),
        **{name: np.array(values, np.float32) for name, values in columns.items()},
    }


def _total(seconds: Sequence[float]) -> float:
    steps = np.diff(np.asarray(seconds, float))
    is_running = len(steps) and (steps >= 0).all()
    return float(seconds[-1] if is_running else np.sum(seconds))


def _read_torch(path: Path) -> Any:
    """Returns what `torch.save` wrote, in its zip or its older format."""
    try:
        data = path.read_bytes()
        if zipfile.is_zipfile(io.BytesIO(data)):
            with zipfile.ZipFile(io.BytesIO(data)) as archive:
                (name,) = (n for n in archive.namelist() if n.endswith("/data.pkl"))
                return PlainUnpickler(io.BytesIO(archive.read(name))).load()
        stream = io.BytesIO(data)
        for _ in range(_LEGACY_PICKLES):
            PlainUnpickler(stream).load()
        return PlainUnpickler(stream).load()
    except InputError as error:
        raise InputError(f"{path}, a file of TransNAS-Bench-101: {error}") from None
    except OSError as error:
        raise InputError(
            f"no TransNAS-Bench-101 data at {path}: {error.strerror or error}"
        ) from None
    # A damaged pickle raises whatever its bytes happen to say.
    except Exception as error:
        told = (str(error) or type(error).__name__).splitlines()[0]
        raise InputError(f"{path} is damaged: {told}") from None
