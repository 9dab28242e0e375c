"""Latency of networks and operations on this device: compiled, warmed up, measured.

Times are of the forward pass with running statistics, in milliseconds.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jaxtyping import Array, PRNGKeyArray

from darts_jax.cost.modules import ImageShape
from darts_jax.cost.sites import Site
from darts_jax.cost.tables import CostTable
from darts_jax.errors import InputError
from darts_jax.models import stack
from darts_jax.models.network import Network
from darts_jax.models.operations.image import make_operation
from darts_jax.models.operations.layers import STREAMS, Image, draw

Clock = Callable[[], float]
"""Returns seconds since any fixed time; never goes back."""


class Latency(NamedTuple):
    """Time of one call, over many calls.

    Attributes:
      median_ms: median, in milliseconds.
      first_quartile_ms: first quartile, in milliseconds.
      third_quartile_ms: third quartile, in milliseconds.
      batch: number of images of a call.
      dtype: dtype of the computation.
      device: name of the device.
      runs: number of calls.
    """

    median_ms: float
    first_quartile_ms: float
    third_quartile_ms: float
    batch: int
    dtype: str
    device: str
    runs: int

    def __str__(self) -> str:
        return (
            f"{self.median_ms:.3f} ms, quartiles {self.first_quartile_ms:.3f} and "
            f"{self.third_quartile_ms:.3f}, batch {self.batch}, {self.dtype}, "
            f"{self.runs} runs on {self.device}"
        )


class Measurement(NamedTuple):
    """Settings of a measurement of latency.

    Attributes:
      batch: number of images of a call.
      dtype: dtype of the computation, "float32" or "bfloat16"; parameters are float32.
      warmups: number of calls before the first that counts.
      runs: number of calls that count.
      seed: seed of parameters and images.
      clock: read before and after every call.
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


_DEFAULT = Measurement()


def network_latency(
    net: Network, image_shape: ImageShape, how: Measurement = _DEFAULT
) -> Latency:
    """Measures the latency of a genotype's network with random parameters.

    Args:
      net: the network; its auxiliary head is left out.
      image_shape: height, width and channels of its images.
      how: settings of the measurement.

    Raises:
      InputError: a setting that makes no sense.
    """
    how.check()
    plain = net.clone(auxiliary=False, dtype=jnp.dtype(how.dtype))
    no_drop_path = jnp.zeros(())
    return _forward_latency(plain, image_shape, how, no_drop_path)


def operation_latencies(
    places: Iterable[Site], how: Measurement = _DEFAULT
) -> CostTable:
    """Measures every operation by itself at every site.

    Args:
      places: the sites, as `sites.supernet_sites` or `expected.choice_sites` yields
        them; each is measured once.
      how: settings of the measurement.

    Returns:
      Median milliseconds, each less the time of a call that does next to nothing, and
      at least 0. Their sum is not the network's latency, in which operations fuse and
      run side by side, but ranks choices, as in ProxylessNAS (Cai et al., 2019,
      section 3.3).

    Raises:
      InputError: a setting that makes no sense.
    """
    how.check()
    once = sorted(set(places))
    medians = {site: _operation_latency(site, how).median_ms for site in once}
    idle = _idle_ms(how)
    conditions = {
        "batch": how.batch,
        "dtype": how.dtype,
        "device": jax.devices()[0].device_kind,
        "runs": how.runs,
    }
    costs = {site: max(median - idle, 0.0) for site, median in medians.items()}
    return CostTable("ms", conditions, costs)


def measure_latency(
    call: Callable[..., Any], arguments: Sequence[Any], how: Measurement
) -> Latency:
    """Times a call until its results are there, after calls that do not count.

    Args:
      call: a compiled function.
      arguments: its arguments.
      how: settings of the measurement.
    """
    for _ in range(how.warmups):
        jax.block_until_ready(call(*arguments))
    seconds = []
    for _ in range(how.runs):
        began = how.clock()
        jax.block_until_ready(call(*arguments))
        seconds.append(how.clock() - began)
    first, median, third = (1e3 * float(q) for q in np.quantile(seconds, _QUARTILES))
    return Latency(
        median_ms=median,
        first_quartile_ms=first,
        third_quartile_ms=third,
        batch=how.batch,
        dtype=how.dtype,
        device=jax.devices()[0].device_kind,
        runs=how.runs,
    )


_QUARTILES = (0.25, 0.5, 0.75)


def _idle_ms(how: Measurement) -> float:
    """Measures a call that computes next to nothing."""
    zero = jnp.zeros(())
    call = jax.jit(lambda x: x + 1).lower(zero).compile()
    return measure_latency(call, [zero], how).median_ms


def _operation_latency(site: Site, how: Measurement) -> Latency:
    module = make_operation(site.operation, site.channels, site.stride, discrete=True)
    return _forward_latency(module, (site.height, site.width, site.inputs), how)


def _forward_latency(
    net: nn.Module, image_shape: ImageShape, how: Measurement, *others: Array
) -> Latency:
    """Compiles a forward pass with running statistics, and measures it.

    Args:
      net: the module, called as ``(images, *others, train)``.
      image_shape: height, width and channels of its images.
      how: settings of the measurement.
      *others: arrays that it takes after the images.
    """
    key = jax.random.key(how.seed)
    images = jax.random.normal(key, (how.batch, *image_shape), jnp.dtype(how.dtype))

    def init(key: PRNGKeyArray) -> Any:
        streams = dict.fromkeys(("params", *STREAMS), key)
        return draw(key, net.init(streams, images, *others, False))

    def forward(variables: Any, images: Image, key: PRNGKeyArray) -> Any:
        return stack.apply(net, variables, key, images, *others, train=False)[0]

    variables = jax.jit(init)(key)
    compiled = jax.jit(forward).lower(variables, images, key).compile()
    return measure_latency(compiled, [variables, images, key], how)
