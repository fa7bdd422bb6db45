# apsw's stubs name `Buffer`, which typing has from Python 3.12 on.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
"""Many rows into one table, a transaction for each batch, on a connection of its own whose changes are recorded.

A row that a constraint refuses is left out, and the others of its batch stay.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import apsw
import orjson
from sqlalchemy.schema import CreateTable

from ..config import Config
from ..context import Context
from ..errors import OperatorError, Problem
from ..sql.postgresql import BY_SETTING, PostgresDialect
from ..sql.sqlite import SqliteDialect
from ..sql.statement import Statement
from .database import ConstraintViolationError
from .engines import DRIVER_HINT, backend_of, create_sync_engine
from .identities import advance_identities
from .imports import IMPORTS, NAMES, Mark, find_text, save_text
from .opened import prepare_recording
from .postgres_connect import conninfo_of
from .postgres_errors import translated as translated_postgres
from .recording import Attribution, Recorded
from .recording_sqlite import make_tables, record_changes
from .sqlite_connection import open_connection
from .sqlite_connection import translated as translated_sqlite
from .sqlite_engine import path_of

#: How long somebody else may write before an import gives up.
BUSY_S = 60
#: For pages of indexes that are met again and again, and a log that is copied into the file seldom.
CACHE_KIB, LOG_PAGES = 98_304, 8_192
#: Of a batch: the place of a refused row, and why.
Refused = tuple[int, ConstraintViolationError | Problem]
_NO_TABLE = re.compile(r"no such table|relation .* does not exist")
_CONFLICT = "Another import of this file is running."


class Sink(Protocol):
    """Where rows go. `begin`, then `insert` and `save`, then `commit` or `roll_back`."""

    def find(self, source: str) -> Mark | None:
        """The mark of a source."""
        ...

    def begin(self) -> None:
        """Begin a transaction; what changes in it is the import's."""
        ...

    def insert(self, statement: Statement, rows: Sequence[Sequence[Any]]) -> list[Refused]:
        """Insert rows; returns those that were refused."""
        ...

    def exists(self, text: str, parameters: Sequence[Any]) -> bool:
        """Whether a query has rows."""
        ...

    def save(self, mark: Mark, before: int) -> None:
        """Write the mark; `before` is the position that it must have, -1 for any.

        Raises:
            OperatorError: another import wrote it.
        """
        ...

    def commit(self) -> None:
        """Commit.

        Raises:
            ConstraintViolationError: one that is checked at the end; nothing of the transaction remains.
        """
        ...

    def roll_back(self) -> None:
        """Undo the transaction."""
        ...

    def close(self, *, changed: bool) -> None:
        """Let go; `changed` is whether rows were imported."""
        ...


def open_sink(config: Config, recorded: Sequence[Recorded], context: Context) -> Sink:
    """A connection to a configuration's database, for an import.

    Raises:
        OperatorError: it cannot be opened.
    """
    if backend_of(config.database_url) == "sqlite":
        return SqliteSink(path_of(config.database_url), recorded, context)
    return PostgresSink(config, recorded, context)


def open_file(path: str) -> apsw.Connection:
    """A connection to a SQLite file for a lot of rows."""
    connection = open_connection(path, write=True, cache_kib=CACHE_KIB)
    connection.wal_autocheckpoint(LOG_PAGES)
    connection.set_busy_timeout(BUSY_S * 1_000)
    return connection


class SqliteSink:
    """See `Sink`."""

    def __init__(self, path: str, recorded: Sequence[Recorded], context: Context) -> None:
        self._context, self._attribution = context, Attribution()
        self._connection = open_file(path)
        if recorded:
            make_tables(self._connection)
            record_changes(self._connection, recorded, self._attribution)
        text = str(CreateTable(IMPORTS, if_not_exists=True).compile(dialect=SqliteDialect().core))
        self._run(text)

    def _run(self, text: str, parameters: Sequence[Any] = ()) -> list[Any]:
        try:
            return self._connection.execute(text, parameters).fetchall()
        except apsw.ConstraintError as error:
            raise translated_sqlite(error) from error
        except apsw.Error as error:
            raise _failed(str(translated_sqlite(error))) from error

    def find(self, source: str) -> Mark | None:
        """The mark of a source."""
        rows = self._run(find_text("?"), (source,))
        return Mark(*rows[0]) if rows else None

    def begin(self) -> None:
        """Begin, as the only writer."""
        self._attribution.of(self._context)
        self._run("BEGIN IMMEDIATE")

    def insert(self, statement: Statement, rows: Sequence[Sequence[Any]]) -> list[Refused]:
        """Insert with one prepared statement; where a row is refused, go on behind it."""
        refused: list[Refused] = []
        at = -1

        def given() -> Iterator[Sequence[Any]]:
            nonlocal at
            while at + 1 < len(rows):
                at += 1  # apsw asks for the next row when this one is in
                yield rows[at]

        while at + 1 < len(rows):
            try:
                self._connection.executemany(statement.text, given())
            except (apsw.ConstraintError, apsw.MismatchError, apsw.TooBigError, OverflowError) as error:
                said = translated_sqlite(error) if isinstance(error, apsw.Error) else error
                if not isinstance(said, (ConstraintViolationError, Problem)):
                    said = Problem("VALIDATION_ERROR", str(said))
                if not self._connection.in_transaction:
                    raise _failed("a constraint undoes the whole transaction") from error
                refused.append((at, said))
            except apsw.Error as error:
                raise _failed(str(translated_sqlite(error))) from error
        return refused

    def exists(self, text: str, parameters: Sequence[Any]) -> bool:
        """Whether a query has rows."""
        return bool(self._run(text, parameters))

    def save(self, mark: Mark, before: int) -> None:
        """Write the mark."""
        total = self._connection.total_changes()
        text = save_text([f"?{i + 1}" for i in range(len(NAMES))], f"?{len(NAMES) + 1}")
        self._run(text, (*mark.values(), before))
        if self._connection.total_changes() == total:
            raise OperatorError(_CONFLICT)

    def commit(self) -> None:
        """Commit, to disk."""
        try:
            self._run("COMMIT")
        except ConstraintViolationError:
            self.roll_back()
            raise

    def roll_back(self) -> None:
        """Undo."""
        if self._connection.in_transaction:
            self._run("ROLLBACK")

    def close(self, *, changed: bool) -> None:
        """Close; SQLite numbers rows by what is there."""
        self._connection.close()


