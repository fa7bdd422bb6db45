"""Rows of the past: the images that changes kept, as rows of their table."""

from __future__ import annotations

from typing import Any, cast

import sqlalchemy as sa

from ..query.history import CHANGE_ID, INSTANT
from ..query.plan import HistoryPlan
from ..schema.change_log import CHANGES, PRUNED
from ..schema.kinds import column_like
from ..schema.model import Table
from .dialect import Dialect, Expression, Member, Query, fixed
from .lookup import lookup
from .reads import Built, integer
from .scope import Rows, Scope
from .shapes import Joined, json_of, object_of
from .statement import Output, Statement

#: What an image's row has beside the columns of its table: the number of its change.
CHANGE = "backstay_change"
_TEXT = column_like(sa.Text(), nullable=True)


def build_history(scope: Scope, plan: HistoryPlan) -> Built:
    """A page of changes; one row tells whether the row they are of may be looked at, also of an empty page."""
    facts = plan.source.resource.table
    key = _key_of(scope, plan)
    change = scope.plain(CHANGES)
    mine = _changes_of(cast(sa.Table, facts.sql), change, key)
    before, after = (images(scope, facts, side, key) for side in ("before", "after"))
    origin: Any = change
    for image in (before, after):
        origin = origin.outerjoin(image, sa.and_(image.c[CHANGE] == change.c.id, *scope.rule(plan.images, image)))
    now = scope.plain(facts.sql)
    if plan.change is not None:
        mine.append(change.c.id == scope.bind(plan.change, sa.BigInteger()))
        origin = origin.outerjoin(now, sa.and_(*[now.c[c.sql.key] == scope.bind(slot) for c, slot in plan.key]))
    joined = Joined(change)
    joined.origin = origin
    members = _members(scope, plan, change, (before, after), joined)
    if plan.kept is not None:
        there = now.c[plan.key[0][0].sql.key].is_not(None)
        sides = {"before": (before, before.c[CHANGE].is_not(None)), "after": (after, after.c[CHANGE].is_not(None))}
        sides["now"] = (now, there)
        for name, (rows, exists) in sides.items():
            kept = json_of(scope, plan.kept, rows, joined)
            members.append((f"kept_{name}", sa.case((exists, kept), else_=sa.null())))
        members.append(("now", sa.case((there, json_of(scope, plan.shape, now, joined)), else_=sa.null())))
    item = object_of(scope, members, joined)
    seen = sa.or_(before.c[CHANGE].is_not(None), after.c[CHANGE].is_not(None))
    number: Expression = change.c.id
    outputs = [
        scope.dialect.json_bytes(item).label("data"),
        scope.dialect.json_array([number]).label("keys"),
        number.label("number"),
    ]
    page = plan.page
    inner = sa.select(*outputs).select_from(joined.origin).where(*mine, seen)
    for slot in page.slots:
        bound = scope.bind(slot, sa.BigInteger())
        inner = inner.where(number > bound if page.backward else number < bound)
    inner = inner.order_by(number if page.backward else number.desc()).limit(integer(page.limit + 1))
    cut = scope.alias(inner.subquery())
    told = scope.alias(sa.select(_seen(scope, plan, key).label("parent")).subquery())
    query = sa.select(cut.c.data, cut.c["keys"], told.c.parent)
    query = query.select_from(told.outerjoin(cut, told.c.parent.is_not(None)))
    query = query.order_by(cut.c.number if page.backward else cut.c.number.desc())
    return cast(Query, query), (Output.DATA, Output.KEYS, Output.PARENT)


def images(scope: Scope, facts: Table, side: str, key: Expression | None = None) -> Rows:
    """The rows of a table as changes kept them, each with the number of its change.

    Args:
        side: `before` or `after`.
        key: of one row, as changes have it.
    """
    table = cast(sa.Table, facts.sql)
    change = scope.plain(CHANGES)
    origin, values = scope.dialect.images.row(table, change, side)
    columns = [value.label(column.key) for value, column in zip(values, table.columns, strict=True)]
    query = sa.select(change.c.id.label(CHANGE), *columns).select_from(origin)
    query = query.where(*_changes_of(table, change, key), change.c[side].is_not(None))
    rows = scope.alias(query.subquery())
    scope.standing_for[rows] = table
    return rows


