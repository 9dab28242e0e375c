"""Mixing weights from architecture parameters, ``p = r(a)``, by kind of cell.

Each function takes the parameters [edge, op] of one kind of cell, the mask that is
False where an edge has no such operation, and a temperature. It returns weights [edge,
op] that are 0 there. `relax` applies one to all kinds. To add one:
``RELAXATIONS["mine"] = Relaxation(mine)``.
"""

import dataclasses
from collections.abc import Callable

import chex
import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import digamma
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from darts_jax.documentation import implements
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

EdgeFunction = Callable[[Float[Array, " edge"], tuple[int, ...]], Float[Array, " edge"]]
"""(parameters of the edges, state in which each ends) -> share of each edge."""


@dataclasses.dataclass(frozen=True)
class Relaxation:
    """A relaxation, and what a search has to know of it.

    Attributes:
      function: weights of one kind of cell from its parameters.
      random: True if the weights depend on the key, so that every step draws new ones.
      hard: True if the weights are exactly one-hot: one operation per edge makes the
        output.
      sampled: True if, besides, no gradient needs the outputs of the other operations,
        so that they need not run.
      policy: True if operations are drawn with probability softmax(a), so that rewards
        can train a.
      simplex: True if the parameters are weights themselves: they start at equal shares
        and stay on the simplex.
      weight_relaxation: replaces ``function`` in the step of the weights.
      cost_relaxation: replaces ``function`` where costs are computed: the same draws
        with gradients by all operations, as costs are known of all.
      edge_function: shares of the edges into a node from their own parameters.
    """

    function: RelaxationFunction
    random: bool = False
    hard: bool = False
    sampled: bool = False
    policy: bool = False
    simplex: bool = False
    weight_relaxation: RelaxationFunction | None = None
    cost_relaxation: RelaxationFunction | None = None
    edge_function: EdgeFunction | None = None


def assert_shapes(alpha: Alpha, mask: Mask) -> None:
    """Raises AssertionError where alpha's shapes are not those of the mask.

    Args:
      alpha: kind -> parameters [edge, op]; edge logits may be there, too.
      mask: kind -> [edge, op].
    """
    kinds = [name for name in alpha if is_operations(name)]
    assert set(kinds) == set(mask), f"alpha is of {sorted(kinds)}, mask {sorted(mask)}"
    for kind in kinds:
        chex.assert_shape(alpha[kind], np.shape(mask[kind]), custom_message=kind)


