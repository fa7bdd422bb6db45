"""One compilation: aliases, bound slots and rules moved onto an alias. Shared by every statement builder."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any, cast

import sqlalchemy as sa

from ..query.ir import OffsetPage, Op, Test
from ..query.plan import (
    PlanCompare,
    PlanFilter,
    PlanGroup,
    PlanIs,
    PlanParent,
    PlanSearch,
    PlanVia,
    Reference,
    Slot,
    Source,
    Step,
)
from ..schema.model import Column, Table
from .dialect import Dialect, Expression, Query, fixed
from .rules import Rows, on_alias


class Scope:
    """Names and parameters of one statement.

    Args:
        taken: names of tables, which a rule may say: no alias may have one.
    """

    def __init__(self, dialect: Dialect, slots: Sequence[Slot], taken: Collection[str] = ()) -> None:
        self._taken = taken
        self.dialect = dialect
        self.slots = slots
        self.operators: dict[int, Op] = {}
        #: What makes a table's rows those of another time.
        self.past: Callable[[sa.Table, Expression | None], Rows] | None = None
        #: Rows that stand for those of a table, such as its rows of the past.
        self.standing_for: dict[Rows, Rows] = {}
        self._aliases = 0

    def alias(self, rows: Rows) -> Rows:
        """Rows under a short name of their own (PostgreSQL cuts names at 63 bytes); those of a table of the past."""
        if self.past is None or not isinstance(rows, sa.Table):
            return self.plain(rows)
        return self.past(cast(sa.Table, rows), None)

    def one(self, table: Table, key: Sequence[tuple[Column, int]]) -> Rows:
        """As `alias`, of the table that a row with this key is wanted of; of the past only that row is made."""
        if self.past is None or [column.name for column, _ in key] != list(table.key):
            return self.alias(table.sql)
        return self.past(cast(sa.Table, table.sql), self.change_key(key))

    def change_key(self, key: Sequence[tuple[Column, int]]) -> Expression:
        """A primary key as changes have it."""
        values = [self.dialect.typed(self.bind(slot, c.sql.type), c.sql.type) for c, slot in key]
        return self.dialect.images.key(values)

    def plain(self, rows: Rows) -> Rows:
        """As `alias`, always of today."""
        return rows.alias(self.name())

    def name(self) -> str:
        """A short name that nothing else in the statement has."""
        name = ""
        while not name or name in self._taken:
            name = f"t{self._aliases}"
            self._aliases += 1
        return name

    def bind(self, slot: int, sql_type: Any = None) -> sa.BindParameter[Any]:
        """The parameter that stands for a slot's value."""
        return sa.bindparam(f"s{slot}", unique=False, type_=sql_type or sa.types.NullType())

    def refers(self, reference: Reference, row: Rows) -> Expression:
        """Whether a row's reference leads to rows that it may lead to; one that is null leads nowhere."""
        there = self.alias(reference.source.resource.table.sql)
        links = [there.c[remote.key] == row.c[local.key] for local, remote in reference.pairs]
        found = sa.select(fixed("1")).select_from(there).where(*links, *self.rule(reference.source, there))
        nothing = [row.c[local.key].is_(None) for local, _ in reference.pairs]
        return sa.or_(*nothing, sa.exists(found.correlate(row)))

    def offset(self, page: OffsetPage) -> Expression | None:
        """How many rows come before a page; `None` when it is the first."""
        if page.offset_slot is None:
            return None
        return self.dialect.typed(self.bind(page.offset_slot, sa.BigInteger()), sa.BigInteger())

    def column(self, rows: Rows, column: Column) -> Expression:
        """A column of some rows; null where a table's row is not to show it. A subquery's rows are masked already."""
        if column.answer is not None:
            return column.answer
        value: Expression = rows.c[column.sql.key]
        origin: Any = cast(Any, rows).element if isinstance(rows, sa.Alias) else rows
        origin = self.standing_for.get(rows, origin)
        if column.mask is None or not isinstance(origin, sa.Table):
            return value
        return sa.case((on_alias(column.mask, cast(Rows, origin), rows), value))

    def rule(self, source: Source, rows: Rows) -> list[Expression]:
        """What the rule demands of these rows, as conditions; none when it is certain."""
        if isinstance(source.rule, bool):
            return [] if source.rule else [sa.false()]
        return [on_alias(source.rule, source.resource.table.sql, rows)]

    def filter(self, node: PlanFilter, rows: Rows) -> Expression:
        """A condition on some rows."""
        match node:
            case PlanCompare():
                self.operators[node.slot] = node.op
                left = self.column(rows, node.column)
                return self.dialect.compare(node.column, left, node.op, self.bind(node.slot))
            case PlanIs():
                return _test(self.column(rows, node.column), node.test)
            case PlanSearch():
                return self.dialect.search.matches(node.search, rows, self.bind(node.slot))
            case PlanVia():
                return self._via(node, rows)
            case PlanGroup():
                items = [self.filter(item, rows) for item in node.items]
                if not items:
                    return sa.true()
                return sa.or_(*items) if node.any else sa.and_(*items)

    def _via(self, node: PlanVia, rows: Rows) -> Expression:
        """A semi-join: `IN` when one column joins, because it can be driven from either side."""
        far = self.alias(node.step.source.resource.table.sql)
        conditions = [*self.rule(node.step.source, far), self.filter(node.inner, far)]
        joined, links = self.join_back(node.step, far)
        if len(links) == 1:
            local, remote = links[0]
            inner = sa.select(remote).select_from(joined).where(*conditions, remote.is_not(None))
            return rows.c[local.key].in_(inner)
        links_match = [rows.c[local.key] == remote for local, remote in links]
        return sa.exists(sa.select(fixed("1")).select_from(joined).where(*conditions, *links_match))

    def join_back(self, step: Step, far: Rows) -> tuple[Rows, list[tuple[sa.Column[Any], Expression]]]:
        """The rows over there, joined with the association table if there is one, and what links them here."""
        way = step.way
        if way.through is None:
            return far, [(local, far.c[remote.key]) for local, remote in way.pairs]
        between = self.alias(way.through)
        on = [between.c[assoc.key] == far.c[remote.key] for assoc, remote in way.far_pairs]
        on += [] if step.between is None else self.rule(step.between, between)
        return far.join(between, sa.and_(*on)), [(local, between.c[assoc.key]) for local, assoc in way.pairs]

    def join_on(self, step: Step, here: Rows, there: Rows) -> Expression:
        """The ON of a left join along a to-one way: what the rule hides is joined as absent."""
        links = [here.c[local.key] == there.c[remote.key] for local, remote in step.way.pairs]
        return sa.and_(*links, *self.rule(step.source, there))

    def parent(self, parent: PlanParent, rows: Rows) -> tuple[list[Expression], Expression]:
        """The conditions that bind rows to the parent of a nested route, and whether there is one."""
        table = parent.source.resource.table.sql

        def chosen(*columns: Any) -> Query:
            row = self.alias(table)
            where = [row.c[c.sql.key] == self.bind(slot) for c, slot in parent.key]
            picked = [row.c[c.key] if isinstance(c, sa.Column) else c for c in columns]
            return sa.select(*picked).select_from(row).where(*where, *self.rule(parent.source, row))

        exists = chosen(fixed("1")).scalar_subquery()
        way = parent.step.way
        if way.through is None:
            conditions = [rows.c[remote.key] == chosen(local).scalar_subquery() for local, remote in way.pairs]
            return conditions, exists
        between = self.alias(way.through)
        links = [between.c[assoc.key] == chosen(local).scalar_subquery() for local, assoc in way.pairs]
        links += [] if parent.step.between is None else self.rule(parent.step.between, between)
        (assoc, remote), *_ = way.far_pairs
        inside = sa.select(between.c[assoc.key]).where(*links)
        return [rows.c[remote.key].in_(inside)], exists


def _test(expression: Expression, test: Test) -> Expression:
    match test:
        case Test.NULL:
            return expression.is_(None)
        case Test.NOT_NULL:
            return expression.is_not(None)
        case Test.TRUE:
            return expression == sa.true()
        case Test.FALSE:
            return expression == sa.false()
