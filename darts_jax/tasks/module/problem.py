"""A user's own problem: a network, examples, a loss and a metric."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, Required, TypedDict, overload

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn
from flax import nnx
from jaxtyping import Array, Float
from ml_collections import ConfigDict

from darts_jax.choices.adapters import Functions
from darts_jax.choices.space import ModuleSpace, space_of
from darts_jax.data.examples import ExampleSet, identify_examples, make_example_set
from darts_jax.data.identity import identify
from darts_jax.engine.job import Score
from darts_jax.errors import InputError
from darts_jax.settings.config import default_config, with_overrides
from darts_jax.settings.schema import METRICS
from darts_jax.spaces.modules import Measured, write_space
from darts_jax.types import AnyArray, Batch, Inputs, Outputs

Loss = Callable[[Outputs, Any], Float[Array, ""]]
"""(outputs, targets) -> mean loss of the batch."""

Metric = Callable[[Outputs, Any], Float[Array, " batch"]]
"""(outputs, targets) -> a number for each example."""

Module = nn.Module | nnx.Module | Functions | Callable[..., nnx.Module]
"""A network of one's own."""

NAME = "module"
"""Value of the setting ``task`` for networks of one's own."""

_EXAMPLES = 2  # of the network's example
_OF_CLASSES = ("balanced_accuracy",)


class ProblemParts(TypedDict, total=False):
    """Arguments of `make_problem` beside the network."""

    data: Required[object]
    loss: Required[Loss]
    test: object
    metric: Metric | str
    more_is_better: bool
    inputs: Callable[[Batch], Inputs] | None
    optimizer: optax.GradientTransformation | None
    name: str


@dataclasses.dataclass(frozen=True, eq=False)
class Problem:
    """A network of one's own with what it learns from: all verbs take it as data.

    Attributes:
      network: the network and its choices.
      examples: to learn from, and to test on.
      loss: mean loss of a batch.
      metric: a number for each example, whose mean is the score.
      score: name and direction of the metric.
      inputs: batch -> what the network takes.
      targets: batch -> what loss and metric take.
      optimizer: of the weights, in place of the settings'; None: theirs.
    """

    network: ModuleSpace
    examples: ExampleSet
    loss: Loss
    metric: Metric
    score: Score
    inputs: Callable[[Batch], Inputs]
    targets: Callable[[Batch], object]
    optimizer: optax.GradientTransformation | None = None

    def config(self, *overrides: str, base: ConfigDict | None = None) -> ConfigDict:
        """Returns settings for this problem.

        Args:
          overrides: ``"search.epochs=3"`` and the like.
          base: settings in place of the defaults.

        Raises:
          InputError: a setting is unknown, or its value is not allowed.
        """
        own = [f"task={NAME}", f"space={self.network.name}"]
        own += [f"data.metric={self.score.name}", f"data.name={self.examples.name}"]
        return with_overrides(base or default_config(), [*own, *overrides])

    def to_json(self) -> str:
        """Returns the choices and the measure, as a run directory keeps them."""
        return write_space(self.network.space, _measured(self.score))

    @property
    def name(self) -> str:
        return self.examples.name

    @property
    def note(self) -> str:
        return self.examples.note


