"""Asking PostgreSQL to stop what a connection runs, which takes a connection of its own."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

#: A request that had no effect for so long is repeated.
AGAIN_S = 1.0
ASK_S_MAX = 2.0
#: So many requests are under way at once; more would only keep the server from what they are to free.
ASKING_MAX = 4
_FAILED, _OK = 0, 3  # libpq's PostgresPollingStatusType
_asking = threading.Semaphore(ASKING_MAX)


class Stops:
    """The requests to stop what one connection runs.

    A request may come too late and hit the statement after the one that it was meant for.
    """

    def __init__(self, connection: Any, loop: asyncio.AbstractEventLoop) -> None:
        self._connection, self._loop = connection, loop
        self._asked = 0
        self._asked_at = 0.0

    def ask(self, now: float) -> None:
        """Send a request from a thread, unless one was sent just now; returns at once."""
        if self._asked and now < self._asked_at + AGAIN_S:
            return
        if not _asking.acquire(blocking=False):
            return  # who wants it stopped asks again
        try:
            self._loop.run_in_executor(None, _ask, self._connection.cancel_conn())
        except Exception:
            _asking.release()
            return
        self._asked += 1
        self._asked_at = now

    def had_effect(self) -> bool:
        """Note that a statement was stopped; whether a request of ours may have done it."""
        ours = self._asked > 0
        self._asked = max(0, self._asked - 1)
        return ours


def _ask(request: Any) -> None:
    deadline = time.monotonic() + ASK_S_MAX
    try:
        request.start()
        while request.poll() not in (_FAILED, _OK) and time.monotonic() < deadline:
            time.sleep(0.001)
    except Exception:
        return  # it ended by itself, or the server is gone: either way there is nothing to stop
    finally:
        request.finish()
        _asking.release()
