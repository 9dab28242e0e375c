"""Glossary: the values that flow through a search, and the type of each of its slots.

Symbols follow Liu et al. (2019): w are the ``params``, a is ``alpha``, p(a) the
``mixture``. Shapes name their axes: [edge, op], [batch, height, width, channel]. A kind
is a name of cells that share one architecture, as ``"normal"`` and ``"reduce"``.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import jax
import numpy as np
import optax
from flax import struct
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray, UInt

AnyArray = Array | np.ndarray
"""An array on a device or on the host."""

Variables = Mapping[str, "AnyArray | Variables"]
"""Tree of arrays by name, as Flax's collections of variables are."""

Params = Variables
"""Weights of a network, as Flax's ``params``."""

Stats = Variables
"""Running statistics of a network, as Flax's ``batch_stats``."""

Batch = Any
"""Examples of one step: a tree of arrays [batch, ...], such as `Examples`."""

Inputs = Any
"""Part of a batch that a network takes: a tree of arrays [batch, ...]."""

Outputs = Any
"""Outputs of a network, as logits [batch, class]: a tree of arrays [batch, ...]."""

EDGES = ".edges"
"""Ends the name of a kind's edge logits in ``alpha`` (PC-DARTS), beside the kind's own
name for the logits of its operations."""

Alpha = dict[str, Float[Array, "edge op"] | Float[Array, " edge"]]
"""Architecture parameters: kind -> [edge, op]; kind + `EDGES` -> [edge]."""

Mask = Mapping[str, Bool[AnyArray, "edge op"] | Sequence[Sequence[bool]]]
"""Kind -> [edge, op], False where there is no operation or it has been pruned."""

Targets = Mapping[str, tuple[int, ...]]
"""Kind -> the number of the state that each edge ends in."""

Scalars = dict[str, Any]
"""Tree of numbers by name that a schedule may change: arguments of a step, so that
nothing compiles anew. `settings.scalars` makes them from a config."""

Metrics = dict[str, Float[Array, ""]]
"""Sums over the examples of a batch by name; ``count`` is their number."""

Loss = Callable[[Params, Alpha], Float[Array, ""]]
"""Loss of one batch by weights and architecture; BN normalizes by the batch."""

InnerStep = Callable[[Params, Params], Params]
"""(gradient, params) -> params after one step of the optimizer of the weights."""


class Mixture(struct.PyTreeNode):
    """Weights with which a supernet mixes its operations, and what comes with them.

    On the host its arrays are NumPy's.

    Attributes:
      weights: kind of cell -> weight of every operation [edge, op]; [cell, edge, op]
        gives every cell of the kind weights of its own. 0 where there is no operation.
      edge_shares: kind of cell -> share [edge] of every edge among the edges that end
        in the same node (PC-DARTS), with which ``weights`` are multiplied already; all
        shares of a kind that is not here are 1.
      strength: scalar, of the corruption of chosen operations' outputs in training;
        None is 0.
    """

    weights: dict[str, Float[Array, "*cell edge op"]]
    edge_shares: dict[str, Float[Array, " edge"]] = struct.field(default_factory=dict)
    strength: Float[Array, ""] | None = None


class Partners(struct.PyTreeNode):
    """Images that those of a batch are mixed with (mixup).

    Attributes:
      labels: number of the class of each.
      shares: share of its own that each image of the batch keeps, 0 to 1.
    """

    labels: Int[AnyArray, " n"]
    shares: Float[AnyArray, " n"]


class Examples(struct.PyTreeNode):
    """Images and their labels.

    Attributes:
      images: uint8 as stored, or float as the network takes them.
      labels: number of the class, from 0.
      partners: of mixed images; None where they are not mixed.
    """

    images: UInt[AnyArray, "n height width channel"] | Float[AnyArray, "n h w channel"]
    labels: Int[AnyArray, " n"]
    partners: Partners | None = None


class Scenes(struct.PyTreeNode):
    """Images with boxes around their objects, padded to the same number of boxes.

    Attributes:
      images: uint8 as stored, or float as the network takes them.
      boxes: left, top, right, bottom in pixels.
      labels: number of the class of each box, from 0.
      present: False for a box that is padding.
      crowd: True for a box around many objects, or around one that is hard to
        recognize; it is neither learned nor counted.
    """

    images: UInt[AnyArray, "n height width channel"] | Float[AnyArray, "n h w channel"]
    boxes: Float[AnyArray, "n box 4"]
    labels: Int[AnyArray, "n box"]
    present: Bool[AnyArray, "n box"]
    crowd: Bool[AnyArray, "n box"]


class Text(struct.PyTreeNode):
    """Window of consecutive tokens from several texts, one text per row.

    Attributes:
      tokens: numbers of the tokens, from 0.
      targets: the token that follows each token.
      present: False for padding at the end of a window shorter than the others.
      fresh: True where a text begins, so that its hidden state is zero.
      stream: number of the text that each row reads.
    """

    tokens: Int[AnyArray, "batch time"]
    targets: Int[AnyArray, "batch time"]
    present: Bool[AnyArray, "batch time"]
    fresh: Bool[AnyArray, " batch"]
    stream: Int[AnyArray, " batch"]