class PostgresSink:
    """See `Sink`. The rows of a batch travel together, in a pipeline."""

    def __init__(self, config: Config, recorded: Sequence[Recorded], context: Context) -> None:
        try:
            import psycopg
        except ImportError:
            raise OperatorError(f"PostgreSQL needs its driver: {DRIVER_HINT}.") from None
        self._psycopg: Any = psycopg
        self._url, self._context, self._recorded = config.database_url, context, recorded
        if recorded:
            prepare_recording(config, recorded)
        try:
            self._connection: Any = psycopg.connect(
                conninfo_of(config.database_url, config), autocommit=True, cursor_factory=psycopg.RawCursor
            )
        except psycopg.Error as error:
            raise _failed(str(error)) from error
        if config.pool_mode == "transaction":
            self._connection.prepare_threshold = None
        self._run(str(CreateTable(IMPORTS, if_not_exists=True).compile(dialect=PostgresDialect().core)))

    def _run(self, text: str, parameters: Sequence[Any] = ()) -> Any:
        try:
            return self._connection.execute(text, [_text(value) for value in parameters])
        except self._psycopg.Error as error:
            said = self._said(error)
            raise said if isinstance(said, ConstraintViolationError) else _failed(str(error)) from error

    def _said(self, error: Any, labels: Sequence[str] = ()) -> Exception:
        return error if error.pgresult is None else translated_postgres(error.pgresult, labels, write=True)

    def find(self, source: str) -> Mark | None:
        """The mark of a source."""
        row = self._run(find_text("$1"), (source,)).fetchone()
        return None if row is None else Mark(*row)

    def begin(self) -> None:
        """Begin, and say whose the changes are."""
        self._run("BEGIN")
        if self._recorded:
            said = orjson.dumps(self._context.attribution()).decode()
            self._run("SELECT set_config($1, $2, true)", (BY_SETTING, said))

    def insert(self, statement: Statement, rows: Sequence[Sequence[Any]]) -> list[Refused]:
        """Insert all at once; where one is refused, each by itself."""
        texts = [[_text(value) for value in row] for row in rows]
        self._run("SAVEPOINT batch")
        try:
            self._connection.cursor().executemany(statement.text, texts)
        except self._psycopg.Error as error:
            self._refused(error, statement)
        else:
            self._run("RELEASE SAVEPOINT batch")
            return []
        self._run("ROLLBACK TO SAVEPOINT batch")
        refused: list[Refused] = []
        for place, row in enumerate(texts):
            self._run("SAVEPOINT one")
            try:
                self._connection.execute(statement.text, row)
            except self._psycopg.Error as error:
                refused.append((place, self._refused(error, statement)))
                self._run("ROLLBACK TO SAVEPOINT one")
            self._run("RELEASE SAVEPOINT one")
        return refused

    def _refused(self, error: Any, statement: Statement) -> ConstraintViolationError | Problem:
        """Why a row was refused.

        Raises:
            OperatorError: it was not the row.
        """
        said = self._said(error, statement.labels)
        if isinstance(said, ConstraintViolationError) or (isinstance(said, Problem) and said.status < 500):
            return said
        raise _failed(str(error)) from error

    def exists(self, text: str, parameters: Sequence[Any]) -> bool:
        """Whether a query has rows."""
        return self._run(text, parameters).fetchone() is not None

    def save(self, mark: Mark, before: int) -> None:
        """Write the mark."""
        text = save_text([f"${i + 1}" for i in range(len(NAMES))], f"${len(NAMES) + 1}")
        if self._run(text, (*mark.values(), before)).rowcount == 0:
            raise OperatorError(_CONFLICT)

    def commit(self) -> None:
        """Commit, to disk."""
        self._run("COMMIT")

    def roll_back(self) -> None:
        """Undo."""
        self._run("ROLLBACK")

    def close(self, *, changed: bool) -> None:
        """Close, and let the keys that the server numbers go on behind the rows."""
        self._connection.close()
        if changed:
            engine = create_sync_engine(self._url, write=True)
            with engine.begin() as connection:
                advance_identities(connection)
            engine.dispose()


def _text(value: Any) -> Any:
    """A parameter in text form, whose type the server finds."""
    return value.decode() if isinstance(value, bytes) else value if value is None else str(value)


def _failed(said: str) -> OperatorError:
    if _NO_TABLE.search(said):
        return OperatorError("The database has no tables for that: run `backstay db migrate` first.")
    first = (said.strip().splitlines() or ["no reason given"])[0].rstrip(".")
    return OperatorError(f"The import stopped ({first}): what it has committed stays; go on with --resume.")
