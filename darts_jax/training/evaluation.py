"""Tests of a model on held-out data, and its results by class in a run directory."""

import dataclasses
import json
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from darts_jax.analysis.class_metrics import (
    ClassResult,
    Confusion,
    balanced_accuracy,
    class_results,
    worst_first,
)
from darts_jax.engine.devices import to_host
from darts_jax.engine.job import Job
from darts_jax.errors import InputError
from darts_jax.training.console import format_table
from darts_jax.training.directory import RunDirectory, atomic_write
from darts_jax.training.processes import wait_for_all

SHOWN = 20
"""A table of more classes than this shows the worst ones, `WORST` of them."""

WORST = 10

_DRAWN = 12  # classes of a confusion matrix that fits a terminal


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """Results of a test of a model; arrays are numbers, or [member] of a population.

    Attributes:
      measures: name -> the score, and other measures beside it.
      loss: mean over the examples; None where the task has none.
      confusion: examples by true (row) and predicted class; None without classes.
    """

    measures: dict[str, np.ndarray]
    loss: np.ndarray | None
    confusion: np.ndarray | None


class Evaluator:
    """Held-out data of a job, opened once, and tests of models on them.

    Args:
      job: whose data and score are taken.
      last: takes the data of the last test, where the job has such, in place of those
        that every epoch is tested on.

    Attributes:
      count: number of the examples.
    """

    def __init__(self, job: Job, last: bool = False) -> None:
        feed = job.test if last and job.test is not None else job.held_out
        self.count = feed.count
        self._members = job.members
        self._score = job.score
        self._chunks = feed.open(job.layout)
        self._evaluate = jax.jit(job.evaluate_on(feed))

    def score(self, model: Any) -> np.ndarray:
        """Returns the task's score of a model: a number, or [member].

        Args:
          model: as `Job.model` makes it.
        """
        return self._measure(self._sums(model), self._score.compute)

    def evaluate(self, model: Any) -> Evaluation:
        """Returns all results of a test of a model.

        Args:
          model: as `Job.model` makes it.
        """
        score = self._score
        sums = self._sums(model)
        measures = {
            name: self._measure(sums, measure)
            for name, measure in score.measures.items()
        }
        loss = None if score.loss is None else self._measure(sums, score.loss)
        confusion = None if score.confusion is None else score.confusion(sums)
        return Evaluation(measures, loss, confusion)

    def _sums(self, model: Any) -> Any:
        """Returns the sums of the job's ``evaluate`` over all data, on the host."""
        parts: list[Any] = []
        start = 0
        for stop, data in self._chunks(0, 0):
            sums = self._evaluate(model, data, np.int32(start), np.int32(stop))
            parts.append(to_host(sums))
            start = stop
        return jax.tree.map(_add, *parts)

    def _measure(self, sums: Any, measure: Callable[[Any, int], float]) -> np.ndarray:
        if self._members is None:
            return np.asarray(measure(sums, self.count))
        each = [jax.tree.map(lambda x, i=i: x[i], sums) for i in range(self._members)]
        return np.array([measure(own, self.count) for own in each])


def _add(*parts: np.ndarray) -> np.ndarray:
    """Returns the sum of arrays, in the widest type of their kind."""
    return np.sum(np.stack(parts), axis=0, dtype=_WIDE.get(parts[0].dtype.kind))


_WIDE: dict[str, Any] = {"i": np.int64, "f": np.float64}


