"""Training step of a fixed network, from scratch (Liu et al., 2019, 3.2).

    w <- w - optimizer's update of  dT(w)/dw

for the loss T of a training batch. Everything here is pure.
"""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, PRNGKeyArray, UInt

from darts_jax.bilevel import optimizers
from darts_jax.bilevel.losses import Criterion, batch_loss, classification_criterion
from darts_jax.bilevel.microbatches import scan_microbatches
from darts_jax.types import (
    AnyArray,
    Batch,
    Examples,
    Metrics,
    NetworkApply,
    Outputs,
    Params,
    Scalars,
    Stats,
    TrainState,
    step_key,
)

Optimizer = Callable[[Scalars], optax.GradientTransformation]
"""Scalars of a step -> change of the weights from their gradient."""


def make_sgd(scalars: Scalars, nesterov: bool = False) -> optax.GradientTransformation:
    """Returns `optimizers.sgd` by the arguments ``scalars["weights"]``.

    Args:
      scalars: of the step.
      nesterov: True for Nesterov's momentum.
    """
    return optimizers.sgd(**scalars["weights"], nesterov=nesterov)


def auxiliary_criterion(weights: Float[AnyArray, " class"] | None = None) -> Criterion:
    """Returns the criterion of image classification with an auxiliary head.

    The loss is ``CE(main) + auxiliary_weight * CE(auxiliary)`` with smoothed labels.

    Args:
      weights: weight of an image by its class; None weighs all alike.
    """

    def loss(logits: Array, batch: Examples, scalars: Scalars) -> Float[Array, ""]:
        return batch_loss(logits, batch, scalars["label_smoothing"], weights)

    plain = classification_criterion(weights)
    return with_auxiliary(dataclasses.replace(plain, loss=loss))


def with_auxiliary(plain: Criterion) -> Criterion:
    """Returns the criterion of a network with an auxiliary head.

    The loss is ``L(main) + auxiliary_weight * L(auxiliary)``.

    Args:
      plain: the criterion of one head's outputs; L is its loss.
    """

    def loss(logits: Outputs, batch: Batch, scalars: Scalars) -> Float[Array, ""]:
        value = plain.loss(logits.main, batch, scalars)
        if logits.auxiliary is not None:
            extra = plain.loss(logits.auxiliary, batch, scalars)
            value = value + scalars["auxiliary_weight"] * extra
        return value

    return Criterion(
        inputs=plain.inputs,
        loss=loss,
        metrics=lambda loss, logits, batch: plain.metrics(loss, logits.main, batch),
        rewards=lambda logits, batch: plain.rewards(logits.main, batch),
    )


AUXILIARY_CLASSIFICATION = auxiliary_criterion()
"""Criterion of image classification with an auxiliary head, all classes alike."""


@dataclasses.dataclass(frozen=True)
class Training:
    """The training of a fixed network: one function for each slot of the step.

    Attributes:
      apply: forward pass of the network, as `network_apply` makes it.
      microbatches: number of equal parts in which a batch is computed.
      criterion: loss and metrics of the network's outputs.
      optimizer: change of the weights; its initial state depends on no scalar.
      ema: whether exponential moving averages are kept, by the scalar ``ema_decay``.
    """

    apply: NetworkApply
    microbatches: int = 1
    criterion: Criterion = AUXILIARY_CLASSIFICATION
    optimizer: Optimizer = make_sgd
    ema: bool = False

    def init(
        self, key: UInt[Array, " key"], params: Params, stats: Stats
    ) -> TrainState:
        """Returns the state before the first step.

        Args:
          key: raw uint32 data of the run's key, as ``jax.random.key_data`` gives it.
          params: initial weights.
          stats: initial running statistics.
        """
        return TrainState(
            step=jnp.zeros((), jnp.int32),
            key=key,
            params=params,
            stats=stats,
            optimizer=self.optimizer(optimizers.blank_scalars()).init(params),
            ema=(params, stats) if self.ema else None,
        )

    def step(
        self, state: TrainState, batch: Batch, scalars: Scalars
    ) -> tuple[TrainState, Metrics]:
        """Returns the state after one step on a batch.

        Args:
          state: of `init` or of the step before.
          batch: examples of the training set.
          scalars: tree of numbers, as `settings.scalars.training_scalars` makes it:
            ``drop_path``, a probability, and those of optimizer and criterion.

        Returns:
          The new state, and the criterion's metrics, summed over the batch.
        """
        key = step_key(state.key, state.step)

        def loss(params: Params) -> tuple[Float[Array, ""], tuple[Stats, Outputs]]:
            def forward(
                stats: Stats, part: Batch, key: PRNGKeyArray
            ) -> tuple[Float[Array, ""], tuple[Stats, Outputs]]:
                inputs = self.criterion.inputs(part)
                outputs, stats = self.apply(
                    params, stats, inputs, scalars["drop_path"], key, train=True
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
        if self.ema:
            new = move_averages(new, scalars["ema_decay"])
        return new, self.criterion.metrics(value, outputs, batch)


def move_averages(state: TrainState, decay: Float[Array, ""]) -> TrainState:
    """Returns the state whose averages have moved towards its weights and statistics.

    average <- d * average + (1 - d) * value, d the least of ``decay`` and
    (1 + t) / (10 + t) after t steps, so that the first weights are soon forgotten
    (TensorFlow's `ExponentialMovingAverage`, with which EfficientNets were trained).

    Args:
      state: after a step.
      decay: 0 to 1.
    """
    steps = state.step.astype(jnp.float32)
    decay = jnp.minimum(decay, (1 + steps) / (10 + steps))

    def move(average: Array, value: Array) -> Array:
        return average + (1 - decay).astype(average.dtype) * (value - average)

    now = (state.params, state.stats)
    return state.replace(ema=jax.tree.map(move, state.ema, now))
