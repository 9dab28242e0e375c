"""A time after which a command stops by itself, as if SIGTERM had come."""

import contextlib
import signal
import threading
from collections.abc import Iterator
from typing import NoReturn

from darts_jax.errors import InputError
from darts_jax.training.console import print_status


@contextlib.contextmanager
def time_limit(minutes: float | None) -> Iterator[None]:
    """Sends this process SIGTERM after a time, to be entered by the main thread.

    `loop.run_epochs` then saves its state and stops. Elsewhere, as while a program is
    compiled, the command ends at once: what it has written is whole.

    Args:
      minutes: None for no limit.

    Raises:
      InputError: no such time.
      SystemExit: the time is over; status 143, as of a command that SIGTERM ended.
    """
    if minutes is None:
        yield
        return
    if not 0 < 60 * minutes <= threading.TIMEOUT_MAX:
        raise InputError(f"--minutes is {minutes:g}; want a number above 0")
    timer = threading.Timer(60 * minutes, signal.raise_signal, [signal.SIGTERM])
    timer.daemon = True
    before = signal.signal(signal.SIGTERM, _end)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        signal.signal(signal.SIGTERM, before)


def _end(number: int, frame: object) -> NoReturn:
    del frame
    print_status("stopped; the same command goes on")
    raise SystemExit(128 + number)
