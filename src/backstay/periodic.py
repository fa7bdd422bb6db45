"""Work that comes again, beside requests, for as long as a process serves."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

from sqlalchemy.exc import SQLAlchemyError

from .errors import Problem


class Periodic:
    """One piece of work. While the database is away, or busy, it is left to the next time.

    Args:
        every_s: how long it rests after it is done, in seconds; the first time comes after that, too.
    """

    def __init__(self, work: Callable[[], Awaitable[object]], every_s: float) -> None:
        self._work, self._every_s = work, every_s
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin, once the event loop runs; twice is once."""
        self._task = self._task or asyncio.get_running_loop().create_task(self._run())

    def stop(self) -> None:
        """End it, if it was begun."""
        if self._task is not None:
            self._task.cancel()
            self._task = None

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(self._every_s)
            with contextlib.suppress(Problem, SQLAlchemyError):
                await self._work()
