"""From architecture parameters to mixing weights: ``p = r(a)``, one kind at a time.

Each function takes the logits [edge, op] of one kind of cell, the mask that is False
where an edge has no such operation, and a temperature, and returns weights [edge, op]
that are 0 there. The key is consumed. `relax` lifts any of them over all kinds. To add
one: ``RELAXATIONS["mine"] = Relaxation(mine)``.
"""

import dataclasses

import jax
import jax.numpy as jnp
from jax.scipy.special import digamma
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from darts_jax.errors import InputError
from darts_jax.types import (
    EDGES,
    Alpha,
    AnyArray,
    Mask,
    Mixture,
    RelaxationFunction,
    Targets,
)

Logits = Float[Array, "edge op"]
Weights = Float[Array, "edge op"]
Allowed = Bool[Array, "edge op"]
Temperature = Float[Array, ""]


@dataclasses.dataclass(frozen=True)
class Relaxation:
    """A relaxation and what a search has to know of it.

    Attributes:
      function: one kind's logits to its weights.
      random: whether the weights depend on the key, so that every step draws anew.
      hard: whether the weights are exactly one-hot, so that one operation per edge
        makes the output.
      sampled: hard, and no slope asks for what the other operations would have given,
        so that they need not be computed.
      policy: hard, and drawn with probability softmax(a), so that rewards can teach it.
      simplex: whether the parameters are weights themselves, so that they start at
        equal shares and are updated on the simplex.
      weight_relaxation: at what the weights take their step, if not at this.
      cost_relaxation: the same draws with slopes of all operations, if this lets them
        pass through what is drawn alone: costs are known, also of what does not run.
    """

    function: RelaxationFunction
    random: bool = False
    hard: bool = False
    sampled: bool = False
    policy: bool = False
    simplex: bool = False
    weight_relaxation: RelaxationFunction | None = None
    cost_relaxation: RelaxationFunction | None = None


def relax(
    relaxation: RelaxationFunction,
    key: PRNGKeyArray,
    alpha: Alpha,
    mask: Mask,
    temperature: Float[AnyArray, ""] | float = 1.0,
    targets: Targets | None = None,
) -> Mixture:
    """Returns the mixing weights of every kind, each kind with a key of its own.

    Args:
      alpha: kind -> logits [edge, op]; ``"<kind>.edges"`` -> logits [edge], whose
        `edge_softmax` multiplies that kind's weights and is its ``edge_shares``.
      targets: kind -> the state that every edge ends in; for edge logits only.

    Raises:
      InputError: edge logits of a kind without targets.
    """
    targets = targets or {}
    weights: dict[str, Weights] = {}
    edge_shares: dict[str, Float[Array, " edge"]] = {}
    # Under `jit` a mapping comes sorted: a kind's key must not depend on that.
    for i, kind in enumerate(sorted(kind for kind in alpha if is_operations(kind))):
        logits = alpha[kind]
        weights[kind] = relaxation(
            jax.random.fold_in(key, i),
            logits,
            jnp.asarray(mask[kind]),
            jnp.asarray(temperature, logits.dtype),
        )
        edges = alpha.get(kind + EDGES)
        if edges is not None:
            if kind not in targets:
                raise InputError(
                    f"edge logits of {kind!r}, but no targets of its edges"
                )
            edge_shares[kind] = edge_softmax(edges, targets[kind])
            weights[kind] = weights[kind] * edge_shares[kind][:, None]
    return Mixture(weights, edge_shares)


def is_operations(name: str) -> bool:
    """Whether a name in ``alpha`` is a kind's, and not that of its edges' logits."""
    return not name.endswith(EDGES)


def softmax(
    key: PRNGKeyArray, logits: Logits, mask: Allowed, temperature: Temperature
) -> Weights:
    """``p = softmax(a / t)`` over an edge's operations (Liu et al., 2019, eq. 2)."""
    del key
    return jax.nn.softmax(jnp.where(mask, logits / temperature, -jnp.inf))


def sigmoid(
    key: PRNGKeyArray, logits: Logits, mask: Allowed, temperature: Temperature
) -> Weights:
    """``p = 1 / (1 + exp(-a / t))``: no competition (Chu et al., 2020, FairDARTS)."""
    del key
    return jnp.where(mask, jax.nn.sigmoid(logits / temperature), 0)


