"""DBAPI 2 (PEP 249) over apsw, the one SQLite library of the process.

A transaction begins with the first statement, DDL and SELECT included, and ends only with commit() or
rollback(): nothing commits behind the caller's back. Not the hot path; that uses apsw itself.
"""

# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false
# (apsw's stubs name collections.abc.Buffer, which Python 3.11 does not have)

import datetime as dt
import itertools
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal
from weakref import WeakSet

import apsw

from backstay.db.apsw_errors import (
    NATIVE_ERRORS,
    DatabaseError,
    DataError,
    Error,
    IntegrityError,
    InterfaceError,
    InternalError,
    NotSupportedError,
    OperationalError,
    ProgrammingError,
    Warning,
    translate,
)

__all__ = [
    "BINARY",
    "DATETIME",
    "NUMBER",
    "ROWID",
    "STRING",
    "BeginMode",
    "Binary",
    "Connection",
    "Cursor",
    "DataError",
    "DatabaseError",
    "Date",
    "DateFromTicks",
    "Error",
    "IntegrityError",
    "InterfaceError",
    "InternalError",
    "NotSupportedError",
    "OperationalError",
    "ProgrammingError",
    "Time",
    "TimeFromTicks",
    "Timestamp",
    "TimestampFromTicks",
    "Warning",
    "apilevel",
    "connect",
    "paramstyle",
    "sqlite_version",
    "sqlite_version_info",
    "threadsafety",
]

apilevel = "2.0"
paramstyle = "qmark"
threadsafety = 1
"""A connection may move between threads, but serves one at a time: it holds one transaction."""
sqlite_version = apsw.sqlite_lib_version()
sqlite_version_info = tuple(int(part) for part in sqlite_version.split("."))

Binary = bytes
Date, Time, Timestamp = dt.date, dt.time, dt.datetime
STRING, BINARY, NUMBER, DATETIME, ROWID = str, bytes, float, dt.datetime, int

BeginMode = Literal["DEFERRED", "IMMEDIATE"]
"""IMMEDIATE takes the write lock at once: a transaction that reads, then writes, cannot fail midway."""
OpenMode = Literal["ro", "rw", "rwc"]
Parameters = Sequence[Any] | Mapping[str, Any]
Row = tuple[Any, ...]
Description = tuple[tuple[str, None, None, None, None, None, None], ...]

_OPEN_FLAGS: dict[str, int] = {
    "ro": apsw.SQLITE_OPEN_READONLY,
    "rw": apsw.SQLITE_OPEN_READWRITE,
    "rwc": apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE,
}
_BLANK = r"\s|--[^\n]*(?:\n|\Z)|/\*[\s\S]*?(?:\*/|\Z)"
_START = rf"(?:{_BLANK})*+"
_FIRST_WORD = re.compile(_START + r"([A-Za-z]+)")
_NOTHING_MORE = re.compile(rf"(?:;|{_BLANK})*+\Z")
_TRANSACTION_WORDS = frozenset({"BEGIN", "COMMIT", "END", "ROLLBACK", "RELEASE"})
_OUTSIDE_WORDS = _TRANSACTION_WORDS | {"ATTACH", "DETACH", "VACUUM"}
# Most pragmas set the connection and are refused or silently ignored inside a transaction (foreign_keys,
# journal_mode), so they do not begin one; these two write to the file and must roll back with the rest.
_STORED_PRAGMA = re.compile(_START + r"PRAGMA\s[^(=]*\b(?:user_version|application_id)\b", re.IGNORECASE)


def DateFromTicks(ticks: float) -> dt.date:  # noqa: N802 - PEP 249's name
    """The UTC date of seconds since the epoch."""
    return TimestampFromTicks(ticks).date()


def TimeFromTicks(ticks: float) -> dt.time:  # noqa: N802 - PEP 249's name
    """The UTC time of day of seconds since the epoch."""
    return TimestampFromTicks(ticks).time()


def TimestampFromTicks(ticks: float) -> dt.datetime:  # noqa: N802 - PEP 249's name
    """The UTC date and time, without a zone, of seconds since the epoch."""
    return dt.datetime.fromtimestamp(ticks, dt.UTC).replace(tzinfo=None)


