"""Paths in buckets: run directories, results and data that lie on no local disk.

Any scheme of fsspec is taken, ``s3://`` and ``gs://`` above all, by universal_pathlib,
whose paths have the methods of `pathlib.Path`. Objects appear whole, folders need not
be made, and nothing that was listed is remembered: another machine may write.
"""

import dataclasses
import functools
from pathlib import Path
from typing import Any, cast

from darts_jax.errors import InputError, first_line

EXTRAS = {"s3": "s3", "s3a": "s3", "gs": "gcs", "gcs": "gcs"}
"""Scheme -> extra of this package that installs its driver."""

_DRIVERS = ("botocore", "aiobotocore", "s3fs", "gcsfs", "google", "aiohttp", "fsspec")


def is_in_bucket(place: Any) -> bool:
    """Returns whether a place is a path in a bucket, as `bucket_path` makes them.

    Args:
      place: path or text.
    """
    return not isinstance(place, str | Path) and hasattr(place, "storage_options")


def bucket_path(place: str) -> Path:
    """Returns a path in a bucket.

    Args:
      place: URL, such as ``s3://bucket/runs/a``.

    Returns:
      A path of universal_pathlib. It is no `pathlib.Path`, but has its methods.

    Raises:
      InputError: nothing is known of the scheme, its driver is not installed, the URL
        has no bucket, or the bucket cannot be reached.
    """
    scheme, _, rest = place.partition("://")
    if not rest.strip("/"):
        raise InputError(f"{place} names no bucket; want {scheme}://BUCKET/PATH")
    _require_driver(scheme.lower(), place)
    from upath import UPath

    path = UPath(place.rstrip("/"), use_listings_cache=False)
    _require_reachable(scheme, rest.partition("/")[0])
    return cast(Path, path)


@dataclasses.dataclass(frozen=True)
class BucketEntry:
    """Entry of a folder in a bucket, asked as `os.DirEntry` is.

    Attributes:
      name: of the file or folder.
      kind: "file" or "directory".
    """

    name: str
    kind: str

    def is_dir(self) -> bool:
        """Returns whether it is a folder."""
        return self.kind == "directory"

    def is_file(self) -> bool:
        """Returns whether it is a file."""
        return self.kind == "file"


def list_bucket(folder: Path) -> list[BucketEntry]:
    """Returns the entries of a folder in a bucket, by few requests.

    Args:
      folder: as `bucket_path` returns it.
    """
    place = cast(Any, folder)
    listed = place.fs.ls(place.path, detail=True)
    return [
        BucketEntry(entry["name"].rstrip("/").rpartition("/")[2], entry["type"])
        for entry in listed
        if entry["name"].strip("/") != place.path.strip("/")
    ]


def describe_bucket_failure(what: str, error: Exception) -> str | None:
    """Returns one line about an error of a bucket's driver; None for another error.

    Args:
      what: was read or written, in words.
      error: met meanwhile.
    """
    if type(error).__module__.partition(".")[0] not in _DRIVERS:
        return None
    return f"cannot reach {what}: {first_line(error)}"


def _require_driver(scheme: str, place: str) -> None:
    import fsspec

    try:
        import upath  # noqa: F401

        fsspec.get_filesystem_class(scheme)
    except ValueError:
        known = ", ".join(f"{name}://" for name in ("s3", "gs"))
        raise InputError(
            f"{place}: no storage is known by {scheme}://; want a path, {known} or "
            "another scheme of fsspec"
        ) from None
    except ImportError:
        extra = EXTRAS.get(scheme)
        package = f"'darts-jax[{extra}]'" if extra else f"fsspec's driver of {scheme}"
        raise InputError(
            f"{place} needs a driver that is not installed: pip install {package}"
        ) from None


@functools.cache
def _require_reachable(scheme: str, bucket: str) -> None:
    """Asks for a bucket once, so that a wrong name or right is told before any work."""
    from upath import UPath

    root = UPath(f"{scheme}://{bucket}", use_listings_cache=False)
    try:
        root.exists()
    except Exception as error:
        raise InputError(
            f"{scheme}://{bucket} cannot be reached: {first_line(error)}"
        ) from None
