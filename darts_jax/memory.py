"""Memory of this process that nobody holds any more."""

import ctypes
import functools
from collections.abc import Callable


def give_back() -> None:
    """Hands freed memory to the system, where the C library would keep it for later.

    A compiler frees some hundred megabytes, of which the program that it has made then
    needs others. Nothing happens where the library is not GNU's.
    """
    _trim()(0)


@functools.cache
def _trim() -> Callable[[int], object]:
    try:
        trim: Callable[[int], object] = ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError, TypeError):
        return lambda _: None
    return trim
