"""The file of a lock: made by one process alone, on disk or in a bucket."""

import contextlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

from darts_jax.buckets import is_in_bucket

NAME = ".lock"


class LockFile:
    """File of a lock, in a directory on disk.

    Args:
      directory: which it locks; it exists.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.path = directory / NAME

    def create(self, content: str) -> bool:
        """Makes the file, whole, where there is none; returns whether it did.

        Args:
          content: all of it.
        """
        aside = self._aside()
        try:
            aside.write_text(content)
            os.link(aside, self.path)
        except FileExistsError:
            return False
        finally:
            aside.unlink(missing_ok=True)
        return True

    def read(self) -> str | None:
        """Returns the content; None where there is no file, or it cannot be read."""
        return self._content(self.path)

    def touch(self) -> None:
        """Makes the file young."""
        os.utime(self.path)

    def age(self) -> float | None:
        """Returns seconds since the last touch, by the clock of its disk or storage."""
        probe = self._aside()
        try:
            probe.write_text("")
            return probe.stat().st_mtime - self.path.stat().st_mtime
        except FileNotFoundError:
            return None
        finally:
            probe.unlink(missing_ok=True)

    def remove(self, content: str | None) -> None:
        """Removes the file, but not another's that has come in its place meanwhile.

        Args:
          content: of the file that is meant.
        """
        aside = self._aside()
        with contextlib.suppress(FileNotFoundError):
            self.path.rename(aside)
            if self._content(aside) != content:
                with contextlib.suppress(FileExistsError):
                    os.link(aside, self.path)
            aside.unlink()

    @contextlib.contextmanager
    def examined_alone(self) -> Iterator[None]:
        """Lets one process of this machine at a time look at the file and take over."""
        with contextlib.ExitStack() as stack:
            # Some file systems and systems lack this; what remains is a narrow race.
            with contextlib.suppress(OSError, ImportError):
                import fcntl

                descriptor = os.open(self.directory, os.O_RDONLY)
                stack.callback(os.close, descriptor)
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield

    def make_directory(self) -> list[Path]:
        """Makes the directory; returns the new folders, innermost first."""
        made: list[Path] = []
        every = (self.directory, *self.directory.parents)
        for folder in reversed([p for p in every if not p.exists()]):
            with contextlib.suppress(FileExistsError):
                folder.mkdir()
                made.insert(0, folder)
        return made

    def _aside(self) -> Path:
        return self.path.with_name(f"{NAME}-{secrets.token_hex(8)}")

    @staticmethod
    def _content(path: Path) -> str | None:
        try:
            return path.read_text()
        except (OSError, ValueError):
            return None


class BucketLockFile(LockFile):
    """Object of a lock, in a bucket: its storage refuses a second one."""

    def create(self, content: str) -> bool:
        """Puts the object where there is none, by a conditional request."""
        there = cast(Any, self.path)
        try:
            there.fs.pipe_file(there.path, content.encode(), mode="create")
        except FileExistsError:
            return False
        return True

    def touch(self) -> None:
        """Puts the object again."""
        content = self.read()
        if content is not None:
            self.path.write_text(content)

    def remove(self, content: str | None) -> None:
        """Removes the object if it is still that one; the race left is narrow."""
        if self.read() == content:
            self.path.unlink(missing_ok=True)

    @contextlib.contextmanager
    def examined_alone(self) -> Iterator[None]:
        """Does nothing: `create` alone decides who holds the lock."""
        yield

    def make_directory(self) -> list[Path]:
        """Makes nothing: a bucket has no folders."""
        return []


def make_lock_file(directory: Path) -> LockFile:
    """Returns the file of a directory's lock, where that directory lies.

    Args:
      directory: on disk or in a bucket.
    """
    kind = BucketLockFile if is_in_bucket(directory) else LockFile
    return kind(directory)