@dataclasses.dataclass(frozen=True)
class ByClass:
    """Results of a network on every class of the test data.

    Attributes:
      data: the name of the data set.
      names: of the classes.
      confusion: images by true class (row) and predicted class (column).
      top: name -> share of the images whose class is among the most likely ones, where
        the settings ask for it.
    """

    data: str
    names: tuple[str, ...]
    confusion: Confusion
    top: dict[str, float] = dataclasses.field(default_factory=dict)

    @property
    def results(self) -> list[ClassResult]:
        """Results of every class, in the order of the labels."""
        return class_results(self.confusion, self.names)

    @property
    def accuracy(self) -> float:
        return float(np.trace(self.confusion) / self.confusion.sum())

    @property
    def balanced_accuracy(self) -> float:
        return balanced_accuracy(self.confusion)

    def rows(self) -> list[dict[str, Any]]:
        """Rows of a table: all classes, or the worst where there are many."""
        results = self.results
        if len(results) > SHOWN:
            results = worst_first(results)[:WORST]
        return [
            {
                "class": result.name,
                "images": result.images,
                "predicted": result.predicted,
                "recall %": _percent(result.recall),
                "precision %": _percent(result.precision),
                "most taken for": _taken(result),
            }
            for result in results
        ]

    def __str__(self) -> str:
        rows = self.rows()
        text = (
            f"accuracy {100 * self.accuracy:.2f} %, balanced accuracy "
            f"{100 * self.balanced_accuracy:.2f} % (mean recall of the classes)"
        )
        for name, share in self.top.items():
            text += f", {name.replace('_', ' ')} {100 * share:.2f} %"
        text += "\n\n"
        if len(rows) < len(self.names):
            text += f"the {len(rows)} of {len(self.names)} classes of least recall:\n\n"
        text += format_table(rows, list(rows[0]))
        if len(self.names) > _DRAWN:
            return text
        counts = [
            {"true": name, **dict(zip(self.names, row.tolist(), strict=True))}
            for name, row in zip(self.names, self.confusion, strict=True)
        ]
        drawn = format_table(counts, ["true", *self.names])
        return f"{text}\nimages by true class (row) and predicted class:\n\n{drawn}"


def write_evaluation(directory: RunDirectory, dataset: Any, tested: Evaluation) -> None:
    """Writes ``evaluation.json``, where the test has a confusion matrix.

    Args:
      directory: of the run.
      dataset: that the network was tested on, with the names of its classes.
      tested: results of the test.
    """
    if tested.confusion is None:
        return
    found = ByClass(
        dataset.name,
        tuple(dataset.class_names),
        tested.confusion,
        {n: float(v) for n, v in tested.measures.items() if n.startswith("top_")},
    )
    content = {
        "data": found.data,
        "images": int(found.confusion.sum()),
        "accuracy": found.accuracy,
        "balanced_accuracy": found.balanced_accuracy,
        "classes": [
            {
                "name": result.name,
                "images": result.images,
                "predicted": result.predicted,
                "recall": result.recall,
                "precision": result.precision,
            }
            for result in found.results
        ],
        "confusion": found.confusion.tolist(),
        **({"top": found.top} if found.top else {}),
    }
    atomic_write(directory.evaluation, json.dumps(content) + "\n")
    wait_for_all("the results by class are written")


def read_evaluation(directory: RunDirectory) -> ByClass | None:
    """Returns what `write_evaluation` wrote, or None without it.

    Args:
      directory: of the run.

    Raises:
      InputError: it is damaged.
    """
    try:
        content = json.loads(directory.evaluation.read_text())
        names = tuple(str(result["name"]) for result in content["classes"])
        confusion = np.array(content["confusion"], np.int64)
        data = str(content["data"])
        top = {str(n): float(v) for n, v in content.get("top", {}).items()}
        square = (len(names), len(names))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise _damaged(directory) from None
    if confusion.shape != square or not confusion.any() or confusion.min() < 0:
        raise _damaged(directory)
    return ByClass(data, names, confusion, top)


def _damaged(directory: RunDirectory) -> InputError:
    return InputError(
        f"{directory.evaluation} is damaged; darts-jax evaluate makes it anew"
    )


def _percent(share: float | None) -> float | None:
    return None if share is None else 100 * share


def _taken(result: ClassResult) -> str:
    if result.taken_for is None:
        return ""
    return f"{result.taken_for} ({result.taken / result.images:.0%})"
