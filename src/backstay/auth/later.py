"""Work that goes on after the answer, so that its time tells a caller nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from ..observe import Log

#: How long a stopping process waits for it.
CLOSE_S_MAX = 5.0


class Later:
    """The running pieces of such work in one process."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._running: set[asyncio.Task[None]] = set()

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        """Begin a piece."""
        task = asyncio.ensure_future(self._run(work))
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def _run(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except Exception as error:
            self._log.event("error", "later", work=work.__qualname__, error=repr(error))

    async def close(self) -> None:
        """Wait for what runs, but not for ever."""
        if self._running:
            await asyncio.wait(self._running, timeout=CLOSE_S_MAX)
        for task in self._running:
            task.cancel()
