"""The official NATS-Bench topology data as a table of arrays.

The official files are pickles, which can run anything when they are opened. So they are
opened here with nothing but containers and numbers allowed, and the `nats_bench`
package, which knows what the numbers mean, is given the result.
"""

import bz2
import io
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from darts_jax.buckets import is_in_bucket
from darts_jax.errors import InputError
from darts_jax.files import write_atomically
from darts_jax.nasbench.nasbench201 import DATASETS, EPOCHS
from darts_jax.spaces.graph import Genotype
from darts_jax.spaces.nasbench201 import NASBENCH201

_ENDING = "pickle.pbz2"
_OFFICIAL = dict(zip(DATASETS, ("cifar10", "cifar100", "ImageNet16-120"), strict=True))
_CELLS_AT_ONCE = 100  # the package copies the list of all cells for every part
_ALLOWED = {
    *(("builtins", name) for name in ("set", "frozenset", "complex", "bytearray")),
    ("collections", "OrderedDict"),
    *(
        (module, name)
        for core in ("numpy.core", "numpy._core")
        for module, name in (
            (f"{core}.multiarray", "scalar"),
            (f"{core}.multiarray", "_reconstruct"),
        )
    ),
    ("numpy", "dtype"),
    ("numpy", "ndarray"),
}


def convert(
    source: str | Path, progress: Callable[[int, int], None] = lambda done, total: None
) -> dict[str, np.ndarray]:
    """Returns the arrays of a table, as `nasbench201.load_table` reads them.

    Args:
      source: ``NATS-tss-v1_0-3ffb9-simple``, the unpacked folder, or
        ``NATS-tss-v1_0-3ffb9.pickle.pbz2``.
      progress: called with the number of cells that are done, and of all.

    Raises:
      InputError: `nats_bench` is not installed, or the files are not what they should.
    """
    topology = _topology()
    if is_in_bucket(source):
        raise InputError(f"{source} must be copied to a local disk to be converted")
    cells, parts = _read(Path(source))
    edges = NASBENCH201.cells["normal"].edges
    names = edges[0].operations
    rows: list[dict[str, float]] = []
    for part in parts:
        api = topology(
            {"meta_archs": cells, "arch2infos": part, "evaluated_indexes": list(part)},
            verbose=False,
        )
        rows += [_row(api, index) for index in part]
        progress(len(rows), len(cells))
    columns = {name: _column(name, rows) for name in sorted(set().union(*rows))}
    return {
        "ops": np.array(names),
        "edges": np.array([f"{edge.source}->{edge.target}" for edge in edges]),
        "arch": np.array([_codes(cell, edges, names) for cell in cells], np.uint8),
        **columns,
    }


