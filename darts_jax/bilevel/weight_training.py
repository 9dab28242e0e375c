"""Training of one fixed network from scratch: the step, pure."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from darts_jax.bilevel import optimizers
from darts_jax.bilevel.losses import Criterion, classification_criterion, cross_entropy
from darts_jax.bilevel.microbatches import scan_microbatches
from darts_jax.types import (
    AnyArray,
    Batch,
    Examples,
    Metrics,
    Params,
    Scalars,
    Stats,
    TrainState,
    step_key,
)

Optimizer = Callable[[Scalars], optax.GradientTransformation]
"""A step's scalars -> what makes of a gradient the change of the weights."""


def make_sgd(scalars: Scalars, nesterov: bool = False) -> optax.GradientTransformation:
    """`optimizers.sgd` by the scalars ``weights``."""
    return optimizers.sgd(**scalars["weights"], nesterov=nesterov)


def auxiliary_criterion(weights: Float[AnyArray, " class"] | None = None) -> Criterion:
    """Returns the criterion of a network that has logits and an auxiliary head's.

    Args:
      weights: of an image by its class; None: all are equal.
    """
    of_main = classification_criterion(weights)

    def loss(logits: Any, batch: Examples, scalars: Scalars) -> Float[Array, ""]:
        smoothing = scalars["label_smoothing"]
        value = cross_entropy(logits.main, batch.labels, smoothing, weights)
        if logits.auxiliary is not None:
            extra = cross_entropy(logits.auxiliary, batch.labels, smoothing, weights)
            value = value + scalars["auxiliary_weight"] * extra
        return value

    return Criterion(
        inputs=of_main.inputs,
        loss=loss,
        metrics=lambda loss, logits, batch: of_main.metrics(loss, logits.main, batch),
        rewards=lambda logits, batch: of_main.rewards(logits.main, batch),
    )


AUXILIARY_CLASSIFICATION = auxiliary_criterion()
"""Of images by class that all weigh the same."""


@dataclasses.dataclass(frozen=True)
class Training:
    """The recipe of DARTS's evaluation (Liu et al., 2019, section 3.2).

    Attributes:
      apply: ``(params, stats, inputs, drop rate, key, train) -> (outputs, new stats)``.
      microbatches: in how many parts a batch is computed.
      criterion: the task's: what outputs are worth.
      optimizer: of the weights; its first state depends on no scalar.
    """

    apply: Any
    microbatches: int = 1
    criterion: Criterion = AUXILIARY_CLASSIFICATION
    optimizer: Optimizer = make_sgd

    def init(self, key: Array, params: Params, stats: Stats) -> TrainState:
        """The state before the first step; ``key`` is raw key data."""
        step, blank = jnp.zeros((), jnp.int32), self.optimizer(ANY_SCALARS)
        return TrainState(step, key, params, stats, blank.init(params))

    def step(
        self, state: TrainState, batch: Batch, scalars: Scalars
    ) -> tuple[TrainState, Metrics]:
        """One step on a batch as the network sees it.

        Args:
          scalars: ``drop_path``, a rate, and what the optimizer (``weights``) and the
            criterion take.

        Returns:
          The new state; the criterion's metrics, summed over the batch.
        """
        key = step_key(state.key, state.step)

        def loss(params: Params) -> tuple[Array, tuple[Stats, Any]]:
            def forward(stats: Stats, part: Batch, key: Array) -> Any:
                inputs, rate = self.criterion.inputs(part), scalars["drop_path"]
                outputs, stats = self.apply(
                    params, stats, inputs, rate, key, train=True
                )
                return self.criterion.loss(outputs, part, scalars), (stats, outputs)

            whole = scan_microbatches(forward, self.microbatches)
            return whole(state.stats, batch, key)

        (value, (stats, outputs)), gradient = jax.value_and_grad(loss, has_aux=True)(
            state.params
        )
        updates, optimizer = self.optimizer(scalars).update(
            gradient, state.optimizer, state.params
        )
        new = state.replace(
            step=state.step + 1,
            params=optax.apply_updates(state.params, updates),
            stats=stats,
            optimizer=optimizer,
        )
        return new, self.criterion.metrics(value, outputs, batch)


# What an optimizer takes, by name.
ANY_SCALARS: Scalars = {
    "weights": {"learning_rate": 0.0, "momentum": 0.0, "decay": 0.0, "clip": 1.0},
    "averages": 0.0,  # 1: the average moves; see `optimizers.average_weights`
}
