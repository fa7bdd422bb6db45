"""The contract of a write's body, derived from a resource: which fields, of which type, within which bounds.

One body gives every field error at once. Types are strict JSON: `"5"` is no integer. Built on first use,
because pydantic schemas are dear to build.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from datetime import date, datetime, time
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any, Literal, NotRequired, cast
from uuid import UUID

from pydantic import AfterValidator, ConfigDict, Field, JsonValue, PlainValidator, TypeAdapter, WithJsonSchema
from pydantic import ValidationError as PydanticError
from pydantic_core import PydanticSerializationError, to_json
from typing_extensions import TypedDict

from ..errors import FIELD_ERRORS_MAX, FieldError, OperatorError, ValidationError, perhaps
from ..schema.model import Column, Kind
from ..schema.resource import Resource
from . import values


class Action(Enum):
    """The bodies that a resource takes."""

    CREATE = "create"
    UPDATE = "update"
    REPLACE = "replace"
    #: A create at the path of its key, whose body may be one of a replacement.
    MAKE = "make"


def _finite(value: Decimal) -> Decimal:
    if not value.is_finite():
        raise ValueError("must be a finite number")
    return value


def _instant(value: Any) -> datetime:
    """ISO 8601 text, in UTC; without a zone it is read as UTC. Pydantic would also read "5" as seconds."""
    if not isinstance(value, str) or not _INSTANT.match(value):
        raise ValueError("expected an ISO 8601 datetime such as 2026-11-21T01:34:00Z")
    return values.instant(value)


def _without_offset(value: time) -> time:
    if value.tzinfo is not None:
        raise ValueError("must have no offset")
    return value


_INSTANT = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d", re.ASCII)
Scalar = bool | int | float | str

_TYPES: Mapping[Kind, Any] = {
    Kind.FLOAT: Annotated[float, Field(allow_inf_nan=False)],
    Kind.BOOLEAN: bool,
    Kind.DATETIME: Annotated[
        datetime,
        PlainValidator(_instant),
        WithJsonSchema({"type": "string", "format": "date-time"}),
    ],
    Kind.DATE: date,
    Kind.TIME: Annotated[time, AfterValidator(_without_offset)],
    Kind.UUID: UUID,
    Kind.BYTES: Annotated[bytes, WithJsonSchema({"type": "string", "contentEncoding": "base64"})],
    Kind.JSON: JsonValue,
    Kind.RANGE: str,
    Kind.OTHER: str,
    Kind.OPAQUE: str,
    Kind.ANY: Scalar,
}


def type_of(column: Column) -> Any:
    """The pydantic type of a column's JSON value, null aside."""
    match column.kind:
        case Kind.INTEGER:
            base: Any = Annotated[int, Field(ge=column.low, le=column.high)]
        case Kind.NUMERIC:
            bounds = Field(max_digits=column.digits, decimal_places=column.scale)
            base = Annotated[Decimal, bounds, AfterValidator(_finite)]
        case Kind.TEXT:
            base = Annotated[str, Field(max_length=column.length)] if column.length else str
        case Kind.ENUM:
            base = Literal[column.choices]
        case Kind.ARRAY:
            assert column.item is not None, "an array has items"
            item = type_of(column.item)
            base = list[item | None] if column.item.nullable else list[item]
        case kind:
            base = _TYPES[kind]
    if column.normal is not None:
        base = Annotated[base, AfterValidator(column.normal)]
    for item in column.metadata:
        base = Annotated[base, item]
    return base


def writable_columns(resource: Resource) -> dict[str, Column]:
    """The columns that a body may name."""
    stamped = resource.policy.stamp
    return {n: c for n, c in resource.columns.items() if not c.server_set and n not in stamped}


def unsettable(resource: Resource, name: str) -> str:
    """Why a body cannot set a field that may be read."""
    return "is not yours to set." if name in writable_columns(resource) else "is set by the server."


def is_required(column: Column, action: Action) -> bool:
    """Whether a body must name the column."""
    if action is Action.UPDATE or column.nullable:
        return False
    if action is Action.REPLACE:
        return not (column.has_default and column.sql.default is not None)
    return not column.has_default


def default_of(resource: Resource, name: str) -> Any:
    """What a new row has in a column that its body does not name, in an older version of the API.

    Raises:
        OperatorError: it is no value of the column.
    """
    column, given = resource.table.columns[name], resource.defaults[name]
    if given is None and column.nullable:
        return None
    try:
        return TypeAdapter(type_of(column)).validate_json(to_json(given), strict=True)
    except (PydanticError, PydanticSerializationError):
        kind = column.kind.value
        raise OperatorError(f"{resource.name}.{name} cannot be {given!r} by default: it is {kind}.") from None


