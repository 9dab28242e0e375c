"""Mixed operation of an edge: ``sum_o weights[o] * op_o(x)`` (Liu et al., 2019, eq. 2).

Operations that have no parameters give the same on every edge that leaves a state.
They are computed once per state (`MixedOperation.shared`), apart from what an edge has
to itself (`MixedOperation.own`).
"""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import lax
from jaxtyping import Array, Float, PRNGKeyArray

from darts_jax.kernels import max_pool_2x2
from darts_jax.models import stack
from darts_jax.models.operations.corruption import SAME_FOR_EDGE, Corruption
from darts_jax.models.operations.image import Zero
from darts_jax.models.operations.layers import Image, Weight
from darts_jax.models.operations.operation import Operation, add_residual, traits

Variables = dict[str, stack.Variables]
"""Stack -> the variables of one of its elements."""


def stack_name(operation: str, stride: int, widens: bool = False) -> str:
    """Returns the name of the stack that holds an operation's parameters.

    Args:
      operation: its name.
      stride: of the edges that share the stack.
      widens: whether they leave an input that is not as wide as the nodes.
    """
    parts = [operation]
    parts += [f"stride{stride}"] if stride > 1 else []
    parts += ["widening"] if widens else []
    return "_".join(parts)


def shuffle_channels(x: Image, groups: int) -> Image:
    """Interleaves blocks of channels (Xu et al., 2020, code).

    Args:
      x: images [batch, height, width, channel].
      groups: number of blocks that the channels are divided into.
    """
    *shape, channels = x.shape
    blocks = x.reshape(*shape, groups, channels // groups)
    return blocks.swapaxes(-1, -2).reshape(x.shape)


@dataclasses.dataclass(frozen=True)
class EdgeSettings:
    """Settings of the mixed operations of a cell; hashable, so that traces are cached.

    Attributes:
      width: number of channels that leave the operations.
      partial: 1/partial of the input's channels enter them.
      makers: operation -> the function that makes its module. A name may be given to
        another function later, which the cache of a trace must tell apart.
      train: whether the network is trained.
      sampled: whether an operation of weight 0 does not run, as it has no slope either.
      corruptions: operation -> the corruption of its output in training.
      discrete: whether operations are those of a genotype's network.
    """

    width: int
    partial: int
    makers: tuple[tuple[str, Operation], ...]
    train: bool
    sampled: bool = False
    corruptions: tuple[tuple[str, Corruption], ...] = ()
    discrete: bool = False

    def module(self, operation: str, stride: int) -> nn.Module:
        """Returns the module of an operation with this stride."""
        return dict(self.makers)[operation](self.width, stride, self.discrete)

    def part(self, x: Image) -> Image:
        """Returns the channels that enter the operations."""
        return x[..., : x.shape[-1] // self.partial]

    def corruption(self, operation: str) -> Corruption | None:
        """Returns the corruption of an operation's output, if it is corrupted."""
        return dict(self.corruptions).get(operation) if self.train else None


@dataclasses.dataclass(frozen=True)
class MixedOperation:
    """Mixed operation of edges that are alike, of which a call computes one.

    Attributes:
      settings: of the cell's mixed operations.
      stacks: operation that the edges may be -> the stack of its variables.
      stride: of the edges.
      strength: scalar, of the corruptions.
      kept: share of every channel that is kept where widths are searched; None: all.
        What all edges of a state share has all of its channels.
    """

    settings: EdgeSettings
    stacks: Mapping[str, str]
    stride: int
    strength: Float[Array, ""]
    kept: Float[Array, " channel"] | None = None

    def shared(
        self, variables: Variables, key: PRNGKeyArray, x: Image
    ) -> tuple[dict[str, Image], dict[str, Any]]:
        """Computes what all edges that leave a state share.

        Args:
          variables: of any of these edges; their statistics are equal.
          key: consumed.
          x: the state.

        Returns:
          Outputs by operation, and new statistics by stack.
        """
        outputs: dict[str, Image] = {}
        stats: dict[str, Any] = {}
        for op, name in self.stacks.items():
            module = self.settings.module(op, self.stride)
            if traits(module).edge_independent:
                outputs[op], stats[name] = self._call(module, variables[name], key, x)
        return outputs, stats

    def own(
        self,
        variables: Variables,
        weights: Float[Array, " op"],
        key: PRNGKeyArray,
        x: Image,
    ) -> tuple[Image | None, dict[str, Any]]:
        """Computes the part of an edge's mixture that no other edge shares.

        Args:
          variables: of the edge.
          weights: of its operations.
          key: consumed.
          x: the state that the edge leaves.

        Returns:
          The weighted sum, None if it has no terms; new statistics by stack.
        """
        total = None
        stats: dict[str, Any] = {}
        for column, op, module, weight in self._terms(weights):
            if traits(module).edge_independent:
                continue
            name = self.stacks[op]
            by = weight.astype(x.dtype)
            if self._takes_weight(op, module):
                by = jnp.broadcast_to(by, (self.settings.width,))
                by = by if self.kept is None else by * self.kept.astype(by.dtype)
                term, stats[name] = self._call(module, variables[name], key, x, by)
            else:
                if self.settings.sampled:
                    y, stats[name] = self._call_if(
                        by != 0, module, variables[name], key, x
                    )
                else:
                    y, stats[name] = self._call(module, variables[name], key, x)
                y = self._corrupt(op, column, y, key)
                y = y if self.kept is None else y * self.kept.astype(y.dtype)
                term = by * add_residual(module, self.settings.part(x), y)
            total = term if total is None else total + term
        return total, stats

    def whole(
        self,
        own: Image | None,
        weights: Float[Array, " op"],
        key: PRNGKeyArray,
        x: Image,
        shared: dict[str, Image],
    ) -> Image:
        """Adds what a state's edges share to what an edge has to itself.

        Args:
          own: the edge's part, from `own`.
          weights: of its operations; with partial channels, last the edge's share of
            its node.
          key: the edge's, as for `own`.
          x: the state that the edge leaves.
          shared: outputs by operation, from `shared`.
        """
        total = own
        for column, op, _, weight in self._terms(weights):
            if op not in shared:
                continue
            y = self._corrupt(op, column, shared[op], key)
            term = weight.astype(x.dtype) * y
            total = term if total is None else total + term
        if total is None:
            shape = x[:, :: self.stride, :: self.stride].shape[:-1]
            total = jnp.zeros((*shape, self.settings.width), x.dtype)
        return self._bypass(total, x, weights)

    def edge(
        self,
        variables: Variables,
        weights: Float[Array, " op"],
        key: PRNGKeyArray,
        x: Image,
        shared: dict[str, Image],
    ) -> tuple[Image, dict[str, Any]]:
        """Computes an edge's mixture; arguments and results as of `own` and `whole`."""
        own, stats = self.own(variables, weights, key, x)
        return self.whole(own, weights, key, x, shared), stats

    def _terms(
        self, weights: Float[Array, " op"]
    ) -> Iterator[tuple[int, str, nn.Module, Array]]:
        """Yields column, name, module and weight of each operation that is not zero."""
        columns = jnp.unstack(weights)
        for column, op in enumerate(self.stacks):
            module = self.settings.module(op, self.stride)
            if not isinstance(module, Zero):
                yield column, op, module, columns[column]

    def _takes_weight(self, op: str, module: nn.Module) -> bool:
        """Returns whether the module multiplies by its weight itself.

        It must be the last thing that is done to the output, and must always be done.
        """
        is_last = self.settings.corruption(op) is None
        return traits(module).takes_weight and is_last and not self.settings.sampled

    def _call(
        self,
        module: nn.Module,
        variables: stack.Variables,
        key: PRNGKeyArray,
        x: Image,
        weight: Weight | None = None,
    ) -> tuple[Image, Any]:
        return stack.apply(
            module,
            variables,
            key,
            self.settings.part(x),
            train=self.settings.train,
            behind=() if weight is None else (weight,),
        )

    def _call_if(
        self,
        runs: Array,
        module: nn.Module,
        variables: stack.Variables,
        key: PRNGKeyArray,
        x: Image,
    ) -> Any:
        """Calls a module if ``runs``; else zeros, and the statistics as they were."""

        def call(variables: stack.Variables, key: PRNGKeyArray, x: Image) -> Any:
            return self._call(module, variables, key, x)

        y, _ = jax.eval_shape(call, variables, key, x)

        def skip(variables: stack.Variables, key: PRNGKeyArray, x: Image) -> Any:
            del key, x
            return jnp.zeros(y.shape, y.dtype), variables.get("batch_stats", {})

        return lax.cond(runs, call, skip, variables, key, x)

    def _corrupt(self, op: str, column: int, y: Image, key: PRNGKeyArray) -> Image:
        corruption = self.settings.corruption(op)
        if corruption is None:
            return y
        if corruption not in SAME_FOR_EDGE:
            key = jax.random.fold_in(key, column)
        return corruption(key, y, self.strength)

    def _bypass(self, mixed: Image, x: Image, weights: Float[Array, " op"]) -> Image:
        """Joins the channels that took no operation (Xu et al., 2020, eq. 2 and 3)."""
        if self.settings.partial == 1:
            return mixed
        rest = x[..., mixed.shape[-1] :]
        if self.stride > 1:
            rest = max_pool_2x2(rest)
        rest = weights[-1].astype(rest.dtype) * rest
        return shuffle_channels(
            jnp.concatenate([mixed, rest], -1), self.settings.partial
        )
