"""The persistent compilation cache: a program that was compiled once is loaded."""

import warnings
from pathlib import Path

import jax

from darts_jax import kernels
from darts_jax.errors import InputError
from darts_jax.files import local_path, user_cache_directory


def use_compilation_cache(setting: str) -> Path | None:
    """Directs JAX's cache of compiled programs.

    A cache that JAX already has (``JAX_COMPILATION_CACHE_DIR``) is left as it is.

    Args:
      setting: "auto" for the user's cache folder, "off", or a folder.

    Returns:
      The folder in use, or None.

    Raises:
      InputError: the folder cannot be made.
    """
    # A full disk stops the run in one line soon enough; the cache only saves time.
    full = "Error writing persistent compilation cache.*(No space left|quota)"
    warnings.filterwarnings("ignore", full)
    if setting == "off":
        return None
    if known := cache_folder():
        return known
    folder = (
        user_cache_directory("programs")
        if setting == "auto"
        else local_path(setting).expanduser()
    )
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"cannot make the compilation cache {folder} ({error.strerror}); give "
            "another as compilation_cache, or off"
        ) from None
    jax.config.update("jax_compilation_cache_dir", str(folder))
    return folder


def cache_folder() -> Path | None:
    """Returns the folder of compiled programs; None without one."""
    folder = jax.config.jax_compilation_cache_dir  # type: ignore[attr-defined]
    return Path(folder) if folder else None


def describe_compilation(seconds: float) -> str:
    """Returns one line about a program that has been compiled.

    Args:
      seconds: time that compilation took.
    """
    kept = f"cache: {folder}" if (folder := cache_folder()) else "no cache"
    computes = (
        f"; {kernels.describe_kernels()}" if jax.default_backend() == "cpu" else ""
    )
    return f"compiled in {seconds:.1f} s ({kept}{computes})"