def gumbel_softmax(
    key: PRNGKeyArray, logits: Logits, mask: Allowed, temperature: Temperature
) -> Weights:
    """A sample of the concrete distribution, ``softmax((a + g) / t)``, g Gumbel(0, 1).

    SNAS (Xie et al., 2019), FBNet (Wu et al., 2019). Logits and
    ``log softmax(a)`` differ by a constant, which the softmax forgets.
    """
    return softmax(key, _noisy(key, logits), mask, temperature)


def hard_gumbel(
    key: PRNGKeyArray, logits: Logits, mask: Allowed, temperature: Temperature
) -> Weights:
    """One operation drawn with probability ``softmax(a)``, the slope of the soft draw.

    GDAS (Dong and Yang, 2019): forward ``onehot(argmax(a + g))``, backward
    the gradient of `gumbel_softmax` at the same noise.
    """
    soft = gumbel_softmax(key, logits, mask, temperature)
    # Not of `soft`, which rounds to ties where the temperature is high.
    best = jnp.argmax(jnp.where(mask, _noisy(key, logits), -jnp.inf), -1)
    return _straight_through(_one_hot(best, logits), soft)


def sampled_gumbel(
    key: PRNGKeyArray, logits: Logits, mask: Allowed, temperature: Temperature
) -> Weights:
    """`hard_gumbel` whose slope passes through the drawn operation alone.

    Backward it is ``dL/dp_i ds_i/da`` for the drawn i and s the soft weights: what
    GDAS computes when it runs nothing but the drawn operation (Dong and Yang, 2019,
    section 3.3).
    """
    soft = gumbel_softmax(key, logits, mask, temperature)
    hard = jax.lax.stop_gradient(hard_gumbel(key, logits, mask, temperature))
    return hard * (1 + (soft - jax.lax.stop_gradient(soft)))


def dirichlet(
    key: PRNGKeyArray, logits: Logits, mask: Allowed, temperature: Temperature
) -> Weights:
    """``p ~ Dirichlet(elu(a) + 1)`` on every edge (Chen et al., 2021, DrNAS).

    Normalised Gamma draws, each with its implicit gradient ``dx/dc = -(dF/dc) / f``
    (Figurnov et al., 2018) for the distribution function F and density f. The
    temperature is unused: concentrations have their own scale.
    """
    del temperature
    log_x = _log_gamma(key, concentration(logits))
    return jax.nn.softmax(jnp.where(mask, log_x, -jnp.inf))


def uniform_one_hot(
    key: PRNGKeyArray, logits: Logits, mask: Allowed, temperature: Temperature
) -> Weights:
    """One operation per edge, all equally likely (Li and Talwalkar, 2019, RSWS).

    Depends on no logit: the architecture's gradient is 0.
    """
    del temperature
    flat = jnp.where(mask, jnp.zeros_like(logits), -jnp.inf)
    return _one_hot(jax.random.categorical(key, flat), logits)


def two_path(
    key: PRNGKeyArray, logits: Logits, mask: Allowed, temperature: Temperature
) -> Weights:
    """One active path out of two that are drawn (Cai et al., 2019, section 3.2).

    Two different operations are drawn in proportion to ``p = softmax(a / t)``, the
    others are as if they did not exist, and one of the two is active with probability
    ``q = softmax(a / t)`` over the pair. Backward, within the pair (eq. 4):
    ``dL/da_i = sum_j dL/dp_j q_j (delta_ij - q_i) / t``; elsewhere 0.
    """
    pair_key, active_key = jax.random.split(key)
    scaled = jnp.where(mask, logits / temperature, -jnp.inf)
    # The two largest of p's Gumbel-perturbed logits are draws without replacement.
    noise = jax.random.gumbel(pair_key, logits.shape, logits.dtype)
    _, drawn = jax.lax.top_k(scaled + noise, min(2, logits.shape[-1]))
    pair = jnp.any(_one_hot(drawn, logits) > 0, axis=-2)
    among = jnp.where(pair, scaled, -jnp.inf)
    active = _one_hot(jax.random.categorical(active_key, among), logits)
    return _straight_through(active, jax.nn.softmax(among))


