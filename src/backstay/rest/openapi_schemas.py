"""JSON Schema 2020-12 of values, rows, bodies and metas: the words that the OpenAPI document is made of.

`value_schema` is what a caller may write in a URL, `wire_schema` what an answer holds, `body_schema` what a
body may be. Nothing here knows about paths.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from ..query.payload import Contract
from ..schema.constraints import constraints_of
from ..schema.model import Column, Kind
from ..schema.policy import public
from ..schema.resource import Catalog, Resource

Json = dict[str, Any]

#: Neither database can hold NUL in text.
NO_NUL = r"^[^\u0000]*$"
TIME = r"^([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9](\.[0-9]{1,6})?)?$"
WIRE_TIME = r"^[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}$"
#: Both alphabets, padding optional, unused bits zero: what a body may send. Answers are standard and padded.
BASE64 = r"^([A-Za-z0-9+/_-]{4})*([A-Za-z0-9+/_-][AQgw](==)?|[A-Za-z0-9+/_-]{2}[AEIMQUYcgkosw048]=?)?$"
DECIMAL = r"^[+-]?([0-9]{1,20}(\.[0-9]{0,20})?|\.[0-9]{1,20})([eE][+-]?[0-9])?$"
#: Digits behind the point that the document admits of a decimal of no declared size.
_SCALE_SHOWN = 15
FLOAT_MAX = 1.7976931348623157e308
#: An instant in an answer; years beyond 9999 have more than four digits.
INSTANT_CHARS_MAX = 40
#: PostgreSQL's own limit: 131,072 digits before the point, 16,383 behind it, and a sign.
DECIMAL_CHARS_MAX = 147_457
#: Zeros that may lead a number in a URL.
_ZEROS_MAX = 20
_BOUNDS = {"ge": "minimum", "gt": "exclusiveMinimum", "le": "maximum", "lt": "exclusiveMaximum"}

_FORMATS: Mapping[Kind, Json] = {
    Kind.TEXT: {"type": "string", "pattern": NO_NUL},
    Kind.ANY: {"type": "string", "pattern": NO_NUL},
    Kind.JSON: {"type": "string", "pattern": NO_NUL},
    Kind.RANGE: {"type": "string", "pattern": NO_NUL},
    Kind.OTHER: {"type": "string", "pattern": NO_NUL},
    Kind.OPAQUE: {"type": "string", "pattern": NO_NUL},
    Kind.BOOLEAN: {"type": "boolean"},
    Kind.FLOAT: {"type": "number", "minimum": -FLOAT_MAX, "maximum": FLOAT_MAX},
    Kind.NUMERIC: {"type": "string", "pattern": DECIMAL},
    Kind.DATETIME: {"type": "string", "format": "date-time"},
    Kind.DATE: {"type": "string", "format": "date"},
    Kind.TIME: {"type": "string", "pattern": TIME},
    Kind.UUID: {"type": "string", "format": "uuid"},
    Kind.BYTES: {"type": "string", "contentEncoding": "base64", "pattern": BASE64},
}


@dataclass(frozen=True, slots=True)
class Label:
    """What a resource is called in names of operations and components: `Game` and `Games`."""

    one: str
    many: str


@dataclass(slots=True)
class Components:
    """The document's shared parts; a name is taken once, and an equal part is shared."""

    sections: dict[str, Json] = field(default_factory=dict[str, Json])

    def add(self, section: str, wanted: str, value: Any) -> Json:
        """Place a part and give back its reference."""
        held = self.sections.setdefault(section, {})
        base = re.sub(r"[^A-Za-z0-9._-]", "_", wanted)
        name, number = base, 1
        while name in held and held[name] != value:
            number += 1
            name = f"{base}{number}"
        held[name] = value
        return {"$ref": f"#/components/{section}/{name}"}


def pascal(text: str) -> str:
    """A name in PascalCase, without what an identifier cannot hold.

    Example:
        >>> pascal("high_scores")
        'HighScores'
    """
    words = re.split(r"[^A-Za-z0-9]+", text)
    return "".join(word[:1].upper() + word[1:] for word in words) or "Resource"