def relax(
    relaxation: RelaxationFunction,
    key: PRNGKeyArray,
    alpha: Alpha,
    mask: Mask,
    temperature: Float[AnyArray, ""] | float = 1.0,
    targets: Targets | None = None,
    edge_function: EdgeFunction | None = None,
    edges_per_node: int = 0,
) -> Mixture:
    """Returns the mixture of all kinds of cells; each kind draws with a key of its own.

    Args:
      relaxation: function of one kind of cell.
      key: consumed.
      alpha: kind -> parameters [edge, op]; kind + `EDGES` -> edge logits [edge], whose
        `edge_softmax` multiplies the weights of that kind and is in the mixture, too.
      mask: kind -> [edge, op], False where there is no operation.
      temperature: a positive scalar.
      targets: kind -> state in which each edge ends; needed for edge logits and for
        ``edges_per_node``.
      edge_function: replaces `edge_softmax`.
      edges_per_node: edges into each node that are drawn, all equally likely, while the
        others weigh 0; 0 draws none and keeps all.

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
            shares = edge_function or edge_softmax
            edge_shares[kind] = shares(edges, targets[kind])
            weights[kind] = weights[kind] * edge_shares[kind][:, None]
        if edges_per_node:
            drawn = draw_edges(
                jax.random.fold_in(key, len(alpha) + i), targets[kind], edges_per_node
            )
            weights[kind] = jnp.where(drawn[:, None], weights[kind], 0)
    return Mixture(weights, edge_shares)


def is_operations(name: str) -> bool:
    """Returns whether a name in ``alpha`` is a kind of cell's and not its edge logits'.

    Args:
      name: key of ``alpha``.
    """
    return not name.endswith(EDGES)


def dropping_edges(relaxation: RelaxationFunction) -> RelaxationFunction:
    """Returns a relaxation by which an edge without operations has no weight.

    Args:
      relaxation: function of one kind of cell, whose edges have an operation each.
    """

    def relaxed(
        key: PRNGKeyArray, logits: Logits, mask: Allowed, temperature: Temperature
    ) -> Weights:
        is_dropped = ~jnp.any(mask, axis=-1, keepdims=True)
        weights = relaxation(key, logits, mask | is_dropped, temperature)
        return jnp.where(mask, weights, 0)

    return relaxed


@implements(RelaxationFunction)
def softmax(
    key: PRNGKeyArray, logits: Logits, mask: Allowed, temperature: Temperature
) -> Weights:
    """Computes ``p = softmax(a / t)`` on each edge (Liu et al., 2019, eq. 2)."""
    del key
    return jax.nn.softmax(jnp.where(mask, logits / temperature, -jnp.inf))


@implements(RelaxationFunction)
def sigmoid(
    key: PRNGKeyArray, logits: Logits, mask: Allowed, temperature: Temperature
) -> Weights:
    """Computes ``p = 1 / (1 + exp(-a / t))``; operations do not compete.

    FairDARTS (Chu et al., 2020).
    """
    del key
    return jnp.where(mask, jax.nn.sigmoid(logits / temperature), 0)


@implements(RelaxationFunction)
def gumbel_softmax(
    key: PRNGKeyArray, logits: Logits, mask: Allowed, temperature: Temperature
) -> Weights:
    """Draws ``softmax((a + g) / t)``, g ~ Gumbel(0, 1): the concrete distribution.

    SNAS (Xie et al., 2019), FBNet (Wu et al., 2019). Logits and ``log softmax(a)``
    differ by a constant, which the softmax ignores.
    """
    return softmax(key, _noisy(key, logits), mask, temperature)


@implements(RelaxationFunction)
def hard_gumbel(
    key: PRNGKeyArray, logits: Logits, mask: Allowed, temperature: Temperature
) -> Weights:
    """Draws one operation from ``softmax(a)``, with the gradient of the soft draw.

    GDAS (Dong and Yang, 2019). Forward ``onehot(argmax(a + g))``; backward the gradient
    of `gumbel_softmax` for the same noise g.

    Returns:
      One-hot weights.
    """
    soft = gumbel_softmax(key, logits, mask, temperature)
    # Not of `soft`, which rounds to ties where the temperature is high.
    best = jnp.argmax(jnp.where(mask, _noisy(key, logits), -jnp.inf), -1)
    return _straight_through(_one_hot(best, logits), soft)


@implements(RelaxationFunction)
def sampled_gumbel(
    key: PRNGKeyArray, logits: Logits, mask: Allowed, temperature: Temperature
) -> Weights:
    """Draws like `hard_gumbel`; only the drawn operation gets a gradient.

    GDAS as it runs (Dong and Yang, 2019, section 3.3): no other operation is computed.
    Backward ``dL/dp_i ds_i/da`` for the drawn operation i and the soft weights s.

    Returns:
      One-hot weights.
    """
    soft = gumbel_softmax(key, logits, mask, temperature)
    hard = jax.lax.stop_gradient(hard_gumbel(key, logits, mask, temperature))
    return hard * (1 + (soft - jax.lax.stop_gradient(soft)))


@implements(RelaxationFunction)
def reinmax(
    key: PRNGKeyArray, logits: Logits, mask: Allowed, temperature: Temperature
) -> Weights:
    """Draws one operation from ``softmax(a)``, with a gradient of second order.

    ReinMax (Liu et al., 2023, algorithm 2), by Heun's method. Forward a draw D;
    backward ``2 J((softmax(a / t) + D) / 2) - J(softmax(a)) / 2``, where ``J(p) =
    diag(p) - p p^T`` is the softmax's derivative at p. At t = 1 its mean over D is the
    gradient of the mean loss where the loss is quadratic in the weights.

    Returns:
      One-hot weights.
    """
    allowed = jnp.where(mask, logits, -jnp.inf)
    hard = _one_hot(jax.random.categorical(key, allowed), logits)
    middle = (jax.nn.softmax(allowed / temperature) + hard) / 2
    # A softmax whose value is the middle.
    around = jax.lax.stop_gradient(jnp.log(middle) - logits) + logits
    around = jnp.where(mask, around, -jnp.inf)
    surrogate = 2 * jax.nn.softmax(around) - jax.nn.softmax(allowed) / 2
    return _straight_through(hard, surrogate)


@implements(RelaxationFunction)
def dirichlet(
    key: PRNGKeyArray, logits: Logits, mask: Allowed, temperature: Temperature
) -> Weights:
    """Draws ``p ~ Dirichlet(elu(a) + 1)`` on each edge (Chen et al., 2021, DrNAS).

    Gamma draws divided by their sum, each with its implicit gradient
    ``dx/dc = -(dF/dc) / f`` (Figurnov et al., 2018) for distribution function F and
    density f.

    Args:
      temperature: unused: concentrations have a scale of their own.
    """
    del temperature
    log_x = _log_gamma(key, concentration(logits))
    return jax.nn.softmax(jnp.where(mask, log_x, -jnp.inf))


@implements(RelaxationFunction)
def uniform_one_hot(
    key: PRNGKeyArray, logits: Logits, mask: Allowed, temperature: Temperature
) -> Weights:
    """Draws one operation per edge, all equally likely (Li and Talwalkar, 2019, RSWS).

    The gradient by the parameters is 0.

    Args:
      logits: architecture parameters a, of which only shape and type matter.

    Returns:
      One-hot weights.
    """
    del temperature
    flat = jnp.where(mask, jnp.zeros_like(logits), -jnp.inf)
    return _one_hot(jax.random.categorical(key, flat), logits)


@implements(RelaxationFunction)
def two_path(
    key: PRNGKeyArray, logits: Logits, mask: Allowed, temperature: Temperature
) -> Weights:
    """Draws two operations per edge and activates one of them.

    ProxylessNAS (Cai et al., 2019, section 3.2). Two different operations are drawn in
    proportion to ``p = softmax(a / t)``; one of them is active with probability ``q =
    softmax(a / t)`` over the pair. Backward, within the pair (eq. 4), ``dL/da_i = sum_j
    dL/dp_j q_j (delta_ij - q_i) / t``; elsewhere 0.

    Returns:
      One-hot weights.
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


