"""Precision in which the products of float32 numbers are computed, by name.

On CPU all products are float32. A TPU multiplies bfloat16 numbers, several times where
more digits are asked for; NVIDIA's tensor cores multiply numbers of 11 significant bits
(TF32). By default both take the fastest, so that float32 says how numbers are stored
and added up, not how they are multiplied.
"""

import contextlib
import dataclasses
from collections.abc import Iterator

import jax

from darts_jax.errors import InputError

NVIDIA = "cuda"
TPU = "tpu"


@dataclasses.dataclass(frozen=True)
class Precision:
    """A choice of the setting ``precision``.

    Attributes:
      products: JAX's name of the precision of matrix products and other convolutions
        than ours; None leaves JAX's own setting.
      convolutions: of our own convolutions; None: as ``products``.
      platforms: those that have it, as `platform_name` says them; empty: all.
    """

    products: str | None
    convolutions: str | None = None
    platforms: tuple[str, ...] = ()


PRECISIONS: dict[str, Precision] = {
    "default": Precision(None),
    "bfloat16": Precision("bfloat16", platforms=(TPU,)),
    "bfloat16_3x": Precision("high", platforms=(TPU,)),
    "tensorfloat32": Precision("tensorfloat32", platforms=(NVIDIA,)),
    "pytorch": Precision("highest", "tensorfloat32", platforms=(NVIDIA,)),
    "highest": Precision("highest"),
}
"""`precision` -> what it means to JAX.

``bfloat16_3x`` is a sum of three products of bfloat16 numbers; ``highest`` is float32
everywhere; ``pytorch`` is PyTorch's default on NVIDIA, TF32 in convolutions and float32
in other products.
"""

_convolutions = jax.make_user_context(None)


@contextlib.contextmanager
def use_precision(name: str) -> Iterator[None]:
    """Gives products that are traced meanwhile, and their derivatives, a precision.

    Args:
      name: key of `PRECISIONS`.
    """
    chosen = PRECISIONS[name]
    if chosen.products is None:
        yield
        return
    with (
        jax.default_matmul_precision(chosen.products),
        _convolutions(chosen.convolutions),
    ):
        yield


def convolution_precision() -> str | None:
    """Returns JAX's name of the precision of convolutions here; None: not set."""
    own: str | None = _convolutions.value
    return own or _product_precision()


def _product_precision() -> str | None:
    name: str | None = jax.config.jax_default_matmul_precision  # type: ignore[attr-defined]
    return name


def platform_name(device: jax.Device) -> str:
    """Returns a device's platform, with NVIDIA's cards told from others.

    Args:
      device: one of `jax.devices`.
    """
    if device.platform != "gpu":
        return device.platform
    return NVIDIA if "cuda" in device.client.platform_version.lower() else "rocm"


def describe_precision(name: str, device: jax.Device) -> str:
    """Returns in words how a device multiplies float32 numbers.

    Args:
      name: key of `PRECISIONS`.
      device: that multiplies.

    Raises:
      InputError: devices of its platform don't have this precision.
    """
    platform = platform_name(device)
    chosen = PRECISIONS[name]
    if chosen.platforms and platform not in chosen.platforms:
        here = (
            other
            for other, p in PRECISIONS.items()
            if not p.platforms or platform in p.platforms
        )
        raise InputError(
            f"precision={name} is for {' and '.join(chosen.platforms)}; want "
            f"{', '.join(here)} on {platform}"
        )
    products = chosen.products or _product_precision()
    multiplied = _multiplied(platform, products, device)
    convolved = _multiplied(platform, chosen.convolutions or products, device)
    if convolved == multiplied:
        return multiplied
    return f"{convolved} in convolutions, {multiplied} in other products"


def _multiplied(platform: str, precision: str | None, device: jax.Device) -> str:
    """Returns the kind of numbers that are multiplied, by JAX's name of a precision."""
    # NVIDIA's cards before Ampere have no such cores.
    if platform == NVIDIA and float(getattr(device, "compute_capability", 8)) < 8:
        return "float32"
    return _MULTIPLIED.get(platform, {}).get(precision or "default", "float32")


_FAST = ("default", "bfloat16", "tensorfloat32", "high")
_MULTIPLIED = {
    NVIDIA: dict.fromkeys(_FAST, "tensorfloat32"),
    TPU: {
        "default": "bfloat16",
        "bfloat16": "bfloat16",
        "tensorfloat32": "bfloat16_3x",
        "high": "bfloat16_3x",
    },
}
"""Platform -> JAX's name of a precision -> the numbers that are multiplied."""
