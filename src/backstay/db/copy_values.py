"""Values between databases: types that carry each exactly, and the canonical form by which they are compared."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, date, datetime, time
from decimal import Context, Decimal
from hashlib import blake2b
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import GenericFunction
from sqlalchemy.types import TypeDecorator

from ..schema.kinds import plain

_MODULUS = 2**128
#: Rounds nothing that a database can hold: PostgreSQL's numeric has at most 131,072 digits before the point.
_EXACT = Context(prec=200_000)


class RawJson(TypeDecorator[str]):
    """A JSON column as its text: a JSON null is not an SQL NULL, and numbers keep their digits."""

    impl = sa.Text
    cache_ok = True

    def bind_expression(self, bindparam: Any) -> Any:
        """PostgreSQL parses the text; elsewhere it is the value."""
        return _Parsed(bindparam)

    def column_expression(self, column: Any) -> Any:
        """As text."""
        return sa.cast(column, sa.Text())


class _Parsed(GenericFunction[Any]):
    """A text as the database's JSON."""

    name = "backstay_parsed_json"
    inherit_cache = True


@compiles(_Parsed, "postgresql")
def _parse_on_postgresql(element: Any, compiler: Any, **kw: Any) -> str:
    (value,) = element.clauses
    return compiler.process(sa.cast(value, JSONB()), **kw)


@compiles(_Parsed)
def _as_it_is(element: Any, compiler: Any, **kw: Any) -> str:
    (value,) = element.clauses
    return compiler.process(value, **kw)


def carrier(column: sa.Column[Any]) -> sa.Column[Any]:
    """The column for reading and writing in a copy; nothing is computed for it."""
    type_ = RawJson() if isinstance(plain(column.type), sa.JSON) else column.type
    return sa.Column(column.name, type_, primary_key=column.primary_key, autoincrement=False)


def canonical(column: sa.Column[Any]) -> Callable[[Any], str]:
    """From a value of the column to a text that is the same on every database."""
    kind = plain(column.type)
    if isinstance(column.type, RawJson):
        return _json
    if isinstance(kind, sa.Float):
        return lambda value: repr(float(value))
    if isinstance(kind, sa.Numeric):
        return _number
    return _plain


def _json(value: str) -> str:
    parsed = json.loads(value, parse_float=Decimal, parse_int=Decimal)
    return json.dumps(parsed, sort_keys=True, default=_number, ensure_ascii=False)


def _number(value: Any) -> str:
    return str(Decimal(value).normalize(_EXACT))


def _plain(value: Any) -> str:
    if isinstance(value, datetime):
        return (value.astimezone(UTC) if value.tzinfo is not None else value).isoformat(timespec="microseconds")
    if isinstance(value, time):
        return value.isoformat("microseconds")
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


class Checksum:
    """Of the rows of a table in any order."""

    def __init__(self, columns: Sequence[sa.Column[Any]]) -> None:
        self._forms = [canonical(column) for column in columns]
        self.rows = 0
        self._sum = 0

    def add(self, rows: Iterable[Sequence[Any]]) -> None:
        """Take these rows in."""
        for row in rows:
            parts = ["-" if v is None else "=" + form(v) for form, v in zip(self._forms, row, strict=True)]
            text = "".join(f"{len(part)}:{part}" for part in parts)
            digest = blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()
            self._sum = (self._sum + int.from_bytes(digest, "big")) % _MODULUS
            self.rows += 1

    @property
    def text(self) -> str:
        """The sum of the rows' digests."""
        return f"{self._sum:032x}"
