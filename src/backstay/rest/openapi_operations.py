"""What the operations of the OpenAPI document share: where they are collected, and what each of them may answer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..config import Config
from ..query.payload import Action, Contract
from ..schema.resource import Catalog, Resource
from .nested import NESTED_MAX
from .openapi_access import BEARER, Rule, open_to_all, optional_security, readable_by_all
from .openapi_examples import body_example, row_example
from .openapi_idempotency import SAFE, keyed
from .openapi_responses import Answers
from .openapi_schemas import Components, Json, Label, pascal, row_schema, singular

#: 403 too: a credential may have no scope for what is open to everybody.
ALWAYS = (400, 401, 403, 406, 414, 429, 431, 500, 503)
#: What a request with a body may be refused with, too.
BODY = (408, 413, 415)
#: A resource, and the relation of it that leads to the rows below one of its own.
Parent = tuple[Resource, str]


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
    most = max(operations.config.page_limit_max, NESTED_MAX)
    for name, resource in operations.catalog.resources.items():
        schema = row_schema(operations.catalog, resource, operations.labels, most)
        operations.components.add("schemas", operations.labels[name].one, schema)


def sentences(*parts: str) -> str:
    """Texts as one, each closed by a full stop."""
    closed = [part if part.endswith((".", "!", "?")) else f"{part}." for part in parts if part]
    return " ".join(closed)


def json_answer(description: str, schema: Json, example: Any, answers: Answers) -> Json:
    """An answer of the frame that is no resource's."""
    content = {"application/json": {"schema": schema, "example": example}}
    return {"description": description, "headers": answers.headers(), "content": content}


def named(operations: Operations, verb: str, resource: Resource, parent: Parent | None) -> tuple[str, str]:
    """(operation id, summary) of a list or a create, at the top or below a row."""
    label = operations.labels[resource.name]
    word = label.many if verb == "list" else label.one
    noun = resource.name if verb == "list" else f"a row of {resource.name}"
    if parent is None:
        return f"{verb}{word}", f"{verb.title()} {noun}"
    owner = operations.labels[parent[0].name].one
    summary = f"{verb.title()} {noun} of one {owner} ({parent[1]})"
    return f"{verb}{owner}{pascal(parent[1])}" if verb == "list" else f"{verb}{below(operations, parent)}", summary


def below(operations: Operations, parent: Parent) -> str:
    """What a row of a relation is called, in names of operations and components: `GameScore`."""
    return f"{operations.labels[parent[0].name].one}{singular(pascal(parent[1]))}"
