# apsw's stubs name `Buffer`, which typing has from Python 3.12 on.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
"""One configured apsw connection: pragmas, limits, our SQL functions, and driver errors as ours.

apsw is the one SQLite library of the process; see docs/decisions/0002-one-sqlite-library.md.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping
from typing import Any, cast

import apsw
import orjson

from ..errors import OperatorError, Problem
from ..schema.floats import rounded, shortest
from ..sql.sqlite import BASE64, FLOAT_TEXT, JSON_CONTAINS, ROUNDED
from .database import ConstraintViolationError, Violation, sum_too_large

BUSY_TIMEOUT_MS = 5_000
STATEMENT_CACHE = 256


def open_connection(
    path: str, *, write: bool = False, cache_kib: int = 8_192, result_bytes_max: int | None = None
) -> apsw.Connection:
    """Open the file with safe pragmas.

    Args:
        path: the file; it is created when `write` is set.
        write: whether the connection may change the file.
        cache_kib: page cache; a large one on the hot reader saves a fifth of a list's time.
        result_bytes_max: longest string or blob, so that no answer outgrows its bound.

    Raises:
        OperatorError: the file cannot be opened.
    """
    flags = (apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE) if write else apsw.SQLITE_OPEN_READONLY
    try:
        connection = apsw.Connection(path, flags=flags, statementcachesize=STATEMENT_CACHE)
        connection.set_busy_timeout(BUSY_TIMEOUT_MS)
        connection.config(apsw.SQLITE_DBCONFIG_ENABLE_QPSG, 1)
        connection.config(apsw.SQLITE_DBCONFIG_DEFENSIVE, 1)
        connection.config(apsw.SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0)
        connection.pragma("foreign_keys", True)
        connection.pragma("temp_store", 2)
        connection.pragma("cache_size", -cache_kib)
        if write:
            connection.pragma("journal_mode", "wal")
            connection.pragma("synchronous", 2)
            connection.pragma("journal_size_limit", 64 * 1024 * 1024)
    except (apsw.CantOpenError, apsw.NotADBError, apsw.ReadOnlyError, apsw.AuthError) as error:
        reason = str(error) or type(error).__name__
        raise OperatorError(f"Cannot open the database file {path!r} ({reason}): check the path.") from None
    if result_bytes_max is not None:
        connection.limit(apsw.SQLITE_LIMIT_LENGTH, result_bytes_max)
    register_functions(connection)
    return connection


def register_functions(connection: apsw.Connection) -> None:
    """Give a connection the functions that statements call."""
    connection.create_scalar_function(BASE64, cast(Any, _base64), 1, deterministic=True)
    connection.create_scalar_function(JSON_CONTAINS, cast(Any, _json_contains), 2, deterministic=True)
    connection.create_scalar_function(FLOAT_TEXT, cast(Any, _float_text), 1, deterministic=True)
    connection.create_scalar_function(ROUNDED, cast(Any, _rounded), 1, deterministic=True)


def _base64(value: Any) -> str | None:
    if value is None:
        return None
    raw = value if isinstance(value, bytes) else str(value).encode()
    return base64.b64encode(raw).decode("ascii")


def _float_text(value: Any) -> str | None:
    """A double as PostgreSQL writes it in JSON; what is too large for one is text there."""
    if value is None:
        return None
    number = float(value)
    return shortest(number) if math.isfinite(number) else '"Infinity"' if number > 0 else '"-Infinity"'


def _rounded(value: Any) -> float | None:
    """A sum of doubles, or an average of them."""
    if value is None:
        return None
    found = rounded(float(value))
    if not math.isfinite(found):
        raise sum_too_large()
    return found


def _json_contains(document: Any, needle: str) -> int | None:
    if document is None:
        return None
    try:
        return int(contains(orjson.loads(document), orjson.loads(needle)))
    except ValueError:
        return 0


def contains(document: Any, needle: Any, *, top: bool = True) -> bool:
    """JSON containment as PostgreSQL's `@>` defines it.

    Example:
        >>> contains({"tags": ["a", "b"], "n": 1}, {"tags": ["b"]})
        True
    """
    if isinstance(needle, dict):
        return isinstance(document, dict) and all(
            key in document and contains(document[key], value, top=False) for key, value in needle.items()
        )
    if isinstance(needle, list):
        return isinstance(document, list) and all(
            any(contains(item, wanted, top=False) for item in document) for wanted in needle
        )
    if isinstance(document, list):
        return top and any(_equal(item, needle) for item in document)
    return _equal(document, needle)


def _equal(left: Any, right: Any) -> bool:
    return left == right and isinstance(left, bool) == isinstance(right, bool)


_KINDS: Mapping[int, Violation] = {
    apsw.SQLITE_CONSTRAINT_UNIQUE: Violation.UNIQUE,
    apsw.SQLITE_CONSTRAINT_PRIMARYKEY: Violation.UNIQUE,
    apsw.SQLITE_CONSTRAINT_ROWID: Violation.UNIQUE,
    apsw.SQLITE_CONSTRAINT_FOREIGNKEY: Violation.FOREIGN_KEY,
    apsw.SQLITE_CONSTRAINT_CHECK: Violation.CHECK,
    apsw.SQLITE_CONSTRAINT_NOTNULL: Violation.NOT_NULL,
    apsw.SQLITE_CONSTRAINT_DATATYPE: Violation.TYPE,
    apsw.SQLITE_CONSTRAINT_TRIGGER: Violation.CHECK,
}


def translated(error: apsw.Error) -> Exception:
    """A driver error as one of ours; an error nobody could have caused from outside stays as it is."""
    if isinstance(error, apsw.ConstraintError):
        kind = _KINDS.get(cast(Any, error).extendedresult, Violation.CHECK)
        subject = str(error).partition(" failed: ")[2]
        if subject.startswith("index '"):
            return ConstraintViolationError(kind, (), subject.removeprefix("index '").removesuffix("'"))
        if kind in (Violation.UNIQUE, Violation.NOT_NULL):
            return ConstraintViolationError(kind, [name.rpartition(".")[2] for name in subject.split(", ")])
        return ConstraintViolationError(kind, (), subject)
    if isinstance(error, apsw.MismatchError):
        return ConstraintViolationError(Violation.TYPE)
    if isinstance(error, apsw.TooBigError):
        return Problem("RESULT_TOO_LARGE", "The answer would be larger than this server sends.")
    if isinstance(error, apsw.SQLError) and str(error) == "integer overflow":
        return sum_too_large()
    if isinstance(error, apsw.InterruptError):
        return Problem("QUERY_TIMEOUT", headers=(("retry-after", "5"),))
    if isinstance(error, (apsw.BusyError, apsw.LockedError)):
        return Problem("UNAVAILABLE", "Another process is writing.", headers=(("retry-after", "1"),))
    if isinstance(error, (apsw.FullError, apsw.IOError, apsw.ReadOnlyError)):
        return Problem("UNAVAILABLE", "The database cannot be written now.", headers=(("retry-after", "30"),))
    return error
