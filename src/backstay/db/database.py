"""What the engine needs of a database, and the violations that every driver's errors become."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from enum import Enum
from typing import Any, Protocol

from ..context import Context
from ..errors import Problem
from ..sql.statement import Statement

Row = tuple[Any, ...]


class Violation(Enum):
    """The kinds of constraint."""

    UNIQUE = "unique"
    EXCLUSION = "exclusion"
    FOREIGN_KEY = "foreign_key"
    CHECK = "check"
    NOT_NULL = "not_null"
    TYPE = "type"


class ConstraintViolationError(Exception):
    """A write that a constraint refused; nothing of it remains.

    Attributes:
        columns: the database's column names, as far as it tells them.
        constraint: the constraint's name, as far as it tells it.
    """

    def __init__(self, kind: Violation, columns: Sequence[str] = (), constraint: str = "") -> None:
        super().__init__(kind.value)
        self.kind = kind
        self.columns = tuple(columns)
        self.constraint = constraint


class RefusedError(Exception):
    """A write whose row the resource's check does not admit; it was rolled back."""


class ClaimedError(Problem):
    """A write whose Idempotency-Key has had its effect, or is about to; nothing of this one remains."""

    def __init__(self) -> None:
        detail = "A request with this Idempotency-Key is in progress, or its answer was lost."
        super().__init__("IDEMPOTENCY_IN_PROGRESS", detail, headers=(("retry-after", "1"),))


def sum_too_large() -> Problem:
    """What a caller is told of a sum that its type cannot hold."""
    hint = "Sum fewer rows, or ask for the average of them."
    return Problem("RESULT_TOO_LARGE", "A sum is larger than a 64-bit number.", hint=hint)


@dataclass(frozen=True, slots=True)
class Gauges:
    """How busy a database is now."""

    writes_waiting: int
    reads_spilled: int
    reads_running: int
    connections: int = 1
    replica_reads: int = 0


class Database(Protocol):
    """One open database."""

    def read(
        self, statement: Statement, parameters: Sequence[Any], context: Context
    ) -> list[Row] | Awaitable[list[Row]]:
        """The statement's rows: at once when it is quick, else awaitable.

        Raises:
            Problem: `QUERY_TIMEOUT`, `RESULT_TOO_LARGE` or `UNAVAILABLE`.
        """
        ...

    async def write(self, statement: Statement, parameters: Sequence[Any], context: Context) -> Row | None:
        """Run a write in a transaction and return after it is durable.

        Raises:
            ConstraintViolationError, RefusedError, Problem
        """
        ...

    def refusal(self, statement: Statement, parameters: Sequence[Any]) -> str:
        """What the database says against a statement that it is not to run, before it serves; empty when nothing.

        A table or a column that is not there yet is nothing against it.
        """
        ...

    def turn(self, context: Context) -> AbstractAsyncContextManager[None]:
        """A block in which a session may write in one transaction; it has ended by the context's deadline.

        It does not have to wait then for other writes of this process, and behind the block the context has a
        position, where reads need one.
        """
        ...

    def ping(self) -> Awaitable[None] | None:
        """Raise, at once or when awaited, when the database does not answer."""
        ...

    def gauges(self) -> Gauges:
        """How busy it is."""
        ...

    async def close(self) -> None:
        """Finish what runs and let go of the file or the pool."""
        ...