@implements(RelaxationFunction)
def simplex(
    key: PRNGKeyArray, logits: Logits, mask: Allowed, temperature: Temperature
) -> Weights:
    """Returns the parameters themselves, divided by their sum over an edge.

    GAEA (Li et al., 2021). The update keeps them positive.

    Args:
      logits: architecture parameters a, positive.
    """
    del key, temperature
    weights = jnp.where(mask, logits, 0)
    return weights / weights.sum(-1, keepdims=True)


def edge_softmax(
    logits: Float[Array, " edge"], targets: tuple[int, ...]
) -> Float[Array, " edge"]:
    """Computes the softmax over edges into the same state (Xu et al., 2020, eq. 3).

    Args:
      logits: one per edge.
      targets: state in which each edge ends.

    Returns:
      Share of each edge; shares of edges into one state sum to 1.
    """
    rivals = jnp.asarray(_rivals(targets))
    return jnp.diagonal(jax.nn.softmax(jnp.where(rivals, logits, -jnp.inf)))


def edge_simplex(
    shares: Float[Array, " edge"], targets: tuple[int, ...]
) -> Float[Array, " edge"]:
    """Returns the parameters, divided by their sum over edges into the same state.

    GAEA (Li et al., 2021, code). The update keeps them positive.

    Args:
      shares: one per edge, positive.
      targets: state in which each edge ends.

    Returns:
      Share of each edge; shares of edges into one state sum to 1.
    """
    return shares / (_rivals(targets).astype(shares.dtype) @ shares)


