"""Examples of bodies and rows, made from kinds and tried against the contracts that will judge real ones."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

import orjson
from pydantic.fields import FieldInfo

from ..errors import ValidationError
from ..query.payload import Contract
from ..schema.constraints import constraints_of
from ..schema.model import Column, Kind
from ..schema.resource import Resource
from .openapi_schemas import Json

ROUNDS_MAX = 40
_WORDS = (
    "example",
    "Example",
    "tetris",
    "a",
    "A1",
    "ABC",
    "EUR",
    "en",
    "example-1",
    "2026",
    "1.0",
    "+4915112345678",
    "#336699",
    "ada@example.com",
    "https://example.com",
    "2026-11-21",
    "01:34",
    "192.0.2.1",
)
_VALUES: Mapping[Kind, Any] = {
    Kind.BOOLEAN: True,
    Kind.DATETIME: "2026-11-21T01:34:00.123456+00:00",
    Kind.DATE: "2026-11-21",
    Kind.TIME: "01:34:00.000000",
    Kind.UUID: "0192f0c1-7b5e-7cc0-8000-0123456789ab",
    Kind.BYTES: "aGVsbG8=",
    Kind.JSON: {"key": "value"},
    Kind.RANGE: "empty",
    Kind.ANY: "example",
}
#: Of types that only the database understands, by the name that it gives them.
_BY_TYPE: Mapping[str, str] = {
    "interval": "1 day",
    "inet": "192.0.2.1",
    "cidr": "192.0.2.0/24",
    "macaddr": "08:00:2b:01:02:03",
    "macaddr8": "08:00:2b:01:02:03:04:05",
    "time with time zone": "01:34:00+00",
    "money": "12.34",
    "bit varying": "101",
    "xml": "<a/>",
    "point": "(1,2)",
    "line": "{1,2,3}",
    "lseg": "[(0,0),(1,1)]",
    "box": "(1,1),(0,0)",
    "path": "((0,0),(1,1))",
    "polygon": "((0,0),(1,1),(1,0))",
    "circle": "<(0,0),1>",
    "pg_lsn": "16/B374D848",
    "tsquery": "'a'",
    "jsonpath": "$",
}


def body_example(contract: Contract) -> Json | None:
    """A body that the contract admits; `None` when none of the candidates for a required field fits."""
    left = {name: list(candidates(column)) for name, column in contract.columns.items()}
    for _ in range(ROUNDS_MAX):
        body = {name: values[0] for name, values in left.items() if values}
        try:
            contract.validate(orjson.dumps(body))
        except ValidationError as error:
            wrong = {e.field.split(".")[0] for e in error.errors} & body.keys()
            if not wrong:
                return None
            left |= {name: left[name][1:] for name in wrong}
        else:
            return body
    return None


def row_example(resource: Resource, body: Json | None) -> Json:
    """A row as an answer shows it."""
    known = body or {}
    row: Json = {}
    for name, column in resource.columns.items():
        value = known[name] if name in known else next(candidates(column))
        row[name] = _on_the_wire(column, value)
    return row


def candidates(column: Column) -> Iterator[Any]:
    """Values to try, the likeliest first."""
    for item in column.metadata:
        if isinstance(item, FieldInfo):
            yield from item.examples or ()
    if column.kind is Kind.ENUM:
        yield from column.choices
    elif column.kind is Kind.TEXT:
        yield from _texts(column)
    elif column.kind in (Kind.INTEGER, Kind.FLOAT, Kind.NUMERIC):
        yield from _numbers(column)
    elif column.kind is Kind.ARRAY:
        assert column.item is not None, "an array has items"
        yield from ([value] for value in candidates(column.item))
    elif column.kind in (Kind.OTHER, Kind.OPAQUE):
        yield _text_of_type(str(getattr(column.sql.type, "name", "")))
    else:
        yield _VALUES[column.kind]


def _text_of_type(name: str) -> str:
    """A value of a type that only the database understands; `bit(3)` takes three bits exactly."""
    size = name.removeprefix("bit(").removesuffix(")")
    if name.endswith("multirange"):
        return "{}"
    return "1" * int(size) if name.startswith("bit(") and size.isdigit() else _BY_TYPE.get(name, "1")


def _texts(column: Column) -> Iterator[str]:
    shortest = max((c.value for c in constraints_of(column.metadata) if c.kind == "min_length"), default=0)
    longest = column.length or 10_000
    for word in _WORDS:
        yield word[:longest] if len(word) >= shortest else word.ljust(shortest, "e")


def _numbers(column: Column) -> Iterator[Any]:
    """Small numbers, then what lies at the bounds."""
    bounds = [c.value for c in constraints_of(column.metadata) if c.kind in ("ge", "gt", "le", "lt")]
    tried: list[Any] = [1, 10, 0, 100, 1000, -1]
    for bound in bounds:
        tried += [bound, bound + 1, bound - 1]
    for value in tried:
        if column.kind is Kind.INTEGER:
            yield int(value)
        elif column.kind is Kind.FLOAT:
            yield float(value)
        else:
            yield _decimal(column, value)


def _decimal(column: Column, value: Any) -> str:
    return f"{Decimal(str(value)):.{max(column.scale or 0, 0)}f}"


def _on_the_wire(column: Column, value: Any) -> Any:
    if column.kind is not Kind.NUMERIC:
        return value
    try:
        return _decimal(column, value)
    except InvalidOperation:
        return value
