"""Updates of the architecture: from a gradient by alpha to the next alpha.

An update is a function of all scalars of the architecture, numbers or arrays, to an
optax transformation. `reinforce_gradient` may come before one: a gradient from rewards
alone. To add one: ``ARCHITECTURE_UPDATES["mine"] = ArchitectureUpdate(mine)``.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from darts_jax.bilevel.optimizers import Scalar, adam, sgd
from darts_jax.bilevel.relaxation import edge_simplex, edge_softmax
from darts_jax.documentation import implements
from darts_jax.types import EDGES, Alpha, Mask, Mixture, Scalars, Targets


class Transformation(Protocol):
    """Change of alpha from its gradient, given a step's scalars.

    Args:
      scalars: of the architecture's step, by name.

    Returns:
      The transformation.
    """

    def __call__(self, scalars: Scalars) -> optax.GradientTransformation: ...


@dataclasses.dataclass(frozen=True)
class ArchitectureUpdate:
    """An update of alpha, and what a search has to know of it.

    Attributes:
      transformation: change of alpha from its gradient, given the scalars of the
        architecture by name.
      rewards: True if the gradient is that of `reinforce_gradient`, not a derivative.
      simplex: True if alpha itself is the mixture.
      with_edges: state in which each edge ends, by kind -> the transformation where
        edges have shares of their own on the simplex.
    """

    transformation: Transformation
    rewards: bool = False
    simplex: bool = False
    with_edges: Callable[[Targets], Transformation] | None = None


LEAST_WEIGHT = 1e-5  # of an operation on the simplex


def exponentiated_gradient(
    *,
    learning_rate: Scalar,
    least_weight: Scalar = LEAST_WEIGHT,
    targets: Targets | None = None,
) -> optax.GradientTransformation:
    """Returns alpha <- alpha * exp(-rate * gradient), each edge divided by its sum.

    GAEA (Li et al., 2021), section 3: mirror descent by the entropy. Alpha itself is
    the mixture, each edge [op] on the simplex; `uniform_simplex` is its start. What is
    0 stays 0, so that operations that do not exist need no mask. Shares of edges are
    divided by their sum over the edges into a node, without a least one, as in the
    paper's code.

    Args:
      learning_rate: rate, 0 or more.
      least_weight: of an operation that exists, from which it can return; by default
        that of the paper's code.
      targets: kind -> state in which each edge ends; alpha then has shares of edges
        [edge] of these kinds, too, by the kind's name + `EDGES`.

    Raises:
      ValueError: an update without the present alpha.
    """
    shared = {kind + EDGES: ends for kind, ends in (targets or {}).items()}

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        if params is None:
            raise ValueError("exponentiated_gradient needs alpha: update(g, state, a)")

        def change(gradient: Array, weights: Array) -> Array:
            # By logarithms, as the exponential of a large gradient overflows.
            weighted = jax.nn.softmax(jnp.log(weights) - learning_rate * gradient)
            kept = jnp.where(weights > 0, jnp.maximum(weighted, least_weight), 0)
            return kept / kept.sum(-1, keepdims=True) - weights

        if not shared:
            return jax.tree.map(change, updates, params), state
        return {
            name: edge_softmax(
                jnp.log(weights) - learning_rate * updates[name], shared[name]
            )
            - weights
            if name in shared
            else change(updates[name], weights)
            for name, weights in params.items()
        }, state

    return optax.GradientTransformation(lambda params: optax.EmptyState(), update)


def uniform_simplex(mask: Mask, targets: Targets | None = None) -> Alpha:
    """Returns equal weights for an edge's operations, float32 [edge, op] by kind.

    Args:
      mask: kind -> [edge, op], False where there is no operation.
      targets: kind -> state in which each edge ends; adds equal shares [edge] of the
        edges into a node, by the kind's name + `EDGES`.
    """
    exists = {kind: jnp.asarray(m, jnp.float32) for kind, m in mask.items()}
    weights = {kind: m / m.sum(-1, keepdims=True) for kind, m in exists.items()}
    return weights | {
        kind + EDGES: edge_simplex(jnp.ones(len(ends), jnp.float32), ends)
        for kind, ends in (targets or {}).items()
    }


def reinforce_gradient(
    sample: Mixture,
    logits: Alpha,
    mask: Mask,
    reward: Float[Array, ""],
    baseline: Float[Array, ""],
    entropy: Scalar = 0.0,
) -> Alpha:
    """Computes the gradient of minus the expected reward, from one sample.

    -(reward - baseline) * d log pi(sample) - entropy * d H(pi), with pi the product of
    every edge's softmax (Williams, 1992; ENAS, Pham et al., 2018, section 2.2). Its
    mean over samples from pi is the gradient itself for any baseline that does not
    depend on the sample, such as `next_baseline` of the rewards before.

    Args:
      sample: one-hot weights, drawn from pi.
      logits: [edge, op] by kind.
      mask: kind -> [edge, op], False where there is no operation.
      reward: of the sample.
      baseline: expected reward.
      entropy: weight of pi's entropy in nats, summed over edges.

    Returns:
      Gradient to descend, [edge, op] by kind.
    """

    def objective(logits: Alpha) -> Float[Array, ""]:
        gains = []
        for kind, chosen in sample.weights.items():
            exists = jnp.asarray(mask[kind])
            log_pi = jax.nn.log_softmax(jnp.where(exists, logits[kind], -jnp.inf))
            # Before any product: 0 * inf would be no number.
            log_pi = jnp.where(exists, log_pi, 0)
            pi = jnp.where(exists, jnp.exp(log_pi), 0)
            score = jnp.sum(chosen * log_pi)
            gains.append((reward - baseline) * score - entropy * jnp.sum(pi * log_pi))
        return -optax.tree.sum(gains)

    return jax.grad(objective)(logits)


def next_baseline(
    baseline: Float[Array, ""], reward: Float[Array, ""], decay: Scalar
) -> Float[Array, ""]:
    """Returns decay * baseline + (1 - decay) * reward (Pham et al., 2018).

    Args:
      baseline: moving average of the rewards before.
      reward: the newest.
      decay: 0 to 1.
    """
    return decay * baseline + (1 - decay) * reward


@implements(Transformation)
def _adam(scalars: Scalars) -> optax.GradientTransformation:
    """Returns `optimizers.adam` (Kingma and Ba, 2015)."""
    names = ("learning_rate", "beta1", "beta2", "decay")
    return adam(**{name: scalars[name] for name in names})


@implements(Transformation)
def _sgd(scalars: Scalars) -> optax.GradientTransformation:
    """Returns `optimizers.sgd` without clipping (Polyak, 1964: momentum)."""
    names = ("learning_rate", "momentum", "decay")
    return sgd(**{name: scalars[name] for name in names}, clip=jnp.inf)


@implements(Transformation)
def _exponentiated_gradient(scalars: Scalars) -> optax.GradientTransformation:
    """Returns `exponentiated_gradient` (Li et al., 2021)."""
    return _exponentiate_edges({})(scalars)


def _exponentiate_edges(targets: Targets) -> Transformation:
    """Returns `exponentiated_gradient` for edges with shares of their own, too."""
    names = ("learning_rate", "least_weight")

    def transformation(scalars: Scalars) -> optax.GradientTransformation:
        chosen = {name: scalars[name] for name in names}
        return exponentiated_gradient(**chosen, targets=targets)

    return transformation


ARCHITECTURE_UPDATES: dict[str, ArchitectureUpdate] = {
    "adam": ArchitectureUpdate(_adam),
    "sgd": ArchitectureUpdate(_sgd),
    "exponentiated_gradient": ArchitectureUpdate(
        _exponentiated_gradient, simplex=True, with_edges=_exponentiate_edges
    ),
    "reinforce": ArchitectureUpdate(_adam, rewards=True),
}
"""`search.architecture.rule` -> update of alpha by its gradient."""
