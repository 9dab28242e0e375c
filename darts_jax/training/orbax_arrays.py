"""Arrays in a folder, as Orbax writes them: synchronously, quietly, by each process.

One thread at a time: Orbax's event loops and log are those of the whole program.

Orbax writes many arrays at once on an event loop and closes it at the first error. The
writes that are still under way then report to a closed loop, which prints a traceback
for each, and they write into a folder that is being removed. So event loops that are
created here wait for their tasks before they close.
"""

import asyncio
import contextlib
import logging
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np


def write_arrays(folder: Path, arrays: dict[str, np.ndarray]) -> None:
    """Writes arrays by name into a new folder.

    Args:
      folder: an absolute path.
      arrays: name -> array.
    """
    with _checkpointer() as checkpointer:
        checkpointer.save(folder, arrays)


def read_arrays(folder: Path) -> dict[str, np.ndarray]:
    """Reads what `write_arrays` wrote.

    Args:
      folder: an absolute path.
    """
    with warnings.catch_warnings(action="ignore"), _checkpointer() as checkpointer:
        arrays: dict[str, np.ndarray] = checkpointer.restore(folder)
        return arrays


@contextlib.contextmanager
def _checkpointer() -> Iterator[Any]:
    """Yields a synchronous checkpointer without its log; errors reach the caller."""
    with _ALONE:
        # Takes a second: only where something is written or read. It sets up its log,
        # so it comes before that is silenced.
        import orbax.checkpoint as ocp

        logger = logging.getLogger("absl")
        logger.addFilter(_is_not_orbax)
        try:
            with _settled_loops(), _make_checkpointer(ocp) as checkpointer:
                yield checkpointer
        finally:
            logger.removeFilter(_is_not_orbax)


_ALONE = threading.RLock()


def _is_not_orbax(record: logging.LogRecord) -> bool:
    return "orbax" not in Path(record.pathname).parts


def _make_checkpointer(ocp: Any) -> Any:
    """Returns a checkpointer of this process alone, as every array is whole in each."""
    if jax.process_count() == 1:
        return ocp.Checkpointer(ocp.PyTreeCheckpointHandler())
    me = jax.process_index()
    alone = ocp.options.MultiprocessingOptions(
        primary_host=me,
        active_processes={me},
        barrier_sync_key_prefix=f"process_{me}",
    )
    handler = ocp.PyTreeCheckpointHandler(multiprocessing_options=alone)
    return ocp.Checkpointer(handler, multiprocessing_options=alone)


class _SettledLoop(asyncio.SelectorEventLoop):
    """An event loop that waits for its tasks, however they end, when it is closed."""

    def close(self) -> None:
        if not self.is_closed() and not self.is_running():
            self.run_until_complete(_await_all())
        super().close()


async def _await_all() -> None:
    pending = asyncio.all_tasks() - {asyncio.current_task()}
    await asyncio.gather(*pending, return_exceptions=True)
    # The errors after the first have still to reach whoever waits for them.
    await asyncio.sleep(0)


class _SettledPolicy(asyncio.DefaultEventLoopPolicy):
    def new_event_loop(self) -> asyncio.AbstractEventLoop:
        return _SettledLoop()


@contextlib.contextmanager
def _settled_loops() -> Iterator[None]:
    """Makes every event loop that is created meanwhile wait for its tasks."""
    before = asyncio.get_event_loop_policy()
    asyncio.set_event_loop_policy(_SettledPolicy())
    try:
        yield
    finally:
        asyncio.set_event_loop_policy(before)
