"""`score`: accuracy of every path of a trained supernet, and its ranking."""

import dataclasses
import io
import itertools
import json
import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from darts_jax.analysis.ranking import RankingQuality, ranking_quality
from darts_jax.bilevel.discretization import random_genotype, stack_one_hot
from darts_jax.data.stream import AnyDataset
from darts_jax.engine.compilation import use_compilation_cache
from darts_jax.engine.devices import make_layout, to_host
from darts_jax.spaces.graph import Cell, CellGenotype, Genotype, KeptEdge, Space
from darts_jax.tasks.benchmark import known_accuracies
from darts_jax.tasks.registry import get_score, load_data
from darts_jax.training.console import format_table, show_progress
from darts_jax.training.directory import atomic_write
from darts_jax.training.lock import holds_run_lock
from darts_jax.training.path_scores import make_path_scores, score_chunks
from darts_jax.training.restore import SavedSearch
from darts_jax.types import Mixture

ENUMERABLE = 2**15
"""Number of paths up to which a space is scored whole, unless a sample is asked for."""

SAMPLE = 1000
"""Number of paths that are drawn of a larger space."""

_AT_ONCE = 128  # paths of one call, so that the bar moves


@dataclasses.dataclass(frozen=True)
class Scores:
    """Accuracies of a supernet's paths.

    Attributes:
      genotypes: the paths.
      accuracy: of each path, with shared weights, in [0, 1]; balanced, if
        ``data.metric`` says so.
      truth: accuracy of each in percent, by the benchmark; None where there is none.
      title: name of the truth.
      ranking: of the accuracies, beside that of the truth.
      seconds: time that scoring took, compilation included.
      epoch: of the supernet.
      protocol: the images and statistics, in words.
    """

    genotypes: tuple[Genotype, ...]
    accuracy: Float[np.ndarray, " path"]
    truth: Float[np.ndarray, " path"] | None
    title: str
    ranking: RankingQuality | None
    seconds: float
    epoch: int
    protocol: str

    @property
    def best(self) -> Genotype:
        """Path of the highest accuracy."""
        return self.genotypes[int(np.argmax(self.accuracy))]

    def __str__(self) -> str:
        spread = np.quantile(100 * self.accuracy, [0, 0.5, 1])
        rows = [
            ("paths", len(self.genotypes)),
            ("epoch", self.epoch),
            ("seconds", self.seconds),
            ("least accuracy %", float(spread[0])),
            ("median accuracy %", float(spread[1])),
            ("best accuracy %", float(spread[2])),
        ]
        if self.ranking is not None and self.truth is not None:
            rows += [
                ("Kendall tau", self.ranking.kendall),
                ("Spearman", self.ranking.spearman),
                *((f"regret of top {k}", r) for k, r in self.ranking.regret.items()),
                ("truth of the best %", float(self.truth[np.argmax(self.accuracy)])),
                ("best truth %", float(self.truth.max())),
            ]
        named = [{"": name, "value": value} for name, value in rows]
        return f"{format_table(named, ['', 'value'])}\n{self.protocol}\n"


