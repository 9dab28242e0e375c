"""What a search tells of itself after every epoch, and whether it should end."""

from collections.abc import Iterator, Mapping
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
from darts_jax.nasbench.known import known_accuracies
from darts_jax.spaces import get_space
from darts_jax.spaces.graph import Genotype
from darts_jax.tasks.slots import make_discretization, make_stop
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

Saved = dict[str, np.ndarray]


class SearchObserver(Observer):
    """Saves the architecture of every epoch, measures it, and asks the stop rule.

    Args:
      stage: that is watched; its records are read when it goes on.
      offset: epochs of the run directory that came before.
      members: None, or the size of the population.
      live: is shown every record as soon as it is on disk.
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
        self.stage, self.config, self.directory = stage, config, directory
        self.offset, self.members, self.live = offset, members, live
        self.space = get_space(config.space)
        self.discretize = make_discretization(config)
        # Nothing ends the last of several attempts (DARTS-ADA's code).
        last = 0 < stage.attempt == config.search.stopping.restarts
        self.rule = None if last else make_stop(config)
        self.read = weight_reader(config.search.relaxation)
        self.known = known_accuracies(config)
        self.warned: set[str] = set()
        self.last: tuple[int, Saved] | None = None
        self.stop: Stop | None = None

    def measure(self, moment: EpochEnd) -> dict[str, Any]:
        """Of each member, if there are any; a member without numbers measures NaN."""
        epoch, state = moment.epoch, moment.state
        alpha = self._without_pruned(to_host(state.alpha), to_host(state.mask))
        if self.members is None:
            # The loss may be finite: that of random paths does not depend on them.
            require_finite_alpha(self.space, alpha, f" after epoch {epoch}")
        save_architecture(self.directory, self.offset + epoch, alpha)
        before = self._before(epoch) or alpha
        self.last = epoch, alpha
        genotypes = [self._genotype(own) for own in self._each(alpha)]
        hard, score = self._discretized(moment, genotypes), moment.job.score
        gap = score.merit(np.atleast_1d(moment.held_out)) - score.merit(hard)
        measured = self._described(alpha, before, genotypes) | {
            f"discretized_{score.name}": list(hard),
            "discretization_gap": list(gap),
            **self._probed(moment),
            **self._scored(genotypes),
        }
        if self.members is None:
            self._warn(moment, alpha, genotypes[0], measured["entropy"][0])
            return {name: _plain(values[0]) for name, values in measured.items()}
        return {
            name: [_plain(value) for value in values]
            for name, values in measured.items()
        }

    def on_record(self, record: dict[str, Any]) -> None:
        if self.live is not None:
            counted = {name: self.offset + record[name] for name in ("epoch", "epochs")}
            self.live(record | counted)

    def should_stop(self, epoch: int) -> bool:
        if self.rule is None or not epoch:
            return False
        wait_for_all(f"epoch {epoch} is recorded")
        self.stop = self.rule(self.space, self._history(epoch))
        if self.stop is not None:
            print_status(
                f"{self.stage.verb}: ended after epoch {epoch}: {self.stop.reason}"
            )
        return self.stop is not None

    def load_alpha(self, epoch: int) -> Saved:
        """The architecture after an epoch of this run."""
        return load_architecture(self.directory.architecture_at(self.offset + epoch))

    def _without_pruned(self, alpha: Saved, mask: Saved) -> Saved:
        """Parameters as they are saved: such as weigh nothing where pruned."""
        simplex = RELAXATIONS[self.config.search.relaxation].simplex
        gone = np.float32(0 if simplex else -np.inf)
        kept = dict(alpha)
        for kind, cell in self.space.cells.items():
            pruned = np.array(cell.mask) & ~mask[kind]
            kept[kind] = np.where(pruned, gone, alpha[kind])
        return kept

    def _before(self, epoch: int) -> Saved | None:
        if self.last is not None and self.last[0] == epoch - 1:
            return self.last[1]
        return self.load_alpha(epoch - 1) if epoch > 1 else None

    def _history(self, epochs: int) -> list[EpochRecord]:
        # Of the runs that this one began anew from, too: the last record of an epoch.
        eigenvalues = {
            record["epoch"]: record.get("eigenvalue")
            for record in read_metrics(self.directory.metrics)
            if self.stage.includes(record["verb"])
        }
        history = []
        for epoch in range(1, epochs + 1):
            alpha = self.load_alpha(epoch)
            genotype = self.discretize(self.space, alpha)
            history.append(EpochRecord(epoch, alpha, genotype, eigenvalues.get(epoch)))
        return history

    def _each(self, alpha: Mapping[str, np.ndarray]) -> Iterator[Saved]:
        if self.members is None:
            yield dict(alpha)
            return
        for i in range(self.members):
            yield {name: values[i] for name, values in alpha.items()}

    def _genotype(self, alpha: Saved) -> Genotype | None:
        if kinds_with_invalid_alpha(self.space, alpha):
            return None
        return self.discretize(self.space, alpha)

    def _described(
        self, alpha: Saved, before: Saved, genotypes: list[Genotype | None]
    ) -> dict[str, list[Any]]:
        """Name -> its number of every member."""
        of_all = zip(self._each(alpha), self._each(before), genotypes, strict=True)
        told = [describe_epoch(self.space, *own, self.read) for own in of_all]
        return {name: [each[name] for each in told] for name in told[0]}

    def _discretized(
        self, moment: EpochEnd, genotypes: list[Genotype | None]
    ) -> Float[np.ndarray, " member"]:
        """Score of the supernet with nothing but what its genotype keeps."""
        blank = jax.tree.map(np.asarray, zero_mixture(self.space))
        hard = [one_hot(self.space, g) if g else blank for g in genotypes]
        mixture: Any = jax.tree.map(lambda *leaves: np.stack(leaves), *hard)
        if self.members is None:
            mixture = hard[0]
        model = moment.model.replace(mixture=mixture)
        scores = np.atleast_1d(moment.score(model))
        return np.where([g is not None for g in genotypes], scores, np.nan)

    def _scored(self, genotypes: list[Genotype | None]) -> dict[str, list[Any]]:
        """By the benchmark, if there is one."""
        if self.known is None:
            return {}
        score = self.known.accuracy
        return {"benchmark_accuracy": [score(g) if g else np.nan for g in genotypes]}

    def _probed(self, moment: EpochEnd) -> dict[str, list[Any]]:
        settings = self.config.search.diagnostics
        due = {
            "eigenvalue": settings.eigenvalue_every,
            "cosine": settings.cosine_every,
        }
        step = np.int32(moment.job.steps_per_epoch - 1)
        found: dict[str, list[Any]] = {}
        for name, every in due.items():
            if every and moment.epoch % every == 0:
                values = jax.jit(moment.job.probes[name])(
                    *(moment.state, moment.data, moment.scalars),
                    *(np.int32(moment.epoch - 1), step),
                )
                found |= {k: list(np.atleast_1d(v)) for k, v in to_host(values).items()}
        return found

    def _warn(
        self, moment: EpochEnd, alpha: Saved, genotype: Genotype | None, entropy: float
    ) -> None:
        early = moment.epoch < moment.job.epochs and entropy > UNDECIDED
        if genotype is None or early:
            return
        for line in collapse_warnings(self.space, alpha, genotype, self.read):
            if line not in self.warned:
                print_status(f"{self.stage.verb}: warning: {line}")
            self.warned.add(line)


def _plain(value: Any) -> Any:
    """A number that JSON has: None for one that is none."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value
