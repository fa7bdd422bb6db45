"""What the OpenAPI document says of many rows at once: files of them, and writes of several."""

from __future__ import annotations

from urllib.parse import quote

import orjson

from ..errors import FIELD_ERRORS_MAX, TEXT_CHARS_MAX
from ..query.payload import Action
from ..schema.resource import Resource
from . import openapi_parameters as parameters
from .openapi_examples import body_example
from .openapi_nested import body_alone
from .openapi_operations import BODY, Operations
from .openapi_schemas import Json
from .routes import bulk_methods, collection_methods, exports


def place_bulk(operations: Operations, resource: Resource) -> None:
    """The operations of one resource's many rows."""
    base = f"{operations.config.base_path}/{quote(resource.name)}"
    if exports(resource):
        _export(operations, resource, f"{base}/export")
    methods = bulk_methods(resource)
    if "PATCH" in methods:
        _write(operations, resource, base, Action.UPDATE)
    if "DELETE" in methods:
        _write(operations, resource, base, None)
    if "POST" in collection_methods(resource):
        _import(operations, resource, f"{base}/import")


def _export(operations: Operations, resource: Resource, path: str) -> None:
    label = operations.labels[resource.name]
    sort = parameters.sort_parameter(operations.catalog, resource)
    shapes = parameters.shapes(operations.catalog, resource, operations.config)
    own = [
        parameters.query(
            "format",
            "One JSON object a line (ndjson), or comma-separated values (csv) with the names of the fields first.",
            {"enum": ["ndjson", "csv"], "default": "ndjson"},
        ),
        parameters.query(
            "safe",
            "In CSV, texts that a spreadsheet would take for formulas begin with an apostrophe.",
            {"type": "boolean", "default": False},
        ),
    ]
    row = operations.row(resource)
    # Streamed in pages: a page is bounded, and so is their number.
    text = {"type": "string", "maxLength": operations.config.export_max * operations.config.result_bytes_max}
    lines = {"schema": text, "example": orjson.dumps(row).decode() + "\n"}
    cells = {"schema": text, "example": ",".join(row) + "\r\n"}
    found = {
        "description": "All rows; the connection ends early where something fails in the middle.",
        "headers": operations.answers.headers(),
        "content": {"application/x-ndjson": lines, "text/csv": cells},
    }
    operation: Json = {
        "summary": f"Export {resource.name}",
        "description": (
            "Every row that a list with these parameters shows, page by page as it is read; at most "
            f"{operations.config.export_max} of them. A CSV has no related rows."
        ),
        "security": operations.security([resource], [resource.policy.read]),
        "parameters": [
            *(p for p in parameters.filters(resource, label, operations.components) if _name(p) not in _TAKEN),
            operations.components.add("parameters", f"{label.one}.sort", sort),
            *(operations.components.add("parameters", f"{label.one}.{p['name']}", p) for p in shapes),
            *parameters.deleted(resource, operations.components),
            *own,
        ],
        "responses": {"200": found, **operations.problems()},
    }
    operations.add("get", path, resource.name, f"export{label.many}", operation)


def _write(operations: Operations, resource: Resource, path: str, action: Action | None) -> None:
    """A change of all rows of a filter, or their deletion."""
    label, policy = operations.labels[resource.name], resource.policy
    verb = "Delete" if action is None else "Change"
    rules = [policy.delete] if action is None else [policy.update, policy.check]
    count = {"type": "integer", "minimum": 0, "maximum": operations.config.bulk_max}
    counted: Json = {
        "type": "object",
        "properties": {"count": count},
        "required": ["count"],
        "additionalProperties": False,
    }
    ref = operations.components.add("schemas", "BulkCount", counted)
    content = {"schema": operations.answers.envelope(ref), "example": operations.answers.example({"count": 3})}
    done = {
        "description": "So many rows were written.",
        "headers": operations.answers.headers(),
        "content": {"application/json": content},
    }
    operation: Json = {
        "summary": f"{verb} rows of {resource.name}",
        "description": (
            f"{verb}s all rows of a filter that the principal may {verb.lower()}, or none of them. There has to be a "
            f"filter, and it has at most {operations.config.bulk_max} rows."
        ),
        "security": operations.security([resource], (), rules),
        "parameters": list(parameters.filters(resource, label, operations.components)),
        "responses": {"200": done, **operations.problems(409, *(() if action is None else BODY))},
    }
    if action is not None:
        operation["requestBody"] = body_alone(operations, resource, action)
    name = f"{verb.lower()}{label.many}"
    operations.add("delete" if action is None else "patch", path, resource.name, name, operation)


def _import(operations: Operations, resource: Resource, path: str) -> None:
    label = operations.labels[resource.name]
    example = body_example(operations.contract(resource, Action.CREATE)) or {}
    lines = {"schema": {"type": "string"}, "example": orjson.dumps(example).decode() + "\n"}
    cells = {"schema": {"type": "string"}, "example": ",".join(example) + "\r\n"}
    number = {"type": "integer", "minimum": 0, "maximum": operations.config.body_bytes_max}
    text = {"type": "string", "maxLength": TEXT_CHARS_MAX}
    error: Json = {
        "type": "object",
        "properties": {"line": number, "field": text, "code": text, "message": text},
        "required": ["line", "field", "code", "message"],
        "additionalProperties": False,
    }
    report: Json = {
        "type": "object",
        "properties": {
            "rows": number,
            "failed": number,
            "errors": {"type": "array", "items": error, "maxItems": FIELD_ERRORS_MAX},
        },
        "required": ["rows", "failed", "errors"],
        "additionalProperties": False,
    }
    ref = operations.components.add("schemas", "ImportReport", report)
    shown = operations.answers.example({"rows": 1, "failed": 0, "errors": []})
    done = {
        "description": "What became of the rows.",
        "headers": operations.answers.headers(),
        "content": {"application/json": {"schema": operations.answers.envelope(ref), "example": shown}},
    }
    policy = resource.policy
    operation: Json = {
        "summary": f"Import {resource.name}",
        "description": (
            f"Creates the rows of a file of up to {operations.config.bulk_max}: one JSON object a line, or CSV with "
            "the names of the fields first. Rows that are refused are reported, by their line, and left out."
        ),
        "security": operations.security([resource], (), [policy.create, policy.check]),
        "requestBody": {"required": True, "content": {"application/x-ndjson": lines, "text/csv": cells}},
        "responses": {"200": done, **operations.problems(409, *BODY)},
    }
    operations.add("post", path, resource.name, f"import{label.many}", operation)


_TAKEN = frozenset({"format", "safe"})


def _name(parameter: Json) -> str:
    """A parameter's name, also that of a reference."""
    return str(parameter.get("name") or parameter["$ref"].rpartition(".")[2])
