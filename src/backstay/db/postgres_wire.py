# psycopg.pq's C implementation has no stubs of its own; `Any` is what it is to us.
"""One connection to PostgreSQL in libpq's pipeline mode: many statements go out together and come back in order.

A batch ends in one Sync, so a batch is one implicit transaction: an error undoes and skips what follows it in the
batch, and reads that were skipped are handed back to run again. Results stay bytes; nothing is decoded.
Source: PostgreSQL documentation, libpq, "Pipeline Mode".
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from .postgres_errors import AGAIN, CANCELED, stale, state_of, translated
from .postgres_job import Job, timed_out, unavailable

PREPARED_MAX = 256
TRIES_MAX = 4
# psycopg.pq.ExecStatus and ConnStatus, as numbers: the hot path compares them.
_COMMAND_OK, _TUPLES_OK, _FATAL_ERROR, _PIPELINE_SYNC, _PIPELINE_ABORTED = 1, 2, 7, 10, 11
_CONNECTION_OK = 0


class _Prepare:
    """A place in the queue: a statement is prepared here."""

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text


_SYNC = object()
_CLOSE = object()


@dataclass(frozen=True, slots=True)
class Events:
    """Whom a connection tells.

    Attributes:
        again: takes jobs that did not run and may run on any connection.
        idle: is told when nothing is in flight any more.
        broken: is told when the connection is gone.
        ran: is told how long PostgreSQL worked on a job, in seconds.
    """

    again: Callable[[list[Job]], None]
    idle: Callable[[Wire], None]
    broken: Callable[[Wire], None]
    ran: Callable[[Job, float], None]


class Wire:
    """See the module.

    Args:
        connection: a `psycopg.pq.PGconn` that is connected.
        prepare: keep statements prepared; not behind a pooler that changes the server's process.
    """

    def __init__(
        self, connection: Any, loop: asyncio.AbstractEventLoop, events: Events, *, prepare: bool = True
    ) -> None:
        self._connection = connection
        self._loop = loop
        self._events = events
        self._prepare = prepare
        self._flying: deque[Any] = deque()
        self._committing: list[Job] = []
        self._prepared: OrderedDict[str, bytes] = OrderedDict()
        self._failed_prepare: dict[str, Exception] = {}
        self._names = 0
        self._socket: int = connection.socket
        self._writing = False
        self.jobs = 0
        self.open = True
        #: When the last result came, or the first statement went out after a rest.
        self.moved = time.perf_counter()
        connection.nonblocking = 1
        connection.enter_pipeline_mode()
        loop.add_reader(self._socket, self._readable)

    def submit(self, jobs: Sequence[Job]) -> None:
        """Send statements and one Sync; their futures resolve as results arrive."""
        connection, flying = self._connection, self._flying
        now = time.perf_counter()
        if not self.jobs:
            self.moved = now
        sent = 0
        try:
            for job in jobs:
                job.sent = now
                job.tries += 1
                self._send(job)
                flying.append(job)
                sent += 1
                self.jobs += 1
            connection.pipeline_sync()
            flying.append(_SYNC)
            self._flush()
        except Exception:
            self.lose()
            self._retry(list(jobs[sent:]))

    def _send(self, job: Job) -> None:
        text = job.statement.text
        if not self._prepare:
            self._connection.send_query_params(text.encode(), job.parameters)
            return
        name = self._prepared.get(text)
        if name is None:
            name = self._name(text)
        self._connection.send_query_prepared(name, job.parameters)

    def _name(self, text: str) -> bytes:
        """Prepare a statement; the one that was prepared first gives way when there are too many."""
        if len(self._prepared) >= PREPARED_MAX:
            _, old = self._prepared.popitem(last=False)
            self._connection.send_query_params(b"DEALLOCATE " + old, None)
            self._flying.append(_CLOSE)
        self._names += 1
        name = b"b%d" % self._names
        self._connection.send_prepare(name, text.encode())
        self._flying.append(_Prepare(text))
        self._prepared[text] = name
        return name

    def _flush(self) -> None:
        if self._connection.flush() and not self._writing:
            self._writing = True
            self._loop.add_writer(self._socket, self._writable)

    def _writable(self) -> None:
        try:
            if not self._connection.flush():
                self._writing = False
                self._loop.remove_writer(self._socket)
        except Exception:
            self.lose()

    def _readable(self) -> None:
        connection, flying = self._connection, self._flying
        try:
            connection.consume_input()
            while flying and not connection.is_busy():
                result = connection.get_result()
                if result is not None:
                    self._arrived(result)
        except Exception:
            self.lose()
            return
        if connection.status != _CONNECTION_OK:
            self.lose()
        elif not flying:
            self._events.idle(self)

    def _arrived(self, result: Any) -> None:
        status: int = result.status
        head = self._flying[0]
        if status == _PIPELINE_SYNC:
            self._flying.popleft()
            for job in self._committing:
                job.finish()
            self._committing.clear()
            return
        if head is _SYNC:
            # The commit itself failed: a constraint that is checked late, or the server stops.
            self._committed_not(result)
            return
        self._flying.popleft()
        before, self.moved = self.moved, time.perf_counter()
        if isinstance(head, Job):
            self._events.ran(head, self.moved - max(before, head.sent))
            self._answer(head, status, result)
        elif status == _FATAL_ERROR and isinstance(head, _Prepare):
            self._prepared.pop(head.text, None)
            self._failed_prepare[head.text] = translated(result)
        elif status == _PIPELINE_ABORTED and isinstance(head, _Prepare):
            self._prepared.pop(head.text, None)

    def _answer(self, job: Job, status: int, result: Any) -> None:
        self.jobs -= 1
        if status in (_TUPLES_OK, _COMMAND_OK):
            job.take(result)
            if job.write:
                self._committing.append(job)
            else:
                job.finish()
        elif status == _PIPELINE_ABORTED:
            error = self._failed_prepare.pop(job.statement.text, None)
            if error is not None:
                job.fail(error)
            else:
                self._retry([job])
        else:
            self._refused(job, result)

    def _refused(self, job: Job, result: Any) -> None:
        """An error: one that another try may not meet again, or the caller's."""
        state = state_of(result)
        if stale(result):
            self._prepared.pop(job.statement.text, None)
            self._retry([job])
        elif (state in AGAIN or (state == CANCELED and not job.ended and not job.write)) and job.tries < TRIES_MAX:
            self._retry([job])
        else:
            job.fail(translated(result, job.statement.labels, write=job.write))

    def _committed_not(self, result: Any) -> None:
        error = translated(result, write=True)
        again = state_of(result) in AGAIN
        jobs, self._committing = self._committing, []
        for job in jobs:
            if again and job.tries < TRIES_MAX:
                self._retry([job])
            else:
                job.fail(error)

    def _retry(self, jobs: list[Job]) -> None:
        wanted = [job for job in jobs if not job.future.done()]
        now = time.monotonic()
        for job in wanted:
            if job.tries >= TRIES_MAX or job.late(now):
                job.fail(unavailable())
        wanted = [job for job in wanted if not job.future.done()]
        if wanted:
            self._loop.call_soon(self._events.again, wanted)

    def waiting(self) -> list[Job]:
        """The jobs in flight, the one that PostgreSQL works on first."""
        return [item for item in self._flying if isinstance(item, Job)]

    def end_late(self, clock: float) -> None:
        """Refuse jobs past their deadline, and stop what nobody waits for; `clock` is of `time.monotonic`."""
        jobs = self.waiting()
        for job in jobs:
            if job.late(clock):
                job.fail(timed_out())
        if jobs and jobs[0].future.done() and not jobs[0].ended and not jobs[0].write:
            jobs[0].ended = True
            self.cancel()

    def cancel(self) -> None:
        """Ask PostgreSQL to stop what this connection runs; returns at once."""
        request = self._connection.cancel_conn()

        def ask() -> None:
            try:
                request.start()
                while True:
                    if request.poll() in (0, 3):  # PGRES_POLLING_FAILED, PGRES_POLLING_OK
                        break
                    time.sleep(0.001)
            except Exception:
                return  # it ended by itself, or the server is gone: either way there is nothing to stop
            finally:
                request.finish()

        self._loop.run_in_executor(None, ask)

    def lose(self) -> None:
        """The connection is of no use any more: reads run elsewhere; whether writes happened nobody can say."""
        if not self.open:
            return
        jobs = self.waiting()
        committing, self._committing = self._committing, []
        self.close()
        self._events.broken(self)
        for job in (*committing, *[job for job in jobs if job.write]):
            job.fail(unavailable("The database went away; whether the write happened is not known."))
        self._retry([job for job in jobs if not job.write])

    def close(self) -> None:
        """Let go of the connection."""
        if not self.open:
            return
        self.open = False
        self._flying.clear()
        self.jobs = 0
        self._loop.remove_reader(self._socket)
        if self._writing:
            self._loop.remove_writer(self._socket)
        self._connection.finish()
