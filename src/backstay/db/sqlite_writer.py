# apsw's stubs name `Buffer`, which typing has from Python 3.12 on.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
"""The one writer of a SQLite file: a thread that commits many waiting writes together.

It drains its queue into one transaction, so that one flush to disk (synchronous=FULL) acknowledges them all.
A single statement undoes itself when it fails; a write that may still be refused after it ran has a savepoint.
If SQLite gives up the whole transaction, the others are run again, each on its own: no write harms another.
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import apsw

from ..context import Claim, Context
from ..errors import Problem
from ..sql.claims import INSERTION, claim_values
from ..sql.statement import Output, Statement
from .database import ClaimedError, RefusedError, Row
from .recording import Attribution, Recorded
from .recording_sqlite import make_tables, record_changes
from .sqlite_connection import open_connection, translated
from .sqlite_turns import Turn

GROUP_MAX = 256
#: A claim and the moment of its write.
ClaimOf = tuple[Claim, str | None]


@dataclass(slots=True, eq=False)
class Write:
    """One waiting write and where its outcome goes."""

    statement: Statement
    parameters: Sequence[Any]
    context: Context
    future: asyncio.Future[Row | None]
    loop: asyncio.AbstractEventLoop
    outcome: Any = None
    error: BaseException | None = None


class Writer:
    """Runs writes in order of arrival; `submit` from the event loop, the rest happens in its thread."""

    def __init__(self, path: str, *, waiting_max: int, recorded: Sequence[Recorded] = ()) -> None:
        self._path = path
        self._waiting_max = waiting_max
        self._queue: queue.SimpleQueue[Write | Turn | None] = queue.SimpleQueue()
        self._connection = open_connection(path, write=True)
        self._attribution = Attribution()
        if recorded:
            make_tables(self._connection)
            record_changes(self._connection, recorded, self._attribution)
        self._thread = threading.Thread(target=self._run, name="backstay-writer", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """Writes that wait for their turn."""
        return self._queue.qsize()

    def submit(self, statement: Statement, parameters: Sequence[Any], context: Context) -> asyncio.Future[Row | None]:
        """Queue a write; the future resolves once it is durable.

        Raises:
            Problem: `UNAVAILABLE` when too many writes wait already.
        """
        self._admit()
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Row | None] = loop.create_future()
        self._queue.put(Write(statement, parameters, context, future, loop))
        return future

    @asynccontextmanager
    async def turn(self, deadline: float) -> AsyncGenerator[None]:
        """A block in which somebody else writes: the writer rests, in its turn, until the block ends.

        Raises:
            Problem: `UNAVAILABLE` when too many writes wait already.
        """
        self._admit()
        turn = Turn(deadline)
        self._queue.put(turn)
        try:
            await turn.wait()
            yield
        finally:
            turn.end()

    def _admit(self) -> None:
        if self._queue.qsize() >= self._waiting_max:
            raise Problem("UNAVAILABLE", "Too many writes are waiting.", headers=(("retry-after", "1"),))

    def close(self) -> None:
        """Finish what is queued and stop."""
        self._queue.put(None)
        self._thread.join()
        # Statistics can wait where another process writes.
        with contextlib.suppress(apsw.BusyError):
            self._connection.pragma("optimize")
        self._connection.close()

    def _run(self) -> None:
        waiting = self._queue.get()
        while waiting is not None:
            if isinstance(waiting, Turn):
                waiting.give()
                waiting = self._queue.get()
                continue
            group, ended_by = self._drain(waiting)
            try:
                self._commit(group)
            except BaseException as error:  # the thread must outlive anything
                for write in group:
                    write.error = write.error or error
            _deliver(group)
            waiting = self._queue.get() if ended_by is group else ended_by

    def _drain(self, first: Write) -> tuple[list[Write], Any]:
        """What waits, up to a full group; and what ended it: the group itself, a turn, or None to stop."""
        group = [first]
        while len(group) < GROUP_MAX:
            try:
                waiting = self._queue.get_nowait()
            except queue.Empty:
                break
            if not isinstance(waiting, Write):
                return group, waiting
            group.append(waiting)
        return group, group

    def _commit(self, group: list[Write]) -> None:
        """One transaction for the group; on its loss, one for each."""
        lost = self._transaction(group)
        for write in lost:
            write.error = write.outcome = None
            self._transaction([write])

    def _transaction(self, group: Sequence[Write]) -> list[Write]:
        """Run and commit; returns the writes that another one's failure undid."""
        connection = self._connection
        ran: list[Write] = []
        try:
            connection.execute("BEGIN IMMEDIATE")
            for index, write in enumerate(group):
                if not self._attempt(write) and not connection.in_transaction:
                    return [*ran, *group[index + 1 :]]
                ran.append(write)
            connection.execute("COMMIT")
        except apsw.Error as error:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            if isinstance(error, apsw.ConstraintError) and len(group) > 1:
                return list(group)  # a deferred constraint, found at COMMIT, says not whose it is
            for write in group:
                write.error = translated(error)
        return []

    def _claim(self, write: Write) -> ClaimOf | None:
        claim = write.context.claim if write.statement.claimed else None
        return None if claim is None else (claim, self._attribution.value(0))

    def _attempt(self, write: Write) -> bool:
        if write.future.cancelled() or time.monotonic() > write.context.deadline:
            write.error = Problem("UNAVAILABLE", "The write waited too long.", headers=(("retry-after", "1"),))
            return False
        self._attribution.of(write.context)
        try:
            apart = write.statement.guarded or write.statement.claimed
            run = run_guarded if apart else _run_plain
            write.outcome = run(self._connection, write.statement, write.parameters, self._claim(write))
        except apsw.Error as error:
            write.error = translated(error)
            return False
        except Exception as error:
            write.error = error
            return False
        return True