def simplex(
    key: PRNGKeyArray, logits: Logits, mask: Allowed, temperature: Temperature
) -> Weights:
    """The parameters are the weights (Li et al., 2021, GAEA), renormalised under masks.

    They are positive; the update keeps them so.
    """
    del key, temperature
    weights = jnp.where(mask, logits, 0)
    return weights / weights.sum(-1, keepdims=True)


RELAXATIONS: dict[str, Relaxation] = {
    "softmax": Relaxation(softmax),
    "sigmoid": Relaxation(sigmoid),
    "gumbel_softmax": Relaxation(gumbel_softmax, random=True),
    "hard_gumbel": Relaxation(hard_gumbel, random=True, hard=True, policy=True),
    "sampled_gumbel": Relaxation(
        sampled_gumbel,
        random=True,
        hard=True,
        sampled=True,
        policy=True,
        cost_relaxation=hard_gumbel,
    ),
    "dirichlet": Relaxation(dirichlet, random=True),
    "uniform_one_hot": Relaxation(
        uniform_one_hot, random=True, hard=True, sampled=True
    ),
    # Its weights train on one path of all (the code's).
    "two_path": Relaxation(
        two_path, random=True, hard=True, weight_relaxation=hard_gumbel
    ),
    "simplex": Relaxation(simplex, simplex=True),
}


def edge_softmax(
    logits: Float[Array, " edge"], targets: tuple[int, ...]
) -> Float[Array, " edge"]:
    """Softmax over the edges that end in the same state (Xu et al., 2020, eq. 3)."""
    ends = jnp.asarray(targets)
    rivals = ends[:, None] == ends
    return jnp.diagonal(jax.nn.softmax(jnp.where(rivals, logits, -jnp.inf)))


# Below, float32 has no use for it: the draw is 0 to every precision, and the slope of
# its logarithm, about (1 / c) ** 2, has to stay a number.
_SMALLEST_CONCENTRATION = 1e-6


def concentration(logits: Logits) -> Float[Array, "edge op"]:
    """``elu(a) + 1``, the parameter of DrNAS's Dirichlet; 1 at a = 0.

    As ``exp(a)`` where a < 0: ``elu(a) + 1`` would round to 0 from a = -17 on.
    """
    small = jnp.exp(jnp.where(logits > 0, 0, logits))
    return jnp.maximum(
        jnp.where(logits > 0, logits + 1, small), _SMALLEST_CONCENTRATION
    )


def _log_gamma(
    key: PRNGKeyArray, shape: Float[Array, "edge op"]
) -> Float[Array, "edge op"]:
    """The logarithm of a draw of Gamma(shape, 1), its slope by implicit gradients."""
    log_x = jax.lax.stop_gradient(jax.random.loggamma(key, shape, dtype=shape.dtype))
    slope = _log_gamma_slope(jax.lax.stop_gradient(shape), log_x)
    return log_x + slope * (shape - jax.lax.stop_gradient(shape))


_TINY_LOG = -17.0  # x ** 2 is 0 beside x in float32


def _log_gamma_slope(
    shape: Float[Array, "edge op"], log_x: Float[Array, "edge op"]
) -> Float[Array, "edge op"]:
    """``d log x / dc`` of a draw x of Gamma(c, 1) at a fixed quantile u.

    Small x underflows, and the library's slope with it. There F(x) = x**c / Gamma(c+1)
    to first order, so log x = (log u + log Gamma(c+1)) / c.
    """
    x = jnp.exp(jnp.maximum(log_x, _TINY_LOG))
    usual = jax.lax.random_gamma_grad(shape, x) / x
    return jnp.where(log_x < _TINY_LOG, (digamma(shape + 1) - log_x) / shape, usual)


def _noisy(key: PRNGKeyArray, logits: Logits) -> Logits:
    return logits + jax.random.gumbel(key, logits.shape, logits.dtype)


def _one_hot(index: Array, logits: Logits) -> Weights:
    return jax.nn.one_hot(index, logits.shape[-1], dtype=logits.dtype)


def _straight_through(hard: Weights, soft: Weights) -> Weights:
    """Forward ``hard`` to the last bit, backward the gradient of ``soft``."""
    return hard + (soft - jax.lax.stop_gradient(soft))
