"""Glossary: the arrays that flow through a search, and the types of its slots.

Symbols follow Liu et al. (2019): w are the ``params``, a is ``alpha``, p(a) the
``mixture``. Shapes name their axes: [edge, op], [batch, height, width, channel].
"""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import jax
import numpy as np
from flax import struct
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray, UInt

AnyArray = Array | np.ndarray  # on a device or on the host
Params = Any
Stats = Any
EDGES = ".edges"
"""Ends the name of a kind's edge logits in ``alpha`` (PC-DARTS), beside the kind's own
name for the logits of its operations."""

Alpha = dict[str, Float[Array, "edge op"] | Float[Array, " edge"]]
Mask = dict[str, Any]  # kind -> bool [edge, op]; False where there is no operation
Targets = Mapping[str, tuple[int, ...]]  # kind -> the state every edge ends in
Scalars = dict[str, Any]  # name -> scalar array; a tree of what a schedule may change
Metrics = dict[str, Float[Array, ""]]

Loss = Callable[[Params, Alpha], Float[Array, ""]]
"""Loss as a function of weights and architecture on a fixed batch, by which BN
normalises."""

InnerStep = Callable[[Params, Params], Params]
"""(gradient, params) -> params after a step of the optimizer from a fixed state."""


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


Batch = Any
"""Argument of a task's `Criterion`: a tree of arrays [batch, ...], like `Examples`."""


class Examples(struct.PyTreeNode):
    """Images (uint8 as stored, or float as the network sees them) and labels."""

    images: UInt[AnyArray, "n height width channel"] | Float[AnyArray, "n h w channel"]
    labels: Int[AnyArray, " n"]


class Scenes(struct.PyTreeNode):
    """Images with boxes around objects, padded to the same number for every image.

    Attributes:
      images: uint8 as stored, or float as the network sees them.
      boxes: left, top, right, bottom in pixels.
      labels: class of every box.
      present: False where there is no box.
      crowd: whether a box is around many objects, or hard to tell: neither learned nor
        counted.
    """

    images: UInt[AnyArray, "n height width channel"] | Float[AnyArray, "n h w channel"]
    boxes: Float[AnyArray, "n box 4"]
    labels: Int[AnyArray, "n box"]
    present: Bool[AnyArray, "n box"]
    crowd: Bool[AnyArray, "n box"]


class Text(struct.PyTreeNode):
    """A window of texts that run on, one in a row.

    Attributes:
      tokens: numbers of words.
      targets: the token that follows each.
      present: False behind the end of a window shorter than the others.
      fresh: whether the text begins here.
      stream: number of the text, among those that are read by turns.
    """

    tokens: Int[AnyArray, "batch time"]
    targets: Int[AnyArray, "batch time"]
    present: Bool[AnyArray, "batch time"]
    fresh: Bool[AnyArray, " batch"]
    stream: Int[AnyArray, " batch"]


class SearchState(struct.PyTreeNode):
    """State of a search: all that it has learned and that its next step depends on.

    Attributes:
      step: steps done.
      key: raw uint32 data of the key from which each step derives its own.
      mask: which operations are still in the search; pruned ones weigh 0.
      baseline: moving average of rewards; stays 0 where nothing learns by them.
      multiplier: what a unit of relative excess over the budget costs, in the unit of
        the loss; stays 0 where there is no budget.
    """

    step: Int[Array, ""]
    key: UInt[Array, " key"]
    params: Params
    stats: Stats
    alpha: Alpha
    mask: Mask
    baseline: Float[Array, ""]
    multiplier: Float[Array, ""]
    weight_optimizer: Any
    alpha_optimizer: Any


class TrainState(struct.PyTreeNode):
    """State of the training of one fixed network; attributes as of `SearchState`."""

    step: Int[Array, ""]
    key: UInt[Array, " key"]
    params: Params
    stats: Stats
    optimizer: Any


class RelaxationFunction(Protocol):
    """Computes mixing weights from the architecture parameters of one kind of cell.

    Args:
      key: consumed.
      logits: architecture parameters.
      mask: False where an edge has no such operation.
      temperature: in the unit of the logits.
    """

    def __call__(
        self,
        key: PRNGKeyArray,
        logits: Float[Array, "edge op"],
        mask: Bool[Array, "edge op"],
        temperature: Float[Array, ""],
    ) -> Float[Array, "edge op"]: ...


class Hypergradient(Protocol):
    """Gradient of the validation loss at the trained weights, by the architecture."""

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
      key: raw key data of a search or a training.
      step: number of the step, from 0.
    """
    return jax.random.fold_in(jax.random.wrap_key_data(key), step)
