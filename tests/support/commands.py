"""Commands as a user types them, and stopped half way."""

import pytest

from darts_jax.cli.main import main
from darts_jax.training import loop


def flags(settings):
    return [f"--config.{setting}" for setting in settings]


def cut(monkeypatch, call, command):
    """Stops a command when it looks for signals for the ``call``-th time."""
    asked = iter(range(10_000))
    with monkeypatch.context() as patched:
        patched.setattr(loop, "_SECONDS_PER_CALL", 0.0)
        patched.setattr(loop, "is_set_in_any_process", lambda _: next(asked) == call)
        with pytest.raises(loop.StoppedError):
            main(command)