def connect(
    database: str,
    *,
    mode: OpenMode = "rwc",
    timeout_s: float = 5.0,
    begin_mode: BeginMode = "DEFERRED",
    autocommit: bool = False,
    on_connect: Callable[[apsw.Connection], object] | None = None,
) -> "Connection":
    """Open `database`, a path, `:memory:` or a `file:` URI; `on_connect` prepares the apsw connection."""
    flags = _OPEN_FLAGS[mode]
    if database.startswith("file:"):
        flags |= apsw.SQLITE_OPEN_URI
    try:
        raw = apsw.Connection(database, flags=flags)
        raw.set_busy_timeout(round(timeout_s * 1000))
    except NATIVE_ERRORS as error:
        raise translate(error) from error
    if on_connect is not None:
        try:
            on_connect(raw)
        except BaseException:
            raw.close(force=True)
            raise
    return Connection(raw, begin_mode=begin_mode, autocommit=autocommit)


class Connection:
    """One apsw connection and its transaction."""

    def __init__(self, raw: apsw.Connection, *, begin_mode: BeginMode, autocommit: bool) -> None:
        """Take over `raw`, which must not be inside a transaction."""
        self.raw = raw
        self.begin_mode: BeginMode = begin_mode
        self._autocommit = autocommit
        self._begun = False
        self._streaming: WeakSet[Cursor] = WeakSet()

    @property
    def in_transaction(self) -> bool:
        """Whether SQLite is inside a transaction."""
        return self.raw.in_transaction

    @property
    def autocommit(self) -> bool:
        """Whether each statement commits on its own."""
        return self._autocommit

    @autocommit.setter
    def autocommit(self, value: bool) -> None:
        if value and self._begun:
            raise ProgrammingError("commit or roll back before switching to autocommit")
        self._autocommit = value

    def cursor(self, *, streaming: bool = False) -> "Cursor":
        """A new cursor; a streaming one holds its query open, and lasts only as long as the transaction."""
        try:
            cursor = Cursor(self, self.raw.cursor(), streaming=streaming)
        except NATIVE_ERRORS as error:
            raise translate(error) from error
        if streaming:
            self._streaming.add(cursor)
        return cursor

    def execute(self, operation: str, parameters: Parameters = ()) -> "Cursor":
        """A new cursor that has run one statement."""
        return self.cursor().execute(operation, parameters)

    def create_function(
        self, name: str, arguments: int, function: Callable[..., Any] | None, *, deterministic: bool = False
    ) -> None:
        """Define an SQL function, as sqlite3's connections do."""
        self.raw.create_scalar_function(name, function, arguments, deterministic=deterministic)

    def begin_before(self, operation: str) -> None:
        """Begin the transaction that `operation` belongs to, unless one is open or it must run outside."""
        inside = self.raw.in_transaction
        if self._begun and not inside:
            raise OperationalError(_LOST)
        if not inside and not self._autocommit and _belongs_inside(operation):
            self.raw.execute(f"BEGIN {self.begin_mode}")
            self._begun = True

    def note_after(self, operation: str) -> None:
        """Follow a transaction that the caller began or ended by a statement of their own."""
        if _first_word(operation) in _TRANSACTION_WORDS:
            self._begun = self.raw.in_transaction

    def commit(self) -> None:
        """End the transaction and keep its changes; nothing to do without one."""
        self._end("COMMIT")

    def rollback(self) -> None:
        """End the transaction and drop its changes; nothing to do without one."""
        self._end("ROLLBACK")

    def _end(self, operation: Literal["COMMIT", "ROLLBACK"]) -> None:
        for cursor in tuple(self._streaming):
            cursor.close()  # open, it would keep its snapshot, and the next transaction would read old rows
        try:
            if self.raw.in_transaction:
                self.raw.execute(operation)
            elif self._begun and operation == "COMMIT":
                raise OperationalError(_LOST)
        except NATIVE_ERRORS as error:
            raise translate(error) from error
        self._begun = False

    def close(self) -> None:
        """Close; an open transaction rolls back. Closing twice is no error."""
        self.raw.close(force=True)


_LOST = "SQLite rolled this transaction back after an error: call rollback() and repeat it from its start"


