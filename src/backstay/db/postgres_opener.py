"""Opens connections to one PostgreSQL server, and remembers for a moment that it could not."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

from .postgres_wire import Events, Wire

#: After a failed attempt to connect, requests are refused at once for so long.
DOWN_S = 0.25

Connect = Callable[[], Any]


class Opener:
    """See the module.

    Args:
        connect: opens a `psycopg.pq.PGconn`; called in a thread, because name look-up blocks.
        first: a connection that is open already.
        prepare: keep statements prepared.
    """

    def __init__(self, connect: Connect, first: Any = None, *, prepare: bool = True) -> None:
        self._connect, self._first, self._prepare = connect, first, prepare
        self._down_until = 0.0
        self._closed = False

    @property
    def down(self) -> bool:
        """Whether the last attempt failed just now."""
        return time.monotonic() < self._down_until

    async def open(self, events: Events) -> Wire | None:
        """A new connection; `None` when there is none to be had now."""
        loop = asyncio.get_running_loop()
        connection, self._first = self._first, None
        try:
            if connection is None:
                if self.down or self._closed:
                    return None
                connection = await loop.run_in_executor(None, self._connect)
            if self._closed:
                connection.finish()
                return None
            return Wire(connection, loop, events, prepare=self._prepare)
        except Exception:
            self._down_until = time.monotonic() + DOWN_S
            return None

    def close(self) -> None:
        """Open nothing more."""
        self._closed = True
        if self._first is not None:
            self._first.finish()
            self._first = None