class Matching(struct.PyTreeNode):
    """Agreement of operations' gradients on training and validation batches (OLES).

    Attributes:
      cosines: operation -> sum [cell, edge] of its cosines since the last look at them.
      counts: operation -> their number [cell, edge], int32.
      stopped: operation -> bool [cell, edge], True where its weights rest.
    """

    cosines: dict[str, Float[Array, "cell edge"]]
    counts: dict[str, Int[Array, "cell edge"]]
    stopped: dict[str, Bool[Array, "cell edge"]]


class SearchState(struct.PyTreeNode):
    """State of a search: everything that its next step depends on but the data.

    Attributes:
      step: number of steps done.
      key: raw uint32 data of the key from which `step_key` derives each step's own.
      params: weights of the supernet.
      stats: running statistics of the supernet.
      alpha: architecture parameters.
      mask: kind -> bool [edge, op]; False for pruned operations, which weigh 0.
      baseline: moving average of rewards; 0 if the update takes no rewards.
      multiplier: Lagrange multiplier of the cost constraint, in units of the loss per
        relative excess; 0 if there is no constraint.
      weight_optimizer: state of the optimizer of ``params``.
      alpha_optimizer: state of the optimizer of ``alpha``.
      matching: of operations that may come to rest; None if none may.
    """

    step: Int[Array, ""]
    key: UInt[Array, " key"]
    params: Params
    stats: Stats
    alpha: Alpha
    mask: dict[str, Bool[Array, "edge op"]]
    baseline: Float[Array, ""]
    multiplier: Float[Array, ""]
    weight_optimizer: optax.OptState
    alpha_optimizer: optax.OptState
    matching: Matching | None = None


class TrainState(struct.PyTreeNode):
    """State of the training of one fixed network.

    Attributes:
      step: number of steps done.
      key: raw uint32 data of the key from which `step_key` derives each step's own.
      params: weights of the network.
      stats: running statistics of the network.
      optimizer: state of the optimizer of ``params``.
      ema: exponential moving averages of weights and statistics, which are tested in
        their place; None without them.
    """

    step: Int[Array, ""]
    key: UInt[Array, " key"]
    params: Params
    stats: Stats
    optimizer: optax.OptState
    ema: tuple[Params, Stats] | None = None

    @property
    def tested(self) -> tuple[Params, Stats]:
        """The weights and the statistics with which the network is tested."""
        return self.ema or (self.params, self.stats)


class SupernetApply(Protocol):
    """Forward pass of a supernet, a pure function.

    Args:
      params: weights.
      stats: running statistics.
      mixture: weight of every operation in the outputs.
      inputs: part of a batch that the network takes.
      key: of random operations, such as dropout; consumed.
      train: True normalizes by the batch and moves the statistics towards it; False
        normalizes by the statistics and returns them unchanged.

    Returns:
      Outputs and new statistics.
    """

    def __call__(
        self,
        params: Params,
        stats: Stats,
        mixture: Mixture,
        inputs: Inputs,
        key: PRNGKeyArray,
        *,
        train: bool,
    ) -> tuple[Outputs, Stats]: ...


class NetworkApply(Protocol):
    """Forward pass of the network of one genotype, a pure function.

    Args:
      params: weights.
      stats: running statistics.
      inputs: part of a batch that the network takes.
      drop_rate: probability of drop path, 0 to 1.
      key: of random operations, such as dropout; consumed.
      train: as for `SupernetApply`.

    Returns:
      Outputs and new statistics.
    """

    def __call__(
        self,
        params: Params,
        stats: Stats,
        inputs: Inputs,
        drop_rate: Float[Array, ""],
        key: PRNGKeyArray,
        *,
        train: bool,
    ) -> tuple[Outputs, Stats]: ...


class RelaxationFunction(Protocol):
    """Mixing weights of one kind of cell from its architecture parameters.

    Args:
      key: of random weights; consumed.
      logits: architecture parameters a.
      mask: False where there is no operation.
      temperature: t, a positive scalar; a lower one brings weights nearer to one-hot.

    Returns:
      Weights p [edge, op]; 0 where ``mask`` is False.
    """

    def __call__(
        self,
        key: PRNGKeyArray,
        logits: Float[Array, "edge op"],
        mask: Bool[Array, "edge op"],
        temperature: Float[Array, ""],
    ) -> Float[Array, "edge op"]: ...


class Hypergradient(Protocol):
    """Gradient of the outer loss V by the architecture, at trained weights w*(a).

    Args:
      train_loss: inner loss T(w, a), which w*(a) minimizes.
      valid_loss: outer loss V(w, a).
      params: present weights w.
      alpha: present architecture a.
      inner_step: U, one step of the optimizer of the weights, from its present state.

    Returns:
      Estimate of ``dV(w*(a), a)/da``, of the form of ``alpha``.
    """

    def __call__(
        self,
        train_loss: Loss,
        valid_loss: Loss,
        params: Params,
        alpha: Alpha,
        inner_step: InnerStep,
    ) -> Alpha: ...


def step_key(key: UInt[Array, " key"], step: Int[Array, ""]) -> PRNGKeyArray:
    """Returns the key of one step, which depends on the seed and the step alone.

    Args:
      key: raw uint32 data of the run's key.
      step: number of steps done before.
    """
    return jax.random.fold_in(jax.random.wrap_key_data(key), step)
