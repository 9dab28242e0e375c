"""Tasks that workers of an engine run in tests, importable where they run."""

import os
import signal
import sys
import threading
from pathlib import Path

from darts_jax.errors import InputError
from darts_jax.training.loop import StoppedError


def obey(text):
    """Does what its text, ``PATH=WORD``, says: writes the word, fails, dies."""
    place, word = text.split("=")
    path = Path(place)
    if word == "dies once" and not path.exists():
        path.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    if word == "dies":
        os.kill(os.getpid(), signal.SIGKILL)
    if word == "stopped":
        raise StoppedError(signal.SIGTERM, 3)
    if word == "refused":
        raise InputError(f"refused on {sys.platform}")
    if word == "wrong":
        raise ValueError("no such word")
    path.write_text(word)


def save_on_interrupt(text):
    """Writes ``waits`` into the file that its text names, and ``saved`` at SIGINT."""
    caught = threading.Event()
    signal.signal(signal.SIGINT, lambda number, frame: caught.set())
    Path(text).write_text("waits")
    for _ in range(600):
        if caught.wait(0.1):
            Path(text).write_text("saved")
            return
