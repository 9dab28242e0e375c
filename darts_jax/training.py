"""Training of one fixed network from scratch: the step, pure."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array

from darts_jax.bilevel import optimizers
from darts_jax.bilevel.losses import batch_metrics, cross_entropy
from darts_jax.bilevel.microbatches import over_microbatches
from darts_jax.types import (
    Examples,
    Metrics,
    Params,
    Scalars,
    Stats,
    TrainState,
    step_key,
)


@dataclasses.dataclass(frozen=True)
class Training:
    """The recipe of DARTS's evaluation (Liu et al., 2019, section 3.2).

    Attributes:
      apply: ``(params, stats, images, drop rate, key, train) -> (logits, new stats)``,
        the logits those of the network and of its auxiliary head.
      microbatches: in how many parts a batch is computed.
    """

    apply: Any
    microbatches: int = 1

    def init(self, key: Array, params: Params, stats: Stats) -> TrainState:
        """The state before the first step; ``key`` is raw key data."""
        blank = optimizers.sgd(learning_rate=0.0, momentum=0.0, decay=0.0, clip=1.0)
        step = jnp.zeros((), jnp.int32)
        return TrainState(step, key, params, stats, blank.init(params))

    def step(
        self, state: TrainState, batch: Examples, scalars: Scalars
    ) -> tuple[TrainState, Metrics]:
        """One step on images as the network sees them.

        Args:
          scalars: ``weights`` (what `optimizers.sgd` takes), ``drop_path`` (a rate),
            ``auxiliary_weight``, ``label_smoothing``.

        Returns:
          The new state; loss and correct answers, summed over the batch.
        """
        key = step_key(state.key, state.step)
        smoothing = scalars["label_smoothing"]

        def loss(params: Params) -> tuple[Array, tuple[Stats, Array]]:
            def forward(stats: Stats, part: Examples, key: Array) -> Any:
                logits, stats = self.apply(
                    params, stats, part.images, scalars["drop_path"], key, train=True
                )
                value = cross_entropy(logits.main, part.labels, smoothing)
                if logits.auxiliary is not None:
                    extra = cross_entropy(logits.auxiliary, part.labels, smoothing)
                    value = value + scalars["auxiliary_weight"] * extra
                return value, (stats, logits.main)

            whole = over_microbatches(forward, self.microbatches)
            return whole(state.stats, batch, key)

        (value, (stats, logits)), gradient = jax.value_and_grad(loss, has_aux=True)(
            state.params
        )
        updates, optimizer = optimizers.sgd(**scalars["weights"]).update(
            gradient, state.optimizer, state.params
        )
        new = state.replace(
            step=state.step + 1,
            params=optax.apply_updates(state.params, updates),
            stats=stats,
            optimizer=optimizer,
        )
        return new, batch_metrics(value, logits, batch.labels)
