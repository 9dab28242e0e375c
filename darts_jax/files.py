"""Files that are written as a whole or not at all, and read with every check."""

import contextlib
import errno
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from darts_jax.errors import InputError

_FULL = (errno.ENOSPC, errno.EDQUOT)


def user_cache(name: str) -> Path:
    """The user's folder for what can be made again; it may not exist."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "darts_jax" / name


def write_whole(path: Path, data: bytes) -> None:
    """Writes a file so that a reader, or a crash, sees the old or the new, no mixture.

    Raises:
      InputError: no room on disk, or no right to write; the old file is intact.
    """
    with disk_errors(str(path)):
        descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            # mkstemp hides files from everyone else; results are meant to be shared.
            Path(name).chmod(0o666 & ~_umask())
            Path(name).replace(path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
        sync(path.parent)


def read_npz(path: Path, absent: str, damaged: str) -> dict[str, np.ndarray]:
    """The arrays of an ``.npz``, nothing in it unpickled.

    Args:
      absent: what is said where there is no such file.
      damaged: what is said, with the reason behind it, where it cannot be read.

    Raises:
      InputError: either of these, in one line.
    """
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except FileNotFoundError:
        raise InputError(absent) from None
    # zipfile and numpy answer flipped bits with a dozen kinds of exception.
    except Exception as error:
        told = (str(error) or type(error).__name__).splitlines()[0]
        raise InputError(f"{damaged}: {told}") from None


@contextlib.contextmanager
def disk_errors(what: str) -> Iterator[None]:
    """Turns a failure to write ``what`` into an InputError of one line."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        told = str(error)  # tensorstore raises ValueError, with the system's words
        if getattr(error, "errno", None) in _FULL or "No space left" in told:
            raise InputError(f"no room on disk for {what}") from None
        if not isinstance(error, OSError):
            raise
        raise InputError(f"cannot write {what}: {error.strerror or told}") from None


def sync(path: Path) -> None:
    """Makes a file's bytes, or a directory's names, survive a loss of power."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
