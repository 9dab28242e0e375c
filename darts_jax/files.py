"""Files that are written as a whole or not at all, and read with every check."""

import contextlib
import errno
import io
import os
import re
import tempfile
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from darts_jax.buckets import bucket_path, describe_bucket_failure, is_in_bucket
from darts_jax.errors import InputError

_FULL = (errno.ENOSPC, errno.EDQUOT)
# One letter before the colon is a drive.
_ELSEWHERE = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):(?://([^/]*)|(?=/))(/?.*)", re.S)
_WRITING = (*_FULL, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO)


def open_place(place: str | Path) -> Path:
    """Returns a place as a path: of this machine, or in a bucket.

    ``file:///a`` is ``/a``. A place in a bucket, such as ``s3://bucket/a``, becomes a
    path with the methods of `pathlib.Path` (universal_pathlib); see `buckets`.

    Args:
      place: path, or URL of one.

    Raises:
      InputError: nothing is known of the scheme, or its driver is not installed.
    """
    if is_in_bucket(place):
        return place  # type: ignore[return-value]
    # `Path` makes one slash of two, so that a path is met that was a place elsewhere.
    match = _ELSEWHERE.match(str(place))
    if match is None:
        return Path(place).expanduser() if str(place).startswith("~") else Path(place)
    scheme, host, rest = match.groups()
    if scheme.lower() == "file" and host in (None, "", "localhost"):
        return Path(urllib.request.url2pathname(rest))
    return bucket_path(re.sub(":/+", "://", str(place), count=1))


def make_folder(path: Path) -> None:
    """Makes a folder and those above it; buckets need none.

    Args:
      path: of the folder, which may exist.
    """
    if not is_in_bucket(path):
        path.mkdir(parents=True, exist_ok=True)


def user_cache_directory(name: str) -> Path:
    """Returns the user's folder for what can be made again; it may not exist.

    Args:
      name: of the folder.
    """
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "darts_jax" / name


def write_atomically(path: Path, data: bytes) -> None:
    """Writes a file so that a reader, or a crash, sees the old or the new, no mixture.

    Args:
      path: of the file, in a folder that exists, or in a bucket.
      data: all of it.

    Raises:
      InputError: no room on disk, or no right to write; the old file is intact.
    """
    path = open_place(path)
    with disk_errors(str(path)):
        if is_in_bucket(path):
            path.write_bytes(data)  # an object appears whole
            return
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
        sync_to_disk(path.parent)


def append_to_file(path: Path, data: bytes) -> None:
    """Writes at the end of a file, which is made with its folders if absent.

    On disk when this returns. Nothing is kept back for a later try, which would fail
    again where nobody expects it. An object in a bucket is written anew as a whole.

    Args:
      path: of the file.
      data: added to it.

    Raises:
      InputError: no room on disk, or no right to write; a part may have been written.
    """
    with disk_errors(str(path)):
        if is_in_bucket(path):
            path.write_bytes((path.read_bytes() if path.exists() else b"") + data)
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab", buffering=0) as file:
            left = memoryview(data)
            while left:
                left = left[file.write(left) :]
            os.fsync(file.fileno())


def seekable(path: Path) -> Path | io.BytesIO:
    """Returns what NumPy, zip and image readers can open: a bucket's file as bytes.

    Args:
      path: of the file.
    """
    return io.BytesIO(path.read_bytes()) if is_in_bucket(path) else path


def read_npz(path: Path, absent: str, damaged: str) -> dict[str, np.ndarray]:
    """Reads the arrays of an ``.npz``, nothing in it unpickled.

    Args:
      path: of the file.
      absent: message where there is no such file.
      damaged: message, before the reason, where it cannot be read.

    Raises:
      InputError: either of these, in one line.
    """
    try:
        with np.load(seekable(path), allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except FileNotFoundError:
        raise InputError(absent) from None
    # zipfile and numpy answer flipped bits with a dozen kinds of exception.
    except Exception as error:
        told = (str(error) or type(error).__name__).splitlines()[0]
        raise InputError(f"{damaged}: {told}") from None


@contextlib.contextmanager
def disk_errors(what: str) -> Iterator[None]:
    """Turns a failure to write into an InputError of one line.

    Args:
      what: is written, in words.
    """
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        told = describe_write_failure(what, error)
        if told is None:
            raise
        raise InputError(told) from None


def describe_write_failure(what: str, error: Exception) -> str | None:
    """Returns one line about an error of writing; None for an error of another kind.

    tensorstore raises a ValueError that has the system's words in it.

    Args:
      what: was written, in words.
      error: met meanwhile.
    """
    elsewhere = describe_bucket_failure(what, error)
    if elsewhere is not None:
        return elsewhere
    words = str(error)
    code = error.errno if isinstance(error, OSError) else None
    if code is None:
        code = next((c for c in _WRITING if os.strerror(c) in words), None)
    if code in _FULL:
        return f"no room on disk for {what}"
    if code is not None:
        return f"cannot write {what}: {os.strerror(code)}"
    return f"cannot write {what}: {words}" if isinstance(error, OSError) else None


def sync_to_disk(path: Path) -> None:
    """Makes a file's bytes, or a directory's names, survive a loss of power.

    Args:
      path: of the file or directory.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
