"""From SQLAlchemy types to Kinds: the one place that says what each type is to the API."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy.types import TypeDecorator, TypeEngine

from .model import Kind

#: `separator|fraction digits|suffix` of datetimes that are stored in the very form that JSON shows.
ISO_LAYOUT = "T|6|+00:00"
#: How SQLAlchemy's own DateTime is stored on SQLite.
SQLALCHEMY_LAYOUT = " |6|"

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
    (sa.String, Kind.TEXT),
)


def plain(sql_type: TypeEngine[Any]) -> TypeEngine[Any]:
    """The type below any `TypeDecorator`."""
    while isinstance(sql_type, TypeDecorator):
        sql_type = sql_type.impl_instance
    return sql_type


def kind_of(sql_type: TypeEngine[Any]) -> Kind | None:
    """The Kind of a SQLAlchemy type; `None` when the API cannot carry it."""
    sql_type = plain(sql_type)
    if isinstance(sql_type, sa.types.NullType):
        return Kind.ANY
    return next((kind for base, kind in _KINDS if isinstance(sql_type, base)), None)


def facts_of(sql_type: TypeEngine[Any], *, loose: bool) -> Mapping[str, Any]:
    """What else a type says: integer range, scale, length, choices, zone and layout."""
    layout = getattr(sql_type, "layout", SQLALCHEMY_LAYOUT)
    sql_type = plain(sql_type)
    if isinstance(sql_type, sa.Enum):
        return {"choices": tuple(str(value) for value in sql_type.enums)}
    if isinstance(sql_type, sa.Integer) and not loose:
        bits = next(bits for base, bits in _INT_BITS if isinstance(sql_type, base))
        return {"low": -(2 ** (bits - 1)), "high": 2 ** (bits - 1) - 1}
    if isinstance(sql_type, sa.Numeric) and not isinstance(sql_type, sa.Float):
        scale = sql_type.scale if sql_type.scale is not None else (6 if loose else 4)
        return {"scale": scale, "digits": sql_type.precision or 15}
    if isinstance(sql_type, sa.DateTime):
        return {"timezone": bool(sql_type.timezone), "layout": layout}
    if isinstance(sql_type, sa.String):
        return {"length": sql_type.length}
    return {}
