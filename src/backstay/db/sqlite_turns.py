"""A turn at writing for somebody else than the writer: it waits in the writer's queue, and the writer waits for it.

SQLite's own waiting polls, and is not fair: a session that asks for the lock beside a busy writer might never get it.
"""

from __future__ import annotations

import asyncio
import threading
import time

#: How much longer than its deadline a turn may take before the writer goes on without it.
GRACE_S = 1.0


class Turn:
    """One turn; made on the event loop, given by the writer's thread.

    Args:
        deadline: `time.monotonic()` value after which nobody waits for it.
    """

    def __init__(self, deadline: float) -> None:
        self._deadline = deadline
        self._loop = asyncio.get_running_loop()
        self._given: asyncio.Future[None] = self._loop.create_future()
        self._over = threading.Event()

    async def wait(self) -> None:
        """Return when it has come."""
        await self._given

    def end(self) -> None:
        """Let the writer go on; also where it was not waited for."""
        self._over.set()

    def give(self) -> None:
        """Give it and wait for its end; called on the writer's thread, which holds no lock then."""
        if self._over.is_set():
            return
        try:
            self._loop.call_soon_threadsafe(self._resolve)
        except RuntimeError:
            return  # the loop has closed: nobody waits any more
        self._over.wait(max(0.0, self._deadline - time.monotonic()) + GRACE_S)

    def _resolve(self) -> None:
        if not self._given.done():
            self._given.set_result(None)
