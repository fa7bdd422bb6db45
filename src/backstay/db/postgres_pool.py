"""A light pool over one PostgreSQL server: few busy connections instead of many idle ones.

Quick reads of all requests share a few *pipes*: what arrives within one turn of the event loop goes out together, and
one wake-up answers it. A statement that is slow, and every write, has a *lane* of its own while it runs. Nothing is
checked out, so nothing can leak: a request that is cancelled leaves only an answer that nobody reads.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from ..errors import Problem
from .postgres_job import Job, timed_out, unavailable
from .postgres_wire import Wire

PIPES_MAX = 4
#: A batch is spread over the pipes in parts of at least so many statements.
PART_MIN = 8
#: A statement that is not answered so long holds up those behind it: they go elsewhere.
STALL_S = 0.05
SWEEP_S = 0.025
#: After a failed attempt to connect, requests are refused at once for so long.
DOWN_S = 0.25

Connect = Callable[[], Any]


class Pool:
    """See the module.

    Args:
        connect: opens a `psycopg.pq.PGconn`; called in a thread, because name look-up blocks.
        first: a connection that is open already.
        size_max: most connections.
        waiting_max: most writes and slow reads that wait for a lane before new ones are refused.
        ran: is told how long PostgreSQL worked on a job, in seconds.
        prepare: keep statements prepared.
    """

    def __init__(
        self,
        connect: Connect,
        first: Any = None,
        *,
        size_max: int,
        waiting_max: int,
        ran: Callable[[Job, float], None],
        prepare: bool = True,
    ) -> None:
        self._connect, self._first, self._ran = connect, first, ran
        self._pipes_max = max(1, min(PIPES_MAX, size_max // 2))
        self._lanes_max = max(1, size_max - self._pipes_max)
        self._waiting_max = waiting_max
        self._prepare = prepare
        self._pipes: list[Wire] = []
        self._lanes: set[Wire] = set()
        self._idle: list[Wire] = []
        self._queue: list[Job] = []
        self._waiting: deque[Job] = deque()
        self._opening_pipes = 0
        self._opening_lanes = 0
        self._scheduled = False
        self._sweeping = False
        self._closed = False
        self._down_until = 0.0
        self._tasks: set[asyncio.Task[None]] = set()

    def read(self, job: Job) -> None:
        """Run a quick read on a pipe."""
        self._queue.append(job)
        if not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._dispatch)

    def alone(self, job: Job) -> None:
        """Run a statement on a lane of its own.

        Raises:
            Problem: `UNAVAILABLE` when too many wait.
        """
        if self._idle:
            self._idle.pop().submit([job])
        elif len(self._waiting) >= self._waiting_max:
            raise Problem("UNAVAILABLE", "Too many requests wait for the database.", headers=(("retry-after", "1"),))
        else:
            self._waiting.append(job)
            self._open_lane()
        self._watch()

    @property
    def connections(self) -> int:
        """Open connections."""
        return len(self._pipes) + len(self._lanes)

    @property
    def running(self) -> int:
        """Statements that PostgreSQL works on or that wait in front of it."""
        return sum(wire.jobs for wire in (*self._pipes, *self._lanes))

    @property
    def waiting(self) -> int:
        """Statements that wait for a connection."""
        return len(self._waiting) + len(self._queue)

    def _dispatch(self) -> None:
        """Share out what has come in since the last turn."""
        self._scheduled = False
        jobs, self._queue = self._queue, []
        jobs = [job for job in jobs if not job.future.done()]
        if not jobs:
            return
        now = time.perf_counter()
        pipes = [pipe for pipe in self._pipes if not pipe.jobs or now - pipe.moved < STALL_S]
        if not pipes:
            self._queue = jobs
            self._open_pipe()
            self._watch()
            return
        if len(pipes) > 1:
            pipes.sort(key=_load)
        if pipes[0].jobs > PART_MIN:
            self._open_pipe()
        part = max(PART_MIN, -(-len(jobs) // len(pipes)))
        for i in range(0, len(jobs), part):
            pipes[(i // part) % len(pipes)].submit(jobs[i : i + part])
        self._watch()

    def _again(self, jobs: list[Job]) -> None:
        """Run jobs that came back from a connection."""
        for job in jobs:
            if not job.write:
                self.read(job)
                continue
            try:
                self.alone(job)
            except Problem as problem:
                job.fail(problem)

    def _open_pipe(self) -> None:
        if len(self._pipes) + self._opening_pipes < self._pipes_max:
            self._opening_pipes += 1
            self._start(self._opened_pipe())
        elif not self._opening_pipes and self._down():
            self._fail_all()

    def _open_lane(self) -> None:
        if len(self._lanes) + self._opening_lanes < self._lanes_max:
            self._opening_lanes += 1
            self._start(self._opened_lane())

    def _start(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _opened_pipe(self) -> None:
        try:
            wire = await self._wire(self._pipe_broken, lambda _: None)
        finally:
            self._opening_pipes -= 1
        if wire is not None:
            self._pipes.append(wire)
            self._dispatch()
        elif not self._pipes:
            self._fail_all()

    async def _opened_lane(self) -> None:
        try:
            wire = await self._wire(self._lane_broken, self._lane_free)
        finally:
            self._opening_lanes -= 1
        if wire is not None:
            self._lanes.add(wire)
            self._lane_free(wire)
        elif not self._lanes:
            self._fail_all()

    async def _wire(self, broken: Callable[[Wire], None], idle: Callable[[Wire], None]) -> Wire | None:
        """A new connection; `None` when there is none to be had now."""
        loop = asyncio.get_running_loop()
        connection, self._first = self._first, None
        try:
            if connection is None:
                if self._down():
                    return None
                connection = await loop.run_in_executor(None, self._connect)
            if self._closed:
                connection.finish()
                return None
            return Wire(
                connection,
                loop,
                again=self._again,
                idle=idle,
                broken=broken,
                ran=self._ran,
                prepare=self._prepare,
            )
        except Exception:
            self._down_until = time.monotonic() + DOWN_S
            return None

    def _down(self) -> bool:
        return time.monotonic() < self._down_until

    def _fail_all(self) -> None:
        jobs = [*self._queue, *self._waiting]
        self._queue.clear()
        self._waiting.clear()
        for job in jobs:
            job.fail(unavailable())

    def _lane_free(self, wire: Wire) -> None:
        """A lane has nothing to do: the next one that waits has it."""
        while self._waiting:
            job = self._waiting.popleft()
            if not job.future.done():
                wire.submit([job])
                return
        if wire.open and wire not in self._idle:
            self._idle.append(wire)

    def _pipe_broken(self, wire: Wire) -> None:
        self._pipes.remove(wire)

    def _lane_broken(self, wire: Wire) -> None:
        self._lanes.discard(wire)
        if wire in self._idle:
            self._idle.remove(wire)
        if self._waiting:
            self._open_lane()

    def _watch(self) -> None:
        if not self._sweeping:
            self._sweeping = True
            asyncio.get_running_loop().call_later(SWEEP_S, self._sweep)

    def _sweep(self) -> None:
        """While anything runs: free what waits behind a slow statement, end what is past its deadline."""
        self._sweeping = False
        now, clock = time.perf_counter(), time.monotonic()
        for job in (*self._queue, *self._waiting):
            if job.late(clock):
                job.fail(timed_out())
        for pipe in list(self._pipes):
            if pipe.jobs > 1 and now - pipe.moved > STALL_S:
                self._unblock(pipe)
        for wire in (*self._pipes, *self._lanes):
            if wire.jobs:
                self._end_late(wire, clock)
        if self._closed or not (self._queue or self._waiting or self.running):
            return
        self._watch()

    def _unblock(self, pipe: Wire) -> None:
        """Run what stands behind a slow read elsewhere too; the first answer counts."""
        behind = [job for job in pipe.waiting()[1:] if not job.future.done() and job.tries == 1]
        if behind:
            for job in behind:
                job.tries += 1
            self._queue += behind
            self._dispatch()

    def _end_late(self, wire: Wire, clock: float) -> None:
        jobs = wire.waiting()
        for job in jobs:
            if job.late(clock) or job.ended:
                job.fail(timed_out())
        head = jobs[0] if jobs else None
        if head is not None and head.future.done() and not head.ended:
            # Whoever asked has gone or was refused: PostgreSQL need not go on. A write is let finish.
            head.ended = True
            if not head.write:
                wire.cancel()

    async def close(self) -> None:
        """Close every connection once nothing runs, or after a moment."""
        self._closed = True
        deadline = time.monotonic() + 5
        while (self.running or self._tasks) and time.monotonic() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        for wire in (*self._pipes, *self._lanes):
            wire.close()
        self._pipes.clear()
        self._lanes.clear()
        if self._first is not None:
            self._first.finish()


def _load(wire: Wire) -> int:
    return wire.jobs
