"""Types of a PostgreSQL database into SQLAlchemy types; `kinds` says what each of them is to the API."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

import sqlalchemy as sa
from pydantic import Field
from sqlalchemy.types import TypeEngine

from .model import Kind
from .postgres_catalog import Row
from .types import AnyNumeric, NamedType

#: What a modifier of varchar, bpchar and numeric has added to it.
_HEADER = 4


def _numeric(modifier: int) -> TypeEngine[Any]:
    if modifier < _HEADER:
        return AnyNumeric()
    precision = ((modifier - _HEADER) >> 16) & 0xFFFF
    # Eleven bits with a sign: a scale may be negative since version 15.
    scale = (((modifier - _HEADER) & 0x7FF) ^ 1024) - 1024
    return sa.Numeric(precision, scale) if 0 <= scale <= precision else AnyNumeric()


def _length(modifier: int) -> int | None:
    return modifier - _HEADER if modifier > _HEADER else None


_BUILT_IN: Mapping[str, Callable[[int], TypeEngine[Any]]] = {
    "bool": lambda modifier: sa.Boolean(),
    "int2": lambda modifier: sa.SmallInteger(),
    "int4": lambda modifier: sa.Integer(),
    "int8": lambda modifier: sa.BigInteger(),
    "float4": lambda modifier: sa.REAL(),
    "float8": lambda modifier: sa.Double(),
    "numeric": _numeric,
    "text": lambda modifier: sa.Text(),
    "varchar": lambda modifier: sa.String(_length(modifier)),
    "bpchar": lambda modifier: sa.CHAR(_length(modifier)),
    "name": lambda modifier: NamedType("name", Kind.TEXT),
    "uuid": lambda modifier: sa.Uuid(),
    "bytea": lambda modifier: sa.LargeBinary(),
    "date": lambda modifier: sa.Date(),
    "time": lambda modifier: sa.Time(),
    "timestamp": lambda modifier: sa.DateTime(),
    "timestamptz": lambda modifier: sa.DateTime(timezone=True),
    "json": lambda modifier: sa.JSON(),
    "jsonb": lambda modifier: NamedType("jsonb", Kind.JSON),
    "bit": lambda modifier: NamedType(f"bit({max(modifier, 1)})", Kind.OTHER),
}

#: Documents for a full-text search: of no use to a caller, and usually made by a trigger.
UNSHOWN = frozenset({"tsvector"})

_TEXTS = frozenset({"citext"})
_CHECK = re.compile(r"CHECK \((.*)\)(?: NOT VALID| NO INHERIT| NOT ENFORCED)*\Z", re.DOTALL)
_CAST = r"(?:::(?:smallint|integer|bigint|numeric|real|double precision))?"
_BOUND = re.compile(
    rf"""\(*("(?:[^"]|"")+"|\w+)\)?{_CAST} (>=|<=|>|<) \(?'?(-?\d{{1,30}}(?:\.\d{{1,30}})?)'?\)?{_CAST}\)*""",
)
_WORDS = {">=": "ge", ">": "gt", "<=": "le", "<": "lt"}


class Types:
    """The types of one database, by their numbers in its catalog."""

    def __init__(self, rows: Mapping[int, Row]) -> None:
        self._rows = rows

    def base(self, number: int) -> Row:
        """The type below every domain."""
        row = self._rows[number]
        return self.base(row["base"]) if row["kind"] == "d" else row

    def required(self, number: int) -> bool:
        """Whether a domain forbids null."""
        row = self._rows[number]
        return row["kind"] == "d" and (bool(row["required"]) or self.required(row["base"]))

    def checks(self, number: int) -> list[str]:
        """What the domains of a type demand, with VALUE for the value."""
        row = self._rows[number]
        return [*(row["checks"] or ()), *self.checks(row["base"])] if row["kind"] == "d" else []

    def type_of(self, number: int, modifier: int) -> TypeEngine[Any]:
        """The SQLAlchemy type of a column."""
        row = self._rows[number]
        if row["kind"] == "d":
            return self.type_of(row["base"], row["modifier"])
        if row["is_array"]:
            item = self.type_of(row["item"], modifier)
            return NamedType(row["written"], Kind.OTHER) if isinstance(item, sa.ARRAY) else sa.ARRAY(item)
        known = _BUILT_IN.get(row["name"]) if row["builtin"] else None
        if known is not None:
            return known(modifier)
        if row["kind"] == "e" and row["labels"]:
            return sa.Enum(*row["labels"], name=row["name"], schema=row["schema"])
        return NamedType(row["written"], _kind(row))


def _kind(row: Row) -> Kind:
    if row["kind"] == "r":
        return Kind.RANGE
    if row["kind"] == "m":
        return Kind.OTHER
    if row["name"] in _TEXTS:
        return Kind.TEXT
    return Kind.OTHER if row["ordered"] else Kind.OPAQUE


def condition(definition: str) -> str:
    """The expression inside `CHECK (…)`.

    Example:
        >>> condition("CHECK (price > 0::numeric) NOT VALID")
        'price > 0::numeric'
    """
    match = _CHECK.match(definition)
    return match.group(1) if match else definition


def bounds(expression: str, kinds: Mapping[str, Kind]) -> list[tuple[str, Any]]:
    """The bounds of numbers that a CHECK sets, if it does nothing else: `(column, Field)`.

    Example:
        >>> [(name, field.metadata) for name, field in bounds("a >= 1 AND a < 9", {"a": Kind.INTEGER})]
        [('a', [Ge(ge=1)]), ('a', [Lt(lt=9)])]
    """
    found: list[tuple[str, Any]] = []
    for part in expression.split(" AND "):
        match = _BOUND.fullmatch(part)
        if match is None:
            return []
        name = match.group(1)
        name = name[1:-1].replace('""', '"') if name.startswith('"') else name
        limit: Any = {_WORDS[match.group(2)]: _number(match.group(3), kinds.get(name))}
        if next(iter(limit.values())) is None:
            return []
        found.append((name, Field(**limit)))
    return found


def _number(text: str, kind: Kind | None) -> int | float | Decimal | None:
    match kind:
        case Kind.INTEGER:
            return None if "." in text else int(text)
        case Kind.FLOAT:
            return float(text)
        case Kind.NUMERIC:
            return Decimal(text)
        case _:
            return None
