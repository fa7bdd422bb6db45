"""The operations of one resource in the OpenAPI document: exactly the endpoints that `routes` serves."""

from __future__ import annotations

from urllib.parse import quote

from ..query.payload import Action
from ..schema.policy import nobody
from ..schema.resource import Resource
from . import openapi_parameters as parameters
from .openapi_operations import Operations, Parent, named, sentences
from .openapi_schemas import Json
from .openapi_writes import place_change, place_create, place_delete, place_restore
from .replies import ETAGS_BYTES_MAX
from .routes import RESTORE, collection_methods, item_methods, nested_lists, restores

_FILTERS = (
    "Filters are `field=value` and `field[op]=value`; paths through relations work too (`player.username=ada`, "
    "`scores.value[gt]=9` for any related row), and so do `or=(…)` and `and=(…)`. Unknown parameters are refused."
)


def place(operations: Operations, resource: Resource) -> None:
    """All operations of one resource."""
    base = f"{operations.config.base_path}/{quote(resource.name)}"
    _list(operations, resource, base)
    if "POST" in collection_methods(resource):
        place_create(operations, resource, base)
    _aggregate(operations, resource, f"{base}/aggregate")
    methods = item_methods(resource)
    if not methods:
        return
    path = f"{base}/{{key}}"
    operations.paths[path] = {"parameters": [parameters.key_parameter(resource, operations.components)]}
    _read(operations, resource, path)
    if "PATCH" in methods:
        place_change(operations, resource, path, Action.UPDATE)
        place_change(operations, resource, path, Action.REPLACE)
    if "DELETE" in methods:
        place_delete(operations, resource, path)
    if restores(resource):
        below = f"{path}/{RESTORE.decode()}"
        operations.paths[below] = {"parameters": [parameters.key_parameter(resource, operations.components)]}
        place_restore(operations, resource, below)
    for relation, child, creates in nested_lists(operations.catalog, resource):
        below = f"{path}/{quote(relation)}"
        operations.paths[below] = {"parameters": [parameters.key_parameter(resource, operations.components)]}
        _list(operations, child, below, (resource, relation))
        if creates:
            place_create(operations, child, below, (resource, relation))


def _if_none_match() -> Json:
    text = "ETags that the caller has; the answer is 304 when one of them still holds."
    schema = {"type": "string", "maxLength": ETAGS_BYTES_MAX}
    return {"name": "If-None-Match", "in": "header", "description": text, "schema": schema}


def _pruned(resource: Resource) -> tuple[int, ...]:
    """The status of a past that is not kept."""
    return () if resource.policy.history is nobody else (410,)


def _list(operations: Operations, resource: Resource, path: str, parent: Parent | None = None) -> None:
    label = operations.labels[resource.name]
    answers = operations.answers
    seen = [resource, *([parent[0]] if parent else [])]
    example = [operations.row(resource)]
    keyset = bool(resource.table.key)
    sort = parameters.sort_parameter(operations.catalog, resource)
    listed = [
        *parameters.filters(resource, label, operations.components),
        operations.components.add("parameters", f"{label.one}.sort", sort),
        *parameters.pages(operations.config, operations.components, keyset=keyset),
        *(
            operations.components.add("parameters", f"{label.one}.{p['name']}", p)
            for p in parameters.shapes(operations.catalog, resource, operations.config)
        ),
        *parameters.deleted(resource, operations.components),
        *parameters.past(resource, operations.components),
        operations.components.add("parameters", "If-None-Match", _if_none_match()),
    ]
    name, summary = named(operations, "list", resource, parent)
    operation: Json = {
        "summary": summary,
        "description": sentences(resource.table.description, _FILTERS),
        "security": operations.security(seen, [r.policy.read for r in seen]),
        "parameters": listed,
        "responses": {
            "200": answers.page(operations.ref(resource), example, f"A page of {resource.name}.", keyset=keyset),
            "304": answers.not_modified(),
            **operations.problems(*([404] if parent else []), *_pruned(resource)),
        },
    }
    operations.add("get", path, resource.name, name, operation)


def _aggregate(operations: Operations, resource: Resource, path: str) -> None:
    label = operations.labels[resource.name]
    answers = operations.answers
    value = {"type": ["string", "number", "boolean", "null"]}
    row = {"type": "object", "description": "Groups and measures by name.", "additionalProperties": value}
    ref = operations.components.add("schemas", "AggregateRow", row)
    operation: Json = {
        "summary": f"Aggregate {resource.name}",
        "description": f"Counts, sums, averages and extremes of groups of rows. {_FILTERS}",
        "security": operations.security([resource], [resource.policy.read]),
        "parameters": [
            *parameters.filters(resource, label, operations.components),
            *parameters.aggregates(operations.catalog, resource),
            *parameters.pages(operations.config, operations.components, keyset=False),
            *parameters.deleted(resource, operations.components),
            operations.components.add("parameters", "If-None-Match", _if_none_match()),
        ],
        "responses": {
            "200": answers.page(ref, [{"count": 42}], "Groups with their measures.", keyset=False),
            "304": answers.not_modified(),
            **operations.problems(),
        },
    }
    operations.add("get", path, resource.name, f"aggregate{label.many}", operation)


def _read(operations: Operations, resource: Resource, path: str) -> None:
    label = operations.labels[resource.name]
    shaping = [
        p
        for p in parameters.shapes(operations.catalog, resource, operations.config)
        if p["name"] in ("include",) or p["name"].startswith("fields")
    ]
    refs = [operations.components.add("parameters", f"{label.one}.{p['name']}", p) for p in shaping]
    operation: Json = {
        "summary": f"Read a row of {resource.name}",
        "description": sentences(resource.table.description, "A row that the principal may not see is not found."),
        "security": operations.security([resource], [resource.policy.read]),
        "parameters": [
            *refs,
            *parameters.deleted(resource, operations.components),
            *parameters.past(resource, operations.components),
            operations.components.add("parameters", "If-None-Match", _if_none_match()),
        ],
        "responses": {
            "200": operations.answers.item(operations.ref(resource), operations.row(resource), "The row."),
            "304": operations.answers.not_modified(),
            **operations.problems(404, *_pruned(resource)),
        },
    }
    operations.add("get", path, resource.name, f"get{label.one}", operation)
