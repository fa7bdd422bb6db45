"""SelectPlan and AggregatePlan into one Core select that returns one row with the answer's JSON."""

from __future__ import annotations

from typing import Any, cast

import sqlalchemy as sa

from ..query.ir import KeysetPage, OffsetPage
from ..query.plan import AggregatePlan, PlanOrder, PlanParent, SelectPlan
from .dialect import Expression
from .scope import Rows, Scope
from .shapes import Joined, can_be_null, json_of, needed, order_keys
from .statement import Output

Built = tuple[sa.Select[Any], tuple[Output, ...]]


def build_item(scope: Scope, plan: SelectPlan) -> Built:
    """One row by its key, with its version for the ETag."""
    rows = scope.alias(cast(Rows, plan.source.resource.table.sql))
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
    """A page of rows: one inner query filters, sorts and cuts; the outer one builds the JSON.

    With a total it is one row that holds the whole array. Without, it is a row for each object and one
    object more than the page has, which says whether there is a next page; the engine joins their bytes.
    """
    table = cast(Rows, plan.source.resource.table.sql)
    rows = scope.alias(table)
    conditions, exists = _conditions(scope, plan, rows)
    keys, origin = order_keys(scope, plan.order, rows, rows)
    page = plan.page
    assert page is not None, "a list has a page"
    backward = isinstance(page, KeysetPage) and page.backward
    where = [*conditions, *_after(scope, plan, page, keys)] if isinstance(page, KeysetPage) else conditions
    columns = needed(plan.shape, rows)
    if isinstance(page, KeysetPage):
        columns += [key.label(f"k{i}") for i, key in enumerate(keys)]
    inner = sa.select(*columns).select_from(origin).where(*where)
    clauses = [
        scope.dialect.order(key, descending=order.descending is not backward, nullable=can_be_null(order))
        for order, key in zip(plan.order, keys, strict=True)
    ]
    # The page size is structure: as a parameter it would spoil PostgreSQL's plans.
    peek = isinstance(page, KeysetPage) or not page.total
    inner = inner.order_by(*clauses).limit(sa.literal_column(str(int(page.limit) + peek)))
    if isinstance(page, OffsetPage):
        inner = inner.offset(scope.bind(page.offset_slot))
    if peek and exists is not None:
        inner = inner.add_columns(sa.literal_column("1").label("present"))
    cut = scope.alias(inner.subquery())
    joined = Joined(cut)
    if peek and exists is not None:
        # The parent is told even of an empty page: one row that has it and no object.
        parent = scope.alias(sa.select(exists.label("parent")).subquery())
        joined.origin = parent.outerjoin(cut, sa.true())
        exists = parent.c.parent
    item = json_of(scope, plan.shape, cut, joined)
    if peek and exists is not None:
        item = sa.case((cut.c.present.is_(None), sa.null()), else_=item)
    names = [Output.DATA]
    if peek:
        outputs: list[Any] = [item]
        if isinstance(page, KeysetPage):
            names.append(Output.KEYS)
            values = [
                scope.dialect.json_value(order.path.column, cut.c[f"k{i}"]) for i, order in enumerate(plan.order)
            ]
            outputs.append(scope.dialect.json_array(values))
    else:
        outputs = [scope.dialect.json_list(item)]
        total = scope.alias(table)
        counted, _ = _conditions(scope, plan, total)
        names.append(Output.TOTAL)
        outputs.append(sa.select(sa.func.count()).select_from(total).where(*counted).scalar_subquery())
    outputs[0] = scope.dialect.json_bytes(outputs[0])
    if exists is not None:
        names.append(Output.PARENT)
        outputs.append(exists)
    labelled = [output.label(name.value) for output, name in zip(outputs, names, strict=True)]
    return sa.select(*labelled).select_from(joined.origin), tuple(names)


def _conditions(
    scope: Scope, plan: SelectPlan | AggregatePlan, rows: Rows
) -> tuple[list[Expression], Expression | None]:
    where = scope.rule(plan.source, rows)
    if plan.filter is not None:
        where.append(scope.filter(plan.filter, rows))
    parent: PlanParent | None = plan.parent
    if parent is None:
        return where, None
    linked, exists = scope.parent(parent, rows)
    return [*where, *linked], exists


