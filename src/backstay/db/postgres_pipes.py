"""Shared connections for quick reads: what arrives within one turn of the event loop goes out together."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from .postgres_flight import STALL_S
from .postgres_job import Job, unavailable
from .postgres_opener import Opener
from .postgres_wire import Events, Wire

#: A batch is spread over the pipes in parts of at least so many statements.
PART_MIN = 8


class Pipes:
    """See the module.

    Args:
        size_max: most connections.
        again, ran, started: see `postgres_wire.Events`; `started` is called when jobs were sent.
    """

    def __init__(
        self,
        opener: Opener,
        *,
        size_max: int,
        again: Callable[[list[Job]], None],
        ran: Callable[[Job, float], None],
        started: Callable[[], None],
    ) -> None:
        self._opener, self._size_max, self._started = opener, size_max, started
        self._ran = ran
        self._events = Events(again, self._moved, self._broken, ran)
        self.wires: list[Wire] = []
        self.queue: list[Job] = []
        self._opening: set[asyncio.Task[None]] = set()
        self._scheduled = False

    def run(self, job: Job) -> None:
        """Send a read with the others of this turn."""
        self.queue.append(job)
        if not self._scheduled:
            self._schedule()

    def _schedule(self) -> None:
        self._scheduled = True
        asyncio.get_running_loop().call_soon(self._dispatch)

    @property
    def busy(self) -> bool:
        """Whether anything runs or is about to."""
        return bool(self.queue or self._opening or any(wire.jobs for wire in self.wires))

    def _dispatch(self) -> None:
        """Share out what has come in since the last turn."""
        self._scheduled = False
        jobs = [job for job in self.queue if not job.future.done()]
        self.queue.clear()
        if not jobs:
            return
        now = time.perf_counter()
        wires = [wire for wire in self.wires if not wire.jobs or now - wire.moved < STALL_S]
        if not wires:
            self.queue += jobs
            self._open()
            self._started()
            return
        if len(wires) > 1:
            wires.sort(key=_load)
        if wires[0].jobs > PART_MIN:
            self._open()
        part = max(PART_MIN, -(-len(jobs) // len(wires)))
        for i in range(0, len(jobs), part):
            wires[(i // part) % len(wires)].submit(jobs[i : i + part])
        self._started()

    def unblock(self, now: float) -> list[Job]:
        """Run what is held up by a slow read elsewhere too; `now` is of `perf_counter`.

        Returns:
            Reads of which one may be the slow one: each needs a connection of its own.
        """
        suspects: list[Job] = []
        for wire in self.wires:
            if not wire.jobs or now - wire.moved < STALL_S:
                continue
            first = wire.flight.first_batch()
            if len(first) == 1:
                self._ran(first[0], now - max(wire.moved, first[0].sent))
            else:
                suspects += _doubles(first)
            if wire.jobs > len(first):
                for job in _doubles(wire.flight.jobs()[len(first) :]):
                    self.run(job)
        if self.queue and not self._scheduled:
            self._schedule()
        return suspects

    def _open(self) -> None:
        if len(self.wires) + len(self._opening) < self._size_max:
            task = asyncio.get_running_loop().create_task(self._opened())
            self._opening.add(task)
            task.add_done_callback(self._opening.discard)

    async def _opened(self) -> None:
        wire = await self._opener.open(self._events)
        if wire is not None:
            self.wires.append(wire)
            self._dispatch()
        elif not self.wires or self._opener.refused:
            self.fail()

    def fail(self) -> None:
        """Refuse what waits: there is no connection to be had."""
        jobs = list(self.queue)
        self.queue.clear()
        for job in jobs:
            job.fail(unavailable())

    def _moved(self, wire: Wire) -> None:
        """A connection has nothing more to do."""
        if self.queue and not self._scheduled:
            self._schedule()

    def _broken(self, wire: Wire) -> None:
        self.wires.remove(wire)
        self._moved(wire)


def _doubles(jobs: list[Job]) -> list[Job]:
    return [job.double() for job in jobs if not (job.twin or job.future.done())]


def _load(wire: Wire) -> int:
    return wire.jobs
