"""The result of `retrain`: its networks, their comparison, and the files of it."""

import dataclasses
import json
import statistics
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax

from darts_jax.analysis.comparison import improvement
from darts_jax.analysis.intervals import MeasureRange
from darts_jax.analysis.measures import column_range
from darts_jax.engine.job import Score
from darts_jax.errors import InputError
from darts_jax.files import open_place
from darts_jax.settings.config_files import load_config
from darts_jax.spaces.graph import Genotype
from darts_jax.spaces.written import parse_tree
from darts_jax.tasks.registry import get_score
from darts_jax.training.console import format_table
from darts_jax.training.directory import RunDirectory, atomic_write


@dataclasses.dataclass(frozen=True)
class TrainedNetwork:
    """A network after its training.

    Attributes:
      name: "retrain" for the genotype asked for, "retrain_1" and so on for its further
        trainings, "random_0" and so on for baselines.
      genotype: of the network.
      parameters: trainable scalars, without the auxiliary head.
      score: on the test data, with running statistics.
      held_out: on the data that every epoch was tested on, where these are not the
        test data.
      also: further measures of the test by name.
      cost: in the unit of the result, where random ones were to cost the same.
    """

    name: str
    genotype: Genotype
    parameters: int
    score: float
    held_out: float | None = None
    also: Mapping[str, float] = dataclasses.field(default_factory=dict)
    cost: float | None = None

    @property
    def skips(self) -> int:
        """Number of skip connections among the kept edges."""
        return sum(cell.skips for cell in self.genotype.cells.values())


def is_repeat(name: str) -> bool:
    """Returns whether a network is a further training of the genotype asked for.

    Args:
      name: see `TrainedNetwork.name`.
    """
    return name.startswith("retrain_")


@dataclasses.dataclass(frozen=True)
class RetrainResult:
    """The genotype's network and the random ones trained by the same recipe.

    Attributes:
      networks: the one asked for, its further trainings, then random ones.
      note: a remark of the data set.
      run: the directory of all this.
      measure: the score of the task.
      unit: of the networks' costs, if they were asked for.
    """

    networks: tuple[TrainedNetwork, ...]
    note: str
    run: RunDirectory
    measure: Score
    unit: str = ""

    @property
    def network(self) -> TrainedNetwork:
        """The network of the genotype that was asked for."""
        return self.networks[0]

    @property
    def repeats(self) -> tuple[TrainedNetwork, ...]:
        """Further trainings of the same genotype from other seeds."""
        return tuple(n for n in self.networks if is_repeat(n.name))

    @property
    def baselines(self) -> tuple[TrainedNetwork, ...]:
        """Networks of random genotypes."""
        return tuple(n for n in self.networks if n.name.startswith("random_"))

    @property
    def score(self) -> float:
        """Score of the network that was asked for."""
        return self.network.score

    @property
    def accuracy(self) -> float:
        """Accuracy on the test data.

        Raises:
          InputError: the task has none.
        """
        if "accuracy" in self.network.also:
            return self.network.also["accuracy"]
        if self.measure.name != "accuracy":
            raise InputError(f"networks are measured by {self.measure.name}: see score")
        return self.score

    @property
    def scores(self) -> list[float]:
        """Scores of all trainings of the genotype."""
        return [trained.score for trained in (self.network, *self.repeats)]

    @property
    def random_mean(self) -> float:
        """Mean score of the random genotypes."""
        return statistics.mean(b.score for b in self.baselines)

    def __str__(self) -> str:
        measure = self.measure
        test = f"test {measure.title}"
        valid = f"valid {measure.title}"
        extras = {f"{name} {measure.unit}".rstrip(): name for name in measure.extras}
        columns = ["network", "parameters"]
        if self.unit:
            columns.append(self.unit)
        if self.network.held_out is not None:
            columns.append(valid)
        columns += [test, *extras]
        rows = [
            {
                "network": trained.name,
                "parameters": trained.parameters,
                self.unit: trained.cost,
                test: measure.scaled(trained.score),
                valid: measure.scaled(trained.held_out or 0.0),
                **{k: measure.scaled(trained.also[name]) for k, name in extras.items()},
            }
            for trained in self.networks
        ]
        text = format_table(rows, columns)
        if self.baselines:
            text += f"\n{self._compare_with_random()}\n"
        return text + (f"\n{self.note}\n" if self.note else "")

    def _compare_with_random(self) -> str:
        """Compares the genotype's trainings with the random genotypes', in one line."""
        measure = self.measure
        own = [self.measure.scaled(score) for score in self.scores]
        random = [self.measure.scaled(b.score) for b in self.baselines]
        spread = statistics.stdev(random) if len(random) > 1 else 0.0
        gained = f"{statistics.mean(own) - statistics.mean(random):+{measure.form}}"
        if min(len(own), len(random)) > 1:
            least, most = column_range(f"test_{self.measure.name}")
            within = MeasureRange(self.measure.scaled(least), self.measure.scaled(most))
            gained = improvement(own, random, within).describe(measure.form)
        if not measure.more_is_better:
            gained += "; less is better"
        return (
            f"{len(random)} random genotypes of space "
            f"{self.baselines[0].genotype.space}: mean "
            f"{measure.format_score(self.random_mean)}, standard deviation "
            f"{spread:{measure.form}}; searched minus random {gained}"
        )


def write_retrained(result: RetrainResult) -> None:
    """Writes ``summary.json`` and ``summary.txt`` in the run's directory.

    Args:
      result: of all networks.
    """
    name = result.measure.name
    summary = {
        "networks": [_network_entry(trained, name) for trained in result.networks],
        "note": result.note,
        **({"cost": result.unit} if result.unit else {}),
        "backend": jax.default_backend(),
    }
    atomic_write(result.run.summary_json, json.dumps(summary, indent=1) + "\n")
    atomic_write(result.run.summary_text, str(result))


def _network_entry(trained: TrainedNetwork, score: str) -> dict[str, Any]:
    optional = {f"valid_{score}": trained.held_out, "cost": trained.cost}
    return {
        "name": trained.name,
        "parameters": trained.parameters,
        f"test_{score}": trained.score,
        **{key: value for key, value in optional.items() if value is not None},
        **{f"test_{name}": value for name, value in trained.also.items()},
        "genotype": json.loads(trained.genotype.to_json()),
    }


def read_retrained(run: str | Path) -> RetrainResult | None:
    """Returns what a finished `retrain` left in a run directory, if there was one.

    Args:
      run: the directory.

    Raises:
      InputError: its summary is damaged.
    """
    directory = RunDirectory(open_place(run))
    if not directory.summary_json.exists():
        return None
    measure = get_score(load_config(directory.config))
    try:
        summary = json.loads(directory.summary_json.read_text())
        networks = [
            TrainedNetwork(
                network["name"],
                parse_tree(network["genotype"]),
                network["parameters"],
                network[f"test_{measure.name}"],
                network.get(f"valid_{measure.name}"),
                {name: network[f"test_{name}"] for name in measure.extras},
                network.get("cost"),
            )
            for network in summary["networks"]
        ]
        result = RetrainResult(
            tuple(networks),
            note=summary["note"],
            run=directory,
            measure=measure,
            unit=summary.get("cost", ""),
        )
    except InputError as error:
        raise InputError(f"{directory.summary_json}: {error}") from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise InputError(f"{directory.summary_json} is damaged") from None
    return result
