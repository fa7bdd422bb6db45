"""Nested writes in the OpenAPI document: the rows that a body may have beside its own, and the bodies that have none.

A row below another is written by its own fields alone, so nothing here is deeper than that.
"""

from __future__ import annotations

from ..query.payload import Action, writable_columns
from ..schema.resource import Catalog, Resource
from .nested import NESTED_MAX, REMOVED, Branch, branches
from .openapi_examples import body_example
from .openapi_operations import Operations, Parent, below
from .openapi_parameters import key_schema
from .openapi_schemas import Json, body_schema, pascal
from .routes import collection_methods, item_methods

NESTED = f"Up to {NESTED_MAX} rows that belong to it are written with it, by the name of their relation."


def nests(catalog: Catalog, resource: Resource, *, change: bool = False) -> bool:
    """Whether a body of a resource may have rows besides its own."""
    return any(_written(branch, change=change) for branch in branches(catalog, resource).values())


def nested_members(operations: Operations, resource: Resource, *, change: bool) -> Json:
    """The members of a body that are rows of relations.

    Args:
        change: of a row that is there, whose related rows can be there, too.
    """
    found: Json = {}
    for name, branch in branches(operations.catalog, resource).items():
        if not _written(branch, change=change):
            continue
        item = _item(operations, resource, branch) if change else _new(operations, resource, branch)
        text = "Rows that belong to it."
        found[name] = {"description": text, "type": "array", "items": item, "maxItems": NESTED_MAX}
    return found


def body_alone(operations: Operations, resource: Resource, action: Action) -> Json:
    """The body of a write that takes no rows besides its own."""
    contract = operations.contract(resource, action)
    content: Json = {"schema": row_alone(operations, resource, action)}
    example = body_example(contract)
    if example is not None:
        content["example"] = example
    return {"required": True, "content": {"application/json": content}}


def row_alone(operations: Operations, resource: Resource, action: Action) -> Json:
    """A row without others; a component of its own where a body may have them."""
    row = "Row" if nests(operations.catalog, resource, change=action is not Action.CREATE) else ""
    schema = body_schema(operations.contract(resource, action), operations.components)
    name = f"{operations.labels[resource.name].one}{row}{action.value.title()}"
    return operations.components.add("schemas", name, schema)


def set_by_path(resource: Resource, parent: Parent) -> frozenset[str]:
    """The columns that a row takes from the one that it belongs to."""
    pairs = parent[0].relationships[parent[1]].pairs
    columns = [resource.table.column_of(remote) for _, remote in pairs]
    return frozenset(column.name for column in columns if column is not None)


def _written(branch: Branch, *, change: bool) -> bool:
    """Whether the rules let anybody write rows of a relation with its parent's."""
    return _makes(branch) or (change and len(item_methods(branch.child)) > 1)


def _makes(branch: Branch) -> bool:
    """Whether anybody can create rows there: the reference is one that a body could have."""
    known = writable_columns(branch.child)
    return "POST" in collection_methods(branch.child) and all(remote.name in known for _, remote in branch.links)


def _item(operations: Operations, resource: Resource, branch: Branch) -> Json:
    """A row that is new, or changed, or removed; the key tells."""
    child, components = branch.child, operations.components
    name = f"{operations.labels[resource.name].one}{pascal(branch.name)}"
    keys = {column.name: key_schema(column, components) for column in child.key}
    changed: Json = {}
    if "PATCH" in item_methods(child):
        links = {remote.name for _, remote in branch.links}
        changed = body_schema(operations.contract(child, Action.UPDATE), components, without=links)["properties"]
    closed: Json = {"type": "object", "additionalProperties": False}
    kept = closed | {"properties": changed | keys, "required": [*keys]}
    forms = [components.add("schemas", f"{name}Change", kept)]
    if "DELETE" in item_methods(child):
        gone = closed | {"properties": keys | {REMOVED: {"const": True}}, "required": [*keys, REMOVED]}
        forms.append(components.add("schemas", f"{name}Removal", gone))
    if _makes(branch):
        forms = [*_unnamed(operations, resource, branch), *forms]
    return components.add("schemas", f"{name}Item", {"oneOf": forms})


def _new(operations: Operations, resource: Resource, branch: Branch) -> Json:
    """A row that is made with the one it belongs to; the path below that takes the same, if it nests nothing."""
    parent = (resource, branch.name)
    schema = _create(operations, parent, branch)
    if nests(operations.catalog, branch.child):
        name = f"{operations.labels[resource.name].one}{pascal(branch.name)}New"
        return operations.components.add("schemas", name, schema)
    return operations.components.add("schemas", f"{below(operations, parent)}Create", schema)


def _unnamed(operations: Operations, resource: Resource, branch: Branch) -> list[Json]:
    """The same in a change, where a key names a row that is there; none where a new row has to have one."""
    schema = _create(operations, (resource, branch.name), branch)
    keys = {column.name for column in branch.child.key}
    if not keys <= schema["properties"].keys():
        return [_new(operations, resource, branch)]
    if keys <= {*schema.get("required", ())}:
        return []
    left = {name: value for name, value in schema["properties"].items() if name not in keys}
    name = f"{operations.labels[resource.name].one}{pascal(branch.name)}Unnamed"
    return [operations.components.add("schemas", name, schema | {"properties": left})]


def _create(operations: Operations, parent: Parent, branch: Branch) -> Json:
    contract = operations.contract(branch.child, Action.CREATE)
    return body_schema(contract, operations.components, without=set_by_path(branch.child, parent))
