"""The operations of one resource in the OpenAPI document: exactly the endpoints that `routes` serves."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from ..config import Config
from ..query.payload import Action, Contract
from ..schema.policy import nobody
from ..schema.resource import Catalog, Resource
from . import openapi_parameters as parameters
from .openapi_access import BEARER, Rule, open_to_all, optional_security, readable_by_all
from .openapi_examples import body_example, row_example
from .openapi_idempotency import SAFE, keyed
from .openapi_responses import Answers
from .openapi_schemas import Components, Json, Label, body_schema, pascal, row_schema, singular
from .put_new import makes_rows
from .replies import ETAGS_BYTES_MAX
from .routes import RESTORE, collection_methods, item_methods, nested_lists, restores

#: 403 too: a credential may have no scope for what is open to everybody.
ALWAYS = (400, 401, 403, 406, 414, 429, 431, 500, 503)
#: What a request with a body may be refused with, too.
BODY = (408, 413, 415)
_FILTERS = (
    "Filters are `field=value` and `field[op]=value`; paths through relations work too (`player.username=ada`, "
    "`scores.value[gt]=9` for any related row), and so do `or=(…)` and `and=(…)`. Unknown parameters are refused."
)


@dataclass(slots=True)
class Operations:
    """Collects the paths of all resources; holds what they share.

    Attributes:
        ways: the names of the security schemes, of which a request uses one.
        kept: whether the answers of writes are kept, for requests that are sent again.
    """

    catalog: Catalog
    config: Config
    labels: Mapping[str, Label]
    answers: Answers
    components: Components
    ways: tuple[str, ...] = (BEARER,)
    kept: bool = False
    paths: dict[str, Json] = field(default_factory=dict[str, Json])
    taken: set[str] = field(default_factory=set[str])
    contracts: dict[tuple[str, Action], Contract] = field(default_factory=dict[tuple[str, Action], Contract])
    rows: dict[str, Json] = field(default_factory=dict[str, Json])

    def contract(self, resource: Resource, action: Action) -> Contract:
        """A resource's contract; pydantic schemas are dear, so each is built once."""
        key = (resource.name, action)
        if key not in self.contracts:
            self.contracts[key] = Contract(resource, action)
        return self.contracts[key]

    def row(self, resource: Resource) -> Json:
        """A row as an example."""
        if resource.name not in self.rows:
            self.rows[resource.name] = row_example(resource, self.body(resource))
        return self.rows[resource.name]

    def body(self, resource: Resource) -> Json | None:
        """The body of a create as an example."""
        return body_example(self.contract(resource, Action.CREATE))

    def security(
        self, resources: Iterable[Resource], reads: Iterable[Rule], writes: Iterable[Rule] = ()
    ) -> list[Json]:
        """Who may ask: anybody, or who signs in by one of the ways; a tenant's rows are nobody else's."""
        free = all(resource.table.tenant is None for resource in resources)
        free = free and all(readable_by_all(rule) for rule in reads) and all(open_to_all(rule) for rule in writes)
        return optional_security(self.ways) if free else [{name: []} for name in self.ways]

    def problems(self, *more: int) -> Json:
        """The refusals of an endpoint."""
        return self.answers.problems([*ALWAYS, *more])

    def ref(self, resource: Resource) -> Json:
        """The row schema of a resource."""
        return {"$ref": f"#/components/schemas/{self.labels[resource.name].one}"}

    def add(self, method: str, path: str, tag: str, name: str, operation: Json) -> None:
        """Place an operation under a unique id."""
        chosen, number = name, 1
        while chosen in self.taken:
            number += 1
            chosen = f"{name}{number}"
        self.taken.add(chosen)
        if self.kept and method not in SAFE:
            operation = keyed(operation, self.answers, self.components)
        self.paths.setdefault(path, {})[method] = {"operationId": chosen, "tags": [tag], **operation}


def place_rows(operations: Operations) -> None:
    """The row schemas come first, so that no other component takes their names."""
    for name, resource in operations.catalog.resources.items():
        schema = row_schema(operations.catalog, resource, operations.labels, operations.config.page_limit_max)
        operations.components.add("schemas", operations.labels[name].one, schema)


def place(operations: Operations, resource: Resource) -> None:
    """All operations of one resource."""
    base = f"{operations.config.base_path}/{quote(resource.name)}"
    _list(operations, resource, base)
    if "POST" in collection_methods(resource):
        _create(operations, resource, base)
    _aggregate(operations, resource, f"{base}/aggregate")
    methods = item_methods(resource)
    if not methods:
        return
    path = f"{base}/{{key}}"
    operations.paths[path] = {"parameters": [parameters.key_parameter(resource, operations.components)]}
    _read(operations, resource, path)
    if "PATCH" in methods:
        _change(operations, resource, path, Action.UPDATE)
        _change(operations, resource, path, Action.REPLACE)
    if "DELETE" in methods:
        _delete(operations, resource, path)
    if restores(resource):
        below = f"{path}/{RESTORE.decode()}"
        operations.paths[below] = {"parameters": [parameters.key_parameter(resource, operations.components)]}
        _restore(operations, resource, below)
    for relation, child, creates in nested_lists(operations.catalog, resource):
        below = f"{path}/{quote(relation)}"
        operations.paths[below] = {"parameters": [parameters.key_parameter(resource, operations.components)]}
        _list(operations, child, below, (resource, relation))
        if creates:
            _create(operations, child, below, (resource, relation))