def draw_edges(
    key: PRNGKeyArray, targets: tuple[int, ...], count: int
) -> Bool[Array, " edge"]:
    """Draws edges into every state without replacement, all equally likely.

    Random search with weight sharing (Li and Talwalkar, 2019, code).

    Args:
      key: consumed.
      targets: state in which each edge ends.
      count: number of edges into a state; all where it has no more.

    Returns:
      True for the edges that are drawn.
    """
    noise = jax.random.uniform(key, (len(targets),))
    before = _rivals(targets) & (noise < noise[:, None])
    return before.sum(-1) < count


def _rivals(targets: tuple[int, ...]) -> Bool[np.ndarray, "edge edge"]:
    """Returns whether two edges end in the same state."""
    ends = np.asarray(targets)
    return ends[:, None] == ends


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
    "reinmax": Relaxation(reinmax, random=True, hard=True, policy=True),
    "dirichlet": Relaxation(dirichlet, random=True),
    "uniform_one_hot": Relaxation(
        uniform_one_hot, random=True, hard=True, sampled=True
    ),
    # Its weights train on one path of all (the code's).
    "two_path": Relaxation(
        two_path, random=True, hard=True, weight_relaxation=hard_gumbel
    ),
    "simplex": Relaxation(simplex, simplex=True, edge_function=edge_simplex),
    # Its weights train on one path of all, drawn without regard to alpha (SETN's code).
    "uniform_path_weights": Relaxation(softmax, weight_relaxation=uniform_one_hot),
}
"""`search.relaxation` -> mixing weights from architecture parameters."""


# Below, float32 has no use for it: the draw is 0 to every precision, and the slope of
# its logarithm, about (1 / c) ** 2, has to stay a number.
_SMALLEST_CONCENTRATION = 1e-6


def concentration(logits: Logits) -> Float[Array, "edge op"]:
    """Computes ``elu(a) + 1``, the concentration of DrNAS's Dirichlet; 1 at a = 0.

    As ``exp(a)`` where a < 0: ``elu(a) + 1`` would round to 0 from a = -17 on.

    Args:
      logits: parameters a.

    Returns:
      Positive concentrations.
    """
    small = jnp.exp(jnp.where(logits > 0, 0, logits))
    return jnp.maximum(
        jnp.where(logits > 0, logits + 1, small), _SMALLEST_CONCENTRATION
    )


def _log_gamma(
    key: PRNGKeyArray, shape: Float[Array, "edge op"]
) -> Float[Array, "edge op"]:
    """Draws the logarithm of Gamma(shape, 1), with implicit gradients by ``shape``."""
    log_x = jax.lax.stop_gradient(jax.random.loggamma(key, shape, dtype=shape.dtype))
    slope = _log_gamma_slope(jax.lax.stop_gradient(shape), log_x)
    return log_x + slope * (shape - jax.lax.stop_gradient(shape))


_TINY_LOG = -17.0  # x ** 2 is 0 beside x in float32


def _log_gamma_slope(
    shape: Float[Array, "edge op"], log_x: Float[Array, "edge op"]
) -> Float[Array, "edge op"]:
    """Computes ``d log x / dc`` of a draw x of Gamma(c, 1) at a fixed quantile u.

    A small x underflows, and the library's derivative with it. There F(x) = x**c /
    Gamma(c+1) to first order, so log x = (log u + log Gamma(c+1)) / c.
    """
    x = jnp.exp(jnp.maximum(log_x, _TINY_LOG))
    usual = jax.lax.random_gamma_grad(shape, x) / x
    return jnp.where(log_x < _TINY_LOG, (digamma(shape + 1) - log_x) / shape, usual)


def _noisy(key: PRNGKeyArray, logits: Logits) -> Logits:
    return logits + jax.random.gumbel(key, logits.shape, logits.dtype)


def _one_hot(index: Array, logits: Logits) -> Weights:
    return jax.nn.one_hot(index, logits.shape[-1], dtype=logits.dtype)


def _straight_through(hard: Weights, soft: Weights) -> Weights:
    """Returns ``hard`` to the last bit, with the gradient of ``soft``."""
    return hard + (soft - jax.lax.stop_gradient(soft))
