"""PostgreSQL as a Database: reads of many requests share connections, as new rows do; a write else has its own.

One libpq connection answers many statements with one system call each way, which costs less than any driver that
runs one at a time; see docs/decisions/0010-libpq-pipelines.md.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from ..config import Config
from ..context import Context
from ..errors import OperatorError, Problem
from ..sql.statement import Output, Statement
from .database import Gauges, Row
from .engines import unreachable
from .postgres_connect import connect, conninfo_of
from .postgres_job import Job
from .postgres_opener import Opener
from .postgres_pool import Pool
from .postgres_replicas import POSITION, UNREACHED, Replicas
from .recording import Recorded
from .recording_postgres import record_changes

#: A read that took so long has a lane of its own from then on, until it is quick there.
SLOW_S = 0.05
QUICK_S = 0.005
SLOW_SHAPES_MAX = 1_024
PING_S_MAX = 5
POOL_MODES = ("session", "transaction")
#: One connection for quick reads, one for writes.
POOL_SIZE_MIN = 2


#: A table or a column that a migration has yet to make, and one that the role may not look at.
_NOT_THERE = frozenset({"42P01", "42703", "42501"})


class PostgresDatabase:
    """See `database.Database`.

    Raises:
        OperatorError: the server cannot be reached now.
    """

    def __init__(self, config: Config, *, read_only: bool = False, recorded: Sequence[Recorded] = ()) -> None:
        if config.pool_mode not in POOL_MODES:
            raise OperatorError(f"BACKSTAY_POOL_MODE={config.pool_mode!r} is neither session nor transaction.")
        if config.pool_size < POOL_SIZE_MIN:
            raise OperatorError(f"BACKSTAY_POOL_SIZE={config.pool_size} is too small: {POOL_SIZE_MIN} is the least.")
        self._config = config
        self._read_only = read_only
        conninfo = conninfo_of(config.database_url, config)
        try:
            first = connect(conninfo)
        except ConnectionError as error:
            raise unreachable(config.database_url, error) from None
        if recorded:
            record_changes(first, recorded)
        self._opener = opener = Opener(conninfo, first, prepare=config.pool_mode == "session")
        self._primary = Pool(opener, size_max=config.pool_size, waiting_max=config.write_queue_max, ran=self._ran)
        urls = [url.strip() for url in config.replicas.split(",") if url.strip()]
        self._replicas = Replicas(self._primary, [self._replica_pool(url) for url in urls]) if urls else None
        self._slow: dict[Statement, bool] = {}
        self._spilled = 0
        self._replica_reads = 0

    def read(
        self, statement: Statement, parameters: Sequence[Any], context: Context
    ) -> list[Row] | Awaitable[list[Row]]:
        """The statement's rows, awaitable."""
        context.statements += 1
        future: asyncio.Future[list[Row]] = asyncio.get_running_loop().create_future()
        job = Job(statement, parameters, context, future)
        replica = self._replicas.choose(context) if self._replicas is not None else None
        if replica is None:
            self._run(self._primary, job)
            return future
        return self._from_replica(replica, job)

    def _run(self, pool: Pool, job: Job) -> None:
        if self._slow and job.statement in self._slow:
            self._spilled += 1
            pool.alone(job)
        else:
            pool.read(job)

    async def _from_replica(self, replica: Pool, job: Job) -> list[Row]:
        """A replica's answer, or the primary's when the replica cannot."""
        try:
            self._run(replica, job)
            rows = await job.future
            self._replica_reads += 1
            return rows
        except Problem as problem:
            if problem.code != "UNAVAILABLE":
                raise
        future: asyncio.Future[list[Row]] = asyncio.get_running_loop().create_future()
        self._run(self._primary, Job(job.statement, job.parameters, job.context, future))
        return await future

    def _replica_pool(self, url: str) -> Pool:
        config = self._config
        conninfo = conninfo_of(url, config)
        opener = Opener(conninfo, prepare=config.pool_mode == "session")
        return Pool(opener, size_max=config.pool_size, waiting_max=config.write_queue_max, ran=self._ran)

    async def write(self, statement: Statement, parameters: Sequence[Any], context: Context) -> Row | None:
        """Run a write, in a transaction of its own or of several new rows; it returns after the commit."""
        if self._read_only:
            raise Problem("READ_ONLY", "This database is served read-only.")
        context.statements += 1
        future: asyncio.Future[list[Row]] = asyncio.get_running_loop().create_future()
        job = Job(statement, parameters, context, future, write=True)
        if self._replicas is not None:
            position: asyncio.Future[list[Row]] = asyncio.get_running_loop().create_future()
            job.then = Job(POSITION, (), context, position)
            self._primary.alone(job)
            rows = await future
            context.wrote = await self._position(job, position)
        else:
            self._primary.alone(job)
            rows = await future
        return rows[0] if rows else None

    async def _position(self, job: Job, position: asyncio.Future[list[Row]]) -> int:
        """Where the primary's log was after a write; where that is not known, nowhere that a replica gets to."""
        try:
            rows = await position
            if job.tries > 1:  # it was asked when the write had not happened yet
                again: asyncio.Future[list[Row]] = asyncio.get_running_loop().create_future()
                self._primary.read(Job(POSITION, (), job.context, again))
                rows = await again
            return int(rows[0][0])
        except Problem:
            return UNREACHED

    def _ran(self, job: Job, seconds: float) -> None:
        """Learn which shapes are slow; one of them would hold up what stands behind it on a pipe."""
        if seconds > SLOW_S and not job.write:
            if len(self._slow) >= SLOW_SHAPES_MAX:
                self._slow.pop(next(iter(self._slow)))
            self._slow[job.statement] = True
        elif seconds < QUICK_S and self._slow:
            self._slow.pop(job.statement, None)

    def refusal(self, statement: Statement, parameters: Sequence[Any]) -> str:
        """See `database.Database`."""
        code, said = self._opener.explained(statement.text, parameters)
        return "" if code in _NOT_THERE else said

    @asynccontextmanager
    async def turn(self, context: Context) -> AsyncGenerator[None]:
        """A block in which a session writes: transactions lock row by row, so there is nothing to wait for.

        Behind it, the context knows what a later read of a replica has to show.
        """
        yield
        if self._replicas is not None:
            position: asyncio.Future[list[Row]] = asyncio.get_running_loop().create_future()
            try:
                self._primary.read(Job(POSITION, (), context, position))
                context.wrote = int((await position)[0][0])
            except Problem:
                context.wrote = UNREACHED

    async def ping(self) -> None:
        """Raise when the server does not answer."""
        context = Context("", deadline=time.monotonic() + PING_S_MAX)
        future: asyncio.Future[list[Row]] = asyncio.get_running_loop().create_future()
        self._primary.read(Job(_PING, (), context, future))
        await future

    def gauges(self) -> Gauges:
        """How busy it is."""
        pool = self._primary
        return Gauges(pool.waiting, self._spilled, pool.running, len(pool.wires), self._replica_reads)

    async def close(self) -> None:
        """Finish what runs and let go of the connections."""
        if self._replicas is not None:
            await self._replicas.close()
        await self._primary.close()


_PING = Statement("SELECT 1", "database", "ping", (Output.COUNT,), (), (), None)
