"""One search step: first the architecture, then the weights (Liu et al., alg. 1)."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from darts_jax.bilevel import optimizers
from darts_jax.bilevel.microbatches import over_microbatches
from darts_jax.bilevel.relaxation import relax
from darts_jax.types import (
    Alpha,
    AnyArray,
    Examples,
    Hypergradient,
    Mask,
    Metrics,
    Mixture,
    Params,
    RelaxationFunction,
    Scalars,
    SearchState,
    Stats,
    step_key,
)


@dataclasses.dataclass(frozen=True)
class Search:
    """A method: what fills each slot of the step.

    Attributes:
      apply: the supernet, ``(params, stats, mixture, images, key, train) ->
        (logits, new stats)``.
      mask: kind -> which entries of alpha stand for an operation.
      microbatches: in how many parts a batch is computed.
    """

    apply: Any
    relaxation: RelaxationFunction
    hypergradient: Hypergradient
    mask: Mask
    microbatches: int = 1

    def init(
        self,
        key: Array,
        params: Params,
        stats: Stats,
        alpha: Alpha,
    ) -> SearchState:
        """The state before the first step; ``key`` is raw key data."""
        return SearchState(
            step=jnp.zeros((), jnp.int32),
            key=key,
            params=params,
            stats=stats,
            alpha=alpha,
            weight_optimizer=_sgd(_ANY_SCALARS).init(params),
            alpha_optimizer=_adam(_ANY_SCALARS).init(alpha),
        )

    def mixture(self, key: Array, alpha: Alpha) -> Mixture:
        """The weights with which the supernet mixes its operations."""
        return relax(self.relaxation, key, alpha, self.mask)

    def step(
        self, state: SearchState, train: Examples, valid: Examples, scalars: Scalars
    ) -> tuple[SearchState, Metrics]:
        """One step on a batch of either half of the training images.

        Args:
          train: for the weights; images as the network sees them.
          valid: for the architecture.
          scalars: ``{"weights": {...}, "architecture": {...}}``, what
            `optimizers.sgd` and `optimizers.adam` take.

        Returns:
          The new state; loss and accuracy of the weight step, summed over the batch.
        """
        keys = jax.random.split(step_key(state.key, state.step), 3)
        alpha, alpha_optimizer = self._architecture_step(
            state, train, valid, scalars, keys[0], keys[1]
        )

        (value, (stats, logits)), gradient = jax.value_and_grad(
            self._loss, has_aux=True
        )(state.params, alpha, state.stats, train, keys[2])
        updates, weight_optimizer = _sgd(scalars).update(
            gradient, state.weight_optimizer, state.params
        )
        new = state.replace(
            step=state.step + 1,
            params=optax.apply_updates(state.params, updates),
            stats=stats,
            alpha=alpha,
            weight_optimizer=weight_optimizer,
            alpha_optimizer=alpha_optimizer,
        )
        return new, batch_metrics(value, logits, train.labels)

    def _loss(
        self, params: Params, alpha: Alpha, stats: Stats, examples: Examples, key: Array
    ) -> tuple[Float[Array, ""], tuple[Stats, Array]]:
        mixture = self.mixture(key, alpha)

        def forward(stats: Stats, part: Examples, key: Array) -> Any:
            logits, stats = self.apply(
                params, stats, mixture, part.images, key, train=True
            )
            return cross_entropy(logits, part.labels), (stats, logits)

        return over_microbatches(forward, self.microbatches)(stats, examples, key)

    def _architecture_step(
        self,
        state: SearchState,
        train: Examples,
        valid: Examples,
        scalars: Scalars,
        train_key: Array,
        valid_key: Array,
    ) -> tuple[Alpha, Any]:
        def loss_on(examples: Examples, key: Array) -> Any:
            def loss(params: Params, alpha: Alpha) -> Float[Array, ""]:
                return self._loss(params, alpha, state.stats, examples, key)[0]

            return loss

        def inner_step(gradient: Params, params: Params) -> Params:
            updates, _ = _sgd(scalars).update(gradient, state.weight_optimizer, params)
            return optax.apply_updates(params, updates)

        gradient = self.hypergradient(
            loss_on(train, train_key),
            loss_on(valid, valid_key),
            state.params,
            state.alpha,
            inner_step,
        )
        updates, optimizer = _adam(scalars).update(
            gradient, state.alpha_optimizer, state.alpha
        )
        return optax.apply_updates(state.alpha, updates), optimizer


def cross_entropy(
    logits: Float[Array, "batch class"],
    labels: AnyArray,
    smoothing: float | Float[Array, ""] = 0.0,
) -> Float[Array, ""]:
    """Mean cross entropy; a share ``smoothing`` of the target is spread evenly."""
    wide = logits.dtype if jnp.finfo(logits.dtype).bits >= 32 else jnp.float32
    log_p = jax.nn.log_softmax(logits.astype(wide))
    hard = -jnp.take_along_axis(log_p, labels[:, None], axis=-1)[:, 0]
    return jnp.mean((1 - smoothing) * hard - smoothing * log_p.mean(-1))


def batch_metrics(loss: Array, logits: Array, labels: AnyArray) -> Metrics:
    """Sums over a batch, so that a mean over any number of batches is exact."""
    count = jnp.asarray(labels.shape[0], jnp.float32)
    guesses = jnp.argmax(logits, -1).astype(labels.dtype)
    correct = jnp.sum(guesses == labels).astype(jnp.float32)
    return {
        "loss": loss.astype(jnp.float32) * count,
        "correct": correct,
        "count": count,
    }


# An optimizer's initial state depends on no scalar.
_ANY_SCALARS: Scalars = {
    "weights": {"learning_rate": 0.0, "momentum": 0.0, "decay": 0.0, "clip": 1.0},
    "architecture": {"learning_rate": 0.0, "beta1": 0.0, "beta2": 0.0, "decay": 0.0},
}


def _sgd(scalars: Scalars) -> optax.GradientTransformation:
    return optimizers.sgd(**scalars["weights"])


def _adam(scalars: Scalars) -> optax.GradientTransformation:
    return optimizers.adam(**scalars["architecture"])