def past_rows(scope: Scope, slot: int, table: sa.Table, only: Expression | None) -> Rows:
    """The rows that a table had at the instant of a slot.

    Those that no change touched since are as they are; of the others, the first change since tells what they were.

    Args:
        only: the key of the one row that is wanted, as changes have it.
    """
    key_columns = list(table.primary_key.columns)
    if not key_columns:
        return scope.plain(table)  # not recorded
    instant = scope.dialect.typed(scope.bind(slot, CHANGES.c.at.type), CHANGES.c.at.type)
    row, since = scope.plain(table), scope.plain(CHANGES)
    key = scope.dialect.images.key([row.c[column.key] for column in key_columns])
    changed = sa.select(fixed("1")).select_from(since)
    changed = changed.where(*_changes_of(table, since, key), since.c.at > instant)
    still = sa.select(*[row.c[column.key].label(column.key) for column in table.columns])
    still = still.where(~sa.exists(changed.correlate(row)))
    change, earlier = scope.plain(CHANGES), scope.plain(CHANGES)
    origin, values = scope.dialect.images.row(table, change, "before")
    sooner = sa.select(fixed("1")).select_from(earlier)
    sooner = sooner.where(*_changes_of(table, earlier, change.c.key), earlier.c.at > instant)
    sooner = sooner.where(earlier.c.id < change.c.id)
    was = sa.select(*[v.label(column.key) for v, column in zip(values, table.columns, strict=True)])
    was = was.select_from(origin).where(*_changes_of(table, change, only), change.c.at > instant)
    was = was.where(change.c.before.is_not(None), ~sa.exists(sooner.correlate(change)))
    rows = scope.plain(sa.union_all(still, was).subquery())
    scope.standing_for[rows] = table
    return rows


def log_start(dialect: Dialect) -> Statement:
    """Looks up the instant before which nothing is kept any more; no row where nothing was pruned."""
    c = CHANGES.c
    query = sa.select(c.at).where(c.position.is_not(None)).order_by(c.position).limit(1)
    first = query.add_columns(c.operation).subquery()
    return lookup("as_of", sa.select(first.c.at).where(first.c.operation == fixed(f"'{PRUNED}'")), dialect)


def _changes_of(table: sa.Table, change: Rows, key: Expression | None = None) -> list[Expression]:
    """That changes are of a table, or of its row with a key."""
    name = table.name.replace("'", "''")
    of_table = change.c.table_name == fixed(f"'{name}'")
    return [of_table] if key is None else [of_table, change.c.key == key]


def _key_of(scope: Scope, plan: HistoryPlan) -> Expression:
    """The row's primary key as changes have it; looked up where the row is addressed by another one."""
    facts = plan.source.resource.table
    names = [column.name for column, _ in plan.key]
    if names == list(facts.key):
        return scope.change_key(plan.key)
    row = scope.alias(facts.sql)
    found = scope.dialect.images.key([row.c[facts.columns[name].sql.key] for name in facts.key])
    where = [row.c[column.sql.key] == scope.bind(slot) for column, slot in plan.key]
    return sa.select(found).select_from(row).where(*where).scalar_subquery()


def _members(scope: Scope, plan: HistoryPlan, change: Rows, sides: tuple[Rows, Rows], joined: Joined) -> list[Member]:
    dialect, c = scope.dialect, change.c
    shown: list[Expression] = []
    for image in sides:
        row = json_of(scope, plan.shape, image, joined)
        shown.append(sa.case((image.c[CHANGE].is_(None), sa.null()), else_=row))
    before, after = shown
    return [
        ("id", dialect.json_value(CHANGE_ID, c.id)),
        ("position", dialect.json_value(CHANGE_ID, c.position)),
        ("at", dialect.json_value(INSTANT, c.at)),
        ("operation", dialect.json_value(_TEXT, c.operation)),
        ("before", before),
        ("after", after),
        ("actor", dialect.json_value(_TEXT, c.actor)),
        ("request_id", dialect.json_value(_TEXT, c.request_id)),
    ]


def _seen(scope: Scope, plan: HistoryPlan, key: Expression) -> Expression:
    """1 where the row may be looked at as it is, or as it last was when it is gone; else null."""
    facts = plan.source.resource.table

    def there(*conditions: Expression, rows: Rows) -> Expression:
        where = [rows.c[column.sql.key] == scope.bind(slot) for column, slot in plan.key]
        return sa.exists(sa.select(fixed("1")).select_from(rows).where(*where, *conditions))

    now, any_row = scope.alias(facts.sql), scope.alias(facts.sql)
    seen = there(*scope.rule(plan.source, now), rows=now)
    last, later = images(scope, facts, "before", key), scope.plain(CHANGES)
    after = sa.select(fixed("1")).select_from(later).where(*_changes_of(cast(sa.Table, facts.sql), later, key))
    was = sa.select(fixed("1")).select_from(last)
    # The last change of a row that is gone is its delete.
    was = was.where(~sa.exists(after.where(later.c.id > last.c[CHANGE]).correlate(last)))
    gone = sa.and_(~there(rows=any_row), sa.exists(was.where(*scope.rule(plan.source, last))))
    return sa.case((sa.or_(seen, gone), fixed("1")), else_=sa.null())
