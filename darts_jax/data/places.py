"""Paths of data."""

from pathlib import Path

from darts_jax.buckets import is_in_bucket
from darts_jax.files import open_place


def locate(name: str, place: Path | None) -> Path:
    """Returns the path of a file or a folder.

    A relative path that does not exist here is looked for in the folder of data.

    Args:
      name: the path as it was given.
      place: folder of data, as `sources.find_data_directory` says.

    Raises:
      InputError: it is in a bucket whose driver is not installed.
    """
    path = open_place(name)
    if (
        place is None
        or is_in_bucket(path)
        or path.exists()
        or not (place / path).exists()
    ):
        return path
    return place / path