def singular(text: str) -> str:
    """The singular of a regular English plural; other words stay as they are.

    Example:
        >>> [singular(word) for word in ("Categories", "Addresses", "Games", "Status")]
        ['Category', 'Address', 'Game', 'Status']
    """
    if text.endswith("ies") and len(text) > 4:
        return text[:-3] + "y"
    if re.search(r"(ss|x|z|ch|sh)es$", text):
        return text[:-2]
    return text[:-1] if text.endswith("s") and not text.endswith(("ss", "us", "is")) else text


def labels_of(catalog: Catalog) -> dict[str, Label]:
    """Every resource's Label; the singular is unique."""
    found: dict[str, Label] = {}
    taken: set[str] = set()
    for name, resource in catalog.resources.items():
        many = pascal(name)
        model = resource.table.model
        # One that had another name is called by that: clients were generated with it.
        own = model is not None and resource.origin.name == name
        wanted = pascal(model.__name__ if own and model is not None else singular(many))
        one, number = wanted, 1
        while one in taken:
            number += 1
            one = f"{wanted}{number}"
        taken.add(one)
        found[name] = Label(one, many)
    return found


def value_schema(column: Column) -> Json:
    """One value of a column as text of a URL."""
    if column.kind is Kind.INTEGER:
        return _integer(column)
    if column.kind is Kind.ENUM:
        return {"type": "string", "enum": list(column.choices)}
    return dict(_FORMATS[column.kind])


def address_schema(column: Column) -> Json:
    """An integer that identifies a row, in a URL: the number, or its text.

    A route's parameter is text in most programs, and JavaScript's numbers hold 53 bits of the 64.
    """
    text = {"pattern": _whole_number(column), "maxLength": len(str(column.low)) + _ZEROS_MAX}
    return {"description": "A number, or its digits.", **_integer(column), "type": ["integer", "string"], **text}


def _whole_number(column: Column) -> str:
    """A pattern of the texts of a column's integers, the lowest one aside, which its number says."""
    digits = str(column.high)
    choices = [rf"[0-9]{{1,{len(digits) - 1}}}"]
    for at, digit in enumerate(digits):
        lowest, highest = int(at == 0), int(digit) - 1
        if lowest <= highest:
            rest = rf"[0-9]{{{len(digits) - at - 1}}}" if at + 1 < len(digits) else ""
            choices.append(f"{digits[:at]}[{lowest}-{highest}]{rest}")
    sign = "-?" if column.low < 0 else ""
    return rf"^{sign}0{{0,{_ZEROS_MAX}}}({'|'.join(choices)}|{digits})$"


def wire_schema(column: Column) -> Json:
    """A column's value in answers."""
    if column.loose:
        schema = _loose(column)
    elif column.kind is Kind.INTEGER:
        schema = _integer(column)
    elif column.kind is Kind.ENUM:
        schema: Json = {"type": "string", "enum": list(column.choices)}
    elif column.kind is Kind.NUMERIC:
        schema = {"type": "string", "pattern": _decimal_pattern(column), "maxLength": DECIMAL_CHARS_MAX}
    elif column.kind is Kind.ARRAY:
        assert column.item is not None, "an array has items"
        schema = {"type": "array", "items": wire_schema(column.item)}
    elif column.kind in (Kind.JSON, Kind.ANY):
        schema = {}
    elif column.kind is Kind.TIME:
        schema = {"type": "string", "pattern": WIRE_TIME, "maxLength": len("00:00:00.000000")}
    elif column.kind is Kind.DATETIME:
        schema = {"type": "string", "format": "date-time", "maxLength": INSTANT_CHARS_MAX}
    else:
        schema = {"type": _FORMATS[column.kind]["type"]}
        schema |= {k: v for k, v in _FORMATS[column.kind].items() if k in ("format", "contentEncoding")}
    if column.nullable:
        schema = nullable(schema)
    return _described(schema, column)


