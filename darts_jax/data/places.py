"""Places of data that are given by their path."""

from pathlib import Path

from darts_jax.files import local_path


def locate(name: str, place: Path | None) -> Path:
    """Returns the path of a file or a folder.

    A relative one that is not here is looked for where data lie.

    Args:
      name: the path as it was given.
      place: where data lie, as `sources.find_data_directory` says.

    Raises:
      InputError: it is on no disk, such as ``gs://bucket``.
    """
    path = local_path(name).expanduser()
    if place is None or path.exists() or not (place / path).exists():
        return path
    return place / path
