"""PostgreSQL's own kinds: arrays, ranges and types that only it understands, in JSON, filters and aggregates."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

import sqlalchemy as sa
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler

from ..query import values
from ..schema.model import Column, Kind
from .dialect import Expression

Shown = Callable[[Column, Expression], Expression]
#: Kinds that PostgreSQL writes in an array as the API does.
_AS_THEY_ARE = frozenset(
    {Kind.INTEGER, Kind.FLOAT, Kind.BOOLEAN, Kind.TEXT, Kind.UUID, Kind.DATE, Kind.ENUM, Kind.JSON, Kind.RANGE}
)


class _Items(sa.ColumnElement[Any]):
    """An array with each of its items in another form."""

    inherit_cache = False
    type = sa.ARRAY(sa.Text())

    def __init__(self, array: Expression, item: Expression) -> None:
        self.array = array
        self.item = item


@compiles(_Items)
def _items(element: _Items, compiler: SQLCompiler, **kw: Any) -> str:
    array, item = compiler.process(element.array, **kw), compiler.process(element.item, **kw)
    return f"CASE WHEN {array} IS NOT NULL THEN ARRAY(SELECT {item} FROM unnest({array}) AS u(v)) END"  # noqa: S608


class _First(sa.ColumnElement[Any]):
    """Aggregate: the first value in an order, for types that have an order and no `min`."""

    inherit_cache = False

    def __init__(self, expression: Expression, *, descending: bool) -> None:
        self.value = expression
        self.descending = descending
        self.type = expression.type


@compiles(_First)
def _first(element: _First, compiler: SQLCompiler, **kw: Any) -> str:
    value = compiler.process(element.value, **kw)
    order = f"{value} DESC" if element.descending else value
    return f"(array_agg({value} ORDER BY {order}) FILTER (WHERE {value} IS NOT NULL))[1]"


def array_shown(column: Column, expression: Expression, shown: Shown | None) -> Expression:
    """An array in its JSON form; `shown` is that of an item, if it differs from the database's own."""
    item = item_of(column)
    if item.kind in _AS_THEY_ARE:
        return expression
    if item.kind in (Kind.NUMERIC, Kind.OPAQUE) or (item.kind is Kind.OTHER and _foreign(item)):
        return sa.cast(expression, sa.ARRAY(sa.Text()))
    if item.kind is Kind.OTHER or shown is None:
        return expression
    value = cast(Expression, sa.literal_column("v", item.sql.type))
    return _Items(expression, shown(item, value))


def item_of(column: Column) -> Column:
    """What the values of an array are."""
    assert column.item is not None, "an array has items"
    return column.item


def text_shown(column: Column, expression: Expression) -> Expression:
    """A value as the database writes it; `row_to_json` has another form for rows and for types of extensions.

    A cast is no rule for all: it would add a netmask to every address.
    """
    return sa.cast(expression, sa.Text()) if column.kind is Kind.OPAQUE or _foreign(column) else expression


def _foreign(column: Column) -> bool:
    """Whether the type is of an extension or of the database's owner, and may come with a cast to JSON."""
    return "." in str(getattr(column.sql.type, "name", ""))


def covers(left: Expression, value: sa.BindParameter[Any]) -> Expression:
    """Whether an array has all of these items, or a range covers this one; the parameter takes the same type."""
    return left.op("@>", is_comparison=True)(value)


def extreme(expression: Expression, *, greatest: bool) -> Expression | None:
    """The least or greatest value of a type that only the database understands; `None` for the others."""
    if getattr(expression.type, "kind", None) is not Kind.OTHER:
        return None
    return _First(expression, descending=greatest)


def range_of(raw: str) -> bytes:
    """A range literal; a single value is the range that holds nothing else.

    Example:
        >>> range_of("[1,5)"), range_of("5")
        (b'[1,5)', b'["5","5"]')
    """
    text = values.text(raw).strip()
    if text[:1] in ("[", "(") or text.lower() == "empty":
        return text.encode()
    quoted = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'["{quoted}","{quoted}"]'.encode()


def array_of(items: Sequence[bytes | None]) -> bytes:
    r"""An array literal.

    Example:
        >>> array_of([b"1", None, b'say "hi"'])
        b'{"1",NULL,"say \\"hi\\""}'
    """
    quoted = [
        b"NULL" if item is None else b'"%b"' % item.replace(b"\\", b"\\\\").replace(b'"', b'\\"') for item in items
    ]
    return b"{%b}" % b",".join(quoted)
