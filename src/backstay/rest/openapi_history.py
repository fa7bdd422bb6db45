"""The history of rows in the OpenAPI document: reading it, and undoing a change."""

from __future__ import annotations

from urllib.parse import quote

from ..schema.resource import Resource
from . import openapi_parameters as parameters
from .openapi_envelopes import cursor_meta
from .openapi_operations import Operations
from .openapi_schemas import INSTANT_CHARS_MAX, Json
from .routes import remembers, undoes
from .undo import UndoBody

#: The identifiers of PostgreSQL and SQLite alike.
_NUMBER = {"type": "integer", "format": "int64", "minimum": 1, "maximum": 2**63 - 1}
_BODY = (408, 413, 415)


def place_history(operations: Operations, resource: Resource) -> None:
    """The operations on the changes of a resource's rows."""
    if not remembers(resource):
        return
    base = f"{operations.config.base_path}/{quote(resource.name)}/{{key}}"
    key = {"parameters": [parameters.key_parameter(resource, operations.components)]}
    operations.paths[f"{base}/history"] = dict(key)
    _history(operations, resource, f"{base}/history")
    if undoes(resource):
        operations.paths[f"{base}/undo"] = dict(key)
        _undo(operations, resource, f"{base}/undo")


def _history(operations: Operations, resource: Resource, path: str) -> None:
    label, answers = operations.labels[resource.name], operations.answers
    pages = list(parameters.pages(operations.config, operations.components, keyset=True))
    change = operations.components.add("schemas", f"{label.one}Change", _change(operations, resource))
    meta = operations.components.add("schemas", "CursorMeta", cursor_meta(operations.config))
    listed = {"type": "array", "items": change, "maxItems": operations.config.page_limit_max}
    row = operations.row(resource)
    shown = {"id": 1, "position": 1, "at": "2026-11-21T01:34:00.123456+00:00", "operation": "create"}
    example = shown | {"before": None, "after": row, "actor": "user:7", "request_id": "0192f0c1-7b5e-7cc0"}
    told = answers.example([example], {"limit": 20, "next_cursor": None, "prev_cursor": None})
    content = {"application/json": {"schema": answers.envelope(listed, meta), "example": told}}
    found = {"description": "Its changes.", "headers": answers.headers("ETag", "Link"), "content": content}
    text = (
        "The newest first. What the principal could not have read of a row, by today's rules, is null. A row that is "
        "gone is found by its primary key."
    )
    operation: Json = {
        "summary": f"List the changes of a row of {resource.name}",
        "description": text,
        "security": operations.security([resource], [resource.policy.read, resource.policy.history]),
        "parameters": pages[1:3],
        "responses": {"200": found, "304": answers.not_modified(), **operations.problems(404)},
    }
    operations.add("get", path, resource.name, f"list{label.one}Changes", operation)


def _change(operations: Operations, resource: Resource) -> Json:
    image = {"anyOf": [operations.ref(resource), {"type": "null"}]}
    text = {"type": ["string", "null"]}
    properties: Json = {
        "id": {"description": "What an undo names.", **_NUMBER},
        "position": {**_NUMBER, "type": ["integer", "null"], "description": "In the change log, a moment later."},
        "at": {"type": "string", "format": "date-time", "maxLength": INSTANT_CHARS_MAX},
        "operation": {"type": "string", "enum": ["create", "update", "delete"]},
        "before": image,
        "after": image,
        "actor": {"description": "As `user:7`; null is nobody who signed in, or another program.", **text},
        "request_id": {"description": "Of the request that made it.", **text},
    }
    return {"type": "object", "properties": properties, "required": [*properties], "additionalProperties": False}


def _undo(operations: Operations, resource: Resource, path: str) -> None:
    label, answers = operations.labels[resource.name], operations.answers
    schema = UndoBody.model_json_schema()
    content: Json = {"schema": operations.components.add("schemas", "Undo", schema), "example": {"change": 1}}
    row, ref = operations.row(resource), operations.ref(resource)
    text = (
        "An update gives the fields that it touched their values again, a create deletes the row, a delete makes it "
        "again with its key. What was changed since is left as it is (409). It is a change like any other."
    )
    operation: Json = {
        "summary": f"Undo a change of a row of {resource.name}",
        "description": text,
        "security": [{name: []} for name in operations.ways],
        "requestBody": {"required": True, "content": {"application/json": content}},
        "responses": {
            "200": answers.item(ref, row, "The row as it is now."),
            "201": answers.item(ref, row, "The row, which is there again.", "Location"),
            "204": {"description": "The row is gone again.", "headers": answers.headers()},
            **operations.problems(404, 409, *_BODY),
        },
    }
    operations.add("post", path, resource.name, f"undo{label.one}Change", operation)
