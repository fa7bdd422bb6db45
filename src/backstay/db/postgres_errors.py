"""PostgreSQL's error codes as ours. Source: PostgreSQL documentation, appendix A."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ..errors import ValidationError, invalid
from ..sql.postgresql import REFUSED
from .database import ConstraintViolationError, RefusedError, Violation, sum_too_large
from .postgres_job import timed_out, unavailable

#: Serialization failure and deadlock: the transaction is undone and may be run again.
AGAIN = frozenset({"40001", "40P01"})
CANCELED = "57014"
#: A prepared statement that is gone, or whose result type changed: it is prepared again.
STALE = frozenset({"26000", "0A000"})
_TOO_LARGE = "22003"

_KINDS: Mapping[str, Violation] = {
    "23505": Violation.UNIQUE,
    "23503": Violation.FOREIGN_KEY,
    "23514": Violation.CHECK,
    "23502": Violation.NOT_NULL,
    "23P01": Violation.UNIQUE,
    "23001": Violation.FOREIGN_KEY,
}
#: Values that a type or a column cannot hold, which no contract of ours foresaw.
_UNFIT: Mapping[str, str] = {
    "22003": "a number is out of its column's range.",
    "22001": "a text is longer than its column.",
    "22P02": "a value is not one of its column's type.",
    "22007": "a date or time is malformed.",
    "22008": "a date or time is out of range.",
    "22021": "a text holds a character that the database cannot store.",
    "22P05": "a text holds a character that the database cannot store.",
    "22025": "a pattern ends in a lone escape.",
    "22023": "a value is not one that its column takes.",
    "22000": "a value is not one that its column takes.",
    "22P03": "a value is not one that its column takes.",
    "2200G": "a value is not one that its column takes.",
    "22030": "a JSON value has a name twice.",
    "22032": "a JSON value is malformed.",
    "428C9": "a generated column cannot be set.",
}
_DETAIL_COLUMNS = re.compile(r"\((?P<columns>.*?)\)=\(")


class PostgresError(Exception):
    """An error that nobody outside could have caused.

    Attributes:
        state: its SQLSTATE.
    """

    def __init__(self, state: str, message: str) -> None:
        super().__init__(f"{message} ({state})")
        self.state = state


def state_of(result: Any) -> str:
    """The SQLSTATE of a failed result."""
    return _field(result, "SQLSTATE")


def translated(result: Any, *, write: bool = False) -> Exception:
    """A failed result as one of our errors.

    Args:
        write: values of the caller's were to be stored; a read makes numbers only by adding them.
    """
    state, message = state_of(result), _field(result, "MESSAGE_PRIMARY")
    if REFUSED in message:
        return RefusedError()
    kind = _KINDS.get(state)
    if kind is not None:
        named = _DETAIL_COLUMNS.search(_field(result, "MESSAGE_DETAIL"))
        column = _field(result, "COLUMN_NAME")
        columns = [column] if column else [n.strip(' "') for n in named["columns"].split(",")] if named else []
        return ConstraintViolationError(kind, columns, _field(result, "CONSTRAINT_NAME"))
    if state == _TOO_LARGE and not write:
        return sum_too_large()
    if state in _UNFIT:
        unfit: ValidationError = invalid("body", "invalid_value", _UNFIT[state])
        return unfit
    if state == CANCELED:
        return timed_out()
    if state[:2] in ("08", "53", "57") or state in ("25006", "55P03") or state in AGAIN:
        return unavailable()
    return PostgresError(state, message)


def _field(result: Any, name: str) -> str:
    from psycopg.pq import DiagnosticField

    value: bytes | None = result.error_field(DiagnosticField[name])
    return value.decode(errors="replace") if value else ""
