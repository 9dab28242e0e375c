"""The persistent compilation cache: a program that was compiled once is loaded.

One folder serves all platforms. JAX's key of a program is made of the lowered program,
versions of JAX and of the platform's runtime, the kind of the devices, the compiler's
options and flags, and, as the folder is among the options, its path: a cache that was
moved is not read. A GPU's choices of algorithms are kept in the same folder.
"""

import re
import warnings
from pathlib import Path

import jax

from darts_jax import kernels
from darts_jax.errors import InputError
from darts_jax.files import make_folder, open_place, user_cache_directory


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
    _forget_place_of_package()
    if known := cache_folder():
        return known
    folder = (
        user_cache_directory("programs") if setting == "auto" else open_place(setting)
    )
    try:
        make_folder(folder)
    except OSError as error:
        raise InputError(
            f"cannot make the compilation cache {folder} ({error.strerror}); give "
            "another as compilation_cache, or off"
        ) from None
    jax.config.update("jax_compilation_cache_dir", str(folder))
    return folder


def _forget_place_of_package() -> None:
    """Keeps the package's folder out of Pallas kernels, and so out of a program's key.

    Lowered for a GPU or a TPU, a kernel names the file of each of its lines. Without
    the folder, environments of one user share what they compiled.
    """
    name = "jax_hlo_source_file_canonicalization_regex"
    if getattr(jax.config, name) is None:
        package = re.escape(Path(__file__).parents[1].name)
        jax.config.update(name, f"^.*/(?={package}/)")


def cache_folder() -> Path | None:
    """Returns the folder of compiled programs; None without one."""
    folder = jax.config.jax_compilation_cache_dir  # type: ignore[attr-defined]
    return open_place(folder) if folder else None


def describe_compilation(seconds: float) -> str:
    """Returns one line about a program that has been compiled.

    Args:
      seconds: time that compilation took.
    """
    kept = f"cache: {folder}" if (folder := cache_folder()) else "no cache"
    facts = "; ".join(filter(None, (kept, kernels.describe_kernels())))
    return f"compiled in {seconds:.1f} s ({facts})"