def write_table(source: Path, out: Path) -> str:
    """Converts the official data, writes a table, and returns a line that describes it.

    Args:
      source: see `convert`.
      out: the ``.npz`` to write.

    Args:
      source: file of the benchmark.
      out: path of the ``.npz``.

    Raises:
      InputError: as `convert`; or the file cannot be written.
    """
    from tqdm.auto import tqdm

    with tqdm(desc="convert", unit="cell") as bar:

        def show(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        arrays = convert(source, show)
    buffer = io.BytesIO()
    stored: dict[str, Any] = {**arrays}
    np.savez_compressed(buffer, **stored)
    write_atomically(out, buffer.getvalue())
    return f"{out}: {len(arrays['arch'])} cells, {', '.join(arrays)}"


def _topology() -> Any:
    try:
        from nats_bench.api_topology import NATStopology
    except ImportError:
        raise InputError(
            "converting NAS-Bench-201 needs nats_bench: pip install 'darts-jax[nats]'"
        ) from None
    return NATStopology


def _read(source: Path) -> tuple[list[str], Iterator[dict[int, Any]]]:
    """All cells, and what is known of some at a time: index -> epochs -> results."""
    if source.is_file():
        whole = _load(source)
        if not isinstance(whole, dict) or not {"meta_archs", "arch2infos"} <= {*whole}:
            raise InputError(f"{source} is not the topology part of NATS-Bench")
        cells = list(whole["meta_archs"])
        return cells, _parts(len(cells), whole["arch2infos"].__getitem__)
    meta = source / f"meta.{_ENDING}"
    if not meta.is_file():
        raise InputError(
            f"no NATS-Bench data at {source}; want the folder "
            f"NATS-tss-v1_0-3ffb9-simple or the file NATS-tss-v1_0-3ffb9.{_ENDING}"
        )
    cells = list(_load(meta)["meta_archs"])
    return cells, _parts(len(cells), lambda i: _load(source / f"{i:06d}.{_ENDING}"))


def _parts(
    cells: int, read: Callable[[int], dict[str, Any]]
) -> Iterator[dict[int, Any]]:
    for start in range(0, cells, _CELLS_AT_ONCE):
        stop = min(start + _CELLS_AT_ONCE, cells)
        try:
            yield {index: read(index) for index in range(start, stop)}
        except KeyError as missing:
            raise InputError(f"NATS-Bench data lack cell {missing}") from None


def _row(api: Any, index: int) -> dict[str, float]:
    """Column -> value, of whatever is known of a cell."""
    row: dict[str, float] = {}
    for epochs in EPOCHS:
        results = api.query_meta_info_by_index(index, str(epochs))
        known = results.get_dataset_names()
        for ours, theirs in _OFFICIAL.items():
            if theirs in known:
                row |= _accuracies(api, index, ours, theirs, epochs)
        # CIFAR-10's validation part is a training of its own, on half of the images.
        if "cifar10-valid" in known:
            info = _info(api, index, "cifar10-valid", epochs)
            row[f"cifar10_valid_{epochs}"] = info["valid-accuracy"]
        if epochs == max(EPOCHS) and "cifar10" in known:
            row[f"n_seeds_{epochs}"] = len(results.get_dataset_seeds("cifar10"))
    return row


def _accuracies(
    api: Any, index: int, ours: str, theirs: str, epochs: int
) -> dict[str, float]:
    info = _info(api, index, theirs, epochs)
    row = {
        f"{ours}_{split}_{epochs}": info[f"{split}-accuracy"]
        for split in ("valid", "test", "valtest")
        if f"{split}-accuracy" in info
    }
    if info["train-all-time"] is not None:
        row[f"train_seconds_{epochs}_{ours}"] = info["train-all-time"]
    return row


def _info(api: Any, index: int, dataset: str, epochs: int) -> dict[str, Any]:
    """Means over all seeds, after the last epoch."""
    found: dict[str, Any] = api.get_more_info(
        index, dataset, hp=str(epochs), is_random=False
    )
    return found


def _column(name: str, rows: list[dict[str, float]]) -> np.ndarray:
    lacking = [i for i, row in enumerate(rows) if name not in row]
    if lacking:
        raise InputError(f"NATS-Bench data lack {name} of cell {lacking[0]}")
    kind = np.uint8 if name.startswith("n_seeds") else np.float32
    return np.array([row[name] for row in rows], kind)


def _codes(text: str, edges: Any, names: tuple[str, ...]) -> list[int]:
    (cell,) = Genotype.from_nasbench201(text).cells.values()
    chosen = {(c.source, c.target): c.operation for c in cell.choices}
    return [names.index(chosen[edge.source, edge.target]) for edge in edges]


class _Numbers(pickle.Unpickler):
    """Opens a pickle of containers and numbers, and refuses any other."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            raise InputError(
                f"a NATS-Bench file holds {module}.{name}, which is no number: it is "
                "not opened"
            )
        return super().find_class(module, name)


def _load(path: Path) -> Any:
    try:
        return _Numbers(io.BytesIO(bz2.decompress(path.read_bytes()))).load()
    except InputError:
        raise
    except FileNotFoundError:
        raise InputError(f"NATS-Bench data lack {path}") from None
    # A damaged pickle raises whatever its bytes happen to say.
    except Exception as error:
        raise InputError(f"{path} is damaged: {error}") from None
