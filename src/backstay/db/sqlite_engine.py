# apsw's stubs name `Buffer`, which typing has from Python 3.12 on.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
"""SQLite as a Database: reads on the event loop under a budget, slow ones in threads, writes in one thread.

The budget counts progress-handler calls of one execution, not time: a read that waited for the processor is not
slow. A shape that exceeded it goes to a thread at once from then on, until it proves quick there.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import Any

import apsw

from ..config import Config
from ..context import Context
from ..errors import OperatorError, Problem
from ..sql.statement import Statement
from .database import Gauges, Row
from .recording import Recorded
from .sqlite_connection import open_connection, translated
from .sqlite_writer import Writer

#: SQLite runs about this many virtual-machine steps in a millisecond on a slow core.
STEPS_PER_MS = 20_000
STEPS_PER_CALL = 50_000
THREAD_STEPS_PER_CALL = 10_000
#: A spilled shape that is this quick in its thread may come back to the event loop.
QUICK_S = 0.001
SLOW_SHAPES_MAX = 1_024


def path_of(url: str) -> str:
    """The file of a `sqlite:///` URL.

    Example:
        >>> path_of("sqlite:////var/lib/app.db"), path_of("sqlite:///app.db")
        ('/var/lib/app.db', 'app.db')

    Raises:
        OperatorError: no file in it.
    """
    scheme, _, rest = url.partition(":///")
    path = rest.partition("?")[0]
    if not scheme.startswith("sqlite") or not path or path == ":memory:":
        raise OperatorError(f"{url!r} names no SQLite file: write sqlite:///file.db (in-memory is not served).")
    return path


class _Budget:
    """Counts the progress-handler calls of one execution and stops it when there were too many."""

    __slots__ = ("calls", "calls_max")

    def __init__(self, calls_max: int) -> None:
        self.calls = 0
        self.calls_max = calls_max

    def __call__(self) -> bool:
        self.calls += 1
        return self.calls > self.calls_max


#: What a migration has yet to make.
_NOT_THERE = ("no such table", "no such column")


class SqliteDatabase:
    """See `database.Database`.

    Args:
        read_only: never change the file, not even its journal mode.
    """

    def __init__(self, config: Config, *, read_only: bool = False, recorded: Sequence[Recorded] = ()) -> None:
        self.path = path_of(config.database_url)
        self._config = config
        # The writer first: it creates the file and its write-ahead log.
        self._writer = None if read_only else Writer(self.path, waiting_max=config.write_queue_max, recorded=recorded)
        bound = config.result_bytes_max
        self._reader = open_connection(self.path, cache_kib=65_536, result_bytes_max=bound)
        calls_max = max(1, int(config.inline_budget_ms * STEPS_PER_MS / STEPS_PER_CALL))
        self._budget = _Budget(calls_max)
        self._inline_s = config.inline_budget_ms / 1000
        self._reader.set_progress_handler(self._budget, STEPS_PER_CALL)
        self._execute = self._reader.execute
        self._threads = ThreadPoolExecutor(config.reader_threads, thread_name_prefix="backstay-reader")
        self._local = threading.local()
        self._opened: list[apsw.Connection] = []
        #: Shapes that go to a thread at once (True), or took long once, perhaps by the machine's fault (False).
        self._slow: dict[Statement, bool] = {}
        self._spilled = 0
        self._running = 0

    def read(
        self, statement: Statement, parameters: Sequence[Any], context: Context
    ) -> list[Row] | Awaitable[list[Row]]:
        """The statement's rows: at once when it is quick, else awaitable."""
        context.statements += 1
        verdict = self._slow.get(statement)
        if verdict:
            return self._spill(statement, parameters, context)
        self._budget.calls = 0
        burned = time.thread_time() if verdict is False else 0.0
        started = time.perf_counter()
        try:
            rows = self._execute(statement.text, parameters).fetchall()
        except apsw.InterruptError:
            self._remember(statement)
            return self._spill(statement, parameters, context)
        except apsw.Error as error:
            raise translated(error) from error
        elapsed = time.perf_counter() - started
        context.database_s += elapsed
        tally = statement.tally
        tally.count += 1
        tally.seconds += elapsed
        if verdict is False:
            self._judge(statement, time.thread_time() - burned)
        elif elapsed > self._inline_s and self._budget.calls <= 1:
            self._remember(statement, slow=False)
        return rows

    def _judge(self, statement: Statement, burned: float) -> None:
        """A suspect that took processor time has one long step, such as count(*), that no handler sees.

        One that took only time had to wait for a processor: behind slow queries in a thread it would wait longer.
        """
        if burned > self._inline_s:
            self._remember(statement)
        else:
            self._slow.pop(statement, None)

    def _remember(self, statement: Statement, *, slow: bool = True) -> None:
        if len(self._slow) >= SLOW_SHAPES_MAX:
            self._slow.pop(next(iter(self._slow)))
        self._slow[statement] = slow

    async def _spill(self, statement: Statement, parameters: Sequence[Any], context: Context) -> list[Row]:
        self._spilled += 1
        self._running += 1
        started = time.perf_counter()
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(
                self._threads, self._read_in_thread, statement, parameters, context.deadline
            )
        except apsw.Error as error:
            raise translated(error) from error
        finally:
            self._running -= 1
            _count(statement, context, time.perf_counter() - started)

    def _read_in_thread(self, statement: Statement, parameters: Sequence[Any], deadline: float) -> list[Row]:
        if time.monotonic() > deadline:
            raise Problem("QUERY_TIMEOUT", headers=(("retry-after", "5"),))
        connection = self._thread_connection()
        connection.set_progress_handler(lambda: time.monotonic() > deadline, THREAD_STEPS_PER_CALL)
        burned = time.thread_time()
        rows = connection.execute(statement.text, parameters).fetchall()
        if time.thread_time() - burned < QUICK_S:
            self._slow.pop(statement, None)
        return rows

    def _thread_connection(self) -> apsw.Connection:
        connection: apsw.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = open_connection(self.path, result_bytes_max=self._config.result_bytes_max)
            self._local.connection = connection
            self._opened.append(connection)
        return connection

    async def write(self, statement: Statement, parameters: Sequence[Any], context: Context) -> Row | None:
        """Run a write; it returns after the commit of its group."""
        if self._writer is None:
            raise Problem("READ_ONLY", "This database is served read-only.")
        context.statements += 1
        started = time.perf_counter()
        try:
            return await self._writer.submit(statement, parameters, context)
        finally:
            _count(statement, context, time.perf_counter() - started)

    def refusal(self, statement: Statement, parameters: Sequence[Any]) -> str:
        """See `database.Database`."""
        try:
            self._reader.execute(f"EXPLAIN {statement.text}", parameters).fetchall()
        except (apsw.Error, TypeError, ValueError, OverflowError) as error:
            said = str(error)
            return "" if said.startswith(_NOT_THERE) else said
        return ""

    def turn(self, context: Context) -> AbstractAsyncContextManager[None]:
        """A block in which a session writes, and the writer does not."""
        return nullcontext() if self._writer is None else self._writer.turn(context.deadline)

    def ping(self) -> None:
        """Raise when the file does not answer."""
        self._budget.calls = 0
        self._execute("SELECT 1 FROM sqlite_schema LIMIT 1").fetchall()

    def gauges(self) -> Gauges:
        """How busy it is."""
        waiting = self._writer.waiting if self._writer is not None else 0
        return Gauges(waiting, self._spilled, self._running)

    async def close(self) -> None:
        """Finish what runs and let go of the file."""
        await asyncio.get_running_loop().run_in_executor(None, self._close)

    def _close(self) -> None:
        if self._writer is not None:
            self._writer.close()
        self._threads.shutdown(wait=True)
        for connection in (self._reader, *self._opened):
            connection.close()


def _count(statement: Statement, context: Context, elapsed: float) -> None:
    context.database_s += elapsed
    statement.tally.count += 1
    statement.tally.seconds += elapsed
