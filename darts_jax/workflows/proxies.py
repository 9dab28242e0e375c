"""`proxies`: zero-cost scores of a space's networks, beside the truth of a table."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float
from ml_collections import ConfigDict

from darts_jax.analysis.ranking import RankAgreement, rank_agreement
from darts_jax.data.stream import AnyDataset
from darts_jax.engine.compilation import use_compilation_cache
from darts_jax.engine.devices import make_layout
from darts_jax.errors import InputError, look_up
from darts_jax.files import read_npz
from darts_jax.proxies import PROXIES
from darts_jax.proxies.ensemble import average_ranks, fit_ridge, sum_log_ranks
from darts_jax.settings.config import validate_config
from darts_jax.settings.proxy_figures import PUBLISHED_CORRELATIONS
from darts_jax.spaces import get_space
from darts_jax.spaces.graph import Genotype
from darts_jax.tasks.benchmark import known_accuracies
from darts_jax.tasks.registry import load_data
from darts_jax.training.console import format_table, show_progress
from darts_jax.training.directory import RunDirectory, atomic_write, load_settings
from darts_jax.training.lock import holds_run_lock
from darts_jax.training.opening import open_run
from darts_jax.training.proxy_scores import describe_proxies, make_proxy_scores
from darts_jax.workflows.score import list_paths

if TYPE_CHECKING:
    import pandas as pd

DEFAULT_PROXIES = ("params", "flops", "synflow", "naswot")
AZ_NAS = ("expressivity", "progressivity", "trainability", "flops")

_AT_ONCE = 64  # genotypes of one call, after which their scores are on disk
SCORES = "proxies.npz"
"""File of the scores in the run directory."""


@dataclasses.dataclass(frozen=True, repr=False)
class ProxyResult:
    """Zero-cost scores of networks.

    Attributes:
      genotypes: the architectures.
      scores: proxy -> score of each.
      truth: accuracy of each in percent, by a benchmark; None where there is none.
      title: name of the truth.
      agreement: proxy, or combination of them, -> agreement with the truth.
      published: proxy or combination -> published Spearman's correlations, in the
        order of their sources.
      sources: of the published correlations.
      seconds: time that scoring took in this call, compilation included.
      cpu_seconds: of all threads.
      protocol: networks and images, in words.
      run: the directory.
    """

    genotypes: tuple[Genotype, ...]
    scores: dict[str, Float[np.ndarray, " genotype"]]
    truth: Float[np.ndarray, " genotype"] | None
    title: str
    agreement: dict[str, RankAgreement]
    published: dict[str, tuple[float, ...]]
    sources: tuple[str, ...]
    seconds: float
    cpu_seconds: float
    protocol: str
    run: RunDirectory

    @property
    def frame(self) -> pd.DataFrame:
        """Table with a row for each architecture."""
        import pandas as pd

        truth = {} if self.truth is None else {"truth": self.truth}
        return pd.DataFrame({**self.scores, **truth})

    def rows(self) -> list[dict[str, Any]]:
        """Returns the correlations, a row for each proxy."""
        rows = []
        for name, found in self.agreement.items():
            row: dict[str, Any] = {"proxy": name, "count": found.items}
            for kind in ("spearman", "kendall"):
                own = getattr(found, kind)
                row |= {kind: own.value, f"{kind} 95 %": [own.low, own.high]}
            rows.append(row | {"published spearman": self.published.get(name, ())})
        return rows

    def __str__(self) -> str:
        lines = [
            f"{len(self.genotypes)} architectures, {self.seconds:.0f} s, "
            f"{self.cpu_seconds:.0f} s of CPU",
            self.protocol,
        ]
        if self.truth is not None:
            shown = [
                {
                    "proxy": row["proxy"],
                    "Spearman": _interval_text(row, "spearman"),
                    "Kendall": _interval_text(row, "kendall"),
                    "published Spearman": ", ".join(
                        f"{value:.3g}" for value in row["published spearman"]
                    ),
                }
                for row in self.rows()
            ]
            columns = ["proxy", "Spearman", "Kendall", "published Spearman"]
            lines = [format_table(shown, columns), f"truth: {self.title}", *lines]
            lines += [f"published: {source}" for source in self.sources]
        return "\n".join(lines) + "\n"

    def __repr__(self) -> str:
        return f"ProxyResult({str(self.run.path)!r}, {len(self.genotypes)})"


@holds_run_lock
def score_untrained(
    config: ConfigDict,
    run: str | Path,
    names: Sequence[str] = DEFAULT_PROXIES,
    sample: int = 0,
    fit: int = 0,
    dataset: AnyDataset | None = None,
) -> ProxyResult:
    """Scores untrained networks of a space, and compares the scores with the truth.

    These are all networks of an enumerable space, or a sample. A call that is stopped
    goes on where it was; proxies that are asked for later join those that are there.
    Writes ``proxies.json`` and ``proxies.csv``.

    Args:
      config: settings; the networks have the size that ``retrain`` gives them.
      run: a new directory, or that of the same settings and sample.
      names: of `proxies.PROXIES`.
      sample: number of networks drawn at random; 0 for all, or for 1,000 of a large
        space.
      fit: number of networks to whose truth a ridge regression on the ranks is fitted;
        its agreement is that of the others. 0: none.
      dataset: in place of the one that the config names.

    Returns:
      Scores of all these networks, and their agreement with the truth if a benchmark
      knows it.

    Raises:
      InputError: a mistake in the settings or the data, an unknown proxy, or a sample
        or a fit of a wrong size.
    """
    wall, processor = time.perf_counter(), time.process_time()
    validate_config(config)
    names = list(dict.fromkeys(names))
    if not names or sample < 0 or fit < 0:
        raise InputError(
            f"proxies: want a proxy or more, and numbers of 0 or more, not {names}, "
            f"sample {sample}, fit {fit}"
        )
    for name in names:
        look_up(PROXIES, name, "proxy")
    use_compilation_cache(config.compilation_cache)
    known = known_accuracies(config)
    if fit and known is None:
        raise InputError("a fit needs the truth of a table: set benchmark.table")
    dataset = dataset or load_data(config)
    genotypes = list_paths(get_space(config.space), sample, config.seed)
    if fit and not 3 <= fit < len(genotypes) - 2:
        raise InputError(f"fit is {fit}; want 3 to {len(genotypes) - 3}")
    directory = open_run(run, config, "proxies", dataset)
    table = _ScoreTable(directory.path / SCORES, len(genotypes), sample)
    _fill(table, config, dataset, genotypes, names)
    scores = {name: table.columns[name] for name in names}
    truth = None if known is None else np.array([*map(known.accuracy, genotypes)])
    agreement = {} if truth is None else _compare(scores, truth, fit, config.seed)
    figures = PUBLISHED_CORRELATIONS.get((config.space, dataset.name), ())
    result = ProxyResult(
        genotypes=tuple(genotypes),
        scores=scores,
        truth=truth,
        title=known.title if known else "",
        agreement=agreement,
        published={
            name: tuple(f.spearman[name] for f in figures if name in f.spearman)
            for name in agreement
        },
        sources=tuple(one.source for one in figures),
        seconds=time.perf_counter() - wall,
        cpu_seconds=time.process_time() - processor,
        protocol=describe_proxies(config, dataset),
        run=directory,
    )
    _write(result)
    return result


def read_scores(
    run: Path,
) -> tuple[list[Genotype], dict[str, Float[np.ndarray, " genotype"]]]:
    """Reads the scores that `score_untrained` has left.

    Args:
      run: its directory.

    Returns:
      The networks, and proxy -> score of each.

    Raises:
      InputError: it is no such run, or has not come to its end.
    """
    config = load_settings(RunDirectory(run))
    path = run / SCORES
    arrays = read_npz(path, f"no scores at {path}", f"scores {path} cannot be read")
    length, sample = arrays.pop("shape")
    genotypes = list_paths(get_space(config.space), int(sample), config.seed)
    scores = {name: own for name, own in arrays.items() if len(own) == length}
    if not scores or length != len(genotypes):
        raise InputError(f"{run} has not scored all its networks yet: run it again")
    return genotypes, scores


class _ScoreTable:
    """Scores on disk: of each proxy those of the first networks, as far as they are."""

    def __init__(self, path: Path, length: int, sample: int) -> None:
        self.path = path
        self._shape = np.array([length, sample])
        self.columns: dict[str, np.ndarray] = {}
        if not path.exists():
            return
        arrays = read_npz(path, f"no scores at {path}", f"scores {path} cannot be read")
        if not np.array_equal(arrays.pop("shape", np.zeros(0)), self._shape):
            raise InputError(
                f"{path.parent} has scores of another sample; choose another --run, or "
                "the old --sample"
            )
        self.columns = arrays

    def done(self, name: str) -> int:
        """Returns the number of networks that a proxy has scored."""
        return len(self.columns.get(name, ()))

    def append(self, found: dict[str, np.ndarray]) -> None:
        """Adds scores of the next networks, and writes all."""
        for name, values in found.items():
            before = self.columns.get(name, np.zeros(0))
            self.columns[name] = np.concatenate([before, values.astype(np.float64)])
        buffer = io.BytesIO()
        arrays: dict[str, Any] = {"shape": self._shape, **self.columns}
        np.savez_compressed(buffer, **arrays)
        atomic_write(self.path, buffer.getvalue())


def _fill(
    table: _ScoreTable,
    config: ConfigDict,
    dataset: AnyDataset,
    genotypes: Sequence[Genotype],
    names: Sequence[str],
) -> None:
    """Computes the scores that a table lacks, one program for proxies that go along."""
    layout = make_layout(
        config.devices, _AT_ONCE, "the networks of a call", members=True
    )
    while groups := {table.done(n) for n in names if table.done(n) < len(genotypes)}:
        start = min(groups)
        group = [name for name in names if table.done(name) == start]
        score = make_proxy_scores(config, dataset, group, layout)
        total = len(genotypes)
        with show_progress(total, "proxies", done=start, unit="networks") as bar:
            while start < total:
                count = min(_AT_ONCE, total - start)
                # The last call is filled up with its last network.
                rows = start + np.minimum(np.arange(_AT_ONCE), count - 1)
                found = score([genotypes[row] for row in rows])
                table.append({name: found[name][:count] for name in group})
                start += count
                bar.advance(count, count)
                if start * 20 // total > (start - count) * 20 // total:
                    bar.end_epoch(start, total)


def _compare(
    scores: dict[str, np.ndarray], truth: np.ndarray, fit: int, seed: int
) -> dict[str, RankAgreement]:
    """Returns the agreement of every proxy, and of combinations of them."""
    found = {name: rank_agreement(values, truth) for name, values in scores.items()}
    every = np.stack(list(scores.values()), 1)
    if len(scores) > 1:
        found["mean of ranks"] = rank_agreement(average_ranks(every), truth)
    if set(AZ_NAS) <= set(scores):
        four = np.stack([scores[name] for name in AZ_NAS], 1)
        found["AZ-NAS"] = rank_agreement(sum_log_ranks(four), truth)
    if fit:
        order = np.random.default_rng(seed).permutation(len(truth))
        predicted = fit_ridge(every, order[:fit], truth[order[:fit]])
        others = order[fit:]
        name = f"ridge on {fit}"
        found[name] = rank_agreement(predicted[others], truth[others])
    return found


def _interval_text(row: dict[str, Any], kind: str) -> str:
    low, high = row[f"{kind} 95 %"]
    return f"{row[kind]:.3f} [{low:.3f}, {high:.3f}]"


def _write(result: ProxyResult) -> None:
    place = result.run.path
    summary = {
        "architectures": len(result.genotypes),
        "proxies": list(result.scores),
        "protocol": result.protocol,
        "truth": result.title,
        "correlations": result.rows(),
        "published": list(result.sources),
        "seconds": result.seconds,
        "cpu_seconds": result.cpu_seconds,
    }
    text = json.dumps(_without_nan(summary), indent=1) + "\n"
    atomic_write(place / "proxies.json", text)
    lines = io.StringIO()
    writer = csv.writer(lines, lineterminator="\n")
    known = [] if result.truth is None else [result.truth]
    writer.writerow(["genotype", *result.scores, *["truth" for _ in known]])
    columns = [*result.scores.values(), *known]
    for i, genotype in enumerate(result.genotypes):
        compact = json.dumps(json.loads(genotype.to_json()), separators=(",", ":"))
        writer.writerow([compact, *(repr(float(column[i])) for column in columns)])
    atomic_write(place / "proxies.csv", lines.getvalue())


def _without_nan(value: Any) -> Any:
    """Returns a tree with None for numbers that JSON does not have."""
    if isinstance(value, dict):
        return {key: _without_nan(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_without_nan(one) for one in value]
    is_number = isinstance(value, float)
    return None if is_number and not np.isfinite(value) else value
