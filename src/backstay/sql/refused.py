"""What is asked of a write after the database refused it: neither answer may tell of rows that one may not see."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, cast

import sqlalchemy as sa
from sqlalchemy.sql import visitors

from ..query.plan import InsertPlan, ReferrersPlan, UpdatePlan
from ..schema.base import current_instant, utc_now
from .dialect import Expression, fixed
from .rules import me_as, on_alias
from .scope import Scope
from .statement import Output

Built = tuple[Any, tuple[Output, ...]]


def build_trial(scope: Scope, plan: InsertPlan | UpdatePlan) -> Built:
    """One row if the rules admit what the write would have made.

    It is the row as far as it can be known without writing it: what the database numbers is null in it.
    """
    table = plan.source.resource.table.sql
    given = dict(_given(scope, plan))
    used = sorted(_used(plan), key=lambda column: column.key) or [plan.source.resource.key[0].sql]
    if isinstance(plan, UpdatePlan):
        there = scope.alias(table)
        where = [there.c[column.sql.key] == scope.bind(slot) for column, slot in plan.key]
        made = sa.select(*[given.get(c, there.c[c.key]).label(c.key) for c in used]).select_from(there).where(*where)
    else:
        made = sa.select(*[given.get(c, _default(scope, c)).label(c.key) for c in used])
    row = scope.alias(made.subquery())
    demands = [] if isinstance(plan.check, bool) else [on_alias(plan.check, table, row)]
    demands += [scope.refers(reference, row) for reference in plan.references]
    return sa.select(fixed("1").label("count")).select_from(row).where(*demands), (Output.COUNT,)


def build_referrers(scope: Scope, plan: ReferrersPlan) -> Built:
    """For each of some references whether a row that its source shows refers to the row of a key, as 1 or 0."""
    shown: list[Expression] = []
    for reference in plan.referrers:
        there = scope.alias(reference.source.resource.table.sql)
        row = scope.alias(plan.source.resource.table.sql)
        links = [there.c[local.key] == row.c[remote.key] for local, remote in reference.pairs]
        links += [row.c[column.sql.key] == scope.bind(slot) for column, slot in plan.key]
        found = sa.select(fixed("1")).select_from(there, row).where(*links, *scope.rule(reference.source, there))
        shown.append(sa.case((sa.exists(found), fixed("1")), else_=fixed("0")))
    return sa.select(*[one.label(f"r{i}") for i, one in enumerate(shown)]), (Output.COUNT,) * len(shown)


def _given(scope: Scope, plan: InsertPlan | UpdatePlan) -> Iterator[tuple[sa.Column[Any], Expression]]:
    """What the write sets, from its body and from the principal."""
    for i, column in enumerate(plan.columns):
        sql_type = column.sql.type
        yield column.sql, scope.dialect.typed(scope.bind(i, sql_type), sql_type)
    for column, stamp in plan.stamps if isinstance(plan, InsertPlan) else ():
        sql_type = column.sql.type
        yield column.sql, scope.dialect.typed(me_as(stamp, sql_type), sql_type)


def _used(plan: InsertPlan | UpdatePlan) -> set[sa.Column[Any]]:
    """The columns of the row that its check and its references are about."""
    table = plan.source.resource.table.sql
    columns: Mapping[str, sa.Column[Any]] = {c.key: c for c in cast("list[sa.Column[Any]]", list(table.c))}
    found = {columns[local.key] for reference in plan.references for local, _ in reference.pairs}
    for element in visitors.iterate(plan.check) if not isinstance(plan.check, bool) else ():
        if isinstance(element, sa.Column) and cast(Any, element).table is table:
            found.add(columns[cast(Any, element).key])
    return found


def _default(scope: Scope, column: sa.Column[Any]) -> Expression:
    """What a column is when nobody says."""
    default: Any = column.default
    value: Any = sa.null()
    if default is None:
        stored = getattr(column.server_default, "arg", None)
        if isinstance(stored, sa.TextClause):
            stored = sa.literal_column(stored.text, column.type)
        value = stored if isinstance(stored, sa.ClauseElement) else sa.literal(stored, sa.Text())
    elif default.is_clause_element:
        value = default.arg
    elif not default.is_callable:
        value = sa.literal(default.arg, column.type)
    elif getattr(default.arg, "__wrapped__", default.arg) is utc_now:
        value = current_instant()
    return scope.dialect.typed(value, column.type)
