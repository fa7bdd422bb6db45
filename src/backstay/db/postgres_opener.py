"""Opens connections to one PostgreSQL server, and remembers for a moment that it could not."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Sequence
from functools import partial
from typing import Any

from .postgres_connect import connect
from .postgres_errors import state_of
from .postgres_wire import Events, Wire

#: After a failed attempt to connect, requests are refused at once for so long.
DOWN_S = 0.25
#: What fails within this time is tried again after a moment: once where nobody listened, else twice.
CUT_S = 1.0
AGAIN_S = 0.05
CUTS_MAX = 2


class Opener:
    """See the module.

    Args:
        conninfo: as libpq takes it.
        first: a connection that is open already.
        prepare: keep statements prepared.
    """

    def __init__(self, conninfo: str, first: Any = None, *, prepare: bool = True) -> None:
        self._connect = partial(connect, conninfo)
        self._knock = partial(connect, conninfo, only_knock=True)
        self._first, self._prepare = first, prepare
        self._down_until = 0.0
        #: When nobody listened there, of `time.perf_counter`: what was connected then is connected to an orphan.
        self.refused_at = 0.0
        self._closed = False

    @property
    def down(self) -> bool:
        """Whether the last attempt failed just now."""
        return time.monotonic() < self._down_until

    def explained(self, text: str, parameters: Sequence[Any]) -> tuple[str, str]:
        """The code and the message of PostgreSQL's refusal of a statement, which is not run; empty when it has none.

        It is for the time before anybody is served: it blocks, and asks the first connection.
        """
        if self._first is None:
            return "", ""
        result = self._first.exec_params(f"EXPLAIN {text}".encode(), parameters)
        if not result.error_message:
            return "", ""
        said = result.error_message.decode(errors="replace").strip().splitlines()[0]
        return state_of(result), said.removeprefix("ERROR:").strip()

    async def open(self, events: Events) -> Wire | None:
        """A new connection; `None` when there is none to be had now."""
        loop = asyncio.get_running_loop()
        connection, self._first = self._first, None
        try:
            if connection is None:
                if self.down or self._closed:
                    return None
                connection = await self._attempt(loop)
            if self._closed:
                connection.finish()
                return None
            return Wire(connection, loop, events, prepare=self._prepare)
        except Exception:
            self._down_until = time.monotonic() + DOWN_S
            return None

    async def _attempt(self, loop: asyncio.AbstractEventLoop) -> Any:
        """A new connection; one that was cut off while it was made says nothing yet about the server."""
        started = time.monotonic()
        failures = 0
        while True:
            try:
                return await loop.run_in_executor(None, self._connect)
            except ConnectionError as error:
                failures += 1
                refused = isinstance(error, ConnectionRefusedError)
                if failures > (1 if refused else CUTS_MAX) or time.monotonic() > started + CUT_S:
                    if refused:
                        self.refused_at = time.perf_counter()
                    raise
            await asyncio.sleep(AGAIN_S)

    @property
    def refused(self) -> bool:
        """Whether nobody listened at the last attempt, which was just now."""
        return self.down and time.perf_counter() < self.refused_at + DOWN_S

    async def probe(self) -> None:
        """See whether somebody listens, and rest."""
        with contextlib.suppress(ConnectionError):
            try:
                await asyncio.get_running_loop().run_in_executor(None, self._knock)
            except ConnectionRefusedError:
                self.refused_at = time.perf_counter()
        await asyncio.sleep(DOWN_S)

    def close(self) -> None:
        """Open nothing more."""
        self._closed = True
        if self._first is not None:
            self._first.finish()
            self._first = None
