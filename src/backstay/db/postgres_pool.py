"""A light pool over one PostgreSQL server: few busy connections instead of many idle ones.

Quick reads of all requests share a few *pipes*; a statement that is slow, and every write, has a *lane* of its own
while it runs. Nothing is checked out, so nothing can leak: a request that is cancelled leaves only an answer that
nobody reads.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from ..context import ClientGoneError
from ..errors import Problem
from .departures import Departures
from .postgres_job import Job, timed_out, unavailable
from .postgres_lanes import Lanes
from .postgres_opener import Opener
from .postgres_pipes import Pipes
from .postgres_wire import Wire

PIPES_MAX = 4
SWEEP_S = 0.025
CLOSE_S_MAX = 5.0
#: A server process whose parent is gone may still say for so long how its statement ended.
ORPHAN_S = 1.0


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
        self._departures = Departures()
        self._probe: asyncio.Task[None] | None = None
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
        return self._lanes.waiting + len(self._pipes.queue)

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
        """While anything runs: free what a slow statement holds up, end what is too late or not wanted any more."""
        self._sweeping = False
        try:
            self._refuse_late(time.monotonic())
            now = time.perf_counter()
            for job in self._pipes.unblock(now):
                self._apart(job)
            # Every pipe may hold a slow read: what waits for one then need not wait for its end.
            while self._pipes.queue and self._lanes.room > 0:
                self._apart(self._pipes.queue.pop(0))
            self._lanes.share_out()
            for wire in self.wires:
                if wire.jobs:
                    self._tend(wire, now)
        finally:
            if not self._closed and (self._pipes.busy or self._lanes.busy):
                self._watch()

    def _refuse_late(self, clock: float) -> None:
        queued = [*self._pipes.queue, *self._lanes.queued()]
        for job in queued:
            if job.late(clock):
                job.fail(timed_out())
        if queued:
            self._lanes.forget_done()

    def _apart(self, job: Job) -> None:
        """Run a read on a lane where there is room for it; a double need not run."""
        try:
            self._lanes.run(job)
        except Problem as problem:
            if not job.twin:
                job.fail(problem)

    def _tend(self, wire: Wire, now: float) -> None:
        """Look after what runs; after its client too, once it has run for a while."""
        if wire.born < self._opener.refused_at < now - ORPHAN_S:
            wire.lose()
            return
        if wire.silent_commit(now) and self._probe is None:
            self._probe = asyncio.get_running_loop().create_task(self._opener.probe())
            self._probe.add_done_callback(self._probed)
        job = wire.tend(time.monotonic(), now)
        if job is None or job.write:  # a write is finished even if nobody will hear of it
            return
        if job.context.gone:
            job.fail(ClientGoneError())
        else:
            self._departures.watch(job.context)

    def _probed(self, _: asyncio.Task[None]) -> None:
        self._probe = None

    def give_up(self) -> None:
        """Refuse everything in flight: the server does not answer."""
        for wire in self.wires:
            for job in wire.flight.jobs():
                job.fail(unavailable())
            wire.lose()
        self._pipes.fail()
        self._lanes.fail()

    async def close(self) -> None:
        """Close every connection once nothing runs, or after a moment."""
        self._closed = True
        self._departures.close()
        if self._probe is not None:
            self._probe.cancel()
        deadline = time.monotonic() + CLOSE_S_MAX
        while (self._pipes.busy or self._lanes.busy) and time.monotonic() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        self._opener.close()
        self.give_up()
