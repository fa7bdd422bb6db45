"""What a standing may see: the rows of a resource, its fields, and the ways between resources.

Every name in a plan is looked up here, so that what is not to be seen cannot be said: a field that is hidden from a
principal is unknown to it, and one that is hidden in some rows is null there, also to filters, sorts and aggregates.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import sqlalchemy as sa

from ..schema.model import Column, Relationship, Table
from ..schema.policy import FieldRule, Folded, Policy, Standing, fold, me, public
from ..schema.resource import Catalog, Resource
from .ir import Deleted
from .payload import writable_columns
from .plan import Referrer, Source, both


@dataclass(slots=True)
class Sight:
    """One standing's view of a Catalog; of the past, where rows have to fulfil the rule of their history too."""

    catalog: Catalog
    standing: Standing
    past: bool = False
    _columns: dict[str, Mapping[str, Column]] = field(default_factory=dict[str, Mapping[str, Column]])

    def source(self, resource: Resource, deleted: Deleted = Deleted.HIDDEN) -> Source:
        """The visible rows of a resource; the only way to name rows in a plan."""
        covered = self.standing.covers(resource.origin.name, "read")
        rule = covered and fold(resource.policy.read, self.standing)
        if self.past:
            rule = both(rule, fold(resource.policy.history, self.standing))
        return Source(resource, both(rule, self.scope(resource, deleted)))

    def scope(self, resource: Resource, deleted: Deleted = Deleted.HIDDEN) -> Folded:
        """What holds of every row in sight, whatever the rules say: its tenant, and that it is not deleted."""
        rule = in_tenant(resource.table, self.standing)
        if resource.table.deleted is None:
            return rule
        moment = resource.table.columns[resource.table.deleted].sql
        if deleted is Deleted.HIDDEN:
            return both(rule, moment.is_(None))
        restorable = both(moment.is_not(None), fold(resource.policy.restore, self.standing))
        if deleted is Deleted.ONLY or isinstance(restorable, bool):
            return both(rule, restorable)
        return both(rule, sa.or_(moment.is_(None), restorable))

    def referable(self, target: sa.FromClause, rule: sa.ColumnElement[bool] | None) -> Source | None:
        """The rows of a table that a reference may lead to: by a rule, else those that may be read.

        Scopes have no say: a key that may only create scores must name a game. `None`: a table that nobody declared.
        """
        resource = self._resource_of(target)
        if resource is None:
            return None
        readable = fold(resource.policy.read if rule is None else rule, self.standing)
        return Source(resource, both(readable, self.scope(resource)))

    def referrers(self, resource: Resource) -> Iterator[Referrer]:
        """What can keep a row from being deleted: rows in sight, by foreign keys that may be known."""
        for other in self.catalog.resources.values():
            source = self.source(other)
            for constraint in _refusing(other.table.sql, resource.table.sql) if source.rule is not False else ():
                pairs = tuple((element.parent, element.column) for element in constraint.elements)
                local = [other.table.column_of(column) for column, _ in pairs]
                seen = self.columns(other)
                if all(c is not None and c.name in seen and seen[c.name].mask is None for c in local):
                    yield Referrer(pairs, source)

    def _resource_of(self, sql: sa.FromClause) -> Resource | None:
        """The resource of a table; of one that is not exposed, one that everybody may read."""
        table = next((t for t in self.catalog.schema.tables.values() if t.sql is sql), None)
        if table is None:
            return None
        known = self.catalog.by_table.get(table.name)
        known = known or next((r for r in self.catalog.unserved.values() if r.table.name == table.name), None)
        return known or Resource(table.name, table, (), Policy(read=public, history=public))

    def columns(self, resource: Resource) -> Mapping[str, Column]:
        """The visible fields of a resource, each with its mask."""
        known = self._columns.get(resource.name)
        if known is None:
            seen = {name: self._seen(resource, column) for name, column in resource.columns.items()}
            known = {name: column for name, column in seen.items() if column is not None}
            self._columns[resource.name] = known
        return known

    def _seen(self, resource: Resource, column: Column) -> Column | None:
        own = resource.policy.fields.get(column.name)
        if own is None:
            return column
        rule = fold(own.read, self.standing)
        if isinstance(rule, bool):
            return column if rule else None
        return replace(column, mask=rule, nullable=True)

    def settable(self, resource: Resource) -> Mapping[str, Column]:
        """The fields that a body may name, by the rules that need no row."""
        return {n: c for n, c in writable_columns(resource).items() if self._sets(resource.policy.fields.get(n))}

    def _sets(self, own: FieldRule | None) -> bool:
        if own is None:
            return True
        return own.writable(self.standing) is not False

    def known(self, resource: Resource) -> frozenset[str]:
        """The fields that may be named to the principal."""
        return frozenset((*self.columns(resource), *self.settable(resource)))

    def related(self, resource: Resource, name: str) -> tuple[Relationship, Resource] | None:
        """A way by its name, unless a field that it goes by is hidden."""
        found = self.catalog.related(resource, name)
        if found is None:
            return None
        way, target = found
        sides = [resource, target]
        if way.through is not None and (between := self._resource_of(way.through)) is not None:
            sides.append(between)
        columns = [column for pair in (*way.pairs, *way.far_pairs) for column in pair]
        return None if any(self._hides(side, column) for side in sides for column in columns) else found

    def between(self, way: Relationship) -> Source | None:
        """The visible rows of an association table that is a model too: a link that is not seen leads nowhere."""
        resource = None if way.through is None else self._resource_of(way.through)
        return None if resource is None else self.source(resource)

    def _hides(self, resource: Resource, sql: sa.Column[Any]) -> bool:
        """Whether a rule of a field hides a column."""
        column = resource.table.column_of(sql)
        if column is None or column.name not in resource.policy.fields:
            return False
        return column.name not in self.columns(resource)

    def ways(self, resource: Resource) -> dict[str, Resource]:
        """The names of all ways that can be gone."""
        found = {name: self.related(resource, name) for name in resource.relationships}
        return {name: way[1] for name, way in found.items() if way is not None}


def _refusing(table: sa.FromClause, target: sa.FromClause) -> list[sa.ForeignKeyConstraint]:
    """The foreign keys to a table that do not let go of its rows."""
    if not isinstance(table, sa.Table):
        return []
    keys = sorted(table.foreign_key_constraints, key=lambda key: [column.name for column in key.columns])
    kept = ("NO ACTION", "RESTRICT")
    return [k for k in keys if k.referred_table is target and (k.ondelete or kept[0]).upper() in kept]


def in_tenant(table: Table, standing: Standing) -> Folded:
    """That a row is of the principal's tenant; certain for a table that has none."""
    if table.tenant is None:
        return True
    if not standing.tenanted:
        return False
    return table.columns[table.tenant].sql == me.tenant