def _run_plain(
    connection: apsw.Connection, statement: Statement, parameters: Sequence[Any], claim: ClaimOf | None = None
) -> Row | None:
    rows = connection.execute(statement.text, parameters).fetchall()
    return rows[0] if rows else None


def run_guarded(
    connection: apsw.Connection, statement: Statement, parameters: Sequence[Any], claim: ClaimOf | None = None
) -> Row | None:
    """Run a write in a savepoint: nothing of it remains if it is refused.

    Args:
        claim: the claim that its answer is recorded for, and the moment.

    Raises:
        RefusedError: its row's check does not admit it.
    """
    connection.execute("SAVEPOINT write")
    try:
        row = _run_plain(connection, statement, parameters)
        if row is not None and statement.guarded and not row[statement.position(Output.ALLOWED)]:
            raise RefusedError
        if row is not None and claim is not None:
            _keep(connection, statement, row, claim)
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK TO write")
            connection.execute("RELEASE write")
        raise
    connection.execute("RELEASE write")
    return row


def _keep(connection: apsw.Connection, statement: Statement, row: Row, claim: ClaimOf) -> None:
    """Record the answer of a write.

    Raises:
        ClaimedError: somebody else has recorded one.
    """
    claimed, at = claim
    try:
        connection.execute(INSERTION, (claimed.key, claimed.fingerprint, *claim_values(statement, row, at)))
    except apsw.ConstraintError:
        raise ClaimedError from None


def _deliver(group: Sequence[Write]) -> None:
    """Wake each event loop once for the whole group."""
    loops: dict[asyncio.AbstractEventLoop, list[Write]] = {}
    for write in group:
        loops.setdefault(write.loop, []).append(write)
    for loop, writes in loops.items():
        resolve: Callable[[], None] = lambda writes=writes: _resolve(writes)  # noqa: E731
        try:
            loop.call_soon_threadsafe(resolve)
        except RuntimeError:
            continue  # the loop has closed: nobody waits any more


def _resolve(writes: Sequence[Write]) -> None:
    for write in writes:
        if write.future.done():
            continue
        if write.error is not None:
            write.future.set_exception(write.error)
        else:
            write.future.set_result(write.outcome)
