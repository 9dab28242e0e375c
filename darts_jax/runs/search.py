"""`search`: from images to a genotype."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from darts_jax.build import make_discretization, make_search
from darts_jax.config import validate_config
from darts_jax.data.sources import load_dataset
from darts_jax.data.stream import AnyDataset
from darts_jax.devices import to_host
from darts_jax.runs.compilation import use_compilation_cache
from darts_jax.runs.directory import (
    RunDirectory,
    atomic_write,
    load_architecture,
    open_run,
    save_architecture,
)
from darts_jax.runs.loop import run_epochs, say
from darts_jax.runs.metrics import read_metrics
from darts_jax.runs.processes import is_writer, wait_for_all
from darts_jax.spaces import get_space
from darts_jax.spaces.graph import Genotype


@dataclasses.dataclass(frozen=True)
class SearchResult:
    """What a search found.

    Attributes:
      genotype: read off the last epoch's parameters.
      alpha: kind -> architecture parameters [epoch, edge, op].
      history: a record per epoch; see ``metrics.jsonl``.
      run: where everything lies.
    """

    genotype: Genotype
    alpha: dict[str, np.ndarray]
    history: list[dict[str, Any]]
    run: RunDirectory


def search(
    config: ConfigDict, run: str | Path, dataset: AnyDataset | None = None
) -> SearchResult:
    """Searches an architecture, or goes on where an earlier call was stopped.

    Args:
      config: see `config.default_config`.
      run: a new directory, or that of a run with the same settings.
      dataset: in place of the one that the config names.

    Raises:
      InputError: a mistake in the settings or the data; one line says which.
    """
    validate_config(config)
    use_compilation_cache(config.compilation_cache)
    dataset = dataset or load_dataset(config.data.name, config.data.directory)
    job = make_search(config, dataset)
    directory = open_run(run, config, "search")
    space = get_space(config.space)
    discretize = make_discretization(space)

    def on_epoch(epoch: int, state: Any) -> None:
        save_architecture(directory, epoch, to_host(state.alpha))

    state = run_epochs(job, directory, "search", config.checkpoint, on_epoch)
    genotype = discretize(space, to_host(state.alpha))
    for kind, cell in genotype.cells.items():
        if not cell.is_connected:
            say(f"warning: no path leads through the {kind} cell: `none` won its edges")
    atomic_write(directory.genotype, genotype.to_json())
    if is_writer():
        _draw(genotype, directory.path / "genotype")
    wait_for_all("the search is written")
    epochs = [
        load_architecture(directory.architecture_at(epoch + 1))
        for epoch in range(job.epochs)
    ]
    alpha = {kind: np.stack([e[kind] for e in epochs]) for kind in space.cells}
    records = read_metrics(directory.metrics)
    history = [record for record in records if record["verb"] == "search"]
    return SearchResult(genotype, alpha, history, directory)


def _draw(genotype: Genotype, stem: Path) -> None:
    # Matplotlib takes a second to import: only where something is drawn.
    from darts_jax.analysis.draw import save_drawing

    save_drawing(genotype, stem)