def make_problem(
    module: Module,
    *,
    data: object,
    loss: Loss,
    test: object = None,
    metric: Metric | str = "loss",
    more_is_better: bool = True,
    inputs: Callable[[Batch], Inputs] | None = None,
    optimizer: optax.GradientTransformation | None = None,
    name: str = "",
) -> Problem:
    """Makes a problem of a network of one's own.

    Args:
      module: Linen module, NNX module, function of ``rngs`` that makes one, or
        `Functions`; see `space_of`.
      data: training examples, as of `make_example_set`: pairs (inputs, targets), or any
        tree if ``inputs`` is given.
      loss: (outputs, targets) -> mean loss of a batch; with ``inputs``, of (outputs,
        batch).
      test: test examples; None: the last fifth of ``data``.
      metric: (outputs, targets) -> a number for each example, or "accuracy" of classes,
        or "loss".
      more_is_better: whether a larger metric of one's own is a better one.
      inputs: batch -> what the network takes, where examples are no pairs.
      optimizer: of the weights, in place of the settings' SGD; any of optax's.
      name: of the network's space; by default that of the module's class.

    Raises:
      InputError: examples that cannot be read, a choice that cannot be, or an unknown
        metric.
    """
    examples = make_example_set(data, test)
    if inputs is None:
        if not isinstance(examples.train, tuple | list) or len(examples.train) != 2:
            raise InputError(
                "examples are no pairs (inputs, targets); want such, or "
                "inputs=FUNCTION that takes a network's inputs out of a batch"
            )
        inputs, targets = _first, _second
    else:
        targets = _whole
    example = inputs(jax.tree.map(lambda leaf: leaf[:_EXAMPLES], examples.train))
    network = space_of(module, example, name)
    each, score = _make_score(metric, loss, more_is_better)
    METRICS[score.name] = _measured(score)
    return Problem(
        network, examples, loss, each, score, inputs, targets, optimizer=optimizer
    )


def _first(batch: Batch) -> Any:
    return batch[0]


def _second(batch: Batch) -> Any:
    return batch[1]


def _whole(batch: Batch) -> Any:
    return batch


def is_right(outputs: Outputs, targets: AnyArray) -> Float[Array, " batch"]:
    """Returns 1 for every example whose likeliest class is right.

    Args:
      outputs: logits [batch, ..., class].
      targets: numbers of classes [batch, ...]; the mean of an example's.
    """
    right = jnp.argmax(outputs, -1) == targets
    return jnp.mean(right.reshape(len(right), -1), -1)


def losses_of(loss: Loss) -> Metric:
    """Returns the loss of each example, from the mean loss of a batch.

    Args:
      loss: of a batch.
    """

    def one(outputs: Outputs, targets: Any) -> Array:
        alone = jax.tree.map(lambda leaf: leaf[None], (outputs, targets))
        return loss(*alone)

    return lambda outputs, targets: jax.vmap(one)(outputs, targets)


def _make_score(
    metric: Metric | str, loss: Loss, more_is_better: bool
) -> tuple[Metric, Score]:
    known = {"accuracy": is_right, "loss": losses_of(loss)}
    if isinstance(metric, str):
        if metric not in known:
            raise InputError(
                f"metric is {metric!r}; want a function of (outputs, targets), or "
                f"{' or '.join(known)}"
            )
        return known[metric], _score_of(METRICS[metric])
    named = getattr(metric, "__name__", "metric").strip("<>_")
    return metric, _score_of(Measured(named, more_is_better))


def _score_of(measured: Measured) -> Score:
    return Score(
        measured.name,
        _mean,
        measured.more_is_better,
        measured.scale,
        measured.unit,
        loss=_mean_loss,
    )


def _measured(score: Score) -> Measured:
    return Measured(score.name, score.more_is_better, score.scale, score.unit)


def _mean(sums: Any, count: int) -> float:
    return float(sums["metric"]) / count


def _mean_loss(sums: Any, count: int) -> float:
    return float(sums["loss"]) / count


class _Scores(Sequence[Score]):
    """Scores of all known measures, the loss first."""

    def __len__(self) -> int:
        return len(self._known())

    @overload
    def __getitem__(self, index: int) -> Score: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[Score]: ...

    def __getitem__(self, index: int | slice) -> Score | Sequence[Score]:
        return self._known()[index]

    def _known(self) -> list[Score]:
        own = [known for known in METRICS.values() if known.name not in _OF_CLASSES]
        own.sort(key=lambda known: known.name != "loss")
        return list(map(_score_of, own))


SCORES = _Scores()
"""Scores that networks of one's own may be measured by."""


identify.register(Problem, lambda problem: identify_examples(problem.examples))