class Cursor:
    """Runs one statement at a time and takes all its rows at once, or, streaming, as they are fetched."""

    arraysize = 1

    def __init__(self, connection: Connection, raw: apsw.Cursor, *, streaming: bool) -> None:
        """Take over `raw`, a cursor of `connection`."""
        self.connection = connection
        self.description: Description | None = None
        self.rowcount = -1
        self.lastrowid: int | None = None
        self._raw = raw
        self._stream = streaming
        self._rows: Iterator[Row] | None = None
        self._operation = ""
        self._many = False
        self._seen = False
        self._readonly = True

    def execute(self, operation: str, parameters: Parameters = ()) -> "Cursor":
        """Run one statement."""
        return self._run(operation, parameters, None)

    def executemany(self, operation: str, seq_of_parameters: Iterable[Parameters]) -> "Cursor":
        """Run one statement, prepared once, for each set of parameters; it may not return rows."""
        return self._run(operation, (), seq_of_parameters)

    def _run(self, operation: str, one: Parameters, many: Iterable[Parameters] | None) -> "Cursor":
        self.description, self.rowcount, self._rows = None, -1, None
        self._operation, self._many, self._seen = operation, many is not None, False
        database = self.connection.raw
        try:
            self.connection.begin_before(operation)
            before = database.total_changes()
            self._raw.exec_trace = self._on_statement
            if many is None:
                self._raw.execute(operation, one or None)
                if self.description is not None:
                    wait = self._stream and self._readonly  # RETURNING has changed its rows only at its end
                    self._rows = self._raw if wait else iter(self._raw.fetchall())
                changed = database.changes()
            else:
                changed = self._run_each(database, operation, many)
            self._raw.exec_trace = None  # it refers back to this object
        except NATIVE_ERRORS as error:
            raise translate(error) from error
        if not self._readonly:
            # changes() keeps its value through statements that change no row, such as DDL.
            self.rowcount = changed if database.total_changes() != before else 0
            self.lastrowid = database.last_insert_rowid()
        self.connection.note_after(operation)
        return self

    def _run_each(self, database: apsw.Connection, operation: str, many: Iterable[Parameters]) -> int:
        changed = 0

        def counted() -> Iterator[Parameters]:
            nonlocal changed
            for parameters in many:
                total = database.total_changes()
                yield parameters  # apsw asks for the next set when this one has run
                if database.total_changes() != total:
                    changed += database.changes()

        self._raw.executemany(operation, counted())
        return changed

    def _on_statement(self, cursor: apsw.Cursor, statement: str, _parameters: object) -> bool:
        # apsw calls this between preparing and running: the only moment when the columns of a statement
        # without rows can be read, and the last one to refuse a second statement before the first runs.
        if self._seen:
            return True
        self._seen = True
        if not _NOTHING_MORE.match(self._operation, len(statement)):
            raise ProgrammingError("execute one statement at a time")
        self._readonly = cursor.is_readonly
        columns = cursor.get_description()
        if columns and self._many:
            raise ProgrammingError("executemany() takes a statement that returns no rows")
        if columns:
            self.description = tuple((column[0], None, None, None, None, None, None) for column in columns)
        return True

    def _result(self) -> Iterator[Row]:
        if self._rows is None:
            raise ProgrammingError("the last statement returned no rows to fetch")
        return self._rows

    def fetchone(self) -> Row | None:
        """The next row, or None after the last."""
        try:
            return next(self._result(), None)
        except NATIVE_ERRORS as error:
            raise translate(error) from error

    def fetchmany(self, size: int | None = None) -> list[Row]:
        """The next `size` rows (`arraysize` if not told), fewer at the end."""
        try:
            return list(itertools.islice(self._result(), self.arraysize if size is None else size))
        except NATIVE_ERRORS as error:
            raise translate(error) from error

    def fetchall(self) -> list[Row]:
        """The rows not fetched yet."""
        try:
            return list(self._result())
        except NATIVE_ERRORS as error:
            raise translate(error) from error

    def __iter__(self) -> Iterator[Row]:
        """The rows not fetched yet, one by one."""
        return iter(self.fetchone, None)

    def close(self) -> None:
        """Drop the rows not fetched and end the statement. Closing twice is no error."""
        self._rows = None
        self._raw.close(force=True)

    def setinputsizes(self, sizes: object) -> None:
        """Required by PEP 249; SQLite needs no sizes."""

    def setoutputsize(self, size: int, column: int | None = None) -> None:
        """Required by PEP 249; SQLite needs no sizes."""


def _first_word(operation: str) -> str:
    found = _FIRST_WORD.match(operation)
    return found[1].upper() if found else ""


def _belongs_inside(operation: str) -> bool:
    word = _first_word(operation)
    if word == "PRAGMA":
        return _STORED_PRAGMA.match(operation) is not None
    return word not in _OUTSIDE_WORDS
