"""Declared types of a SQLite file into SQLAlchemy types and kinds, corrected by a sample of the values.

SQLite promises nothing about a value's type, and has no type for dates or booleans at all: what programs
write there is learned from the values, so that a filter compares like with like.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.sqlite.base import ischema_names
from sqlalchemy.types import NullType, TypeEngine

from .kinds import SQLALCHEMY_LAYOUT, kind_of
from .model import Kind

#: (typeof, the first characters as bytes) of some values of a column.
Sample = Sequence[tuple[str, bytes]]

_DECLARED = re.compile(r"\s*([\w ]*\w)\s*(?:\(([^)]*)\))?")
_DATE = re.compile(r"\d{4}-\d\d-\d\d\Z", re.ASCII)
_DATETIME = re.compile(r"\d{4}-\d\d-\d\d([ T])\d\d:\d\d:\d\d(?:\.(\d{3}|\d{6}))?(Z|\+00:00)?\Z", re.ASCII)
_TIME = re.compile(r"\d\d:\d\d:\d\d\.\d{6}\Z", re.ASCII)

#: The type of our JSON columns, which keeps every text as it is.
JSON_TYPE = "JSON_TEXT"
_KNOWN: Mapping[str, Any] = {**ischema_names, JSON_TYPE: sa.JSON}
#: How many sizes a type takes; those of the others mean nothing.
_SIZES: Mapping[Any, int] = {sa.NUMERIC: 2, sa.DECIMAL: 2, sa.CHAR: 1, sa.NCHAR: 1, sa.VARCHAR: 1, sa.NVARCHAR: 1}

#: Substrings of a declared type, in the order in which SQLite looks for them (datatype3.html, 3.1).
_AFFINITIES: tuple[tuple[tuple[str, ...], Any], ...] = (
    (("INT",), sa.INTEGER),
    (("CHAR", "CLOB", "TEXT"), sa.TEXT),
    (("BLOB",), sa.BLOB),
    (("REAL", "FLOA", "DOUB"), sa.REAL),
)

#: Kinds that SQLite has no storage for: the values decide.
SAMPLED = frozenset({Kind.DATETIME, Kind.DATE, Kind.TIME, Kind.BOOLEAN})


def type_of(declared: str) -> TypeEngine[Any]:
    """The SQLAlchemy type of a declared type; `NullType` for one that has no name here.

    Example:
        >>> type_of("NVARCHAR(40)"), type_of("UNSIGNED BIG INT"), type_of("MONEY")
        (NVARCHAR(length=40), INTEGER(), NullType())
    """
    match = _DECLARED.match(declared)
    if match is None:
        return NullType()
    name = " ".join(match.group(1).upper().split())
    numbers = [min(int(n), 2**31) for n in re.findall(r"\d{1,12}", match.group(2) or "")]
    known: Any = _KNOWN.get(name)
    if known is None:
        known = next((type_ for words, type_ in _AFFINITIES if any(word in name for word in words)), NullType)
    return known(*numbers[: _SIZES.get(known, 0)])


def settled(type_: TypeEngine[Any], sample: Sample) -> tuple[Kind, str]:
    """The kind of a column and its datetime layout, as far as its values agree with its type."""
    declared = kind_of(type_)
    kind = Kind.ANY if declared is None else declared
    if kind not in SAMPLED:
        return kind, ""
    if not sample:
        return kind, SQLALCHEMY_LAYOUT if kind is Kind.DATETIME else ""
    stored = {type_name for type_name, _ in sample}
    if kind is Kind.BOOLEAN:
        return (kind if {value for _, value in sample} <= {b"0", b"1"} else Kind.ANY), ""
    if stored == {"integer"}:
        return Kind.INTEGER, ""
    if stored <= {"integer", "real"}:
        return Kind.FLOAT, ""
    texts = [value.decode("utf-8", "replace") for _, value in sample]
    if stored != {"text"}:
        return Kind.ANY, ""
    if kind is Kind.TIME:
        return (kind if all(_TIME.match(text) for text in texts) else Kind.ANY), ""
    return _temporal(kind, texts)


def _temporal(kind: Kind, texts: Sequence[str]) -> tuple[Kind, str]:
    """Dates and datetimes are comparable only when all are written alike."""
    if all(_DATE.match(text) for text in texts):
        return kind, "date" if kind is Kind.DATETIME else ""
    layouts: set[tuple[str, str]] = set()
    digits = 6
    for text in texts:
        match = _DATETIME.match(text)
        if match is None:
            return Kind.ANY, ""
        layouts.add((match.group(1), match.group(3) or ""))
        # The fewest digits: some programs omit the fraction when it is zero, and a shorter text sorts first.
        digits = min(digits, len(match.group(2) or ""))
    if len(layouts) > 1:
        return Kind.ANY, ""
    separator, suffix = layouts.pop()
    return Kind.DATETIME, f"{separator}|{digits}|{suffix}"
