"""NATS-Bench's official files as tables: the topology part (NAS-Bench-201) and sizes.

The files are pickles. They are opened with nothing but containers and numbers allowed,
and the `nats_bench` package, which knows what the numbers mean, is given the result.
"""

import bz2
import dataclasses
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from darts_jax.errors import InputError
from darts_jax.nasbench.nasbench201 import DATASETS
from darts_jax.nasbench.plain_pickle import read_pickle
from darts_jax.nasbench.table import Progress
from darts_jax.spaces.graph import Genotype
from darts_jax.spaces.nasbench201 import NASBENCH201

_ENDING = "pickle.pbz2"
_OFFICIAL = dict(zip(DATASETS, ("cifar10", "cifar100", "ImageNet16-120"), strict=True))
_CELLS_AT_ONCE = 100  # the package copies the list of all cells for every part


@dataclasses.dataclass(frozen=True)
class Part:
    """A part of NATS-Bench.

    Attributes:
      title: for messages.
      files: name of its official file, without the ending.
      api: module and class of `nats_bench` that knows it.
      lengths: epochs of its trainings -> their name in the files.
      code: architectures as the files write them -> arrays of the table.
    """

    title: str
    files: str
    api: tuple[str, str]
    lengths: dict[int, str]
    code: Callable[[Sequence[str]], dict[str, np.ndarray]]


def convert_part(
    part: Part, source: Path, progress: Progress = lambda done, total: None
) -> dict[str, np.ndarray]:
    """Returns the arrays of a table.

    Args:
      part: of NATS-Bench.
      source: the unpacked folder, named as the official file with ``-simple``, or that
        file.
      progress: told how far it is.

    Raises:
      InputError: `nats_bench` is not installed, or the files are not what they should.
    """
    make_api = _load_api(part)
    architectures, chunks = _read(part, source)
    rows: list[dict[str, float]] = []
    for chunk in chunks:
        api = make_api(
            {
                "meta_archs": architectures,
                "arch2infos": chunk,
                "evaluated_indexes": list(chunk),
            },
            verbose=False,
        )
        rows += [_row(api, index, part.lengths) for index in chunk]
        progress(len(rows), len(architectures))
    columns = {name: _column(name, rows) for name in sorted(set().union(*rows))}
    return {**part.code(architectures), **columns}


def _load_api(part: Part) -> Any:
    module, name = part.api
    try:
        return getattr(__import__(f"nats_bench.{module}", fromlist=[name]), name)
    except ImportError:
        raise InputError(
            f"converting {part.title} needs nats_bench: pip install 'darts-jax[nats]'"
        ) from None


def _read(part: Part, source: Path) -> tuple[list[str], Iterator[dict[int, Any]]]:
    """Returns all architectures, and some at a time: index -> length -> results."""
    if source.is_file():
        whole = _load(source)
        if not isinstance(whole, dict) or not {"meta_archs", "arch2infos"} <= {*whole}:
            raise InputError(f"{source} is no part of NATS-Bench")
        architectures = list(whole["meta_archs"])
        read = whole["arch2infos"].__getitem__
        return architectures, _chunks(len(architectures), read)
    meta = source / f"meta.{_ENDING}"
    if not meta.is_file():
        raise InputError(
            f"no NATS-Bench data at {source}; want the folder {part.files}-simple or "
            f"the file {part.files}.{_ENDING}"
        )
    architectures = list(_load(meta)["meta_archs"])
    return architectures, _chunks(
        len(architectures), lambda i: _load(source / f"{i:06d}.{_ENDING}")
    )


def _chunks(
    cells: int, read: Callable[[int], dict[str, Any]]
) -> Iterator[dict[int, Any]]:
    for start in range(0, cells, _CELLS_AT_ONCE):
        stop = min(start + _CELLS_AT_ONCE, cells)
        try:
            yield {index: read(index) for index in range(start, stop)}
        except KeyError as missing:
            raise InputError(f"NATS-Bench data lack architecture {missing}") from None


def _row(api: Any, index: int, lengths: dict[int, str]) -> dict[str, float]:
    """Returns column -> value, of whatever is known of an architecture."""
    row: dict[str, float] = {}
    for epochs, length in lengths.items():
        results = api.query_meta_info_by_index(index, length)
        known = results.get_dataset_names()
        for ours, theirs in _OFFICIAL.items():
            if theirs in known:
                info = _info(api, index, theirs, length)
                row |= _accuracies(info, ours, epochs)
        # CIFAR-10's validation part is a training of its own, on half of the images.
        if "cifar10-valid" in known:
            info = _info(api, index, "cifar10-valid", length)
            row[f"cifar10_valid_{epochs}"] = info["valid-accuracy"]
        if epochs == max(lengths) and "cifar10" in known:
            row[f"n_seeds_{epochs}"] = len(results.get_dataset_seeds("cifar10"))
    return row


def _accuracies(info: dict[str, Any], ours: str, epochs: int) -> dict[str, float]:
    row = {
        f"{ours}_{split}_{epochs}": info[f"{split}-accuracy"]
        for split in ("valid", "test", "valtest")
        if f"{split}-accuracy" in info
    }
    if info["train-all-time"] is not None:
        row[f"train_seconds_{epochs}_{ours}"] = info["train-all-time"]
    return row


def _info(api: Any, index: int, dataset: str, length: str) -> dict[str, Any]:
    """Returns means over all seeds, after the last epoch."""
    found: dict[str, Any] = api.get_more_info(
        index, dataset, hp=length, is_random=False
    )
    return found


def _column(name: str, rows: list[dict[str, float]]) -> np.ndarray:
    lacking = [i for i, row in enumerate(rows) if name not in row]
    if lacking:
        raise InputError(f"NATS-Bench data lack {name} of architecture {lacking[0]}")
    kind = np.uint8 if name.startswith("n_seeds") else np.float32
    return np.array([row[name] for row in rows], kind)


def _load(path: Path) -> Any:
    return read_pickle(path, "NATS-Bench", bz2.decompress)


def _code_cells(texts: Sequence[str]) -> dict[str, np.ndarray]:
    edges = NASBENCH201.cells["normal"].edges
    names = edges[0].operations
    codes = []
    for text in texts:
        (cell,) = Genotype.from_nasbench201(text).cells.values()
        chosen = {(c.source, c.target): c.operation for c in cell.choices}
        codes.append([names.index(chosen[e.source, e.target]) for e in edges])
    return {
        "ops": np.array(names),
        "edges": np.array([f"{edge.source}->{edge.target}" for edge in edges]),
        "arch": np.array(codes, np.uint8),
    }


TOPOLOGY = Part(
    "NAS-Bench-201",
    "NATS-tss-v1_0-3ffb9",
    ("api_topology", "NATStopology"),
    {12: "12", 200: "200"},
    _code_cells,
)
