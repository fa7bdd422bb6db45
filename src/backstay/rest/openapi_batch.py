"""`POST /batch` in the OpenAPI document: the operations that it takes, and what it answers of each."""

from __future__ import annotations

import re
from typing import Any, cast
from urllib.parse import quote

from ..schema.policy import nobody
from ..schema.resource import Resource
from .batch import OPERATIONS_MAX, BatchBody
from .openapi_access import optional_security
from .openapi_operations import ALWAYS, Operations
from .openapi_schemas import NO_NUL, Components, Json, json_value
from .routes import batches, collection_methods

TAG = {"name": "batch", "description": "Several requests in one transaction."}
_ABOUT = (
    "All operations in order, in one transaction: all of them or none. Paths are below this one's parent. What an "
    'operation before answered is named in bodies as `{"$ref": "order.id"}` and in paths as `{order.id}`, by its id '
    "or its number from 0. A refusal undoes the batch and says which operation it is of. With `dry_run` the answers "
    "are as they would be, and nothing remains."
)
_REFUSED = (404, 408, 409, 412, 413, 415, 428)
_ETAG = '"1-0192f0c17b5e7cc0800001234567890a"'
_SEGMENT = re.compile(r"[A-Za-z0-9_-]+\Z")


def place_batch(operations: Operations) -> bool:
    """Describe it, where it is served; returns whether it is."""
    if not operations.kept or not batches(operations.catalog):
        return False
    content = {"schema": _body(operations.components), "example": _request(operations)}
    operation: Json = {
        "summary": "Do several requests at once",
        "description": _ABOUT,
        "security": optional_security(operations.ways),
        "requestBody": {"required": True, "content": {"application/json": content}},
        "responses": {"200": _answer(operations), **operations.answers.problems([*ALWAYS, *_REFUSED])},
    }
    operations.add("post", f"{operations.config.base_path}/batch", TAG["name"], "batch", operation)
    return True


def _body(components: Components) -> Json:
    """The schema of a request: what validates it, with any JSON as the operations' bodies."""
    raw = BatchBody.model_json_schema(by_alias=True)
    any_json = json_value(components)
    members = {"type": ["object", "null"], "propertyNames": {"pattern": NO_NUL}, "additionalProperties": any_json}
    definitions: Json = raw.pop("$defs")
    definitions["BatchOperation"]["properties"]["body"] = members
    for name, schema in definitions.items():
        components.add("schemas", _component(name), _plain(schema))
    return components.add("schemas", "BatchBody", _plain(raw))


def _component(name: str) -> str:
    return name if name.startswith("Batch") else f"Batch{name}"


def _plain(node: Any) -> Any:
    """A schema without pydantic's titles and null defaults, and with its references led to the components."""
    if isinstance(node, list):
        return [_plain(item) for item in cast("list[Any]", node)]
    if not isinstance(node, dict):
        return node
    found: Json = {}
    for key, value in cast(Json, node).items():
        if key == "properties":
            found[key] = {name: _plain(schema) for name, schema in value.items()}
        elif key == "$ref" and str(value).startswith("#/$defs/"):
            found[key] = f"#/components/schemas/{_component(str(value).removeprefix('#/$defs/'))}"
        elif key != "title" and (key != "default" or value is not None):
            found[key] = _plain(value)
    return found


def _answer(operations: Operations) -> Json:
    """200: the operations' own answers."""
    answers, components = operations.answers, operations.components
    told = {name: answers.header_schema(header) for name, header in (("location", "Location"), ("etag", "ETag"))}
    status = {"type": "integer", "format": "int32", "minimum": 200, "maximum": 399}
    body = {"description": "What the operation answers by itself; null where that is nothing."}
    properties: Json = {
        "status": status,
        "headers": {"type": "object", "properties": told, "additionalProperties": False},
        "body": body | {"type": ["object", "null"], "additionalProperties": True},
    }
    closed: Json = {"type": "object", "additionalProperties": False}
    part = components.add("schemas", "BatchPart", closed | {"properties": properties, "required": [*properties]})
    count = {"type": "integer", "format": "int32", "minimum": 1, "maximum": OPERATIONS_MAX}
    counted: Json = {"dry_run": {"type": "boolean"}, "operations": count}
    meta = components.add("schemas", "BatchMeta", closed | {"properties": counted, "required": [*counted]})
    listed = {"type": "array", "items": part, "minItems": 1, "maxItems": OPERATIONS_MAX}
    parts, dry = _parts(operations), _subject(operations)[1] is None
    shown = answers.example(parts, {"dry_run": dry, "operations": len(parts)})
    content: Json = {"schema": answers.envelope(listed, meta), "example": shown}
    return {
        "description": "What each operation answers, in order.",
        "headers": answers.headers(),
        "content": {"application/json": content},
    }


def _subject(operations: Operations) -> tuple[Resource, Json | None]:
    """A resource that can be created, with a body; else the first one, without."""
    resources = [*operations.catalog.resources.values()]
    made = ((r, operations.body(r)) for r in resources if "POST" in collection_methods(r))
    return next(((resource, body) for resource, body in made if body is not None), (resources[0], None))


def _key(resource: Resource) -> str:
    """The path of the row that the first operation makes; empty where no reference can name it."""
    names = [column.name for column in resource.key]
    seen = all(name in resource.columns and _SEGMENT.match(name) for name in names)
    return ",".join(f"{{new.{name}}}" for name in names) if seen and resource.policy.read is not nobody else ""


def _request(operations: Operations) -> Json:
    """A batch that makes a row and reads it, or at least reads."""
    resource, body = _subject(operations)
    if body is None:
        return {"operations": [{"method": "GET", "path": f"/{quote(resource.name)}"}], "dry_run": True}
    made: Json = {"id": "new", "method": "POST", "path": f"/{quote(resource.name)}", "body": body}
    key = _key(resource)
    read = [{"method": "GET", "path": f"{made['path']}/{key}"}] if key else []
    return {"operations": [made, *read]}


def _parts(operations: Operations) -> list[Json]:
    """The answer to such a batch."""
    resource, body = _subject(operations)
    shown = operations.row(resource)
    read: Json = {"status": 200, "headers": {"etag": _ETAG}, "body": operations.answers.example(shown)}
    if body is None:
        return [read | {"body": operations.answers.example([shown])}]
    key = ",".join(quote(str(shown.get(column.name, 1))) for column in resource.key)
    told = {"location": f"{operations.config.base_path}/{quote(resource.name)}/{key}", "etag": _ETAG}
    return [read | {"status": 201, "headers": told}, *([read] if _key(resource) else [])]