def _after(scope: Scope, plan: SelectPlan, page: KeysetPage, keys: list[Expression]) -> list[Expression]:
    """The rows behind the cursor's row in the order of the page.

    A row comparison when no key can be null and all run one way (an index serves it), else the expansion
    `k1 > v1 OR (k1 = v1 AND (k2 > v2 OR …))`, in which null is the largest value and equals itself.
    """
    if not page.slots:
        return []
    orders = plan.order
    rising = [order.descending is page.backward for order in orders]
    values = [scope.bind(slot, key.type) for slot, key in zip(page.slots, keys, strict=True)]
    plain = not any(can_be_null(order) for order in orders) and not any(page.nulls)
    if plain and len(set(rising)) == 1:
        left, right = (keys[0], values[0]) if len(keys) == 1 else (sa.tuple_(*keys), sa.tuple_(*values))
        return [left > right if rising[0] else left < right]
    condition: Expression = sa.false()
    for i in reversed(range(len(keys))):
        beyond = _beyond(keys[i], values[i], orders[i], up=rising[i], null=page.nulls[i])
        same = keys[i].is_(None) if page.nulls[i] else keys[i] == values[i]
        condition = sa.or_(beyond, sa.and_(same, condition))
    # A null value leaves its parameter unused; it must still be bound where it has a slot.
    return [condition]


def _beyond(key: Expression, value: Any, order: PlanOrder, *, up: bool, null: bool) -> Expression:
    if null:
        return sa.false() if up else key.is_not(None)
    if not up:
        return key < value
    return sa.or_(key > value, key.is_(None)) if can_be_null(order) else key > value


def build_aggregate(scope: Scope, plan: AggregatePlan) -> Built:
    """Groups with their measures, as a page of objects and the number of groups."""
    table = cast(Rows, plan.source.resource.table.sql)
    inner, exists = _grouped(scope, plan, table)
    by_name = {column.name: column for column in inner.selected_columns}
    outputs = {name: by_name[f"g{i}"] for i, (name, _) in enumerate(plan.group)}
    outputs |= {measure.name: by_name[f"m{i}"] for i, measure in enumerate(plan.measures)}
    for name, descending in plan.order:
        inner = inner.order_by(scope.dialect.order(outputs[name], descending=descending, nullable=True))
    page = plan.page
    assert isinstance(page, OffsetPage), "aggregates page by offset"
    cut = inner.limit(sa.literal_column(str(int(page.limit)))).offset(scope.bind(page.offset_slot))
    rows = scope.alias(cut.subquery())
    members = [
        (name, scope.dialect.json_value(path.column, rows.c[f"g{i}"])) for i, (name, path) in enumerate(plan.group)
    ]
    members += [
        (m.name, scope.dialect.measure_value(m.function, m.path.column if m.path else None, rows.c[f"m{i}"]))
        for i, m in enumerate(plan.measures)
    ]
    item = scope.dialect.json_object(members)
    every, _ = _grouped(scope, plan, table)
    total = sa.select(sa.func.count()).select_from(scope.alias(every.subquery())).scalar_subquery()
    selected = [scope.dialect.json_bytes(scope.dialect.json_list(item)).label("data"), total.label("total")]
    names = [Output.DATA, Output.TOTAL]
    if exists is not None:
        selected.append(exists.label("parent"))
        names.append(Output.PARENT)
    return sa.select(*selected).select_from(rows), tuple(names)


def _grouped(scope: Scope, plan: AggregatePlan, table: Rows) -> tuple[sa.Select[Any], Expression | None]:
    rows = scope.alias(table)
    where, exists = _conditions(scope, plan, rows)
    paths = [path for _, path in plan.group] + [m.path for m in plan.measures if m.path is not None]
    expressions, origin = order_keys(scope, tuple(PlanOrder(path, False) for path in paths), rows, rows)
    groups = expressions[: len(plan.group)]
    rest = iter(expressions[len(plan.group) :])
    measures = [
        scope.dialect.aggregate(m.function, next(rest) if m.path else None, distinct=m.distinct)
        for m in plan.measures
    ]
    selected = [g.label(f"g{i}") for i, g in enumerate(groups)]
    selected += [m.label(f"m{i}") for i, m in enumerate(measures)]
    query = sa.select(*selected) if selected else sa.select(sa.func.count().label("m0"))
    return query.select_from(origin).where(*where).group_by(*groups), exists
