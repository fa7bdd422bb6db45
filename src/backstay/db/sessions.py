"""ORM sessions for code that is no front end: to read, or to write in one transaction; their statements count.

They do what the program asks for: a resource's rules are not applied to them. They have connections of their own.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from typing import Any, cast

import orjson
import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from ..config import Config
from ..context import Context
from ..errors import Problem
from ..schema.base import utc_now
from ..sql.postgresql import BY_SETTING
from .database import ClaimedError
from .engines import create_session_engine
from .recording import IDEMPOTENCY, Attribution, Recorded
from .recording_sqlite import record_changes
from .sqlite_connection import register_functions

Turn = Callable[[Context], AbstractAsyncContextManager[None]]
_CONTEXT = "backstay_context"
#: SQLite's result codes for a file that somebody else writes.
_SQLITE_BUSY = frozenset({5, 6})
#: PostgreSQL's classes of errors that are worth another try (appendix A of its manual), and its code of a timeout.
_POSTGRES_AGAIN = ("08", "40", "53", "57P")
_POSTGRES_CANCELED = "57014"


class Sessions:
    """Opens sessions on one database; the first of each kind opens its connections.

    Args:
        turn: see `Database.turn`.
        recorded: the tables whose changes are recorded, as those of the context of `begin`.
    """

    def __init__(
        self, config: Config, turn: Turn = lambda context: nullcontext(), recorded: Sequence[Recorded] = ()
    ) -> None:
        self._config = config
        self._recorded = recorded
        self._attribution = Attribution()
        self._turn = turn
        self._reading: AsyncEngine | None = None
        self._writing: AsyncEngine | None = None
        self._committed: list[Callable[[Mapping[Any, Any]], object]] = []

    def on_commit(self, listener: Callable[[Mapping[Any, Any]], object]) -> None:
        """Call this with the `info` of each session of this process that was committed."""
        self._committed.append(listener)

    def open(self, context: Context | None = None) -> AsyncSession:
        """A session to read in, for `async with`; `context` is the request that its statements count for."""
        if self._reading is None:
            self._reading = self._engine(write=False)
        return _session(self._reading, context)

    @asynccontextmanager
    async def begin(self, context: Context | None = None) -> AsyncGenerator[AsyncSession]:
        """A session to write in: one transaction, committed at the end of the block, undone by an error.

        On SQLite it is the only writer from its first statement on, so a block should neither wait nor compute.

        Args:
            context: the request that its statements count for; its deadline bounds the whole block.

        Raises:
            Problem: `UNAVAILABLE` when the database cannot be written before the deadline.

        Example:
            >>> async with sessions.begin(ctx) as session:  # doctest: +SKIP
            ...     session.add(Game(slug="tetris", name="Tetris"))
        """
        if self._writing is None:
            self._writing = self._engine(write=True)
        context = context or Context("")
        bound = asyncio.timeout(context.deadline - time.monotonic())
        try:
            async with bound, self._turn(context), _session(self._writing, context) as session, session.begin():
                info = session.info
                await self._attribute(session, context)
                await _place(session, context)
                yield session
        except PoolTimeoutError:
            raise _unavailable("Too many transactions are waiting.") from None
        except TimeoutError:
            if not bound.expired():
                raise  # the block's own
            raise _unavailable("The transaction took too long.") from None
        except DBAPIError as error:
            problem = _temporary(error)
            if problem is None:
                raise
            raise problem from error
        if context.claim is not None:
            context.claim.placed = True
        for listener in self._committed:
            listener(info)

    def _record(self, connection: Any) -> None:
        """Prepare SQLite's one connection that writes."""
        register_functions(connection)
        record_changes(connection, self._recorded, self._attribution)

    async def _attribute(self, session: AsyncSession, context: Context) -> None:
        """Say whose the changes of a transaction are; it does not count as a statement of the request."""
        self._attribution.of(context)
        if self._recorded and session.get_bind().dialect.name == "postgresql":
            raw = await (await session.connection()).get_raw_connection()
            said = orjson.dumps(context.attribution()).decode()
            await cast(Any, raw.driver_connection).execute("SELECT set_config(%s, %s, true)", (BY_SETTING, said))

    async def close(self) -> None:
        """Let go of the connections."""
        for engine in (self._reading, self._writing):
            if engine is not None:
                await engine.dispose()

    def _engine(self, *, write: bool) -> AsyncEngine:
        engine = create_session_engine(self._config, write=write, on_connect=self._record if write else None)
        event.listen(engine.sync_engine, "before_cursor_execute", _count)
        return engine


async def _place(session: AsyncSession, context: Context) -> None:
    """Write a request's Idempotency-Key with what it writes first; the answer joins it later.

    Raises:
        ClaimedError: another request has.
    """
    claim = context.claim
    if claim is None or claim.placed:
        return
    placed = {"key": claim.key, "fingerprint": claim.fingerprint, "at": utc_now()}
    try:
        await (await session.connection()).execute(sa.insert(IDEMPOTENCY), placed)
    except IntegrityError:
        claim.taken = True
        raise ClaimedError from None


def _session(engine: AsyncEngine, context: Context | None) -> AsyncSession:
    return AsyncSession(engine.execution_options(**{_CONTEXT: context}), expire_on_commit=False)


def _count(connection: sa.Connection, *_: Any) -> None:
    context: Context | None = connection.get_execution_options()[_CONTEXT]
    if context is not None:
        context.statements += 1


def _temporary(error: DBAPIError) -> Problem | None:
    """What a caller is told of an error that may be gone when asked again."""
    code = getattr(error.orig, "sqlite_errorcode", None)
    if isinstance(code, int) and code & 0xFF in _SQLITE_BUSY:
        return _unavailable("Another process is writing.")
    state = getattr(error.orig, "sqlstate", None) or ("08000" if error.connection_invalidated else "")
    if state == _POSTGRES_CANCELED:
        return Problem("QUERY_TIMEOUT", headers=(("retry-after", "5"),))
    return _unavailable("The database cannot be written now.") if state.startswith(_POSTGRES_AGAIN) else None


def _unavailable(detail: str) -> Problem:
    return Problem("UNAVAILABLE", detail, headers=(("retry-after", "1"),))
