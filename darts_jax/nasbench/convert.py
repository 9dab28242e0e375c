"""Tables made of the benchmarks' official files, one converter for each benchmark."""

import functools
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from darts_jax.buckets import is_in_bucket
from darts_jax.errors import InputError, look_up
from darts_jax.files import write_atomically
from darts_jax.nasbench.hardware import NAME as HARDWARE
from darts_jax.nasbench.hardware import convert_costs
from darts_jax.nasbench.nasbench101 import NASBench101, convert_trainings
from darts_jax.nasbench.nasbench201 import NASBench201
from darts_jax.nasbench.nats import TOPOLOGY, convert_part
from darts_jax.nasbench.nats_size import SIZE, NATSSize
from darts_jax.nasbench.surrogate import Surrogate301, convert_cells
from darts_jax.nasbench.table import Progress
from darts_jax.nasbench.transnas import TransNASMacro, TransNASMicro, convert_space

Convert = Callable[[Path, Progress], dict[str, np.ndarray]]


class Converter(NamedTuple):
    """A converter of a benchmark's official files.

    Attributes:
      source: what it reads, for people.
      convert: (path, progress) -> the arrays of a table.
    """

    source: str
    convert: Convert


CONVERTERS: dict[str, Converter] = {
    NASBench201.name: Converter(
        f"the folder {TOPOLOGY.files}-simple, or {TOPOLOGY.files}.pickle.pbz2",
        functools.partial(convert_part, TOPOLOGY),
    ),
    NATSSize.name: Converter(
        f"the folder {SIZE.files}-simple, or {SIZE.files}.pickle.pbz2",
        functools.partial(convert_part, SIZE),
    ),
    NASBench101.name: Converter(
        "nasbench_only108.tfrecord, or nasbench_full.tfrecord", convert_trainings
    ),
    TransNASMicro.name: Converter(
        "transnas-bench_v10141024.pth", functools.partial(convert_space, "micro")
    ),
    TransNASMacro.name: Converter(
        "transnas-bench_v10141024.pth", functools.partial(convert_space, "macro")
    ),
    Surrogate301.name: Converter(
        "a .csv of DARTS cells and their accuracies", convert_cells
    ),
    HARDWARE: Converter("HW-NAS-Bench-v1_0.pickle", convert_costs),
}
"""Benchmark -> converter of its official files."""


def convert(
    benchmark: str,
    source: str | Path,
    progress: Progress = lambda done, total: None,
) -> dict[str, np.ndarray]:
    """Returns the arrays of a table, as `load_table` reads them.

    Args:
      benchmark: of `CONVERTERS`.
      source: its official files.
      progress: called with the number of rows that are done, and of all; the latter is
        0 where it is not known.

    Raises:
      InputError: there is no such benchmark, a package that reads its files is not
        installed, or they are not what they should be.
    """
    converter = look_up(CONVERTERS, benchmark, "benchmark")
    if is_in_bucket(source):
        raise InputError(f"{source} must be copied to a local disk to be converted")
    arrays = converter.convert(Path(source), progress)
    named = {"benchmark": np.array(benchmark), "source": np.array(Path(source).name)}
    return named | arrays


def write_table(benchmark: str, source: Path, out: Path) -> str:
    """Converts official files, writes a table, and returns a line that describes it.

    Args:
      benchmark: of `CONVERTERS`.
      source: its official files.
      out: path of the ``.npz``.

    Raises:
      InputError: as `convert`; or the file cannot be written.
    """
    from tqdm.auto import tqdm

    with tqdm(desc="convert", unit="row") as bar:

        def show(done: int, total: int) -> None:
            bar.total = total or None
            bar.update(done - bar.n)

        arrays = convert(benchmark, source, show)
    buffer = io.BytesIO()
    stored: dict[str, Any] = {**arrays}
    np.savez_compressed(buffer, **stored)
    write_atomically(out, buffer.getvalue())
    rows = max(len(a) for a in arrays.values() if a.ndim)
    return f"{out}: {rows} rows, {', '.join(arrays)}"
