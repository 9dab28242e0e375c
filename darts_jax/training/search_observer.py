"""Observer of a search: saves and measures its architecture, asks the stop rule."""

from collections.abc import Iterator
from typing import Any

import jax
import numpy as np
from jaxtyping import Float

from darts_jax.analysis.diagnostics import UNDECIDED, collapse_warnings, describe_epoch
from darts_jax.bilevel.discretization import (
    kinds_with_invalid_alpha,
    one_hot,
    require_finite_alpha,
    weight_reader,
)
from darts_jax.bilevel.relaxation import RELAXATIONS
from darts_jax.bilevel.stopping import EpochRecord, Stop
from darts_jax.engine.devices import to_host
from darts_jax.models.functional import zero_mixture
from darts_jax.spaces import get_space
from darts_jax.spaces.graph import Genotype
from darts_jax.tasks.benchmark import known_accuracies
from darts_jax.tasks.search_job import make_discretization, make_stop
from darts_jax.training.console import print_status
from darts_jax.training.directory import (
    RunDirectory,
    load_architecture,
    save_architecture,
)
from darts_jax.training.live import Live
from darts_jax.training.loop import EpochEnd, Observer
from darts_jax.training.metrics import read_metrics
from darts_jax.training.processes import wait_for_all
from darts_jax.training.stages import Stage

Alpha = dict[str, np.ndarray]
"""Kind of cell -> architecture parameters [edge, op]; [member, edge, op] of all."""


