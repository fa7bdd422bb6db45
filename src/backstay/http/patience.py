"""Patience with slow bodies: who sends one byte by byte is given up, and holds no connection for long.

A body may take `GRACE_S`, and a second more for each `BYTES_PER_S` that have come. Nearly every body is there at
once, so that a timer for each would cost more than reading it: what waits is noted, and looked at once a second.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import MutableMapping
from typing import Any

from ..context import Receive
from ..errors import Problem

GRACE_S = 10.0
BYTES_PER_S = 1_024
LOOK_S = 1.0
#: Nothing can follow a body that nobody reads to its end; a server that is not told so may wait for it.
CLOSE = (("connection", "close"),)


class Patience:
    """Waits for messages of requests, and gives up on the late."""

    def __init__(self) -> None:
        self._until: dict[asyncio.Task[Any], float] = {}
        self._late: set[asyncio.Task[Any]] = set()
        self._looking = False

    async def wait(self, receive: Receive, until: float) -> MutableMapping[str, Any]:
        """The next message.

        Args:
            until: when to give up, as `time.monotonic()`.

        Raises:
            Problem: `REQUEST_TIMEOUT`.
        """
        task = asyncio.current_task()
        assert task is not None, "a request is served in a task"
        self._until[task] = until
        if not self._looking:
            self._looking = True
            asyncio.get_running_loop().call_later(LOOK_S, self._look)
        try:
            return await receive()
        except asyncio.CancelledError:
            if task not in self._late:
                raise
            task.uncancel()
            raise Problem("REQUEST_TIMEOUT", "The body came too slowly.", headers=CLOSE) from None
        finally:
            del self._until[task]
            self._late.discard(task)
            del (
                receive
            )  # an error may keep this frame, and the server waits for a body as long as somebody could read it

    def _look(self) -> None:
        """Give up on who is late."""
        now = time.monotonic()
        for task, until in self._until.items():
            if now >= until:
                self._late.add(task)
                task.cancel()
        self._looking = bool(self._until)
        if self._looking:
            asyncio.get_running_loop().call_later(LOOK_S, self._look)


def body_until(started: float, received: int, deadline: float) -> float:
    """When a body of which so much has come is late.

    Args:
        started: when its request came, as `time.monotonic()`.
        deadline: of the request.
    """
    return min(deadline, started + GRACE_S + received / BYTES_PER_S)
