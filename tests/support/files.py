"""Contents of folders, and disks that are full or damaged."""

import errno
import os
from pathlib import Path
from typing import Any


def contents(folder: Path) -> dict[str, bytes]:
    """Returns relative path -> bytes, of every file below a folder."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def full_disk(*_: Any, **__: Any) -> None:
    """Raises the error of a disk without room, in place of any function."""
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def flipped(data: bytes, at: int) -> bytes:
    """Returns the bytes with one bit of one of them flipped."""
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
