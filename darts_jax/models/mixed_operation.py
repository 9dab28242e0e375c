"""One edge of a supernet: ``sum_o weights[o] * op_o(x)`` (Liu et al., 2019, eq. 2).

Operations that have no parameters give the same on every edge that leaves a state.
They are computed once per state, apart from the edges (`MixedOperation.shared`).
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import lax
from jaxtyping import Array, Float, PRNGKeyArray

from darts_jax.models import stack
from darts_jax.operations import primitives
from darts_jax.operations.corruption import Corruption
from darts_jax.operations.image import Operation, Zero
from darts_jax.operations.layers import Image

Variables = dict[str, stack.Variables]
"""Stack -> the variables of one of its elements."""


def stack_name(operation: str, stride: int) -> str:
    return operation if stride == 1 else f"{operation}_stride{stride}"


def shuffle_channels(x: Image, groups: int) -> Image:
    """Interleaves ``groups`` blocks of channels (Xu et al., 2020, code)."""
    *shape, channels = x.shape
    blocks = x.reshape(*shape, groups, channels // groups)
    return blocks.swapaxes(-1, -2).reshape(x.shape)


@dataclasses.dataclass(frozen=True)
class MixedOperation:
    """What an edge computes, whatever the numbers.

    Attributes:
      width: channels that enter the operations.
      partial: the input has ``partial * width`` channels.
      makers: operation -> what makes its module: a name may be given to another one
        later, which the cache of a trace must tell apart.
      sampled: whether an operation of weight 0 does not run, as it has no slope either.
      corruptions: operation -> what happens to its output in training.
    """

    width: int
    partial: int
    makers: tuple[tuple[str, Operation], ...]
    train: bool
    sampled: bool = False
    corruptions: tuple[tuple[str, Corruption], ...] = ()

    def module(self, operation: str, stride: int) -> nn.Module:
        return dict(self.makers)[operation](self.width, stride, False)

    def shared(
        self,
        operations: tuple[str, ...],
        stride: int,
        variables: Variables,
        key: PRNGKeyArray,
        x: Image,
    ) -> tuple[dict[str, Image], dict[str, Any]]:
        """Outputs by operation of those that no edge has to itself, and statistics.

        Args:
          variables: of any edge that leaves the state; their statistics are equal.
        """
        outputs, stats = {}, {}
        for op in operations:
            module = self.module(op, stride)
            if not getattr(module, "edge_independent", False):
                continue
            name = stack_name(op, stride)
            outputs[op], stats[name] = self._call(module, variables[name], key, x)
        return outputs, stats

    def edge(
        self,
        operations: tuple[str, ...],
        stride: int,
        variables: Variables,
        weights: Float[Array, " op"],
        key: PRNGKeyArray,
        x: Image,
        shared: dict[str, Image],
        strength: Float[Array, ""],
    ) -> tuple[Image, dict[str, Any]]:
        """The mixture on one edge, and its own operations' statistics by stack."""
        total, stats = None, {}
        for column, op in enumerate(operations):
            module, name = self.module(op, stride), stack_name(op, stride)
            if isinstance(module, Zero):
                continue
            if op in shared:
                y = shared[op]
            elif self.sampled:
                y, stats[name] = self._call_if(
                    weights[column] != 0, module, variables[name], key, x
                )
            else:
                y, stats[name] = self._call(module, variables[name], key, x)
            y = self._corrupted(op, jax.random.fold_in(key, column), y, strength)
            term = weights[column].astype(y.dtype) * y
            total = term if total is None else total + term
        if total is None:
            total = jnp.zeros_like(x[:, ::stride, ::stride, : self.width])
        return self._bypass(total, x, stride), stats

    def _call(
        self, module: nn.Module, variables: stack.Variables, key: PRNGKeyArray, x: Image
    ) -> tuple[Image, Any]:
        part = x[..., : self.width]
        return stack.call(module, variables, key, part, train=self.train)

    def _call_if(
        self,
        runs: Array,
        module: nn.Module,
        variables: stack.Variables,
        key: PRNGKeyArray,
        x: Image,
    ) -> tuple[Image, Any]:
        """The same, or zeros and the statistics as they were."""

        def call(variables: stack.Variables, key: PRNGKeyArray, x: Image) -> Any:
            return self._call(module, variables, key, x)

        y, _ = jax.eval_shape(call, variables, key, x)

        def skip(variables: stack.Variables, key: PRNGKeyArray, x: Image) -> Any:
            del key, x
            return jnp.zeros(y.shape, y.dtype), variables.get("batch_stats", {})

        return lax.cond(runs, call, skip, variables, key, x)

    def _corrupted(
        self, op: str, key: PRNGKeyArray, y: Image, strength: Float[Array, ""]
    ) -> Image:
        corrupt = dict(self.corruptions).get(op)
        return corrupt(key, y, strength) if corrupt and self.train else y

    def _bypass(self, mixed: Image, x: Image, stride: int) -> Image:
        """Joins the channels that took no operation (Xu et al., 2020, eq. 1)."""
        if self.partial == 1:
            return mixed
        rest = x[..., mixed.shape[-1] :]
        if stride > 1:
            rest = primitives.max_pool_2x2(rest)
        return shuffle_channels(jnp.concatenate([mixed, rest], -1), self.partial)
