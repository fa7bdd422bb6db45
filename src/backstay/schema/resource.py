"""Resource: a Table that the API exposes, and the Catalog of all of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..errors import OperatorError, perhaps
from .model import Column, Relationship, Schema, Table
from .policy import Policy, depends_on_row, public


@dataclass(frozen=True, slots=True, eq=False)
class Resource:
    """One exposed table.

    Attributes:
        name: its path segment.
        key: the columns that address one row, `id` or a natural key such as `slug`; empty when none can.
        hidden: columns that no front end shows or accepts; secret ones always are.
        cache_s: how long public answers may be kept; no cache uses it yet.
        require_match: changes and deletes must name the version that they are of, by If-Match.
        limit: the rate of requests of one caller, where it is not the default; see `stores.limits`.
        defaults: what a new row has in these columns where its body does not say, in an older version of the API.
        extra: fields that an older version answers and no table has.
        current: what it is in the current version of the API; `None` where it is that itself.
    """

    name: str
    table: Table
    key: tuple[Column, ...]
    policy: Policy
    hidden: frozenset[str] = frozenset()
    cache_s: int = 0
    limit: str = ""
    require_match: bool = False
    defaults: Mapping[str, Any] = field(default_factory=dict[str, Any])
    extra: Mapping[str, Column] = field(default_factory=dict[str, Column])
    current: Resource | None = None

    def __post_init__(self) -> None:
        secret = frozenset(name for name, column in self.table.columns.items() if column.secret)
        object.__setattr__(self, "hidden", self.hidden | secret)

    @property
    def columns(self) -> Mapping[str, Column]:
        """The visible columns by name."""
        if not self.hidden and not self.extra:
            return self.table.columns
        return {n: c for n, c in self.table.columns.items() if n not in self.hidden} | dict(self.extra)

    @property
    def origin(self) -> Resource:
        """It under the names of the current version, by which scopes, limits and records know it."""
        return self.current or self

    @property
    def relationships(self) -> Mapping[str, Relationship]:
        """Ways to other tables; those to tables that are not exposed are refused by the planner."""
        return self.table.relationships

    @property
    def writable(self) -> bool:
        """Whether any write can reach it."""
        return not self.table.read_only and bool(self.key)


@dataclass(frozen=True, slots=True, eq=False)
class Catalog:
    """All resources, by path segment and by table.

    Attributes:
        unserved: those that have no path in this version of the API; their rules hold all the same.
    """

    schema: Schema
    resources: Mapping[str, Resource]
    unserved: Mapping[str, Resource] = field(default_factory=dict[str, Resource])
    by_table: Mapping[str, Resource] = field(init=False)
    roles: frozenset[str] = field(init=False)
    permissions: frozenset[str] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "by_table", {r.table.name: r for r in self.resources.values()})
        policies = [r.policy for r in self.declared.values()]
        object.__setattr__(self, "roles", frozenset[str]().union(*(p.names("role") for p in policies)))
        object.__setattr__(self, "permissions", frozenset[str]().union(*(p.names("permission") for p in policies)))

    @property
    def declared(self) -> dict[str, Resource]:
        """All that have rules, whether they are served or not."""
        return {**self.unserved, **self.resources}

    def related(self, resource: Resource, name: str) -> tuple[Relationship, Resource] | None:
        """A way by its name and the resource it leads to; `None` when either is not exposed."""
        relationship = resource.relationships.get(name)
        if relationship is None:
            return None
        target = self.by_table.get(relationship.target)
        return None if target is None else (relationship, target)

    def ways(self, resource: Resource) -> dict[str, Resource]:
        """The names of all ways that lead to exposed resources."""
        found = {name: self.related(resource, name) for name in resource.relationships}
        return {name: way[1] for name, way in found.items() if way is not None}


def check_fields(resource: Resource) -> None:
    """See that rules of fields can be kept.

    Raises:
        OperatorError: a rule of a field that is not there, or whose value would show in another way.
    """
    table, columns = resource.table, resource.table.columns
    searched = table.search.columns if table.search is not None else ()
    ways = {local for way in table.relationships.values() for local, _ in way.pairs}
    for name, own in resource.policy.fields.items():
        if name not in columns:
            raise OperatorError(f"{table.name} has no column {name!r}. {perhaps(name, columns, noun='column')}")
        if own.read is public:
            continue
        sql, where = columns[name].sql, f"fields: {table.name}.{name} has a read rule"
        if columns[name] in resource.key or name in table.key:
            raise OperatorError(f"{where}, and is the key: a row that is seen has a key that is seen.")
        if sql.name in searched:
            raise OperatorError(f"{where}, and is searched: take it out of __search__.")
        if (sql in ways or sql.foreign_keys) and depends_on_row(own.read):
            hint = "let the rule say who reads it, not in which rows"
            raise OperatorError(f"{where} that depends on the row, and related rows are found by it: {hint}.")


def natural_key(table: Table, names: tuple[str, ...]) -> tuple[Column, ...]:
    """The key columns a resource is addressed by.

    Raises:
        OperatorError: a name that is no column, or a column that does not identify one row.
    """
    missing = [name for name in names if name not in table.columns]
    if missing:
        hint = perhaps(missing[0], table.columns, noun="column")
        raise OperatorError(f"key={missing[0]!r}: {table.name} has no such column. {hint}")
    columns = tuple(table.columns[name] for name in names)
    if names != table.key and not (len(columns) == 1 and columns[0].unique):
        raise OperatorError(f"key={names[0]!r} of {table.name} is not unique: declare it unique=True.")
    return columns
