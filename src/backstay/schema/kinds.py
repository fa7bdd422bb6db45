"""From SQLAlchemy types to Kinds: the one place that says what each type is to the API."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import sqlalchemy as sa
from sqlalchemy.types import TypeDecorator, TypeEngine

from .model import Column, Kind
from .types import AnyNumeric, Array, NamedType, Normalized

#: `separator|fraction digits|suffix` of datetimes that are stored in the very form that JSON shows.
ISO_LAYOUT = "T|6|+00:00"
#: How SQLAlchemy's own DateTime is stored on SQLite.
SQLALCHEMY_LAYOUT = " |6|"
#: How many digits a decimal of no declared size may have.
DIGITS_MAX = 1_000

_INT_BITS: tuple[tuple[type[TypeEngine[Any]], int], ...] = (
    (sa.SmallInteger, 16),
    (sa.BigInteger, 64),
    (sa.Integer, 32),
)

#: Most specific first: the first type that matches decides.
_KINDS: tuple[tuple[type[TypeEngine[Any]], Kind], ...] = (
    (sa.Boolean, Kind.BOOLEAN),
    (sa.Enum, Kind.ENUM),
    (sa.Integer, Kind.INTEGER),
    (sa.Float, Kind.FLOAT),
    (sa.Numeric, Kind.NUMERIC),
    (sa.Uuid, Kind.UUID),
    (sa.DateTime, Kind.DATETIME),
    (sa.Date, Kind.DATE),
    (sa.Time, Kind.TIME),
    (sa.JSON, Kind.JSON),
    (sa.LargeBinary, Kind.BYTES),
    (sa.ARRAY, Kind.ARRAY),
    (sa.String, Kind.TEXT),
)


def plain(sql_type: TypeEngine[Any]) -> TypeEngine[Any]:
    """The type below any `TypeDecorator`."""
    while isinstance(sql_type, TypeDecorator):
        sql_type = sql_type.impl_instance
    return sql_type


def kind_of(sql_type: TypeEngine[Any]) -> Kind | None:
    """The Kind of a SQLAlchemy type; `None` when the API cannot carry it."""
    if isinstance(sql_type, Array):
        return Kind.ARRAY
    sql_type = plain(sql_type)
    if isinstance(sql_type, NamedType):
        return sql_type.kind
    if isinstance(sql_type, sa.types.NullType):
        return Kind.ANY
    return next((kind for base, kind in _KINDS if isinstance(sql_type, base)), None)


def facts_of(sql_type: TypeEngine[Any], *, loose: bool) -> Mapping[str, Any]:
    """What else a type says: integer range, scale, length, choices, items, zone and layout."""
    if isinstance(sql_type, Array):
        return {"item": column_like(sql_type.item, nullable=False)}
    layout = getattr(sql_type, "layout", SQLALCHEMY_LAYOUT)
    normal = sql_type.normal if isinstance(sql_type, Normalized) else None
    sql_type = plain(sql_type)
    if isinstance(sql_type, sa.Enum):
        return {"choices": tuple(str(value) for value in sql_type.enums)}
    if isinstance(sql_type, sa.Integer) and not loose:
        bits = next(bits for base, bits in _INT_BITS if isinstance(sql_type, base))
        return {"low": -(2 ** (bits - 1)), "high": 2 ** (bits - 1) - 1}
    if isinstance(sql_type, sa.Numeric) and not isinstance(sql_type, sa.Float):
        if isinstance(sql_type, AnyNumeric):
            return {"scale": None, "digits": DIGITS_MAX}
        scale = sql_type.scale if sql_type.scale is not None else (6 if loose else 4)
        return {"scale": scale, "digits": sql_type.precision or 15}
    if isinstance(sql_type, sa.ARRAY):
        return {"item": column_like(cast(Any, sql_type).item_type, nullable=True)}
    if isinstance(sql_type, sa.DateTime):
        return {"timezone": bool(sql_type.timezone), "layout": layout}
    if isinstance(sql_type, sa.String):
        return {"length": sql_type.length, "normal": normal}
    return {}


def column_like(sql_type: TypeEngine[Any], *, nullable: bool) -> Column:
    """A column of a type, for values that belong to no column of a table, such as those of a list."""
    kind = kind_of(sql_type)
    assert kind is not None, f"the API carries {sql_type!r}"
    facts = dict(facts_of(sql_type, loose=False))
    return Column(name="item", sql=sa.Column("item", sql_type), kind=kind, nullable=nullable, **facts)
