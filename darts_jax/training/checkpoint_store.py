"""Folders that are whole or absent, on disk or in a bucket."""

import contextlib
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from darts_jax.buckets import is_in_bucket
from darts_jax.files import sync_to_disk

MANIFEST = "manifest.json"
"""File that every folder has; in a bucket it is written last and removed first."""

_ASIDE = ".tmp-"


class FolderStore:
    """Folders in a directory on disk: written aside and renamed into place.

    Args:
      directory: made by the first `put` if absent.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def names(self) -> list[str]:
        """Returns the names of the folders."""
        return [path.name for path in self.directory.glob("*")]

    def clean(self) -> None:
        """Removes what a killed process left half-written."""
        for left in self.directory.glob(f"{_ASIDE}*"):
            shutil.rmtree(left)

    def put(self, name: str, write: Callable[[Path], None]) -> None:
        """Writes a folder, in the place of one of its name.

        Args:
          name: of the folder.
          write: makes a folder at the path that it is given, all of it on disk when it
            returns.
        """
        aside = self.directory / f"{_ASIDE}{name}"
        final = self.directory / name
        replaced = self.directory / f"{_ASIDE}replaced-{name}"
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            write(aside)
            if final.exists():
                final.rename(replaced)
            aside.rename(final)
            sync_to_disk(self.directory)
        finally:
            shutil.rmtree(aside, ignore_errors=True)
            shutil.rmtree(replaced, ignore_errors=True)

    def remove(self, name: str) -> None:
        """Removes a folder.

        Args:
          name: of the folder.
        """
        shutil.rmtree(self.directory / name, ignore_errors=True)

    @contextlib.contextmanager
    def on_disk(self, name: str) -> Iterator[Path]:
        """Yields the folder's path on a local disk, to read.

        Args:
          name: of the folder.
        """
        yield self.directory / name


class BucketFolderStore(FolderStore):
    """Folders in a bucket: one without its manifest is none yet, or none any more.

    Arrays are written to a local disk and sent from there.
    """

    def names(self) -> list[str]:
        return [path.parent.name for path in self.directory.glob(f"*/{MANIFEST}")]

    def clean(self) -> None:
        whole = set(self.names())
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            for path in self.directory.iterdir():
                if path.name not in whole:
                    self.remove(path.name)

    def put(self, name: str, write: Callable[[Path], None]) -> None:
        final = self.directory / name
        with tempfile.TemporaryDirectory(prefix="darts-jax-") as place:
            folder = Path(place) / name
            write(folder)
            seal = (folder / MANIFEST).read_bytes()
            if self._read_seal(name) == seal:
                return
            self.remove(name)
            (folder / MANIFEST).unlink()
            for path in sorted(p for p in folder.rglob("*") if p.is_file()):
                (final / path.relative_to(folder).as_posix()).write_bytes(
                    path.read_bytes()
                )
            (final / MANIFEST).write_bytes(seal)

    def remove(self, name: str) -> None:
        final = self.directory / name
        (final / MANIFEST).unlink(missing_ok=True)
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            for path in [p for p in final.rglob("*") if p.is_file()]:
                path.unlink(missing_ok=True)

    @contextlib.contextmanager
    def on_disk(self, name: str) -> Iterator[Path]:
        final = self.directory / name
        with tempfile.TemporaryDirectory(prefix="darts-jax-") as place:
            for path in [p for p in final.rglob("*") if p.is_file()]:
                here = Path(place) / path.relative_to(final).as_posix()
                here.parent.mkdir(parents=True, exist_ok=True)
                here.write_bytes(path.read_bytes())
            yield Path(place)

    def _read_seal(self, name: str) -> bytes | None:
        try:
            return (self.directory / name / MANIFEST).read_bytes()
        except FileNotFoundError:
            return None


def open_store(directory: Path) -> FolderStore:
    """Returns the store of a directory, where that directory lies.

    Args:
      directory: on disk or in a bucket.
    """
    if is_in_bucket(directory):
        return BucketFolderStore(directory)
    return FolderStore(directory.absolute())  # Orbax refuses relative paths