def _decimal_pattern(column: Column) -> str:
    """A decimal in answers; one of no declared size may also be none of the numbers."""
    if column.scale is None:
        return r"^(-?[0-9]+(\.[0-9]+)?|-?Infinity|NaN)$"
    return r"^-?[0-9]+" + (rf"\.[0-9]{{{column.scale}}}$" if column.scale > 0 else "$")


def nullable(schema: Json) -> Json:
    """The schema, or null."""
    if not schema:
        return schema
    types: Any = schema.get("type")
    if types is None:
        return {"anyOf": [schema, {"type": "null"}]}
    listed = cast("list[str]", types if isinstance(types, list) else [types])
    schema = schema | {"type": [*listed, *(["null"] if "null" not in listed else [])]}
    if "enum" in schema:
        schema["enum"] = [*schema["enum"], None]
    return schema


def _integer(column: Column) -> Json:
    width = "int32" if column.high < 2**31 else "int64"
    return {"type": "integer", "format": width, "minimum": column.low, "maximum": column.high}


def _loose(column: Column) -> Json:
    """An existing SQLite file may hold any value in any column; only what the SQL makes sure of is promised."""
    match column.kind:
        case Kind.JSON | Kind.ANY:
            return {}
        case Kind.BOOLEAN:
            return {"type": ["boolean", "null"]}
        case Kind.NUMERIC | Kind.UUID | Kind.BYTES:
            return {"type": ["string", "null"]}
        case Kind.INTEGER | Kind.FLOAT:
            return {"type": ["number", "string", "null"]}
        case _:
            return {"type": ["string", "number", "null"]}


def _described(schema: Json, column: Column) -> Json:
    text = column.description
    if column.loose:
        declared = f"Declared as {column.kind.value}; the file may hold other values."
        text = f"{text} {declared}".strip()
    return {"description": text, **schema} if text else schema


def row_schema(catalog: Catalog, resource: Resource, labels: Mapping[str, Label], rows_max: int) -> Json:
    """A row with every visible field and, as optional members, every related row that can be included.

    Args:
        rows_max: the most rows of a relation.
    """
    properties: Json = {name: _seen(resource, column) for name, column in resource.columns.items()}
    for name, target in catalog.ways(resource).items():
        if name in properties:
            continue
        ref = {"$ref": f"#/components/schemas/{labels[target.name].one}"}
        many = resource.relationships[name].many
        listed: Json = {"type": "array", "items": ref, "maxItems": rows_max}
        held: Json = listed if many else {"anyOf": [ref, {"type": "null"}]}
        properties[name] = {"description": f"Present with `include={name}`.", **held}
    schema: Json = {"type": "object", "properties": properties, "additionalProperties": False}
    return {"description": resource.table.description, **schema} if resource.table.description else schema


def _seen(resource: Resource, column: Column) -> Json:
    """A field as a row shows it: null, where its own rule does not hold."""
    own = resource.policy.fields.get(column.name)
    schema = wire_schema(column)
    return schema if own is None or own.read is public else nullable(schema)


def body_schema(contract: Contract, components: Components, *, without: Iterable[str] = ()) -> Json:
    """A contract's body; `without` are the fields that the path sets."""
    raw = contract.json_schema()
    definitions: Json = raw.pop("$defs", {})
    renamed = {name: _definition(name, schema, components) for name, schema in definitions.items()}
    dropped = set(without)
    properties: Json = {}
    for name, schema in raw.get("properties", {}).items():
        if name not in dropped:
            column = contract.columns[name]
            properties[name] = _body_value(_refer(schema, renamed), column)
    note = "Ignored: the server sets it. A row can be sent back as it was read."
    properties |= {n: {"description": note} for n in contract.resource.columns if n in contract.ignored}
    required = [name for name in raw.get("required", []) if name not in dropped]
    schema: Json = {"type": "object", "properties": properties, "additionalProperties": False}
    return schema | ({"required": required} if required else {})


def _definition(name: str, schema: Json, components: Components) -> str:
    """Hoist one of pydantic's definitions; returns its reference."""
    if name == "JsonValue":
        return json_value(components)["$ref"]
    return components.add("schemas", name, schema)["$ref"]


