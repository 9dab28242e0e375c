"""The library of kernels: built at first use, kept, loaded, its calls made known."""

import ctypes
import functools
import hashlib
import logging
import os
import platform
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import Array

from darts_jax.errors import InputError
from darts_jax.files import user_cache_directory, write_atomically

SWITCH = "DARTS_JAX_KERNELS"
"""Environment variable: ``auto`` (the default), ``off``, or ``native``: or fail."""

CALLS = (
    "depthwise",
    "depthwise_input",
    "depthwise_kernel",
    "conv",
    "conv_input",
    "conv_kernel",
    "moments",
    "channel_sums",
    "project",
    "weighted_change",
    "weighted_back",
    "weighted_back_change",
    "separable",
    "separable_change",
    "separable_back",
    "separable_back_change",
    "separable_image_back",
    "separable_image_back_change",
    "rectified_conv",
    "rectified_conv_change",
    "rectified_conv_back",
    "rectified_conv_back_change",
    "rectified_conv_image_back",
    "rectified_conv_image_back_change",
)
NUMBERS = {"float32": "float", "float64": "double"}

_SOURCES = Path(__file__).parent / "src"
_FLAGS: tuple[str, ...] = (
    "-std=c++17",
    "-O3",
    "-march=native",
    "-fPIC",
    "-shared",
    "-w",
)
if platform.machine() in ("x86_64", "AMD64"):
    _FLAGS += ("-mprefer-vector-width=512",)  # compilers would halve the vectors
_COMPILERS = ("g++", "clang++", "c++")

log = logging.getLogger("darts_jax")


class _Unavailable(Exception):
    """There are no kernels, for the reason given in a few words."""


def has_kernels(dtype: Any) -> bool:
    """Returns whether kernels for numbers of this type serve; builds them if need be.

    Args:
      dtype: of NumPy or JAX.
    """
    name = np.dtype(dtype).name
    return name in NUMBERS and _registered(name) is None


def describe_kernels() -> str:
    """Returns in a few words what computes on this machine's CPU."""
    reason = _registered("float32")
    return "native kernels" if reason is None else f"XLA's kernels: {reason}"


def call_kernel(name: str, shape: Any, *arrays: Array, **attributes: Any) -> Any:
    """Calls a kernel inside a program for CPU.

    Args:
      name: an entry of `CALLS`.
      shape: of the result, or a list of shapes for a list of results.
      arrays: its operands, of one dtype, which the results have too.
      attributes: NumPy scalars and arrays that are constants of the call.
    """
    dtype = arrays[0].dtype
    shapes = shape if isinstance(shape, list) else [shape]
    results = [jax.ShapeDtypeStruct(each, dtype) for each in shapes]
    result = results if isinstance(shape, list) else results[0]
    return jax.ffi.ffi_call(f"darts_{name}_{dtype.name}", result)(*arrays, **attributes)


@functools.cache
def _registered(number: str) -> str | None:
    """Makes the calls known to XLA; returns the reason if that can't be done."""
    switch = os.environ.get(SWITCH, "auto")
    if switch not in ("auto", "off", "native"):
        raise InputError(f"{SWITCH} is {switch!r}; it may be auto, off or native")
    if switch == "off":
        return f"{SWITCH} is off"
    try:
        library = ctypes.CDLL(str(_built_library(number)))
    except (_Unavailable, InputError, OSError) as error:
        if switch == "native":
            raise InputError(f"no native kernels: {error}") from None
        log.warning("no native kernels, steps take about twice as long: %s", error)
        return str(error)
    for name in CALLS:
        handler = jax.ffi.pycapsule(getattr(library, f"darts_{name}"))
        target = f"darts_{name}_{number}"
        jax.ffi.register_ffi_target(target, handler, platform="cpu")
    return None


def _built_library(number: str) -> Path:
    """Returns the library's file, and builds it first if it is missing.

    Its name has everything that it depends on: sources, compiler, flags, the processor
    that the compiler sees, and XLA's headers.
    """
    compiler = _compiler()
    include = Path(jax.ffi.include_dir())
    parts = [*sorted(_SOURCES.iterdir()), *sorted(include.rglob("ffi/api/*.h"))]
    identity = hashlib.sha256(b"\0".join(path.read_bytes() for path in parts))
    identity.update("\0".join((compiler, _target_of(compiler), *_FLAGS)).encode())
    folder = user_cache_directory("kernels")
    path = folder / f"{number}-{identity.hexdigest()[:24]}.so"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(path, _compile(compiler, include, number))
    return path


def _compiler() -> str:
    if named := os.environ.get("CXX"):
        return named
    found = next(filter(None, map(shutil.which, _COMPILERS)), None)
    if found is None:
        raise _Unavailable("no C++ compiler (g++, clang++, or one that CXX names)")
    return found


def _target_of(compiler: str) -> str:
    """Returns the compiler's version and the processor that it would compile for."""
    command = [compiler, "-###", "-march=native", "-x", "c++", "-E", os.devnull]
    return _output(command)


def _compile(compiler: str, include: Path, number: str) -> bytes:
    log.info("building CPU kernels for %s with %s, once", number, compiler)
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / "kernels.so"
        _output(
            [
                compiler,
                *_FLAGS,
                f"-DDARTS_NUMBER={NUMBERS[number]}",
                f"-I{include}",
                str(_SOURCES / "bindings.cc"),
                "-o",
                str(made),
            ]
        )
        log.info("built in %.1f s", time.perf_counter() - began)
        return made.read_bytes()


def _output(command: list[str]) -> str:
    """Returns what a compiler prints; raises _Unavailable with its first complaint."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise _Unavailable(f"{command[0]} can't be run ({error})") from None
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if "error" in line]
        raise _Unavailable(f"{command[0]}: {(lines or ['failed'])[0]}")
    return done.stderr
