"""Event loops that wait for their tasks before they close.

Orbax writes many arrays at once on an event loop and closes it at the first error. The
writes that are still under way then report to a closed loop, which prints a traceback
for each, and they write into a folder that is being removed.
"""

import asyncio
import contextlib
from collections.abc import Iterator


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
def settled_loops() -> Iterator[None]:
    """Makes every event loop that is created meanwhile wait for its tasks."""
    before = asyncio.get_event_loop_policy()
    asyncio.set_event_loop_policy(_SettledPolicy())
    try:
        yield
    finally:
        asyncio.set_event_loop_policy(before)
