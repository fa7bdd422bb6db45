"""A light pool over one PostgreSQL server: few busy connections instead of many idle ones.

Quick reads of all requests share a few *pipes*; a statement that is slow, and every write, has a *lane* of its own
while it runs. Nothing is checked out, so nothing can leak: a request that is cancelled leaves only an answer that
nobody reads.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from ..errors import Problem
from .postgres_job import Job, timed_out, unavailable
from .postgres_lanes import Lanes
from .postgres_opener import Opener
from .postgres_pipes import Pipes
from .postgres_wire import Wire

PIPES_MAX = 4
SWEEP_S = 0.025
CLOSE_S_MAX = 5.0


class Pool:
    """See the module.

    Args:
        size_max: most connections.
        waiting_max: most writes and slow reads that wait for a lane before new ones are refused.
        ran: is told how long PostgreSQL worked on a job, in seconds.
    """

    def __init__(self, opener: Opener, *, size_max: int, waiting_max: int, ran: Callable[[Job, float], None]) -> None:
        self._opener = opener
        pipes = max(1, min(PIPES_MAX, size_max // 2))
        self._pipes = Pipes(opener, size_max=pipes, again=self._again, ran=ran, started=self._watch)
        lanes = max(1, size_max - pipes)
        self._lanes = Lanes(opener, size_max=lanes, waiting_max=waiting_max, again=self._again, ran=ran)
        #: Runs a quick read on a pipe.
        self.read = self._pipes.run
        self._sweeping = False
        self._closed = False

    def alone(self, job: Job) -> None:
        """Run a statement on a lane of its own.

        Raises:
            Problem: `UNAVAILABLE` when too many wait.
        """
        self._lanes.run(job)
        self._watch()

    @property
    def down(self) -> bool:
        """Whether the server could not be reached just now."""
        return self._opener.down

    @property
    def wires(self) -> list[Wire]:
        """Its open connections."""
        return [*self._pipes.wires, *self._lanes.wires]

    @property
    def running(self) -> int:
        """Statements that PostgreSQL works on or that stand in front of it."""
        return sum(wire.jobs for wire in self.wires)

    @property
    def waiting(self) -> int:
        """Statements that wait for a connection."""
        return len(self._lanes.queue) + len(self._pipes.queue)

    def _again(self, jobs: list[Job]) -> None:
        """Run jobs that came back from a connection."""
        for job in jobs:
            try:
                if job.write:
                    self.alone(job)
                else:
                    self.read(job)
            except Problem as problem:
                job.fail(problem)

    def _watch(self) -> None:
        if not self._sweeping:
            self._sweeping = True
            asyncio.get_running_loop().call_later(SWEEP_S, self._sweep)

    def _sweep(self) -> None:
        """While anything runs: free what waits behind a slow statement, end what is past its deadline."""
        self._sweeping = False
        clock = time.monotonic()
        for job in (*self._pipes.queue, *self._lanes.queue):
            if job.late(clock):
                job.fail(timed_out())
        self._pipes.unblock(time.perf_counter())
        for wire in self.wires:
            if wire.jobs:
                wire.end_late(clock)
        if not self._closed and (self._pipes.busy or self._lanes.busy):
            self._watch()

    def give_up(self) -> None:
        """Refuse everything in flight: the server does not answer."""
        for wire in self.wires:
            for job in wire.waiting():
                job.fail(unavailable())
            wire.lose()
        self._pipes.fail()
        self._lanes.fail()

    async def close(self) -> None:
        """Close every connection once nothing runs, or after a moment."""
        self._closed = True
        deadline = time.monotonic() + CLOSE_S_MAX
        while (self._pipes.busy or self._lanes.busy) and time.monotonic() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        self._opener.close()
        for wire in self.wires:
            wire.close()
        self._pipes.wires.clear()
        self._lanes.wires.clear()
