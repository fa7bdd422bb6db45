"""Keyset pages: the rows behind (or before) a cursor's row, one more than asked for, with their order values.

The answer is a row for each object: the engine joins their bytes, and only two rows' order values are read.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from ..query.ir import KeysetPage
from ..query.plan import PlanOrder, SelectPlan
from .dialect import Expression
from .reads import Built, conditions, integer, labelled
from .scope import Rows, Scope
from .shapes import Joined, json_of, needed, order_keys, sorted_by
from .statement import Output


def build_keyset_list(scope: Scope, plan: SelectPlan) -> Built:
    """A keyset page; read backward, its rows come in reverse."""
    page = plan.page
    assert isinstance(page, KeysetPage), "offset pages are built elsewhere"
    rows = scope.alias(plan.source.resource.table.sql)
    where, exists = conditions(scope, plan, rows)
    keys, origin = order_keys(scope, plan.order, rows, rows)
    columns = [*needed(scope, plan.shape, rows), *(key.label(f"k{i}") for i, key in enumerate(keys))]
    columns.append(integer(1).label("present"))
    inner = sa.select(*columns).select_from(origin).where(*where, *_after(scope, plan, page, keys))
    inner = inner.order_by(*sorted_by(scope, plan.order, keys, backward=page.backward))
    cut = scope.alias(inner.limit(integer(page.limit + 1)).subquery())
    joined = Joined(cut)
    item = json_of(scope, plan.shape, cut, joined)
    values = [scope.dialect.json_value(order.path.column, cut.c[f"k{i}"]) for i, order in enumerate(plan.order)]
    outputs: list[Any] = [item, scope.dialect.json_array(values)]
    names = [Output.DATA, Output.KEYS]
    origin = joined.origin
    if exists is not None:
        # The parent is told even of an empty page: then there is one row, which has it and no object.
        parent = scope.alias(sa.select(exists.label("parent")).subquery())
        origin = _beside(parent, cut, joined)
        outputs[0] = sa.case((cut.c.present.is_(None), sa.null()), else_=item)
        outputs.append(parent.c.parent)
        names.append(Output.PARENT)
    outputs[0] = scope.dialect.json_bytes(outputs[0])
    query = labelled(outputs, names, origin)
    if scope.dialect.lateral:
        found = [cut.c[f"k{i}"] for i in range(len(keys))]
        query = query.order_by(*sorted_by(scope, plan.order, found, backward=page.backward))
    return query, tuple(names)


def _beside(parent: Rows, cut: Rows, joined: Joined) -> Any:
    """The parent's row, and the page's rows where there are any."""
    return parent.outerjoin(cut, sa.true()) if joined.origin is cut else parent.outerjoin(joined.origin, sa.true())


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
    plain = not any(order.can_be_null for order in orders) and not any(page.nulls)
    if plain and len(set(rising)) == 1:
        left, right = (keys[0], values[0]) if len(keys) == 1 else (sa.tuple_(*keys), sa.tuple_(*values))
        return [left > right if rising[0] else left < right]
    condition: Expression | None = None
    for i in reversed(range(len(keys))):
        beyond = _beyond(keys[i], values[i], orders[i], up=rising[i], null=page.nulls[i])
        same = keys[i].is_(None) if page.nulls[i] else keys[i] == values[i]
        condition = beyond if condition is None else sa.or_(beyond, sa.and_(same, condition))
    assert condition is not None, "an order has a key"
    # A null value leaves its parameter unused; it must still be bound where it has a slot.
    return [condition]


def _beyond(key: Expression, value: Any, order: PlanOrder, *, up: bool, null: bool) -> Expression:
    if null:
        return sa.false() if up else key.is_not(None)
    if not up:
        return key < value
    return sa.or_(key > value, key.is_(None)) if order.can_be_null else key > value
