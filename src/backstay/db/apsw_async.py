"""The same connections for SQLAlchemy's asyncio: `sqlite+apsw_async://`, one thread a connection.

One thread each, not a shared pool: writers that wait for the lock would occupy every thread of a pool and
keep the writer that holds the lock from committing.
"""

# pyright: reportPrivateUsage=false
# (SQLAlchemy's adapters are made to be subclassed, and keep what that needs under one underscore)

import asyncio
import os
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

from sqlalchemy import pool
from sqlalchemy.connectors.asyncio import (
    AsyncAdapt_dbapi_connection,
    AsyncAdapt_dbapi_cursor,
    AsyncAdapt_dbapi_module,
    AsyncAdapt_dbapi_ss_cursor,
    AsyncAdapt_terminate,
)
from sqlalchemy.dialects import registry
from sqlalchemy.engine import URL
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.util.concurrency import await_

from backstay.db import apsw_dbapi
from backstay.db.apsw_dbapi import Parameters, Row
from backstay.db.apsw_dialect import ApswDialect, OnConnect, apsw_url, query_only_unless

T = TypeVar("T")


class ThreadedConnection:
    """A connection whose calls all run, in order, on a thread of its own."""

    def __init__(self, thread: ThreadPoolExecutor, connection: apsw_dbapi.Connection) -> None:
        """Take over both."""
        self.thread = thread
        self.sync = connection
        self._closing = False

    @classmethod
    async def open(cls, *args: Any, **options: Any) -> "ThreadedConnection":
        """apsw_dbapi.connect() on a new thread."""
        thread = ThreadPoolExecutor(1, thread_name_prefix="backstay-sqlite")
        loop = asyncio.get_running_loop()
        opening = loop.run_in_executor(thread, partial(apsw_dbapi.connect, *args, **options))
        try:
            return cls(thread, await asyncio.shield(opening))
        except BaseException:
            opening.add_done_callback(_close_late)
            thread.shutdown(wait=False)
            raise

    async def run(self, call: Callable[..., T], *args: Any) -> T:
        """Run `call` on the thread; once begun it runs to its end, even if the caller is cancelled."""
        running = asyncio.get_running_loop().run_in_executor(self.thread, call, *args)
        try:
            return await asyncio.shield(running)
        except asyncio.CancelledError:
            running.add_done_callback(_forget)
            raise

    async def run_statement(self, call: Callable[..., T], *args: Any) -> T:
        """Run `call`, and interrupt it in SQLite if the caller is cancelled."""
        try:
            return await self.run(call, *args)
        except asyncio.CancelledError:
            self.sync.raw.interrupt()
            raise

    def cursor(self, *, streaming: bool = False) -> "ThreadedCursor":
        """A new cursor."""
        return ThreadedCursor(self, streaming=streaming)

    async def commit(self) -> None:
        """Commit."""
        await self.run(self.sync.commit)

    async def rollback(self) -> None:
        """Roll back."""
        await self.run(self.sync.rollback)

    async def close(self) -> None:
        """Close, and end the thread; a second call does nothing."""
        if self._closing:
            return
        self._closing = True
        try:
            await self.run(self.sync.close)
        finally:
            self.thread.shutdown(wait=False)

    def abandon(self) -> None:
        """Close without an event loop: the thread does it after what it has begun."""
        if not self._closing:
            self._closing = True
            self.sync.raw.interrupt()
            self.thread.submit(self.sync.close)
            self.thread.shutdown(wait=False)


def _forget(running: "asyncio.Future[Any]") -> None:
    if not running.cancelled():
        running.exception()  # looked at, so that asyncio does not report it as lost


def _close_late(opening: "asyncio.Future[apsw_dbapi.Connection]") -> None:
    if not opening.cancelled() and opening.exception() is None:
        opening.result().close()


class ThreadedCursor:
    """A cursor whose calls run on its connection's thread."""

    def __init__(self, connection: ThreadedConnection, *, streaming: bool) -> None:
        """Make the cursor here: that only allocates."""
        self.connection = connection
        self.sync = connection.sync.cursor(streaming=streaming)
        self.arraysize = self.sync.arraysize

    @property
    def description(self) -> apsw_dbapi.Description | None:
        """The columns of the rows, None if there are none."""
        return self.sync.description

    @property
    def rowcount(self) -> int:
        """Rows changed."""
        return self.sync.rowcount

    @property
    def lastrowid(self) -> int | None:
        """The last row inserted."""
        return self.sync.lastrowid

    async def execute(self, operation: str, parameters: Parameters = ()) -> None:
        """Run one statement."""
        await self.connection.run_statement(self.sync.execute, operation, parameters)

    async def execute_and_fetch(self, operation: str, parameters: Parameters) -> list[Row]:
        """Run one statement and fetch all, in one hop to the thread."""
        return await self.connection.run_statement(_execute_and_fetch, self.sync, operation, parameters)

    async def executemany(self, operation: str, seq_of_parameters: list[Parameters]) -> None:
        """Run one statement for each set of parameters."""
        await self.connection.run_statement(self.sync.executemany, operation, seq_of_parameters)

    async def fetchone(self) -> Row | None:
        """The next row."""
        return await self.connection.run_statement(self.sync.fetchone)

    async def fetchmany(self, size: int | None = None) -> list[Row]:
        """The next rows."""
        return await self.connection.run_statement(self.sync.fetchmany, size)

    async def fetchall(self) -> list[Row]:
        """The rows left."""
        return await self.connection.run_statement(self.sync.fetchall)

    async def close(self) -> None:
        """Drop the rows left."""
        await self.connection.run(self.sync.close)


