"""Values that callers send as text (filters, keys, cursors) into Python values of a column's kind.

Every parser raises `ValueError` with a sentence for the caller. JSON bodies go through `payload` instead.
"""

from __future__ import annotations

import base64
import binascii
import math
import re
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, time
from decimal import Decimal, InvalidOperation
from typing import Any
from uuid import UUID

import orjson

from ..schema.model import Column, Kind

LIST_ITEMS_MAX = 100
# Possessive quantifiers: text is the caller's, and a pattern that steps back takes quadratic time or worse.
_INTEGER = re.compile(r"[+-]?\d{1,40}\Z", re.ASCII)
_FLOAT = re.compile(r"[+-]?(?:\d++(?:\.\d*+)?|\.\d++)(?:[eE][+-]?\d{1,4})?\Z", re.ASCII)
_DATE = re.compile(r"\d{4}-\d\d-\d\d\Z", re.ASCII)
_UUID = re.compile(r"[0-9a-fA-F]{8}(-?[0-9a-fA-F]{4}){3}-?[0-9a-fA-F]{12}\Z", re.ASCII)
_QUOTED_LIST = re.compile(r'\s*+(?:"((?:[^"\\]|\\.)*+)"\s*+|([^,"]*+))(,|\Z)')


def _integer(column: Column, raw: str) -> int:
    if not _INTEGER.match(raw):
        raise ValueError("expected an integer")
    value = int(raw)
    if not column.low <= value <= column.high:
        raise ValueError(f"must be between {column.low} and {column.high}")
    return value


def _float(column: Column, raw: str) -> float:
    if not _FLOAT.match(raw):
        raise ValueError("expected a number")
    value = float(raw)
    if not math.isfinite(value):
        raise ValueError("must be a finite number")
    return value


def _numeric(column: Column, raw: str) -> Decimal:
    if not _FLOAT.match(raw) or len(raw) > 60:
        raise ValueError("expected a decimal number")
    try:
        value = Decimal(raw)
    except InvalidOperation:
        raise ValueError("expected a decimal number") from None
    if value and not -40 < value.adjusted() < 40:
        raise ValueError("is out of range")
    return value


def text(raw: str) -> str:
    """Text that both databases can hold: no NUL, no lone surrogate."""
    if "\x00" in raw:
        raise ValueError("must not contain NUL")
    return raw


def _text(column: Column, raw: str) -> str:
    return text(raw) if column.normal is None else column.normal(text(raw))


def _boolean(column: Column, raw: str) -> bool:
    if raw in ("true", "1"):
        return True
    if raw in ("false", "0"):
        return False
    raise ValueError("expected true or false")


def instant(raw: str) -> datetime:
    """ISO 8601 text as an instant in UTC; without a zone it is read as UTC."""
    try:
        value = datetime.fromisoformat(raw)
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError("expected an ISO 8601 datetime such as 2026-11-21T01:34:00Z") from None


def _datetime(column: Column, raw: str) -> datetime:
    # A plus sign that a caller forgot to percent-encode arrives as a space before the offset.
    return instant(re.sub(r" (\d\d:\d\d)\Z", r"+\1", raw) if raw.count(":") > 2 else raw)


def _date(column: Column, raw: str) -> date:
    try:
        if _DATE.match(raw):
            return date.fromisoformat(raw)
    except ValueError:
        pass
    raise ValueError("expected a date such as 2026-11-21")


def _time(column: Column, raw: str) -> time:
    try:
        return time.fromisoformat(raw).replace(tzinfo=None)
    except ValueError:
        raise ValueError("expected a time such as 13:45:00") from None


def _uuid(column: Column, raw: str) -> UUID:
    if not _UUID.match(raw):
        raise ValueError("expected a UUID")
    return UUID(raw)


def _bytes(column: Column, raw: str) -> bytes:
    try:
        return base64.b64decode(raw, validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("expected base64") from None


def _enum(column: Column, raw: str) -> str:
    if raw not in column.choices:
        raise ValueError(f"must be one of {', '.join(column.choices)}")
    return raw


def _json(column: Column, raw: str) -> Any:
    try:
        return orjson.loads(raw)
    except ValueError:
        return text(raw)


def _any(column: Column, raw: str) -> Any:
    if _INTEGER.match(raw) and -(2**63) <= int(raw) < 2**63:
        return int(raw)
    if _FLOAT.match(raw) and math.isfinite(float(raw)):
        return float(raw)
    return text(raw)


def _array(column: Column, raw: str) -> list[Any]:
    """The items, comma-separated; nothing at all is the empty list."""
    assert column.item is not None, "an array has items"
    return parse_list(column.item, raw) if raw.strip() else []


_PARSERS: Mapping[Kind, Callable[[Column, str], Any]] = {
    Kind.INTEGER: _integer,
    Kind.FLOAT: _float,
    Kind.NUMERIC: _numeric,
    Kind.TEXT: _text,
    Kind.BOOLEAN: _boolean,
    Kind.DATETIME: _datetime,
    Kind.DATE: _date,
    Kind.TIME: _time,
    Kind.UUID: _uuid,
    Kind.BYTES: _bytes,
    Kind.JSON: _json,
    Kind.ENUM: _enum,
    Kind.ARRAY: _array,
    Kind.RANGE: _text,
    Kind.OTHER: _text,
    Kind.OPAQUE: _text,
    Kind.ANY: _any,
}


def parse(column: Column, raw: str) -> Any:
    """The Python value of one column's text.

    Raises:
        ValueError: with what was expected.
    """
    return _PARSERS[column.kind](column, raw)


def split_list(raw: str) -> list[str]:
    """The items of a comma-separated list; an item with a comma is double-quoted.

    Example:
        >>> split_list('1,"a,b",c')
        ['1', 'a,b', 'c']
    """
    items: list[str] = []
    position = 0
    while True:
        match = _QUOTED_LIST.match(raw, position)
        if match is None:
            raise ValueError('expected a comma-separated list; quote items that hold a comma: "a,b"')
        quoted, bare, end = match.groups()
        items.append(re.sub(r"\\(.)", r"\1", quoted) if quoted is not None else bare.strip())
        position = match.end()
        if len(items) > LIST_ITEMS_MAX:
            raise ValueError(f"at most {LIST_ITEMS_MAX} items")
        if end == "":
            return items


def parse_list(column: Column, raw: str) -> list[Any]:
    """The Python values of a list for `in` and `nin`."""
    return [parse(column, item) for item in split_list(raw)]
