"""What the OpenAPI document says of many rows at once: files of them, and writes of several."""

from __future__ import annotations

from urllib.parse import quote

import orjson

from ..schema.resource import Resource
from . import openapi_parameters as parameters
from .openapi_operations import Operations
from .openapi_schemas import Json
from .routes import exports


def place_bulk(operations: Operations, resource: Resource) -> None:
    """The operations of one resource's many rows."""
    base = f"{operations.config.base_path}/{quote(resource.name)}"
    if exports(resource):
        _export(operations, resource, f"{base}/export")


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
    lines = {"schema": {"type": "string"}, "example": orjson.dumps(row).decode() + "\n"}
    cells = {"schema": {"type": "string"}, "example": ",".join(row) + "\r\n"}
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


_TAKEN = frozenset({"format", "safe"})


def _name(parameter: Json) -> str:
    """A parameter's name, also that of a reference."""
    return str(parameter.get("name") or parameter["$ref"].rpartition(".")[2])
