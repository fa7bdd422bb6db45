"""The operations that write one row of a resource, in the OpenAPI document."""

from __future__ import annotations

from ..query.payload import Action
from ..schema.resource import Resource
from .nested import REMOVED
from .openapi_examples import body_example
from .openapi_nested import NESTED, nested_members, nests, row_alone, set_by_path
from .openapi_operations import BODY, Operations, Parent, named, sentences
from .openapi_schemas import Json, body_schema
from .put_new import makes_rows
from .replies import ETAGS_BYTES_MAX


def _conditions(operations: Operations, resource: Resource) -> Json:
    """What a change or a delete says of the row as its writer knew it."""
    if resource.table.version is None:
        return {}
    needed = resource.require_match
    text = "The ETag of the row as it was read, or `*`; a row that has been changed since is left as it is (412)."
    schema = {"type": "string", "maxLength": ETAGS_BYTES_MAX}
    header = {"name": "If-Match", "in": "header", "required": needed, "description": text, "schema": schema}
    return {"parameters": [operations.components.add("parameters", "If-Match", header)]}


def _create_only() -> Json:
    text = "`*` makes a row with this key, and leaves one that is there as it is (412)."
    schema = {"type": "string", "maxLength": ETAGS_BYTES_MAX}
    return {"name": "If-None-Match", "in": "header", "description": text, "schema": schema}


def _unmet(resource: Resource) -> tuple[int, ...]:
    """The statuses of conditions that do not hold, or are not there."""
    return (412, 428) if resource.require_match else (412,) if resource.table.version is not None else ()


def place_create(operations: Operations, resource: Resource, path: str, parent: Parent | None = None) -> None:
    """`POST` of a row, at the top or below a parent; at the top of several rows, too."""
    policy = resource.policy
    reads = [parent[0].policy.read] if parent else []
    name, summary = named(operations, "create", resource, parent)
    text = "The path sets the reference, the body must not." if parent else "Answers with the row as it is stored."
    owned = [NESTED] if nests(operations.catalog, resource) else []
    several = [] if parent else [_several(operations)]
    more = [409, *BODY, *([404] if parent or owned else [])]
    answers, ref = operations.answers, operations.ref(resource)
    one = answers.item(ref, operations.row(resource), "The new row.", *(["Location"] if parent else []))
    operation: Json = {
        "summary": summary,
        "description": sentences(resource.table.description, text, *owned, *several),
        "security": operations.security(
            [resource, *([parent[0]] if parent else [])], reads, [policy.create, policy.check]
        ),
        "requestBody": _create_body(operations, resource, name.removeprefix("create"), parent),
        "responses": {
            "201": one if parent else answers.several(one, ref, operations.config.bulk_max),
            **operations.problems(*more),
        },
    }
    operations.add("post", path, resource.name, name, operation)


def _several(operations: Operations) -> str:
    most = operations.config.bulk_max
    return f"A list of 1 to {most} rows creates all of them or none, and the answer is a list."


def _create_body(operations: Operations, resource: Resource, name: str, parent: Parent | None) -> Json:
    """A row with those that belong to it; at the top, or a list of rows alone."""
    body = request_body(operations, resource, Action.CREATE, f"{name}Create", parent)
    if parent is not None:
        return body
    content = body["content"]["application/json"]
    rows = row_alone(operations, resource, Action.CREATE)
    listed = {"type": "array", "items": rows, "minItems": 1, "maxItems": operations.config.bulk_max}
    content["schema"] = {"oneOf": [content["schema"], listed]}
    return body


def request_body(
    operations: Operations, resource: Resource, action: Action, name: str, parent: Parent | None = None
) -> Json:
    """The body of a write of one row, by its contract, with the rows that may be written with it."""
    contract = operations.contract(resource, action)
    without = set_by_path(resource, parent) if parent else frozenset[str]()
    schema = body_schema(contract, operations.components, without=without)
    schema["properties"] |= nested_members(operations, resource, change=action is not Action.CREATE)
    content: Json = {"schema": operations.components.add("schemas", name, schema)}
    example = body_example(contract)
    if example is not None:
        content["example"] = {k: v for k, v in example.items() if k not in without}
    return {"required": True, "content": {"application/json": content}}


def _owned(operations: Operations, resource: Resource, *, whole: bool) -> list[str]:
    """What a change does with the rows of a relation that its body names."""
    if not nests(operations.catalog, resource, change=True):
        return []
    rest = "removed" if whole else "left"
    return [NESTED, f"One with a key is changed, one with `{REMOVED}` removed, others are new; the rest is {rest}."]


def place_change(operations: Operations, resource: Resource, path: str, action: Action) -> None:
    """`PATCH` or `PUT` of a row."""
    label = operations.labels[resource.name]
    policy = resource.policy
    whole = action is Action.REPLACE
    texts = {
        Action.UPDATE: "Absent fields stay as they are; null is null.",
        Action.REPLACE: "Absent fields take their default, or null.",
    }
    operation: Json = {
        "summary": f"{'Replace' if whole else 'Change'} a row of {resource.name}",
        "description": sentences(texts[action], *_owned(operations, resource, whole=whole)),
        "security": operations.security([resource], (), [policy.update, policy.check]),
        **_conditions(operations, resource),
        "requestBody": request_body(operations, resource, action, f"{label.one}{action.value.title()}"),
        "responses": {
            "200": operations.answers.item(
                operations.ref(resource), operations.row(resource), "The row as it is now."
            ),
            **operations.problems(404, 409, *_unmet(resource), *BODY),
        },
    }
    if whole and makes_rows(resource):
        _make(operations, resource, operation)
    operations.add("put" if whole else "patch", path, resource.name, f"{action.value}{label.one}", operation)


def _make(operations: Operations, resource: Resource, operation: Json) -> None:
    """What a replacement does besides where its path may make the row."""
    operation["description"] += " With `If-None-Match: *` it makes a row and changes none; the path sets the key."
    made = operations.components.add("parameters", "CreateOnly", _create_only())
    operation["parameters"] = [*operation.get("parameters", ()), made]
    row, ref = operations.row(resource), operations.ref(resource)
    operation["responses"]["201"] = operations.answers.item(ref, row, "The new row.", "Location")
    operation["responses"] |= operations.problems(412)


def place_delete(operations: Operations, resource: Resource, path: str) -> None:
    """`DELETE` of a row."""
    label = operations.labels[resource.name]
    softly = resource.table.deleted is not None
    text = "It can be restored." if softly else "A row that others refer to is kept (409)."
    operation: Json = {
        "summary": f"Delete a row of {resource.name}",
        "description": text,
        "security": operations.security([resource], (), [resource.policy.delete]),
        **_conditions(operations, resource),
        "responses": {
            "204": {"description": "The row is gone.", "headers": operations.answers.headers()},
            **operations.problems(404, 409, *_unmet(resource)),
        },
    }
    operations.add("delete", path, resource.name, f"delete{label.one}", operation)


def place_restore(operations: Operations, resource: Resource, path: str) -> None:
    """`POST` that restores a row."""
    label = operations.labels[resource.name]
    operation: Json = {
        "summary": f"Restore a row of {resource.name}",
        "description": "A row that was deleted is there again.",
        "security": operations.security([resource], (), [resource.policy.restore]),
        "responses": {
            "200": operations.answers.item(
                operations.ref(resource), operations.row(resource), "The row, which is there again."
            ),
            **operations.problems(404, 409),
        },
    }
    operations.add("post", path, resource.name, f"restore{label.one}", operation)
