"""PostgreSQL's error codes as ours. Source: PostgreSQL documentation, appendix A."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from ..errors import ValidationError, invalid
from ..sql.claims import TABLE as CLAIMS
from ..sql.postgresql import REFUSED
from .database import ClaimedError, ConstraintViolationError, RefusedError, Violation, sum_too_large
from .postgres_job import timed_out, unavailable

#: Serialization failure and deadlock: the transaction is undone and may be run again.
AGAIN = frozenset({"40001", "40P01"})
CANCELED = "57014"
#: There is no such prepared statement.
GONE = "26000"
#: The server ended the connection instead of the statement, which did not happen.
STOPPED = frozenset({"57P01", "57P02"})
#: The server takes no writes any more: it is a replica now.
READ_ONLY = "25006"
_UNSUPPORTED = "0A000"
_TOO_LARGE = "22003"

_KINDS: Mapping[str, Violation] = {
    "23505": Violation.UNIQUE,
    "23503": Violation.FOREIGN_KEY,
    "23514": Violation.CHECK,
    "23502": Violation.NOT_NULL,
    "23P01": Violation.EXCLUSION,
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
    "54000": "a value is too large for its column or its index.",
    "54001": "a value is nested too deeply.",
}
#: `unnamed portal parameter $2 = '...'`, in whatever language the server speaks.
_PARAMETER = re.compile(r"[^\"\n]*\$(\d{1,5})(?: = |$)", re.MULTILINE)
#: The role may not, or a row's security policy does not let it.
_PRIVILEGE = "42501"
#: What a trigger raises, and a view that does not show the row that was written through it.
_RAISED = frozenset({"P0001", "44000"})
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


def stale(result: Any) -> bool:
    """Whether a prepared statement is gone, or its result type changed: it is prepared again."""
    state = state_of(result)
    return state == GONE or (state == _UNSUPPORTED and _field(result, "SOURCE_FUNCTION") == "RevalidateCachedQuery")


def translated(result: Any, labels: Sequence[str] = (), *, write: bool = False) -> Exception:
    """A failed result as one of our errors.

    Args:
        labels: what each of the statement's parameters is to the caller.
        write: it came of a write, whose values and triggers are not ours to know; a read makes numbers only by
            adding them.
    """
    state, message = state_of(result), _field(result, "MESSAGE_PRIMARY")
    if REFUSED in message:
        return RefusedError()
    parameter = _PARAMETER.match(_field(result, "CONTEXT"))
    if parameter is not None and 0 < int(parameter[1]) <= len(labels):
        # It could not even be read as a value of its type: that is the caller's, whatever the type calls it.
        said = _UNFIT.get(state, "is not a value of this field's type.")
        return invalid(labels[int(parameter[1]) - 1] or "body", "invalid_value", said)
    kind = _KINDS.get(state)
    if kind is not None and _field(result, "TABLE_NAME") == CLAIMS:
        return ClaimedError()
    if kind is not None:
        named = _DETAIL_COLUMNS.search(_field(result, "MESSAGE_DETAIL"))
        column = _field(result, "COLUMN_NAME")
        columns = [column] if column else [n.strip(' "') for n in named["columns"].split(",")] if named else []
        return ConstraintViolationError(kind, columns, _field(result, "CONSTRAINT_NAME"))
    if state == _TOO_LARGE and not write:
        return sum_too_large()
    if state in _UNFIT or (write and state[:2] == "22"):
        return _unfit(state)
    if write and state == _PRIVILEGE:
        return RefusedError()
    if write and state in _RAISED:
        return ConstraintViolationError(Violation.CHECK, (), _field(result, "CONSTRAINT_NAME"))
    if state == CANCELED:
        return timed_out()
    if state[:2] in ("08", "53", "57") or state in (READ_ONLY, "55P03") or state in AGAIN:
        return unavailable()
    return PostgresError(state, message)


def _unfit(state: str) -> ValidationError:
    return invalid("body", "invalid_value", _UNFIT.get(state, _UNFIT["22023"]))


def _field(result: Any, name: str) -> str:
    from psycopg.pq import DiagnosticField

    value: bytes | None = result.error_field(DiagnosticField[name])
    return value.decode(errors="replace") if value else ""