Parent = tuple[Resource, str]


def _if_none_match() -> Json:
    text = "ETags that the caller has; the answer is 304 when one of them still holds."
    schema = {"type": "string", "maxLength": ETAGS_BYTES_MAX}
    return {"name": "If-None-Match", "in": "header", "description": text, "schema": schema}


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
    name, summary, below = _below(operations, "list", resource, parent)
    operation: Json = {
        "summary": summary,
        "description": _sentences(resource.table.description, _FILTERS),
        "security": operations.security(seen, [r.policy.read for r in seen]),
        "parameters": listed,
        "responses": {
            "200": answers.page(operations.ref(resource), example, f"A page of {resource.name}.", keyset=keyset),
            "304": answers.not_modified(),
            **operations.problems(*([404] if below else []), *_pruned(resource)),
        },
    }
    operations.add("get", path, resource.name, name, operation)


def _below(operations: Operations, verb: str, resource: Resource, parent: Parent | None) -> tuple[str, str, bool]:
    """(operation id, summary, whether it is nested) of a list or a create."""
    label = operations.labels[resource.name]
    word = label.many if verb == "list" else label.one
    noun = resource.name if verb == "list" else f"a row of {resource.name}"
    if parent is None:
        return f"{verb}{word}", f"{verb.title()} {noun}", False
    owner = operations.labels[parent[0].name].one
    way = pascal(parent[1])
    name = f"{verb}{owner}{way if verb == 'list' else singular(way)}"
    return name, f"{verb.title()} {noun} of one {owner} ({parent[1]})", True


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
        "description": _sentences(resource.table.description, "A row that the principal may not see is not found."),
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


def _create(operations: Operations, resource: Resource, path: str, parent: Parent | None = None) -> None:
    label = operations.labels[resource.name]
    policy = resource.policy
    reads = [parent[0].policy.read] if parent else []
    writes = [policy.create, policy.check]
    without = _set_by_path(resource, parent) if parent else ()
    contract = operations.contract(resource, Action.CREATE)
    name, summary, below = _below(operations, "create", resource, parent)
    wanted = f"{name.removeprefix('create') if below else label.one}Create"
    body = request_body(operations, contract, wanted, without)
    text = "The path sets the reference, the body must not." if below else "Answers with the row as it is stored."
    more = [409, *BODY, *([404] if below else [])]
    operation: Json = {
        "summary": summary,
        "description": _sentences(resource.table.description, text),
        "security": operations.security([resource, *([parent[0]] if parent else [])], reads, writes),
        "requestBody": body,
        "responses": {
            "201": operations.answers.item(
                operations.ref(resource), operations.row(resource), "The new row.", "Location"
            ),
            **operations.problems(*more),
        },
    }
    operations.add("post", path, resource.name, name, operation)


def _set_by_path(resource: Resource, parent: Parent) -> list[str]:
    """The columns that a nested create takes from its parent."""
    pairs = parent[0].relationships[parent[1]].pairs
    columns = [resource.table.column_of(remote) for _, remote in pairs]
    return [column.name for column in columns if column is not None]


def request_body(operations: Operations, contract: Contract, name: str, without: Iterable[str] = ()) -> Json:
    """The body of a write, by its contract."""
    schema = body_schema(contract, operations.components, without=without)
    content: Json = {"schema": operations.components.add("schemas", name, schema)}
    example = body_example(contract)
    if example is not None:
        content["example"] = {k: v for k, v in example.items() if k not in set(without)}
    return {"required": True, "content": {"application/json": content}}


def _change(operations: Operations, resource: Resource, path: str, action: Action) -> None:
    label = operations.labels[resource.name]
    policy = resource.policy
    whole = action is Action.REPLACE
    texts = {
        Action.UPDATE: "Absent fields stay as they are; null is null.",
        Action.REPLACE: "Absent fields take their default, or null.",
    }
    operation: Json = {
        "summary": f"{'Replace' if whole else 'Change'} a row of {resource.name}",
        "description": texts[action],
        "security": operations.security([resource], (), [policy.update, policy.check]),
        **_conditions(operations, resource),
        "requestBody": request_body(
            operations, operations.contract(resource, action), f"{label.one}{action.value.title()}"
        ),
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


def _delete(operations: Operations, resource: Resource, path: str) -> None:
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


def _restore(operations: Operations, resource: Resource, path: str) -> None:
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


def _sentences(*parts: str) -> str:
    closed = [part if part.endswith((".", "!", "?")) else f"{part}." for part in parts if part]
    return " ".join(closed)


def json_answer(description: str, schema: Json, example: Any, answers: Answers) -> Json:
    """An answer of the frame that is no resource's."""
    content = {"application/json": {"schema": schema, "example": example}}
    return {"description": description, "headers": answers.headers(), "content": content}