def _execute_and_fetch(cursor: apsw_dbapi.Cursor, operation: str, parameters: Parameters) -> list[Row]:
    cursor.execute(operation, parameters)
    return cursor.fetchall() if cursor.description is not None else []


class AdaptedCursor(AsyncAdapt_dbapi_cursor):
    """All rows at once: the statement has ended when execute() returns, so close() needs no thread."""

    __slots__ = ()
    _awaitable_cursor_close = False

    def _aenter_cursor(self, cursor: Any) -> Any:
        return cursor

    async def _execute_async(self, operation: Any, parameters: Any) -> Any:
        cursor: Any = self._cursor
        async with self._adapt_connection._execute_mutex:
            self._rows = deque(await cursor.execute_and_fetch(operation, parameters or ()))

    def close(self) -> None:
        """Forget the rows."""
        self._rows.clear()


class AdaptedStreamingCursor(AsyncAdapt_dbapi_ss_cursor):
    """Rows as they are asked for, as AsyncSession.stream() wants them."""

    __slots__ = ()

    def _make_new_cursor(self, connection: Any) -> Any:
        return connection.cursor(streaming=True)

    def _aenter_cursor(self, cursor: Any) -> Any:
        return cursor


class AdaptedConnection(AsyncAdapt_terminate, AsyncAdapt_dbapi_connection):
    """What the dialect sees: the DBAPI connection, its waits handed to the event loop."""

    __slots__ = ()
    _cursor_cls = AdaptedCursor
    _ss_cursor_cls = AdaptedStreamingCursor

    @property
    def autocommit(self) -> bool:
        """Whether each statement commits on its own."""
        return self._connection.sync.autocommit

    @autocommit.setter
    def autocommit(self, value: bool) -> None:
        self._connection.sync.autocommit = value

    @property
    def begin_mode(self) -> apsw_dbapi.BeginMode:
        """How the next transaction begins."""
        return self._connection.sync.begin_mode

    @begin_mode.setter
    def begin_mode(self, value: apsw_dbapi.BeginMode) -> None:
        self._connection.sync.begin_mode = value

    def cursor(self, server_side: bool = False, *, streaming: bool = False) -> AsyncAdapt_dbapi_cursor:
        """A new cursor, by the name that both dialects use."""
        return super().cursor(server_side or streaming)

    def create_function(self, *args: Any, **options: Any) -> None:
        """Define an SQL function."""
        await_(self._connection.run(partial(self._connection.sync.create_function, *args, **options)))

    async def _terminate_graceful_close(self) -> None:
        await self._connection.close()

    def _terminate_force_close(self) -> None:
        self._connection.abandon()


class AsyncModule(AsyncAdapt_dbapi_module):
    """The DBAPI module as the asyncio dialect sees it."""

    def __init__(self) -> None:
        """apsw_dbapi with another connect()."""
        super().__init__(apsw_dbapi)
        for name in apsw_dbapi.__all__:
            if name != "connect":
                setattr(self, name, getattr(apsw_dbapi, name))

    def connect(self, *args: Any, **options: Any) -> AdaptedConnection:
        """Open on a thread, and wait for it."""
        connection: Any = await_(ThreadedConnection.open(*args, **options))
        return AdaptedConnection(self, connection)


class ApswAsyncDialect(ApswDialect):
    """ApswDialect for create_async_engine()."""

    driver = "apsw_async"
    supports_statement_cache = True
    is_async = True
    has_terminate = True

    @classmethod
    def import_dbapi(cls) -> Any:
        """The adapted DBAPI module."""
        return AsyncModule()

    @classmethod
    def get_pool_class(cls, url: URL) -> type[pool.Pool]:
        """As ApswDialect, with a queue that waits without blocking."""
        kind = super().get_pool_class(url)
        return pool.AsyncAdaptedQueuePool if kind is pool.QueuePool else kind

    def get_driver_connection(self, connection: Any) -> ThreadedConnection:
        """The connection below the adaptation."""
        return connection._connection

    def do_terminate(self, dbapi_connection: Any) -> None:
        """Close in whatever state the connection is."""
        dbapi_connection.terminate()


def register() -> None:
    """Make `sqlite+apsw_async://` known to SQLAlchemy."""
    registry.register("sqlite.apsw_async", __name__, ApswAsyncDialect.__name__)


def create_apsw_async_engine(
    url_or_path: str | os.PathLike[str] | URL,
    *,
    write: bool = False,
    on_connect: OnConnect | None = None,
    **options: Any,
) -> AsyncEngine:
    """create_sync_engine() for AsyncSession."""
    register()
    url = apsw_url(url_or_path, write=write, driver="apsw_async")
    return create_async_engine(url, connect_args={"on_connect": query_only_unless(write, on_connect)}, **options)
