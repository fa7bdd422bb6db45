"""From PlanShape to one JSON expression: members, to-one rows by left join, to-many rows by nested query."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import sqlalchemy as sa

from ..query.plan import Embed, PlanOrder, PlanShape
from ..schema.model import Relationship
from .dialect import Expression, Member, Query, fixed, labels_of
from .scope import Rows, Scope


@dataclass(slots=True)
class Joined:
    """Rows that grow left joins as to-one relations are embedded."""

    rows: Rows
    origin: Any = field(init=False)

    def __post_init__(self) -> None:
        self.origin = self.rows

    def left(self, there: Rows, on: Expression) -> None:
        """Join more rows, absent where the condition does not hold."""
        self.origin = self.origin.outerjoin(there, on)

    def beside(self, there: Rows) -> None:
        """Join rows that every row has."""
        self.origin = self.origin.join(there, sa.true())


def json_of(scope: Scope, shape: PlanShape, rows: Rows, joined: Joined) -> Expression:
    """The JSON object of one row; to-one relations, and where needed the object itself, join rows to `joined`."""
    return object_of(scope, members_of(scope, shape, rows, joined), joined)


def object_of(scope: Scope, members: list[Member], joined: Joined) -> Expression:
    """These members as one JSON object."""
    if not scope.dialect.lateral:
        return scope.dialect.json_object(members)
    columns = _columns(members)
    # All that it reads stands beside it: it has no rows of its own.
    row = columns.correlate(*columns.get_final_froms()).lateral(scope.name())
    joined.beside(row)
    return scope.dialect.json_row(row, [name for name, _ in members])


def members_of(scope: Scope, shape: PlanShape, rows: Rows, joined: Joined) -> list[Member]:
    """The members of a row's object, in order."""
    members: list[Member] = [
        (column.name, scope.dialect.json_value(column, scope.column(rows, column))) for column in shape.columns
    ]
    members += [(embed.step.way.name, _embedded(scope, embed, rows, joined)) for embed in shape.embeds]
    return members


def _columns(members: list[Member]) -> Query:
    labels = labels_of([name for name, _ in members])
    return cast(Query, sa.select(*[value.label(label) for label, (_, value) in zip(labels, members, strict=True)]))


def _embedded(scope: Scope, embed: Embed, rows: Rows, joined: Joined) -> Expression:
    many = embed.step.way.many
    if embed.step.source.rule is False:
        return scope.dialect.empty_list() if many else sa.null()
    if many or not _identifies(embed.step.way):
        return _nested(scope, embed, rows)
    there = scope.alias(embed.step.source.resource.table.sql)
    on = scope.join_on(embed.step, rows, there)
    if scope.dialect.lateral:
        inside = Joined(there)
        members = members_of(scope, embed.shape, there, inside)
        found = _columns(members).select_from(inside.origin).where(on)
        row = found.correlate(rows).lateral(scope.name())
        joined.left(row, sa.true())
        return scope.dialect.json_row(row, [name for name, _ in members])
    joined.left(there, on)
    value = json_of(scope, embed.shape, there, joined)
    present = there.c[embed.step.way.pairs[0][1].key]
    return sa.case((present.is_(None), sa.null()), else_=value)


def _identifies(way: Relationship) -> bool:
    """Whether at most one row can match, so that a join cannot multiply rows."""
    remote = [column for _, column in way.pairs]
    if all(column.primary_key for column in remote):
        return len(remote) == len(remote[0].table.primary_key)
    return len(remote) == 1 and bool(remote[0].unique)


def _nested(scope: Scope, embed: Embed, outer: Rows) -> Expression:
    """Related rows by a nested query that takes their order and their limit per parent."""
    far = scope.alias(embed.step.source.resource.table.sql)
    origin, links = scope.join_back(embed.step, far)
    where = [outer.c[local.key] == remote for local, remote in links]
    inner = (
        sa.select(*needed(scope, embed.shape, far))
        .select_from(origin)
        .where(*where, *scope.rule(embed.step.source, far))
    )
    inner, order = ordered(scope, inner, embed.order, far, origin)
    limit = embed.limit if embed.step.way.many else 1
    page = scope.alias(inner.limit(fixed(str(int(limit)))).correlate(outer).subquery())
    joined = Joined(page)
    item = json_of(scope, embed.shape, page, joined)
    if not embed.step.way.many:
        return scope.dialect.json_nested(sa.select(item).select_from(joined.origin).correlate(outer))
    listed = scope.dialect.json_list(item, joined.origin, order(page))
    if listed.origin is None:
        return listed.data
    return scope.dialect.json_nested(sa.select(listed.data).select_from(listed.origin).correlate(outer))


def needed(scope: Scope, shape: PlanShape, rows: Rows) -> list[Any]:
    """The columns that an object and its relations read, each once."""
    found: dict[str, Any] = {}
    for column in shape.columns:
        if column.answer is not None:
            continue
        value = scope.column(rows, column)
        found[column.sql.key] = value if column.mask is None else value.label(column.sql.key)
    for embed in shape.embeds:
        found |= {local.key: rows.c[local.key] for local, _ in embed.step.way.pairs if local.key not in found}
    return list(found.values()) or [fixed("1").label("one")]


def ordered(
    scope: Scope, query: Query, order: tuple[PlanOrder, ...], rows: Rows, origin: Any
) -> tuple[Query, Callable[[Rows], list[Expression]]]:
    """The query with its sort keys, and how to sort by them again what is made of its rows.

    Keys of to-one relations add left joins. Joins may lose an order where the database does not promise to keep it.
    """
    keys, origin = order_keys(scope, order, rows, origin)
    query = query.select_from(origin).order_by(*sorted_by(scope, order, keys))
    if not scope.dialect.lateral:
        return query, lambda page: []
    query = query.add_columns(*[key.label(f"k{i}") for i, key in enumerate(keys)])
    return query, lambda page: sorted_by(scope, order, [page.c[f"k{i}"] for i in range(len(order))])


def sorted_by(
    scope: Scope, order: tuple[PlanOrder, ...], keys: Sequence[Expression], *, backward: bool = False
) -> list[Expression]:
    """Sort clauses of these keys."""
    return [
        scope.dialect.order(expression, descending=key.descending is not backward, nullable=key.can_be_null)
        for key, expression in zip(order, keys, strict=True)
    ]


def order_keys(scope: Scope, order: tuple[PlanOrder, ...], rows: Rows, origin: Any) -> tuple[list[Expression], Any]:
    """The expressions of the sort keys and the rows joined for them; a shared prefix is joined once."""
    joins: dict[tuple[str, ...], Rows] = {(): rows}
    keys: list[Expression] = []
    for key in order:
        if key.search is not None:
            value = scope.bind(key.search.slot)
            relevance, origin = scope.dialect.search.relevance(key.search.search, rows, origin, value)
            keys.append(relevance)
            continue
        trail: tuple[str, ...] = ()
        for step in key.path.steps:
            here, trail = joins[trail], (*trail, step.way.name)
            if trail not in joins:
                there = scope.alias(step.source.resource.table.sql)
                origin = origin.outerjoin(there, scope.join_on(step, here, there))
                joins[trail] = there
        keys.append(scope.dialect.sort_key(key.path.column, scope.column(joins[trail], key.path.column)))
    return keys, origin