def json_value(components: Components) -> Json:
    """Any JSON without NUL, which no database can hold.

    That no item is otherwise says the same as `items`, but not to generators of TypeScript, where no member of an
    interface can be a list of that very member.
    """
    here = {"$ref": "#/components/schemas/JsonValue"}
    text = {"type": "string", "pattern": NO_NUL}
    members = {"type": "object", "propertyNames": {"pattern": NO_NUL}, "additionalProperties": here}
    listed: Json = {"type": "array", "items": {}, "not": {"contains": {"not": here}}}
    kinds = [{"type": ["null", "boolean", "number"]}, text, listed, members]
    return components.add("schemas", "JsonValue", {"description": "Any JSON value.", "anyOf": kinds})


def _refer(schema: Any, renamed: Mapping[str, str]) -> Any:
    """The schema with its references led to the components."""
    if isinstance(schema, dict):
        found = {key: _refer(value, renamed) for key, value in cast(Json, schema).items()}
        local = found.get("$ref")
        if isinstance(local, str) and local.startswith("#/$defs/"):
            found["$ref"] = renamed[local.removeprefix("#/$defs/")]
        return found
    if isinstance(schema, list):
        return [_refer(item, renamed) for item in cast("list[Any]", schema)]
    return schema


def _body_value(schema: Json, column: Column) -> Json:
    """One member of a body: pydantic's schema, made exact where pydantic says too little."""
    schema = {key: value for key, value in schema.items() if key not in ("title", "default")}
    options = cast("list[Json]", schema.pop("anyOf", []))
    chosen = [option for option in options if option != {"type": "null"}]
    if column.kind is Kind.NUMERIC:
        schema |= {"anyOf": _decimal(column)}
    elif column.kind is Kind.ANY and not column.metadata:
        schema |= {"type": ["boolean", "number", "string"], "pattern": NO_NUL}
    elif len(chosen) == 1:
        schema |= chosen[0]
    elif chosen:
        schema |= {"anyOf": [_exact(option, column) for option in chosen]}
    schema = _exact(schema, column)
    if not column.nullable or "$ref" in schema:
        return schema
    if "anyOf" in schema:
        return schema | {"anyOf": [*schema["anyOf"], {"type": "null"}]}
    return nullable(schema)


def _exact(schema: Json, column: Column) -> Json:
    if schema.get("type") == "array" and column.item is not None:
        return schema | {"items": _body_value(schema["items"], column.item)}
    if schema.get("type") == "integer":
        return {"format": _integer(column)["format"], **schema}
    if schema.get("type") != "string":
        return schema
    if column.kind is Kind.TIME:
        return {key: value for key, value in schema.items() if key != "format"} | {"pattern": TIME}
    if column.kind is Kind.BYTES:
        return schema | {"pattern": BASE64}
    if not schema.keys() & {"pattern", "format", "enum", "const"}:
        return schema | {"pattern": NO_NUL}
    return schema


def _decimal(column: Column) -> list[Json]:
    """A decimal: text is exact, a number is accepted; digits before and behind the point are bounded."""
    scale = column.scale if column.scale is not None else _SCALE_SHOWN
    whole = (column.digits if column.scale is not None else 2 * _SCALE_SHOWN) - scale
    declared = {c.kind: float(c.value) for c in constraints_of(column.metadata) if c.kind in _BOUNDS}
    sign = "" if max(declared.get("ge", -1), declared.get("gt", -1)) >= 0 else "-?"
    behind = rf"(\.[0-9]{{1,{scale}}})?" if scale > 0 else ""
    text = {"type": "string", "pattern": rf"^{sign}[0-9]{{1,{whole}}}{behind}$"}
    number: Json = {"type": "number", "minimum": 1 - 10**whole, "maximum": 10**whole - 1}
    number |= {_BOUNDS[kind]: value for kind, value in declared.items()}
    return [text, number | {"multipleOf": 10**-scale if scale > 0 else 1}]
