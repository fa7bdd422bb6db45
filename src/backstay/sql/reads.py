"""SelectPlan and AggregatePlan into one Core select that returns one row with the answer's JSON."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import sqlalchemy as sa

from ..query.ir import OffsetPage
from ..query.plan import AggregatePlan, PlanOrder, PlanParent, SelectPlan
from .dialect import Expression, Query
from .scope import Rows, Scope
from .shapes import Joined, json_of, needed, object_of, order_keys, ordered
from .statement import Output

Built = tuple[Query, tuple[Output, ...]]


def build_item(scope: Scope, plan: SelectPlan) -> Built:
    """One row by its key, with its version for the ETag."""
    rows = scope.one(plan.source.resource.table, plan.key)
    joined = Joined(rows)
    item = json_of(scope, plan.shape, rows, joined)
    outputs = [scope.dialect.json_bytes(item).label("data")]
    names = [Output.DATA]
    version = plan.source.resource.table.version
    if version is not None:
        outputs.append(rows.c[plan.source.resource.table.columns[version].sql.key].label("version"))
        names.append(Output.VERSION)
    where = [rows.c[column.sql.key] == scope.bind(slot) for column, slot in plan.key]
    where += scope.rule(plan.source, rows)
    return sa.select(*outputs).select_from(joined.origin).where(*where), tuple(names)


def build_list(scope: Scope, plan: SelectPlan) -> Built:
    """An offset page as one row: the array, and the total or whether there is more.

    One inner query filters, sorts and cuts; the outer one builds the JSON of what is left.
    """
    table = plan.source.resource.table.sql
    page = plan.page
    assert isinstance(page, OffsetPage), "keyset pages are built elsewhere"
    rows = scope.alias(table)
    where, exists = conditions(scope, plan, rows)
    inner = sa.select(*needed(scope, plan.shape, rows)).where(*where)
    inner, order = ordered(scope, inner, plan.order, rows, rows)
    offset = scope.offset(page)
    # Without a total, one row more tells whether there is another page, where that costs less than a look.
    taken = page.limit + 1 if scope.dialect.lateral and not page.total else page.limit
    cut = scope.alias(inner.limit(integer(taken)).offset(offset).subquery())
    joined = Joined(cut)
    item = json_of(scope, plan.shape, cut, joined)
    listed = scope.dialect.json_list(item, joined.origin, order(cut), page.limit if taken > page.limit else 0)
    counted = (listed.more, Output.MORE) if listed.more is not None else _counted(scope, plan, page, offset)
    outputs: list[Any] = [scope.dialect.json_bytes(listed.data), counted[0]]
    names = [Output.DATA, counted[1]]
    if exists is not None:
        names.append(Output.PARENT)
        outputs.append(exists)
    return labelled(outputs, names, listed.origin), tuple(names)


def _counted(
    scope: Scope, plan: SelectPlan, page: OffsetPage, offset: Expression | None
) -> tuple[Expression, Output]:
    """The number of all rows, or whether there is one behind the page."""
    rows = scope.alias(plan.source.resource.table.sql)
    where, _ = conditions(scope, plan, rows)
    if page.total:
        return sa.select(sa.func.count()).select_from(rows).where(*where).scalar_subquery(), Output.TOTAL
    beyond = sa.select(integer(1)).select_from(rows).where(*where)
    before = integer(page.limit) if offset is None else offset + integer(page.limit)
    return beyond.limit(integer(1)).offset(before).scalar_subquery(), Output.MORE


def labelled(outputs: list[Any], names: list[Output], origin: Any) -> Query:
    """A select of the outputs under their names; `origin` is absent where they stand by themselves."""
    query = sa.select(*[output.label(name.value) for output, name in zip(outputs, names, strict=True)])
    return query if origin is None else query.select_from(origin)


def integer(value: int) -> Expression:
    """An integer that is part of the structure, such as the page size: as a parameter it would spoil plans."""
    return cast(Expression, sa.literal_column(str(int(value)), sa.BigInteger()))


def conditions(
    scope: Scope, plan: SelectPlan | AggregatePlan, rows: Rows
) -> tuple[list[Expression], Expression | None]:
    """What rows must fulfil, and on a nested route whether the parent exists."""
    where = scope.rule(plan.source, rows)
    if plan.filter is not None:
        where.append(scope.filter(plan.filter, rows))
    parent: PlanParent | None = plan.parent
    if parent is None:
        return where, None
    linked, exists = scope.parent(parent, rows)
    return [*where, *linked], exists


def build_aggregate(scope: Scope, plan: AggregatePlan) -> Built:
    """Groups with their measures, as a page of objects and the number of groups."""
    table = plan.source.resource.table.sql
    inner, exists = _grouped(scope, plan, table)
    by_name = {column.name: column for column in inner.selected_columns}
    outputs = {name: by_name[f"g{i}"] for i, (name, _) in enumerate(plan.group)}
    outputs |= {measure.name: by_name[f"m{i}"] for i, measure in enumerate(plan.measures)}
    for name, descending in plan.order:
        inner = inner.order_by(scope.dialect.order(outputs[name], descending=descending, nullable=True))
    places: dict[str, str] = {name: cast(Any, column).name for name, column in outputs.items()}
    page = plan.page
    assert isinstance(page, OffsetPage), "aggregates page by offset"
    cut = inner.limit(integer(page.limit)).offset(scope.offset(page))
    rows = scope.alias(cut.subquery())
    members = [
        (name, scope.dialect.json_value(path.column, rows.c[f"g{i}"])) for i, (name, path) in enumerate(plan.group)
    ]
    members += [
        (m.name, scope.dialect.measure_value(m.function, m.path.column if m.path else None, rows.c[f"m{i}"]))
        for i, m in enumerate(plan.measures)
    ]
    joined = Joined(rows)
    item = object_of(scope, members, joined)
    order = [
        scope.dialect.order(cast(Any, rows.c[places[name]]), descending=descending, nullable=True)
        for name, descending in plan.order
    ]
    listed = scope.dialect.json_list(item, joined.origin, order)
    total = _groups(scope, plan, table) if plan.group else integer(1)
    selected: list[Any] = [scope.dialect.json_bytes(listed.data), total]
    names = [Output.DATA, Output.TOTAL]
    if exists is not None:
        selected.append(exists)
        names.append(Output.PARENT)
    return labelled(selected, names, listed.origin), tuple(names)


def _groups(scope: Scope, plan: AggregatePlan, table: Rows) -> Expression:
    """How many groups there are; their measures are not worked out again."""
    every, _ = _grouped(scope, replace(plan, measures=()), table)
    return sa.select(sa.func.count()).select_from(scope.alias(every.subquery())).scalar_subquery()


def _grouped(scope: Scope, plan: AggregatePlan, table: Rows) -> tuple[Query, Expression | None]:
    rows = scope.alias(table)
    where, exists = conditions(scope, plan, rows)
    paths = [path for _, path in plan.group] + [m.path for m in plan.measures if m.path is not None]
    expressions, origin = order_keys(scope, tuple(PlanOrder(path, False) for path in paths), rows, rows)
    groups = expressions[: len(plan.group)]
    rest = iter(expressions[len(plan.group) :])
    measures = [
        scope.dialect.aggregate(
            m.function, m.path.column if m.path else None, next(rest) if m.path else None, distinct=m.distinct
        )
        for m in plan.measures
    ]
    selected = [g.label(f"g{i}") for i, g in enumerate(groups)]
    selected += [m.label(f"m{i}") for i, m in enumerate(measures)]
    query = sa.select(*selected) if selected else sa.select(sa.func.count().label("m0"))
    return query.select_from(origin).where(*where).group_by(*groups), exists