@holds_run_lock
def score(
    run: str | Path,
    epoch: int = 0,
    dataset: AnyDataset | None = None,
    overrides: Sequence[str] = (),
) -> Scores:
    """Scores the paths of a search's supernet, and draws them beside the truth.

    These are all of a space's paths, or ``score.paths`` drawn at random. Writes
    ``scores.json``, ``scores.npz`` and, where a benchmark is known, ``scores.svg`` and
    ``scores.png``.

    Args:
      run: directory of a search.
      epoch: from 1, one whose checkpoint is kept; 0 for the newest.
      dataset: in place of the one that the run's settings name.
      overrides: settings of ``score`` and ``benchmark``, as ``score.images=500``.

    Returns:
      The scores of all these paths.

    Raises:
      InputError: no such run, epoch or checkpoint, or a setting is wrong.
    """
    began = time.perf_counter()
    saved = SavedSearch(run, overrides)
    config = saved.config
    use_compilation_cache(config.compilation_cache)
    known = known_accuracies(config)
    dataset = dataset or load_data(config)
    _, state = saved.restore(epoch, dataset)
    genotypes = list_paths(saved.space, config.score.paths, config.seed)
    layout = make_layout(config.devices, _AT_ONCE, "the paths of a call", members=True)
    score_paths = make_path_scores(config, dataset, layout)
    params, stats = layout.put(to_host((state.params, state.stats)))
    mixtures = stack_one_hot(saved.space, genotypes)
    found: list[np.ndarray] = []
    with show_progress(len(genotypes), "score") as bar:
        for some in score_chunks(score_paths, params, stats, mixtures, _AT_ONCE):
            found.append(some)
            bar.advance(len(some), 0, accuracy=float(some.mean()))
    accuracy = np.concatenate(found)
    truth = None if known is None else np.array([*map(known.accuracy, genotypes)])
    scored = Scores(
        tuple(genotypes),
        accuracy,
        truth,
        known.title if known else "",
        ranking_quality(accuracy, truth) if truth is not None else None,
        time.perf_counter() - began,
        epoch or saved.epochs,
        _describe_protocol(config, dataset),
    )
    _write(saved, scored, mixtures)
    return scored


def list_paths(space: Space, count: int, seed: int) -> list[Genotype]:
    """Lists all paths of a space in order, or draws some at random.

    Args:
      space: of the paths.
      count: how many are drawn; 0 for all, or for `SAMPLE` of a large space.
      seed: of the draw.
    """
    enumerable = space.discretization == "argmax" and _count_paths(space) <= ENUMERABLE
    if count or not enumerable:
        rng = np.random.default_rng(seed)
        return [random_genotype(space, rng) for _ in range(count or SAMPLE)]
    cells = [_list_cells(cell) for cell in space.cells.values()]
    return [
        Genotype(space.name, dict(zip(space.cells, chosen, strict=True)))
        for chosen in itertools.product(*cells)
    ]


def _list_cells(cell: Cell) -> list[CellGenotype]:
    choices = [
        [KeptEdge(edge.target, edge.source, name) for name in edge.operations]
        for edge in cell.edges
    ]
    return [
        CellGenotype(cell.inputs, chosen, cell.output)
        for chosen in itertools.product(*choices)
    ]


def _count_paths(space: Space) -> int:
    return math.prod(
        len(edge.operations) for cell in space.cells.values() for edge in cell.edges
    )


def _describe_protocol(config: Any, dataset: AnyDataset) -> str:
    settings = config.score
    text = (
        f"{get_score(config).words} with shared weights on "
        f"{settings.images or 'all'} validation images of {dataset.name}, "
        f"statistics {settings.statistics}"
    )
    return f"{text}; {dataset.note}" if dataset.note else text


def _write(saved: SavedSearch, scored: Scores, mixtures: Mixture) -> None:
    place = saved.directory.path
    summary = {
        "epoch": scored.epoch,
        "paths": len(scored.genotypes),
        "seconds": scored.seconds,
        "protocol": scored.protocol,
        "truth": scored.title,
        "best": json.loads(scored.best.to_json()),
        **(scored.ranking._asdict() if scored.ranking else {}),
    }
    atomic_write(place / "scores.json", json.dumps(summary, indent=1) + "\n")
    arrays: dict[str, Any] = {
        f"mixture_{kind}": m.astype(bool) for kind, m in mixtures.weights.items()
    }
    if scored.truth is not None:
        arrays["truth"] = scored.truth
    buffer = io.BytesIO()
    np.savez_compressed(buffer, accuracy=scored.accuracy, **arrays)
    atomic_write(place / "scores.npz", buffer.getvalue())
    if scored.truth is None:
        return
    # Matplotlib takes a second to import: only where something is drawn.
    from darts_jax.plots.scatter import draw_scatter
    from darts_jax.plots.style import save_pictures

    figure = draw_scatter(scored.accuracy, scored.truth, scored.title)
    save_pictures(figure, place / "scores")
