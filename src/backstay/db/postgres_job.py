"""One statement on its way through a PostgreSQL connection, and its outcome."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Any

from ..context import Context
from ..errors import Problem
from ..sql.statement import Statement
from .database import Row


class Job:
    """A statement, its parameters in text form, and the future of its rows.

    Attributes:
        write: it is done when its transaction is, not when its rows arrive.
        sent: when it was last given to a connection.
        tries: how often it was.
        name: under which its statement was prepared there.
        apart: it was undone by another's error once, and has a transaction of its own from then on.
        twin: there is a second one for the same future, elsewhere.
        then: runs right after it on the same connection, in a transaction of its own.
        ended: somebody wants it stopped: its deadline passed or its client went away.
    """

    __slots__ = (
        "apart",
        "context",
        "ended",
        "future",
        "name",
        "parameters",
        "rows",
        "sent",
        "statement",
        "then",
        "tries",
        "twin",
        "write",
    )

    def __init__(
        self,
        statement: Statement,
        parameters: Sequence[Any],
        context: Context,
        future: asyncio.Future[list[Row]],
        *,
        write: bool = False,
    ) -> None:
        self.statement = statement
        self.parameters = parameters
        self.context = context
        self.future = future
        self.write = write
        self.rows: list[Row] = []
        self.sent = 0.0
        self.tries = 0
        self.name = b""
        self.apart = False
        self.twin = False
        self.ended = False
        self.then: Job | None = None

    def double(self) -> Job:
        """A second one of the same read; whichever is answered first counts."""
        made = Job(self.statement, self.parameters, self.context, self.future)
        made.apart = made.twin = self.twin = True
        return made

    def take(self, result: Any) -> None:
        """Read the rows of a result: what is no number stays the bytes that PostgreSQL sent."""
        self.rows = rows_of(result, self.statement)

    def finish(self) -> None:
        """Give the rows to whoever waits."""
        if self.future.done():
            return
        spent = time.perf_counter() - self.sent
        self.context.database_s += spent
        tally = self.statement.tally
        tally.count += 1
        tally.seconds += spent
        self.future.set_result(self.rows)

    def fail(self, error: BaseException) -> None:
        """Give an error to whoever waits."""
        if not self.future.done():
            self.future.set_exception(error)

    @property
    def joins(self) -> bool:
        """Whether it may share a transaction: a new row waits for no other's lock, as a rule."""
        return self.write and not self.apart and self.statement.action == "create"

    def late(self, now: float) -> bool:
        """Whether its request's deadline has passed; `now` is of `time.monotonic`."""
        return now > self.context.deadline


def rows_of(result: Any, statement: Statement) -> list[Row]:
    """The rows of a result."""
    whole = statement.whole
    value = result.get_value
    return [
        tuple([_read(value(row, column), number=number) for column, number in enumerate(whole)])
        for row in range(result.ntuples)
    ]


def _read(value: bytes | None, *, number: bool) -> Any:
    return int(value) if number and value is not None else value


def unavailable(detail: str = "The database does not answer now.") -> Problem:
    """What a caller is told while the database is away."""
    return Problem("UNAVAILABLE", detail, headers=(("retry-after", "1"),))


def in_doubt() -> Problem:
    """What a caller is told of a write whose end nobody saw."""
    return unavailable("The database went away; whether the write happened is not known.")


def timed_out() -> Problem:
    """What a caller is told of a statement that took too long."""
    return Problem("QUERY_TIMEOUT", headers=(("retry-after", "5"),))
