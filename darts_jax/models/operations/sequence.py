"""Operations of a transformer's edges: causal modules on normalised states.

To add one: ``SEQUENCE_OPERATIONS["mine"] = make``, a function without arguments that
returns a module called as ``(x, train)``. Its output at a time must not depend on later
times. ``skip_connect`` is no entry, as it adds nothing.
"""

import functools
import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import lax
from jaxtyping import Array, Float

from darts_jax.errors import InputError, unknown_name_error
from darts_jax.models.operations.layers import Linear, torch_uniform

States = Float[Array, "batch time unit"]
SKIP = "skip_connect"
EPSILON = 1e-5


class LayerNorm(nn.Module):
    """Normalisation to mean 0 and variance 1 at every time, then scale and shift.

    Ba et al. (2016), with PyTorch's constant.
    """

    @nn.compact
    def __call__(self, x: States) -> States:
        units = x.shape[-1:]
        scale = self.param("scale", nn.initializers.ones, units).astype(x.dtype)
        bias = self.param("bias", nn.initializers.zeros, units).astype(x.dtype)
        centred = x - x.mean(-1, keepdims=True)
        variance = jnp.square(centred).mean(-1, keepdims=True)
        return centred * lax.rsqrt(variance + EPSILON) * scale + bias


class Attention(nn.Module):
    """Causal self-attention by several heads, without biases.

    Vaswani et al. (2017, section 3.2); no time sees a later one.

    Attributes:
      heads: a divisor of the number of units.
    """

    heads: int

    @nn.compact
    def __call__(self, x: States, train: bool) -> States:
        del train
        batch, time, units = x.shape
        size = units // self.heads
        init = torch_uniform(units)
        into = self.param("into", init, (units, 3 * units)).astype(x.dtype)
        out = self.param("out", init, (units, units)).astype(x.dtype)
        query, key, value = jnp.moveaxis(
            (x @ into).reshape(batch, time, 3, self.heads, size), (2, 3), (0, 2)
        )
        scores = query @ key.swapaxes(-1, -2) / math.sqrt(size)
        seen = jnp.tril(jnp.ones((time, time), bool))
        shares = jax.nn.softmax(jnp.where(seen, scores, -jnp.inf), axis=-1)
        return (shares @ value).swapaxes(1, 2).reshape(x.shape) @ out


class CausalConv(nn.Module):
    """Convolution of every unit over a time and those before, zeros before the first.

    Attributes:
      kernel: number of times.
    """

    kernel: int

    @nn.compact
    def __call__(self, x: States, train: bool) -> States:
        del train
        shape = self.kernel, x.shape[-1]
        kernel = self.param("kernel", torch_uniform(self.kernel), shape).astype(x.dtype)
        padded = jnp.pad(x, ((0, 0), (self.kernel - 1, 0), (0, 0)))
        # Shifted sums, which fuse; a grouped convolution is slow on CPU.
        terms = [kernel[i] * padded[:, i : i + x.shape[1]] for i in range(self.kernel)]
        return sum(terms, start=jnp.zeros_like(x))


class FeedForward(nn.Module):
    """A hidden layer with ReLU, at every time alike (Vaswani et al., 2017, eq. 2).

    Attributes:
      multiple: width of the hidden layer over the number of units.
    """

    multiple: int

    @nn.compact
    def __call__(self, x: States, train: bool) -> States:
        del train
        units = x.shape[-1]
        hidden = nn.relu(Linear(self.multiple * units, name="hidden")(x))
        return Linear(units, name="out")(hidden)


SEQUENCE_OPERATIONS: dict[str, Callable[[], nn.Module]] = (
    {f"attention_{n}": functools.partial(Attention, n) for n in (2, 4, 8)}
    | {f"causal_conv_{n}": functools.partial(CausalConv, n) for n in (3, 7)}
    | {f"ffn_{n}x": functools.partial(FeedForward, n) for n in (1, 2, 4)}
)


def make_sequence_operation(name: str) -> nn.Module:
    """Returns the module of an operation.

    Args:
      name: an entry of `SEQUENCE_OPERATIONS`.

    Raises:
      InputError: the name is unknown; with the nearest one.
    """
    if name not in SEQUENCE_OPERATIONS:
        known = [SKIP, *SEQUENCE_OPERATIONS]
        raise unknown_name_error("operation on a text", name, known)
    return SEQUENCE_OPERATIONS[name]()


def require_sequence_operation(name: str, units: int) -> None:
    """Raises InputError unless the operation exists and takes states of that width.

    Args:
      name: an entry of `SEQUENCE_OPERATIONS`, or ``skip_connect``.
      units: number of units of the states.
    """
    made = None if name == SKIP else make_sequence_operation(name)
    if isinstance(made, Attention) and units % made.heads:
        raise InputError(
            f"{units} units cannot be shared among the heads of {name}; want a "
            f"multiple of {made.heads}"
        )
