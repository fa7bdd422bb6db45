# psycopg.pq's C implementation has no stubs of its own; `Any` is what it is to us.
"""One connection to PostgreSQL in libpq's pipeline mode: many statements go out together and come back in order.

A batch ends in one Sync, so a batch is one implicit transaction: an error undoes what came before it in the batch and
skips what follows. Reads that were skipped, and all writes of such a batch, are handed back to run again, each apart.
Results stay bytes; nothing is decoded.
Source: PostgreSQL documentation, libpq, "Pipeline Mode".
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from .postgres_cancel import Stops
from .postgres_errors import AGAIN, CANCELED, GONE, READ_ONLY, STOPPED, stale, state_of, translated
from .postgres_flight import SYNC, Flight
from .postgres_job import Job, in_doubt, timed_out, unavailable
from .postgres_prepared import Close, Prepare, Prepared

#: How often a job is sent before it is refused; a lost serialization race counts only against its deadline.
TRIES_MAX = 4
#: A loser of a race waits up to so long, times its tries, before it runs again.
BACKOFF_S = 0.01
BACKOFF_S_MAX = 0.25
#: Connections die one after the other: what was lost with the second one waits so long, with the third twice as long.
LOST_S = 0.05
#: A commit that takes so long makes us ask whether the server is there at all.
COMMIT_S = 0.5
#: What runs so long without anybody waiting for it is stopped.
UNWANTED_S = 0.25
#: A write that is to stop at its deadline may still say for so long how it ended.
VERDICT_S = 1.0
#: A connection that is silent so long after a deadline is of no use.
SILENT_S = 5.0
# psycopg.pq.ExecStatus and ConnStatus, as numbers: the hot path compares them.
_COMMAND_OK, _TUPLES_OK, _FATAL_ERROR, _PIPELINE_SYNC, _PIPELINE_ABORTED = 1, 2, 7, 10, 11
_CONNECTION_OK = 0


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
        self._prepared = Prepared() if prepare else None
        self.flight = Flight()
        self._flying = self.flight.items
        self._socket: int = connection.socket
        self._writing = False
        self._stops = Stops(connection, loop)
        self._retired = False
        #: Whether a group of writes was undone since somebody last looked.
        self.undone = False
        #: Statements in flight; a write is until its transaction has ended.
        self.jobs = 0
        self.open = True
        self.born = time.perf_counter()
        #: When the last result came, or the first statement went out after a rest.
        self.moved = time.perf_counter()
        connection.nonblocking = 1
        connection.enter_pipeline_mode()
        loop.add_reader(self._socket, self._readable)

    def submit(self, jobs: Sequence[Job]) -> None:
        """Send statements, with a Sync at the end of each transaction; their futures resolve as results arrive."""
        now = time.perf_counter()
        if not self.jobs:
            self.moved = now
        begun = False
        sent = 0
        try:
            for job in jobs:
                # What nobody has run here yet may be slow or wrong: the others neither wait for it nor are undone.
                apart = job.apart or (self._prepared is not None and job.statement.text not in self._prepared)
                if apart and begun:
                    self._sync()
                begun = True
                job.sent = now
                job.tries += 1
                self._send(job)
                sent += 1
                if apart:
                    self._sync()
                    begun = False
            if begun:
                self._sync()
            self._flush()
        except Exception:
            self.lose()
            self._retry(list(jobs[sent:]))

    def _sync(self) -> None:
        self._connection.pipeline_sync()
        self._flying.append(SYNC)

    def _send(self, job: Job) -> None:
        text = job.statement.text
        try:
            if self._prepared is not None:
                job.name = self._prepared.get(text) or self._name(text, self._prepared)
                self._connection.send_query_prepared(job.name, job.parameters)
            else:
                self._connection.send_query_params(text.encode(), job.parameters)
        except Exception as error:
            if self._connection.status != _CONNECTION_OK:
                raise
            job.fail(error)  # it is the job that cannot be sent, not the connection that cannot send
            return
        self._flying.append(job)
        self.jobs += 1

    def _name(self, text: str, prepared: Prepared) -> bytes:
        """Prepare a statement, after letting go of those that are not used any more."""
        name = prepared.add(text)
        while prepared.unused:
            old = prepared.unused.pop()
            self._connection.send_query_params(b"DEALLOCATE " + old, None)
            self._flying.append(Close(old))
        self._connection.send_prepare(name, text.encode())
        self._flying.append(Prepare(text, name))
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
            return
        # To make room libpq reads while it writes: what it has then makes no socket readable.
        self._readable()

    def _readable(self) -> None:
        try:
            self._connection.consume_input()
            self._take_in()
        except Exception:
            self.lose()
            return
        if self._connection.status != _CONNECTION_OK or (self._retired and not self._flying):
            self.lose()
        elif not self._flying:
            self._events.idle(self)

    def _take_in(self) -> None:
        """Read what has arrived in full.

        Raises:
            ConnectionError: nothing will come any more for what is in flight.
        """
        connection, flying = self._connection, self._flying
        ended = False
        while flying and not connection.is_busy():
            result = connection.get_result()
            if result is not None:
                ended = False
                self._arrived(result)
            elif ended:
                # One None ends a statement. Two mean that libpq knows of no statement: asking on would never end.
                raise ConnectionError("the connection lost count of its statements")
            else:
                ended = True

    def _arrived(self, result: Any) -> None:
        status: int = result.status
        head = self._flying[0]
        if status == _PIPELINE_SYNC:
            self._flying.popleft()
            self._ended()
            return
        if head is SYNC:
            # The commit itself failed: a constraint that is checked late, or the server stops.
            self._committed_not(result)
            return
        self._flying.popleft()
        before, self.moved = self.moved, time.perf_counter()
        if isinstance(head, Job):
            self._events.ran(head, self.moved - max(before, head.sent))
            self._answer(head, status, result)
        elif status != _COMMAND_OK and self._prepared is not None:
            self._prepared.not_done(head, result if status == _FATAL_ERROR else None)

    def _ended(self) -> None:
        """A transaction is over: its writes are done or, where one of them failed, each of them runs alone."""
        flight = self.flight
        self.jobs -= len(flight.committing)
        if flight.undoing:
            flight.undoing, self.undone = False, True
            self._retry_apart(flight.committing)
        else:
            for job in flight.committing:
                job.finish()
        flight.committing.clear()

    def _retry_apart(self, jobs: Sequence[Job]) -> None:
        for job in jobs:
            job.apart = True
        self._retry(list(jobs))

    def _answer(self, job: Job, status: int, result: Any) -> None:
        if status in (_TUPLES_OK, _COMMAND_OK):
            try:
                job.take(result)
            except Exception as error:
                job.fail(error)
            if job.write:
                self.flight.committing.append(job)
                return
            self.jobs -= 1
            job.finish()
            return
        self.jobs -= 1
        shared = job.write and self.flight.shared
        if shared:
            self.flight.undoing = job.apart = True
        failure = self._prepared.failures.get(job.name) if self._prepared is not None else None
        if failure is not None:
            self._refused(job, failure)
        elif status != _PIPELINE_ABORTED:
            self._refused(job, result, shared=shared)
        else:
            self._retry_apart([job])

    def _refused(self, job: Job, result: Any, *, shared: bool = False) -> None:
        """An error, which undid the job: one that another try may not meet again, or the caller's.

        In a shared transaction it may be another's doing, who is undone with it.
        """
        state = state_of(result)
        if stale(result) and self._prepared is not None:
            self._prepared.forget(job.statement.text, job.name, exists=state != GONE)
            self._retry_apart([job])
        elif state in AGAIN:
            delay = random.random() * min(BACKOFF_S * job.tries, BACKOFF_S_MAX)
            self._retry([job], delay_s=delay, raced=True)
        elif state in STOPPED or (state == CANCELED and self._stops.had_effect() and not job.ended):
            # The server stops, or a request to stop was meant for the statement before this one.
            self._retry_apart([job])
        elif shared and not job.ended:
            self._retry_apart([job])
        else:
            self._retired = self._retired or state == READ_ONLY
            job.fail(translated(result, job.statement.labels, write=job.write))

    def _committed_not(self, result: Any) -> None:
        jobs = list(self.flight.committing)
        self.flight.committing.clear()
        self.jobs -= len(jobs)
        state = state_of(result)
        if len(jobs) > 1 and state not in STOPPED:
            self.undone = True
            self._retry_apart(jobs)
            return
        for job in jobs:
            if state in AGAIN or state == CANCELED:
                self._refused(job, result)
            elif state in STOPPED:
                job.fail(in_doubt())
            else:
                job.fail(translated(result, write=True))

    def _retry(self, jobs: list[Job], *, delay_s: float = 0.0, raced: bool = False) -> None:
        now = time.monotonic()
        for job in jobs:
            if job.late(now + delay_s):
                job.fail(timed_out())
            elif job.tries >= TRIES_MAX and not raced:
                job.fail(unavailable())
        wanted = [job for job in jobs if not job.future.done()]
        if wanted:
            self._loop.call_later(delay_s, self._events.again, wanted)

    def tend(self, clock: float, now: float) -> Job | None:
        """Refuse what is past its deadline and stop what nobody waits for; what has run long, if anything has.

        Args:
            clock: of `time.monotonic`.
            now: of `time.perf_counter`.
        """
        jobs = self.flight.jobs()
        for job in jobs:
            if job.late(clock) and (not job.write or clock > job.context.deadline + VERDICT_S):
                job.fail(in_doubt() if job.write else timed_out())
        head = jobs[0]
        if head.late(clock - SILENT_S) and now > self.moved + SILENT_S:
            self.lose()
            return None
        if head.write and self.flight.held_up(self.moved, now):
            self._stops.ask(now)
            return None
        if now < max(self.moved, head.sent) + UNWANTED_S and not head.late(clock):
            return None
        if head.late(clock) if head.write else head.future.done():
            head.ended = True
            self._stops.ask(now)
        return head

    def silent_commit(self, now: float) -> bool:
        """Whether the end of a transaction, which is quick, has taken long; `now` is of `time.perf_counter`."""
        return bool(self.flight.committing) and now > self.moved + COMMIT_S

    def lose(self) -> None:
        """The connection is of no use any more: reads run elsewhere; whether writes happened nobody can say."""
        if not self.open:
            return
        jobs = self.flight.jobs()
        self.close()
        self._events.broken(self)
        for job in jobs:
            if job.write:
                job.fail(in_doubt())
            else:
                self._retry([job], delay_s=LOST_S * (job.tries - 1))

    def close(self) -> None:
        """Let go of the connection."""
        if not self.open:
            return
        self.open = False
        self.flight.clear()
        self.jobs = 0
        self._loop.remove_reader(self._socket)
        if self._writing:
            self._loop.remove_writer(self._socket)
        self._connection.finish()
