"""Bounds for what the document leaves open: no text or list is longer than what carries it.

A value in a URL is not longer than the longest URL, one in a body not than the largest body, one in an answer not
than the largest answer: the frame refuses what is. What has a bound of its own keeps it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

from ..config import Config
from .openapi_schemas import Json

METHODS = ("get", "put", "post", "delete", "options", "head", "patch", "trace")
#: What custom endpoints stream is their own affair.
_BOUNDED = ("application/json", "application/problem+json")
_ONE = ("items", "unevaluatedItems", "additionalProperties", "contains", "propertyNames", "not", "if", "then", "else")
_LISTED = ("anyOf", "oneOf", "allOf", "prefixItems")
_NAMED = ("properties", "patternProperties", "$defs", "dependentSchemas")
#: Formats whose texts have one length (RFC 9562, RFC 3339 full-date).
_LENGTHS = {"uuid": 36, "date": 10}
_WIDTHS = {"int32": 31, "int64": 63}


def operations_of(document: Json) -> Iterator[Json]:
    """Every operation."""
    for item in document["paths"].values():
        yield from (item[method] for method in METHODS if method in item)


def close(document: Json, config: Config) -> None:
    """Bound what is open, in place. A schema that answers and bodies share has the bound of answers, true of both."""
    for parameter in _parameters(document):
        chars = config.url_bytes_max if parameter["in"] in ("query", "path") else None
        _close(document, parameter.get("schema", {}), chars, set())
    seen: set[int] = set()
    for operation in operations_of(document):
        for response in operation.get("responses", {}).values():
            _close_content(document, resolved(document, response), config.result_bytes_max, seen, _BOUNDED)
    for operation in operations_of(document):
        body = resolved(document, operation.get("requestBody", {}))
        _close_content(document, body, config.body_bytes_max, seen)


def _parameters(document: Json) -> Iterator[Json]:
    for item in (*document["paths"].values(), *operations_of(document)):
        for parameter in item.get("parameters", ()):
            yield resolved(document, parameter)


def resolved(document: Json, node: Json) -> Json:
    """The part behind a reference."""
    while "$ref" in node:
        target: Any = document
        for part in str(node["$ref"]).removeprefix("#/").split("/"):
            target = target[part]
        node = cast(Json, target)
    return node


def _close_content(document: Json, holder: Json, chars: int, seen: set[int], bounded: tuple[str, ...] = ()) -> None:
    """Bound the schemas of some media types; of all, where none is named."""
    for media, content in holder.get("content", {}).items():
        if not bounded or media in bounded:
            _close(document, content.get("schema", {}), chars, seen)


def _close(document: Json, node: Any, chars: int | None, seen: set[int]) -> None:
    """Bound a schema and what it consists of.

    Args:
        chars: the longest text; `None` bounds nothing.
        seen: the schemas that are done, for they may be recursive.
    """
    if not isinstance(node, dict):
        return
    schema = resolved(document, cast(Json, node))
    if id(schema) in seen:
        return
    seen.add(id(schema))
    _name_width(schema)
    if chars is not None:
        _bound(schema, chars)
    parts = [schema[word] for word in _ONE if word in schema]
    parts += [part for word in _LISTED for part in schema.get(word, ())]
    parts += [part for word in _NAMED for part in schema.get(word, {}).values()]
    for part in parts:
        _close(document, part, chars, seen)


def _bound(schema: Json, chars: int) -> None:
    types: Any = schema.get("type", ())
    types = (types,) if isinstance(types, str) else types
    if "string" in types and not schema.keys() & {"maxLength", "enum", "const"}:
        schema["maxLength"] = _LENGTHS.get(schema.get("format", ""), chars)
    if "array" in types and "maxItems" not in schema:
        choices = schema.get("items", {}).get("enum") if schema.get("uniqueItems") else None
        # An item is a character or more, and a comma is before every item but the first.
        schema["maxItems"] = len(choices) if choices else chars // 2 + 1


def _name_width(schema: Json) -> None:
    if schema.get("type") != "integer" or not schema.keys() >= {"minimum", "maximum"}:
        return
    for word in ("minimum", "maximum"):
        schema[word] = _whole(schema[word])
    widest = max(-schema["minimum"] - 1, schema["maximum"])
    found = next((name for name, bits in _WIDTHS.items() if widest < 2**bits), None)
    if found is not None:
        schema.setdefault("format", found)


def _whole(bound: float) -> int:
    """FastAPI writes bounds as doubles, of which the nearest to the largest 64-bit integer is larger than it."""
    return 2**63 - 1 if bound == 2.0**63 else int(bound)
