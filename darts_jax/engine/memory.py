"""Return of freed memory to the system, where the C library is GNU's."""

import contextlib
import ctypes
import functools
from collections.abc import Callable, Iterator

_TRIM_THRESHOLD = -1
_MMAP_THRESHOLD = -3
_ARENA_MAX = -8
_FRUGAL = 2**17
_LARGEST = 2**25  # as it lets the threshold grow to by itself


def give_back() -> None:
    """Hands freed memory to the system, where the C library would keep it for later.

    A compiler frees some hundred megabytes, of which the program that it has made then
    needs others.
    """
    _function("malloc_trim")(0)


def share_arenas() -> None:
    """Lets threads that begin from here on share two pools of free memory."""
    _function("mallopt")(_ARENA_MAX, 2)


@contextlib.contextmanager
def frugal() -> Iterator[None]:
    """Returns freed blocks to the system at once, as long as the context lasts.

    The C library would keep it for the thread that it served, where a compiler's other
    threads have no use of it.
    """
    option = _function("mallopt")
    option(_MMAP_THRESHOLD, _FRUGAL)
    try:
        yield
    finally:
        option(_MMAP_THRESHOLD, _LARGEST)
        option(_TRIM_THRESHOLD, 2 * _LARGEST)


@functools.cache
def _function(name: str) -> Callable[..., object]:
    try:
        function: Callable[..., object] = getattr(ctypes.CDLL(None), name)
    except (AttributeError, OSError, TypeError):
        return lambda *_: None
    return function
