# apsw's stubs name `Buffer`, which typing has from Python 3.12 on.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
"""Statements inside of a session's transaction: what the engine runs, and the program's own ORM code, as one.

A write that is refused is undone alone, by a savepoint; whoever runs the transaction decides whether it goes on.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol, cast

import apsw
from sqlalchemy.ext.asyncio import AsyncSession

from ..context import Context
from ..sql.statement import Statement
from .database import Row
from .postgres_errors import AGAIN, state_of
from .postgres_errors import translated as translated_postgres
from .postgres_job import rows_of
from .sqlite_connection import translated
from .sqlite_writer import run_guarded


class AgainError(Exception):
    """Two transactions got in each other's way, and this one was undone: run it again from its start."""


class Transaction(Protocol):
    """A transaction that has begun; `session` is the program's way to it."""

    session: AsyncSession
    #: What runs after its commit, in order.
    committed: list[Callable[[], Awaitable[object]]]

    async def read(self, statement: Statement, parameters: Sequence[Any], context: Context) -> list[Row]:
        """The statement's rows, as the transaction sees them."""
        ...

    async def write(self, statement: Statement, parameters: Sequence[Any], context: Context) -> Row | None:
        """As `Database.write`; nothing of a refused one remains.

        Raises:
            AgainError: the transaction has to be run again.
        """
        ...


async def transaction_of(session: AsyncSession) -> Transaction:
    """The transaction of a session that writes."""
    await session.flush()
    raw: Any = (await (await session.connection()).get_raw_connection()).driver_connection
    return _OnSqlite(session, raw) if session.get_bind().dialect.name == "sqlite" else _OnPostgres(session, raw)


class _OnSqlite:
    """See `Transaction`.

    Args:
        raw: an `apsw_async.ThreadedConnection`.
    """

    def __init__(self, session: AsyncSession, raw: Any) -> None:
        self.session = session
        self.committed: list[Callable[[], Awaitable[object]]] = []
        self._raw = raw

    async def read(self, statement: Statement, parameters: Sequence[Any], context: Context) -> list[Row]:
        """Run it on the thread of the connection."""
        context.statements += 1
        await self.session.flush()
        return cast("list[Row]", await self._raw.run_statement(self._rows, statement, parameters))

    async def write(self, statement: Statement, parameters: Sequence[Any], context: Context) -> Row | None:
        """Run it in a savepoint."""
        context.statements += 1
        await self.session.flush()
        return cast("Row | None", await self._raw.run_statement(self._written, statement, parameters))

    def _rows(self, statement: Statement, parameters: Sequence[Any]) -> list[Row]:
        try:
            return self._raw.sync.raw.execute(statement.text, parameters).fetchall()
        except apsw.Error as error:
            raise translated(error) from error

    def _written(self, statement: Statement, parameters: Sequence[Any]) -> Row | None:
        try:
            self._raw.sync.begin_before("INSERT")
            return run_guarded(self._raw.sync.raw, statement, parameters)
        except apsw.Error as error:
            raise translated(error) from error


class _OnPostgres:
    """See `Transaction`.

    Args:
        raw: a psycopg `AsyncConnection`.
    """

    def __init__(self, session: AsyncSession, raw: Any) -> None:
        self.session = session
        self.committed: list[Callable[[], Awaitable[object]]] = []
        self._raw = raw

    async def read(self, statement: Statement, parameters: Sequence[Any], context: Context) -> list[Row]:
        """Run it."""
        context.statements += 1
        await self.session.flush()
        return rows_of(await self._run(statement.text, parameters, statement), statement)

    async def write(self, statement: Statement, parameters: Sequence[Any], context: Context) -> Row | None:
        """Run it in a savepoint."""
        context.statements += 1
        await self.session.flush()
        await self._run("SAVEPOINT backstay_write")
        try:
            result = await self._run(statement.text, parameters, statement, write=True)
        except Exception as error:
            if not isinstance(error, AgainError):
                await self._run("ROLLBACK TO SAVEPOINT backstay_write")
            raise
        await self._run("RELEASE SAVEPOINT backstay_write")
        rows = rows_of(result, statement)
        return rows[0] if rows else None

    async def _run(
        self,
        text: str,
        parameters: Sequence[Any] = (),
        statement: Statement | None = None,
        *,
        write: bool = False,
    ) -> Any:
        """The result of one statement whose parameters are in text form, as on the pipes."""
        from psycopg import generators
        from psycopg.pq import ExecStatus

        raw = self._raw
        async with raw.lock:
            raw.pgconn.send_query_params(text.encode(), parameters)
            (result,) = await raw.wait(generators.execute(raw.pgconn))
        if result.status in (ExecStatus.TUPLES_OK, ExecStatus.COMMAND_OK):
            return result
        if state_of(result) in AGAIN:
            raise AgainError
        raise translated_postgres(result, statement.labels if statement is not None else (), write=write)
