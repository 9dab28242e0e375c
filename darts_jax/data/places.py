"""Paths of data on disk."""

from pathlib import Path

from darts_jax.files import local_path


def locate(name: str, place: Path | None) -> Path:
    """Returns the path of a file or a folder.

    A relative path that does not exist here is looked for in the folder of data.

    Args:
      name: the path as it was given.
      place: folder of data, as `sources.find_data_directory` says.

    Raises:
      InputError: the path is on no disk, such as ``gs://bucket``.
    """
    path = local_path(name).expanduser()
    if place is None or path.exists() or not (place / path).exists():
        return path
    return place / path