class Contract:
    """Validates bodies for one resource and action.

    Args:
        settable, visible: the fields that the principal may set, and those that it may read; by default all of them.
            Others are unknown, to every message too.

    Example:
        >>> contract.validate(b'{"game_id": 1, "value": -5}')
        Traceback (most recent call last):
        backstay.errors.ValidationError: value: Input should be greater than or equal to 0
    """

    def __init__(
        self,
        resource: Resource,
        action: Action,
        settable: Mapping[str, Column] | None = None,
        visible: Iterable[str] | None = None,
    ) -> None:
        self.resource = resource
        self.action = action
        self.columns = writable_columns(resource) if settable is None else dict(settable)
        self.visible = frozenset(resource.columns if visible is None else visible)
        #: A replacement that does not name these leaves them: who sends a row back may not have seen them.
        self.kept = frozenset(name for name, own in resource.policy.fields.items() if own.by_row)
        if action in (Action.UPDATE, Action.REPLACE):
            keys = set(resource.table.key)
            self.columns = {n: c for n, c in self.columns.items() if n not in keys}
        members: dict[str, Any] = {}
        for name, column in self.columns.items():
            kind: Any = type_of(column)
            kind = kind | None if column.nullable else kind
            if column.description:
                kind = Annotated[kind, Field(description=column.description)]
            spared = action is Action.REPLACE and name in self.kept
            optional = spared or name in resource.defaults or not is_required(column, action)
            members[name] = NotRequired[kind] if optional else kind
        # A replacement may carry back what the server sets, so that a caller can send a row as it was read. What no
        # table has any more was never refused.
        lenient = action in (Action.REPLACE, Action.MAKE)
        known = self.visible if lenient else self.visible & resource.extra.keys()
        ignored = known - set(self.columns)
        self.ignored = ignored
        for name in ignored:
            members[name] = NotRequired[Any]
        title = f"{resource.name.title().replace('_', '').replace('.', '')}{action.value.title()}"
        typed: Any = cast(Any, TypedDict)(title, members)
        typed.__pydantic_config__ = ConfigDict(strict=True, extra="forbid", val_json_bytes="base64")
        self.adapter: TypeAdapter[dict[str, Any]] = TypeAdapter(typed)
        self._validate = self.adapter.validator.validate_json

    def validate(self, body: bytes) -> dict[str, Any]:
        """The fields of a body as Python values; a field that was not sent is absent.

        Raises:
            ValidationError: with every field at fault.
        """
        try:
            found = cast("dict[str, Any]", self._validate(body))
        except PydanticError as error:
            found = self._mended(body, error)
        if self.ignored:
            found = {name: value for name, value in found.items() if name not in self.ignored}
        return found

    def _mended(self, body: bytes, error: PydanticError) -> dict[str, Any]:
        """The fields of a refused body whose only fault is how it writes whole numbers."""
        mended = _with_whole_numbers(body, error)
        if mended is None:
            raise self._refusal(error) from None
        try:
            return cast("dict[str, Any]", self._validate(mended))
        except PydanticError as again:
            raise self._refusal(again) from None

    def _refusal(self, error: PydanticError) -> ValidationError:
        hint = ""
        errors: list[FieldError] = []
        for item in error.errors(include_url=False, include_context=False, include_input=False)[:FIELD_ERRORS_MAX]:
            field = ".".join(str(part) for part in item["loc"] if part not in _NOISE)[:120]
            code, message = _WORDS.get(item["type"], (item["type"], item["msg"]))
            if code == "unknown_field":
                if field in self.visible:
                    code, message = "read_only", unsettable(self.resource, field)
                else:
                    hint = hint or perhaps(field, self.columns, noun="field")
            errors.append(FieldError(field or "body", code, message))
        unique = {(e.field, e.code): e for e in errors}
        return ValidationError(unique.values(), hint=hint)

    def defaults(self) -> dict[str, Any]:
        """What a replacement sets where the body is silent: the declared default, else null."""
        values: dict[str, Any] = {}
        for name, column in self.columns.items():
            if name in self.kept:
                continue
            default: Any = column.sql.default
            if name in self.resource.defaults:
                values[name] = default_of(self.resource, name)
            elif default is not None and not default.is_sequence and not default.is_clause_element:
                values[name] = default.arg(None) if default.is_callable else default.arg
            elif column.nullable:
                values[name] = None
        return values

    def json_schema(self) -> dict[str, Any]:
        """The body as JSON Schema 2020-12."""
        schema = self.adapter.json_schema()
        for name in self.ignored:
            schema.get("properties", {}).pop(name, None)
        return schema


def _with_whole_numbers(body: bytes, error: PydanticError) -> bytes | None:
    """The body with `7.0` as `7` where an integer was wanted; `None` when that is not what is wrong.

    To JSON Schema (2020-12, 6.1.1) both are the same integer, and some clients write every number so. Only a
    refused body comes here; the number is read exactly, as its text stands.
    """
    items = error.errors(include_url=False, include_context=False)
    floats = [item for item in items if item["type"] == "int_type" and isinstance(item["input"], float)]
    names = {item["loc"][0] for item in floats if item["input"].is_integer() and len(item["loc"]) == 1}
    if not names:
        return None
    try:
        exact = cast("dict[str, Any]", json.loads(body, parse_float=Decimal))
        found = cast("dict[str, Any]", json.loads(body))
    except (ValueError, RecursionError):
        return None
    numbers = {str(name): exact[str(name)] for name in names}
    small = {name: number for name, number in numbers.items() if abs(number.adjusted()) < _DIGITS_MAX}
    whole = {name: int(number) for name, number in small.items() if number == number.to_integral_value()}
    return json.dumps(found | whole).encode() if whole else None


#: More than any integer column holds; `1e999999999` must never become an integer.
_DIGITS_MAX = 24
_NOISE = frozenset({"json-or-python", "function-after", "nullable", "constrained-str", "str", "int", "float", "bool"})
_WORDS: Mapping[str, tuple[str, str]] = {
    "missing": ("required", "is required."),
    "extra_forbidden": ("unknown_field", "is not a field of this resource."),
}
