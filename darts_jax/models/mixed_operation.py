"""One edge of a supernet: ``sum_o weights[o] * op_o(x)`` (Liu et al., 2019, eq. 2).

Operations that have no parameters give the same on every edge that leaves a state.
They are computed once per state, apart from the edges (`MixedOperation.shared`).
"""

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import lax
from jaxtyping import Array, Float, PRNGKeyArray

from darts_jax.kernels import primitives
from darts_jax.models import stack
from darts_jax.models.operations.corruption import OF_EDGES, Corruption
from darts_jax.models.operations.image import Operation, Zero
from darts_jax.models.operations.layers import Image, Weight
from darts_jax.models.operations.mobile import joined

Variables = dict[str, stack.Variables]
"""Stack -> the variables of one of its elements."""


def stack_name(operation: str, stride: int, widens: bool = False) -> str:
    """Of the edges that may be an operation, have a stride, and are alike in width.

    Args:
      widens: whether they leave an input that is not as wide as the nodes.
    """
    parts = [operation]
    parts += [f"stride{stride}"] if stride > 1 else []
    parts += ["widening"] if widens else []
    return "_".join(parts)


def shuffle_channels(x: Image, groups: int) -> Image:
    """Interleaves ``groups`` blocks of channels (Xu et al., 2020, code)."""
    *shape, channels = x.shape
    blocks = x.reshape(*shape, groups, channels // groups)
    return blocks.swapaxes(-1, -2).reshape(x.shape)


@dataclasses.dataclass(frozen=True)
class MixedOperation:
    """What an edge computes, whatever the numbers.

    Attributes:
      width: channels that leave the operations.
      partial: of the input's channels, 1/partial enter them.
      makers: operation -> what makes its module: a name may be given to another one
        later, which the cache of a trace must tell apart.
      sampled: whether an operation of weight 0 does not run, as it has no slope either.
      corruptions: operation -> what happens to its output in training.
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
        return dict(self.makers)[operation](self.width, stride, self.discrete)

    def shared(
        self,
        operations: Mapping[str, str],
        stride: int,
        variables: Variables,
        key: PRNGKeyArray,
        x: Image,
    ) -> tuple[dict[str, Image], dict[str, Any]]:
        """Outputs by operation of those that no edge has to itself, and statistics.

        Args:
          operations: what the edges may be -> its stack.
          variables: of any edge that leaves the state; their statistics are equal.
        """
        outputs, stats = {}, {}
        for op, name in operations.items():
            module = self.module(op, stride)
            if not getattr(module, "edge_independent", False):
                continue
            outputs[op], stats[name] = self._call(module, variables[name], key, x)
        return outputs, stats

    def own(
        self,
        operations: Mapping[str, str],
        stride: int,
        variables: Variables,
        weights: Float[Array, " op"],
        key: PRNGKeyArray,
        x: Image,
        strength: Float[Array, ""],
        kept: Float[Array, " channel"] | None = None,
    ) -> tuple[Image | None, dict[str, Any]]:
        """What an edge adds that is its own alone, and its statistics by stack.

        Args:
          operations: what the edge may be -> its stack.
          kept: what every channel that an operation adds is multiplied by, where widths
            are searched; those that all edges of a state share change no channel's.
        """
        total, stats = None, {}
        for column, op, module, weight in self._terms(operations, stride, weights):
            if getattr(module, "edge_independent", False):
                continue
            name = operations[op]
            by = weight.astype(x.dtype)
            if self._takes_weight(op, module):
                by = jnp.broadcast_to(by, (self.width,))
                by = by if kept is None else by * kept.astype(by.dtype)
                term, stats[name] = self._call(module, variables[name], key, x, by)
            else:
                call = self._call_if(by != 0) if self.sampled else self._call
                y, stats[name] = call(module, variables[name], key, x)
                y = self._corrupted(op, column, y, key, strength)
                y = y if kept is None else y * kept.astype(y.dtype)
                term = by * joined(module, self.part(x), y)
            total = term if total is None else total + term
        return total, stats

    def whole(
        self,
        operations: Mapping[str, str],
        stride: int,
        own: Image | None,
        weights: Float[Array, " op"],
        key: PRNGKeyArray,
        x: Image,
        shared: dict[str, Image],
        strength: Float[Array, ""],
    ) -> Image:
        """The mixture on an edge: its `own` part, and what a state's edges share."""
        total = own
        for column, op, _, weight in self._terms(operations, stride, weights):
            if op not in shared:
                continue
            y = self._corrupted(op, column, shared[op], key, strength)
            term = weight.astype(x.dtype) * y
            total = term if total is None else total + term
        if total is None:
            shape = x[:, ::stride, ::stride].shape[:-1]
            total = jnp.zeros((*shape, self.width), x.dtype)
        return self._bypass(total, x, stride, weights)

    def _terms(
        self,
        operations: Mapping[str, str],
        stride: int,
        weights: Float[Array, " op"],
    ) -> Iterator[tuple[int, str, nn.Module, Array]]:
        """Every operation that adds something: column, name, module, weight."""
        of_operations = jnp.unstack(weights)
        for column, op in enumerate(operations):
            module = self.module(op, stride)
            if not isinstance(module, Zero):
                yield column, op, module, of_operations[column]

    def part(self, x: Image) -> Image:
        """The channels that enter the operations."""
        return x[..., : x.shape[-1] // self.partial]

    def _takes_weight(self, op: str, module: nn.Module) -> bool:
        """Whether the operation multiplies by its weight, and nothing comes between."""
        corrupted = self.train and op in dict(self.corruptions)
        takes = getattr(module, "takes_weight", False)
        return takes and not corrupted and not self.sampled

    def _call(
        self,
        module: nn.Module,
        variables: stack.Variables,
        key: PRNGKeyArray,
        x: Image,
        *weight: Weight,
    ) -> tuple[Image, Any]:
        x = self.part(x)
        return stack.call(module, variables, key, x, train=self.train, behind=weight)

    def _call_if(self, runs: Array) -> Callable[..., tuple[Image, Any]]:
        """The same, or zeros and the statistics as they were."""

        def call_if(module: nn.Module, variables: stack.Variables, *own: Any) -> Any:
            def call(variables: stack.Variables, *own: Any) -> Any:
                return self._call(module, variables, *own)

            y, _ = jax.eval_shape(call, variables, *own)

            def skip(variables: stack.Variables, *own: Any) -> Any:
                del own
                return jnp.zeros(y.shape, y.dtype), variables.get("batch_stats", {})

            return lax.cond(runs, call, skip, variables, *own)

        return call_if

    def _corrupted(
        self,
        op: str,
        column: int,
        y: Image,
        key: PRNGKeyArray,
        strength: Float[Array, ""],
    ) -> Image:
        corrupt = dict(self.corruptions).get(op)
        if corrupt is None or not self.train:
            return y
        if corrupt not in OF_EDGES:
            key = jax.random.fold_in(key, column)
        return corrupt(key, y, strength)

    def _bypass(
        self, mixed: Image, x: Image, stride: int, weights: Float[Array, " op"]
    ) -> Image:
        """Joins the channels that took no operation (Xu et al., 2020, eq. 2 and 3).

        Args:
          weights: of the operations, and last the edge's share of its node.
        """
        if self.partial == 1:
            return mixed
        rest = x[..., mixed.shape[-1] :]
        if stride > 1:
            rest = primitives.max_pool_2x2(rest)
        rest = weights[-1].astype(rest.dtype) * rest
        return shuffle_channels(jnp.concatenate([mixed, rest], -1), self.partial)