class SearchObserver(Observer):
    """Saves the architecture of every epoch, measures it, and asks the stop rule.

    Whatever it decides follows from what is on disk, so that a run which goes on
    decides as one that was not interrupted.

    Args:
      stage: the search; its records are read when it goes on.
      directory: of the run.
      offset: epochs of the stages before.
      members: size of the population; None of a single search.
      live: takes every record as soon as it is on disk.

    Attributes:
      stop: why and at which epoch the search has ended, once a rule has ended it.
    """

    def __init__(
        self,
        stage: Stage,
        directory: RunDirectory,
        offset: int = 0,
        members: int | None = None,
        live: Live | None = None,
    ) -> None:
        config = stage.config
        self._stage = stage
        self._config = config
        self._directory = directory
        self._offset = offset
        self._members = members
        self._live = live
        self._space = get_space(config.space)
        self._discretize = make_discretization(config)
        # Nothing ends the last of several attempts (DARTS-ADA's code).
        last = 0 < stage.attempt == config.search.stopping.restarts
        self._rule = None if last else make_stop(config)
        self._read = weight_reader(config.search.relaxation)
        self._known = known_accuracies(config)
        self._warned: set[str] = set()
        self._last: tuple[int, Alpha] | None = None
        self.stop: Stop | None = None

    def measure(self, end: EpochEnd) -> dict[str, Any]:
        """Returns name -> measure; a list of every member's in a population.

        A member whose parameters are no numbers measures NaN.
        """
        epoch = end.epoch
        state = end.state
        alpha = self._without_pruned(to_host(state.alpha), to_host(state.mask))
        if self._members is None:
            # The loss may be finite: that of random paths does not depend on them.
            require_finite_alpha(self._space, alpha, f" after epoch {epoch}")
        save_architecture(self._directory, self._offset + epoch, alpha)
        before = self._alpha_before(epoch) or alpha
        self._last = (epoch, alpha)
        genotypes = [self._genotype(own) for own in self._split_members(alpha)]
        score = end.job.score
        hard = self._discretized_scores(end, genotypes)
        gap = score.merit(np.atleast_1d(end.held_out)) - score.merit(hard)
        measured = self._diagnostics(alpha, before, genotypes) | {
            f"discretized_{score.name}": list(hard),
            "discretization_gap": list(gap),
            **self._probe(end),
            **self._benchmark_accuracies(genotypes),
        }
        if self._members is None:
            self._warn(end, alpha, genotypes[0], measured["entropy"][0])
            return {name: _to_json(values[0]) for name, values in measured.items()}
        return {
            name: [_to_json(value) for value in values]
            for name, values in measured.items()
        }

    def on_record(self, record: dict[str, Any]) -> None:
        if self._live is not None:
            counted = {
                name: self._offset + record[name] for name in ("epoch", "epochs")
            }
            self._live(record | counted)

    def should_stop(self, epoch: int) -> bool:
        if self._rule is None or not epoch:
            return False
        wait_for_all(f"epoch {epoch} is recorded")
        self.stop = self._rule(self._space, self._history(epoch))
        if self.stop is not None:
            print_status(
                f"{self._stage.verb}: ended after epoch {epoch}: {self.stop.reason}"
            )
        return self.stop is not None

    def load_alpha(self, epoch: int) -> Alpha:
        """Reads the architecture after an epoch of this stage, counted from 1."""
        return load_architecture(self._directory.architecture_at(self._offset + epoch))

    def _without_pruned(self, alpha: Alpha, mask: Alpha) -> Alpha:
        """Returns the parameters as they are saved: pruned operations weigh nothing."""
        simplex = RELAXATIONS[self._config.search.relaxation].simplex
        gone = np.float32(0 if simplex else -np.inf)
        kept = dict(alpha)
        for kind, cell in self._space.cells.items():
            pruned = np.array(cell.mask) & ~mask[kind]
            kept[kind] = np.where(pruned, gone, alpha[kind])
        return kept

    def _alpha_before(self, epoch: int) -> Alpha | None:
        if self._last is not None and self._last[0] == epoch - 1:
            return self._last[1]
        return self.load_alpha(epoch - 1) if epoch > 1 else None

    def _history(self, epochs: int) -> list[EpochRecord]:
        # Of the runs that this one began anew from, too: the last record of an epoch.
        eigenvalues = {
            record["epoch"]: record.get("eigenvalue")
            for record in read_metrics(self._directory.metrics)
            if self._stage.includes(record["verb"])
        }
        history = []
        for epoch in range(1, epochs + 1):
            alpha = self.load_alpha(epoch)
            genotype = self._discretize(self._space, alpha)
            history.append(EpochRecord(epoch, alpha, genotype, eigenvalues.get(epoch)))
        return history

    def _split_members(self, alpha: Alpha) -> Iterator[Alpha]:
        if self._members is None:
            yield alpha
            return
        for i in range(self._members):
            yield {name: values[i] for name, values in alpha.items()}

    def _genotype(self, alpha: Alpha) -> Genotype | None:
        if kinds_with_invalid_alpha(self._space, alpha):
            return None
        return self._discretize(self._space, alpha)

    def _diagnostics(
        self, alpha: Alpha, before: Alpha, genotypes: list[Genotype | None]
    ) -> dict[str, list[Any]]:
        """Returns name -> the number of every member."""
        members = [
            describe_epoch(self._space, now, then, genotype, self._read)
            for now, then, genotype in zip(
                self._split_members(alpha),
                self._split_members(before),
                genotypes,
                strict=True,
            )
        ]
        return {name: [each[name] for each in members] for name in members[0]}

    def _discretized_scores(
        self, end: EpochEnd, genotypes: list[Genotype | None]
    ) -> Float[np.ndarray, " member"]:
        """Returns the score of the supernet with its genotype's operations alone."""
        blank = jax.tree.map(np.asarray, zero_mixture(self._space))
        hard = [one_hot(self._space, g) if g else blank for g in genotypes]
        mixture: Any = jax.tree.map(lambda *leaves: np.stack(leaves), *hard)
        if self._members is None:
            mixture = hard[0]
        model = end.model.replace(mixture=mixture)
        scores = np.atleast_1d(end.score(model))
        return np.where([g is not None for g in genotypes], scores, np.nan)

    def _benchmark_accuracies(
        self, genotypes: list[Genotype | None]
    ) -> dict[str, list[Any]]:
        if self._known is None:
            return {}
        score = self._known.accuracy
        return {"benchmark_accuracy": [score(g) if g else np.nan for g in genotypes]}

    def _probe(self, end: EpochEnd) -> dict[str, list[Any]]:
        """Returns the measures that are due only every so many epochs."""
        settings = self._config.search.diagnostics
        due = {
            "eigenvalue": settings.eigenvalue_every,
            "cosine": settings.cosine_every,
        }
        step = np.int32(end.job.steps_per_epoch - 1)
        found: dict[str, list[Any]] = {}
        for name, every in due.items():
            if every and end.epoch % every == 0:
                probe = jax.jit(end.job.probes[name])
                epoch = np.int32(end.epoch - 1)
                values = probe(end.state, end.data, end.scalars, epoch, step)
                found |= {k: list(np.atleast_1d(v)) for k, v in to_host(values).items()}
        return found

    def _warn(
        self, end: EpochEnd, alpha: Alpha, genotype: Genotype | None, entropy: float
    ) -> None:
        """Prints signs of a collapse, each once, when the search has decided enough."""
        is_early = end.epoch < end.job.epochs and entropy > UNDECIDED
        if genotype is None or is_early:
            return
        for line in collapse_warnings(self._space, alpha, genotype, self._read):
            if line not in self._warned:
                print_status(f"{self._stage.verb}: warning: {line}")
            self._warned.add(line)


def _to_json(value: Any) -> Any:
    """Returns a value as JSON has it: None for NaN and infinity."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value
