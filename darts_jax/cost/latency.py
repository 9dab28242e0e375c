"""How long an architecture takes on this device: compiled, warmed up, measured.

Times are of the forward pass with running statistics, in milliseconds.
"""

import time
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jaxtyping import Array, PRNGKeyArray

from darts_jax.cost.sites import CostTable, Site
from darts_jax.cost.traced import ImageShape
from darts_jax.errors import InputError
from darts_jax.models import stack
from darts_jax.models.network import Network
from darts_jax.models.operations.image import make_operation
from darts_jax.models.operations.layers import STREAMS, Image, draw

Clock = Callable[[], float]
"""Seconds since whenever; never goes back."""


class Latency(NamedTuple):
    """Of one call, over many: median and quartiles, in milliseconds.

    Attributes:
      spread_ms: third quartile less the first.
    """

    median_ms: float
    first_quartile_ms: float
    third_quartile_ms: float
    batch: int
    dtype: str
    device: str
    runs: int

    @property
    def spread_ms(self) -> float:
        return self.third_quartile_ms - self.first_quartile_ms

    def __str__(self) -> str:
        return (
            f"{self.median_ms:.3f} ms, quartiles {self.first_quartile_ms:.3f} and "
            f"{self.third_quartile_ms:.3f}, batch {self.batch}, {self.dtype}, "
            f"{self.runs} runs on {self.device}"
        )


class Measurement(NamedTuple):
    """How a latency is taken.

    Attributes:
      batch: images of a call.
      dtype: of the computation, "float32" or "bfloat16"; parameters are float32.
      warmups: calls before the first that counts.
      runs: calls that count.
      seed: of parameters and images.
      clock: what is read before and after every call.
    """

    batch: int = 1
    dtype: str = "float32"
    warmups: int = 5
    runs: int = 30
    seed: int = 0
    clock: Clock = time.perf_counter

    def check(self) -> None:
        """Raises InputError unless every number makes sense."""
        least = {"batch": 1, "warmups": 0, "runs": 1}
        for name, smallest in least.items():
            if getattr(self, name) < smallest:
                given = getattr(self, name)
                raise InputError(f"{name} of {given}; want at least {smallest}")
        if self.dtype not in ("float32", "bfloat16"):
            raise InputError(f"dtype {self.dtype!r}; want float32 or bfloat16")


_AS_USUAL = Measurement()


def latency_of(
    net: Network, image_shape: ImageShape, how: Measurement = _AS_USUAL
) -> Latency:
    """The latency of a genotype's network; its parameters are random.

    Args:
      image_shape: [height, width, channel].

    Raises:
      InputError: a measurement that makes no sense.
    """
    how.check()
    seen = net.clone(auxiliary=False, dtype=jnp.dtype(how.dtype))
    no_drop_path = jnp.zeros(())
    return measure(*_program(seen, image_shape, how, no_drop_path), how=how)


def operation_latencies(
    places: Iterable[Site], how: Measurement = _AS_USUAL
) -> CostTable:
    """Median milliseconds of every operation by itself, wherever it stands.

    Each is less the time of a call that does next to nothing, and at least 0. Their
    sum is not the network's latency, in which operations fuse and run side by side,
    but ranks choices, as in ProxylessNAS (Cai et al., 2019, section 3.3).

    Args:
      places: as `sites.sites` or `expected.choice_sites` finds them; each is measured
        once.

    Raises:
      InputError: a measurement that makes no sense.
    """
    how.check()
    once = sorted(set(places))
    taken = {site: _operation_latency(site, how).median_ms for site in once}
    idle = _idle_ms(how)
    conditions = {
        "batch": how.batch,
        "dtype": how.dtype,
        "device": jax.devices()[0].device_kind,
        "runs": how.runs,
    }
    costs = {site: max(time - idle, 0.0) for site, time in taken.items()}
    return CostTable("ms", conditions, costs)


def _idle_ms(how: Measurement) -> float:
    """What a call takes of which there is nothing to compute."""
    zero = jnp.zeros(())
    call = jax.jit(lambda x: x + 1).lower(zero).compile()
    return measure(call, zero, how=how).median_ms


def _operation_latency(site: Site, how: Measurement) -> Latency:
    made = make_operation(site.operation, site.channels, site.stride, discrete=True)
    shape = (site.height, site.width, site.inputs)
    return measure(*_program(made, shape, how), how=how)


def _program(
    net: nn.Module, image_shape: ImageShape, how: Measurement, *others: Array
) -> tuple[Any, ...]:
    """A compiled forward pass with running statistics, and its arguments."""
    key = jax.random.key(how.seed)
    images = jax.random.normal(key, (how.batch, *image_shape), jnp.dtype(how.dtype))

    def begin(key: PRNGKeyArray) -> Any:
        streams = dict.fromkeys(("params", *STREAMS), key)
        return draw(key, net.init(streams, images, *others, False))

    def forward(variables: Any, images: Image, key: PRNGKeyArray) -> Any:
        return stack.call(net, variables, key, images, *others, train=False)[0]

    arguments = (jax.jit(begin)(key), images, key)
    return jax.jit(forward).lower(*arguments).compile(), *arguments


def measure(call: Callable[..., Any], *arguments: Any, how: Measurement) -> Latency:
    """Times a call until its results are there, after calls that do not count."""
    for _ in range(how.warmups):
        jax.block_until_ready(call(*arguments))
    seconds = []
    for _ in range(how.runs):
        began = how.clock()
        jax.block_until_ready(call(*arguments))
        seconds.append(how.clock() - began)
    first, median, third = (1e3 * float(q) for q in np.quantile(seconds, _QUARTILES))
    device = jax.devices()[0].device_kind
    return Latency(median, first, third, how.batch, how.dtype, device, how.runs)


_QUARTILES = (0.25, 0.5, 0.75)
