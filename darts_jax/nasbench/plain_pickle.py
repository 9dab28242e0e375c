"""Pickles of containers and numbers, opened so that they can be nothing else.

A pickle can run anything when it is opened. Benchmarks are published as pickles all the
same. Here whatever is neither a container nor a number is refused by its name, before
it is made.
"""

import io
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

from darts_jax.errors import InputError

_ALLOWED = {
    *(("builtins", name) for name in ("set", "frozenset", "complex", "bytearray")),
    ("collections", "OrderedDict"),
    *(
        (module, name)
        for core in ("numpy.core", "numpy._core")
        for module, name in (
            (f"{core}.multiarray", "scalar"),
            (f"{core}.multiarray", "_reconstruct"),
        )
    ),
    ("numpy", "dtype"),
    ("numpy", "ndarray"),
}


class PlainUnpickler(pickle.Unpickler):
    """Opens a pickle of containers and numbers, and refuses any other."""

    def find_class(self, module: str, name: str) -> Any:
        """Returns a class that only holds numbers; raises InputError for any other.

        Args:
          module: of the class.
          name: of the class.
        """
        if (module, name) not in _ALLOWED:
            raise InputError(
                f"it holds {module}.{name}, which is no number: it is not opened"
            )
        return super().find_class(module, name)


def read_pickle(
    path: Path, title: str, unpack: Callable[[bytes], bytes] = bytes
) -> Any:
    """Returns what a pickle holds: containers, texts, numbers and arrays of numbers.

    Args:
      path: of the file.
      title: of the benchmark, for messages.
      unpack: the file's bytes -> the pickle's.

    Raises:
      InputError: it is missing, damaged, or holds anything else.
    """
    try:
        return PlainUnpickler(io.BytesIO(unpack(path.read_bytes()))).load()
    except InputError as error:
        raise InputError(f"{path}, a file of {title}: {error}") from None
    except OSError as error:
        # bz2 says in the same way that the bytes are none of its own.
        told = "is damaged" if error.errno is None else f"lacks: {error.strerror}"
        raise InputError(f"{title}: {path} {told}") from None
    # A damaged pickle raises whatever its bytes happen to say.
    except Exception as error:
        told = (str(error) or type(error).__name__).splitlines()[0]
        raise InputError(f"{path} is damaged: {told}") from None
