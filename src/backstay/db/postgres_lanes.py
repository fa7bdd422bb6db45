"""Connections that run one statement at a time: writes, and reads too slow to share."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from ..errors import Problem
from .postgres_job import Job, unavailable
from .postgres_opener import Opener
from .postgres_wire import Events, Wire


class Lanes:
    """See the module.

    Args:
        size_max: most connections.
        waiting_max: most jobs that wait for one before new ones are refused.
        again, ran: see `postgres_wire.Events`.
    """

    def __init__(
        self,
        opener: Opener,
        *,
        size_max: int,
        waiting_max: int,
        again: Callable[[list[Job]], None],
        ran: Callable[[Job, float], None],
    ) -> None:
        self._opener, self._size_max, self._waiting_max = opener, size_max, waiting_max
        self._events = Events(again, self._free, self._broken, ran)
        self.wires: set[Wire] = set()
        self.queue: deque[Job] = deque()
        self._idle: list[Wire] = []
        self._opening: set[asyncio.Task[None]] = set()

    def run(self, job: Job) -> None:
        """Run a job as soon as a connection is free.

        Raises:
            Problem: `UNAVAILABLE` when too many wait.
        """
        if self._idle:
            _send(self._idle.pop(), job)
        elif len(self.queue) >= self._waiting_max:
            raise Problem("UNAVAILABLE", "Too many requests wait for the database.", headers=(("retry-after", "1"),))
        else:
            self.queue.append(job)
            self._open()

    @property
    def busy(self) -> bool:
        """Whether anything runs or is about to."""
        return bool(self.queue or self._opening or any(wire.jobs for wire in self.wires))

    def _open(self) -> None:
        if len(self.wires) + len(self._opening) < self._size_max:
            task = asyncio.get_running_loop().create_task(self._opened())
            self._opening.add(task)
            task.add_done_callback(self._opening.discard)

    async def _opened(self) -> None:
        wire = await self._opener.open(self._events)
        if wire is not None:
            self.wires.add(wire)
            self._free(wire)
        elif not self.wires:
            self.fail()

    def fail(self) -> None:
        """Refuse what waits: there is no connection to be had."""
        jobs = list(self.queue)
        self.queue.clear()
        for job in jobs:
            job.fail(unavailable())

    def _free(self, wire: Wire) -> None:
        """The next one that waits has the connection."""
        while self.queue:
            job = self.queue.popleft()
            if not job.future.done():
                _send(wire, job)
                return
        if wire.open and wire not in self._idle:
            self._idle.append(wire)

    def _broken(self, wire: Wire) -> None:
        self.wires.discard(wire)
        if wire in self._idle:
            self._idle.remove(wire)
        if self.queue:
            self._open()


def _send(wire: Wire, job: Job) -> None:
    wire.submit([job])
    if job.then is not None and wire.open:
        wire.submit([job.then])
