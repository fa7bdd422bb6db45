"""Connections for writes, and for reads too slow to share: one statement at a time, but for new rows.

What waits to create rows when a connection gets free goes out together: it shares a transaction, a flush of the log
and a wake-up. See docs/decisions/0020-creates-share-commits.md.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from ..errors import Problem
from .postgres_job import Job, unavailable
from .postgres_opener import Opener
from .postgres_wire import Events, Wire

#: Most new rows that share a transaction; so many more may after each that went well, half as many after one that was
#: undone, because then they all run again.
GROUP_MAX = 16
GROWTH = 0.25


class Lanes:
    """See the module. Reads never have all of them, so that writes do not wait for what takes long.

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
        self._reads_max = max(1, size_max // 2)
        self._events = Events(again, self._free, self._broken, ran)
        self.wires: set[Wire] = set()
        self._writes: deque[Job] = deque()
        self._reads: deque[Job] = deque()
        self._idle: list[Wire] = []
        self._reading: set[Wire] = set()
        self._opening: set[asyncio.Task[None]] = set()
        self._group = 1.0
        self._scheduled = False

    def run(self, job: Job) -> None:
        """Run a job as soon as a connection is free.

        Raises:
            Problem: `UNAVAILABLE` when too many wait.
        """
        if len(self._writes) + len(self._reads) >= self._waiting_max:
            self.forget_done()
            if self.waiting >= self._waiting_max:
                detail = "Too many requests wait for the database."
                raise Problem("UNAVAILABLE", detail, headers=(("retry-after", "1"),))
        (self._writes if job.write else self._reads).append(job)
        if not job.joins:
            self.share_out()
        elif not self._scheduled:
            # New rows that come within one turn of the loop go out together.
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._turn)

    def _turn(self) -> None:
        self._scheduled = False
        self.share_out()

    @property
    def waiting(self) -> int:
        """Jobs that wait for a connection."""
        return len(self._writes) + len(self._reads)

    def queued(self) -> list[Job]:
        """The jobs that wait for a connection."""
        return [*self._writes, *self._reads]

    def forget_done(self) -> None:
        """Drop what nobody waits for any more."""
        self._writes = deque(job for job in self._writes if not job.future.done())
        self._reads = deque(job for job in self._reads if not job.future.done())

    @property
    def room(self) -> int:
        """So many reads more could run now."""
        free = len(self._idle) + self._size_max - len(self.wires) - len(self._opening) - self.waiting
        return min(free, self._reads_max - len(self._reading) - len(self._reads))

    @property
    def busy(self) -> bool:
        """Whether anything runs or is about to."""
        return bool(self.waiting or self._opening or any(wire.jobs for wire in self.wires))

    def share_out(self) -> None:
        """Give free connections to those that wait; open another one for those that still do."""
        while True:
            # In a loop, because a connection may turn out to be dead when it gets its job.
            ready = self._writes or (self._reads if len(self._reading) < self._reads_max else None)
            if not ready:
                return
            if ready[0].future.done():
                ready.popleft()
            elif self._idle:
                self._send(self._idle.pop(), self._next(ready))
            else:
                self._open()
                return

    def _next(self, ready: deque[Job]) -> list[Job]:
        """The first one that waits, with the new rows that can share its transaction."""
        group = [ready.popleft()]
        while group[0].joins and ready and ready[0].joins and len(group) < self._group:
            job = ready.popleft()
            if not job.future.done():
                group.append(job)
        return group

    def _send(self, wire: Wire, jobs: list[Job]) -> None:
        if not jobs[0].write:
            self._reading.add(wire)
        wire.submit(jobs)
        then = [job.then for job in jobs if job.then is not None]
        if then and wire.open:
            wire.submit(then)

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
        elif not self.wires or self._opener.refused:
            self.fail()

    def fail(self) -> None:
        """Refuse what waits: there is no connection to be had."""
        jobs = self.queued()
        self._writes.clear()
        self._reads.clear()
        for job in jobs:
            job.fail(unavailable())

    def _free(self, wire: Wire) -> None:
        """The next one that waits has the connection."""
        self._reading.discard(wire)
        self._group = max(1.0, self._group / 2) if wire.undone else min(GROUP_MAX, self._group + GROWTH)
        wire.undone = False
        if wire.open and not wire.jobs and wire not in self._idle:
            self._idle.append(wire)
        self.share_out()

    def _broken(self, wire: Wire) -> None:
        self.wires.discard(wire)
        self._reading.discard(wire)
        if wire in self._idle:
            self._idle.remove(wire)
        if self.waiting:
            self._open()
