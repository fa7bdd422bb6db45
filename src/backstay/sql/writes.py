"""InsertPlan, UpdatePlan and DeletePlan into one Core statement that returns the row's JSON."""

from __future__ import annotations

from typing import Any, cast

import sqlalchemy as sa
from sqlalchemy.ext.compiler import compiles

from ..query.plan import DeletePlan, InsertPlan, UpdatePlan
from ..schema.base import current_instant
from ..schema.model import Table
from .dialect import fixed
from .rules import me_as, on_alias
from .scope import Scope
from .shapes import Joined, members_of
from .statement import Output

BuiltWrite = tuple[Any, tuple[Output, ...]]


class _OfRow(sa.ColumnElement[Any]):
    """What is said of the row that a statement returns: subqueries in it mean that row, not all rows of its table.

    SQLAlchemy sees to it for UPDATE and DELETE; in the RETURNING of an INSERT it takes the table as one to read.
    """

    inherit_cache = False

    def __init__(self, said: Any, table: sa.FromClause) -> None:
        self.said, self.table, self.type = said, table, said.type


@compiles(_OfRow)
def _of_row(element: _OfRow, compiler: Any, **kw: Any) -> str:
    row = {element.table}
    compiler.stack.append({**compiler.stack[-1], "correlate_froms": row, "asfrom_froms": row})
    compiler.returned = element.table
    try:
        return cast(str, compiler.process(element.said, **kw))
    finally:
        compiler.returned = None
        compiler.stack.pop()


def build_insert(scope: Scope, plan: InsertPlan) -> BuiltWrite:
    """`INSERT … RETURNING` the row, its key, its version and whether the check admits it."""
    key = [c.sql for c in plan.source.resource.key]
    return _returning(scope, build_plain_insert(scope, plan), plan, key)


def build_plain_insert(scope: Scope, plan: InsertPlan) -> Any:
    """The `INSERT` alone."""
    table = _table(plan.source.resource.table)
    values: dict[str, Any] = {c.sql.key: scope.bind(i) for i, c in enumerate(plan.columns)}
    values |= {column.sql.key: me_as(stamp, column.sql.type) for column, stamp in plan.stamps}
    # Always told, even of no values: without, SQLAlchemy takes every column for given.
    return sa.insert(table).values(values)


def build_update(scope: Scope, plan: UpdatePlan) -> BuiltWrite:
    """`UPDATE … RETURNING`; no row means there is none, or none that the rule admits."""
    facts = plan.source.resource.table
    table = _table(facts)
    values: dict[Any, Any] = {c.sql: scope.bind(i) for i, c in enumerate(plan.columns)}
    if plan.restored is not None:
        values[plan.restored.sql] = sa.null()
    if (values or plan.touched) and facts.version is not None:
        version = facts.columns[facts.version].sql
        values[version] = version + fixed("1")
    if not values:
        # Nothing to change, yet the rules and the answer are those of an update.
        untouched = plan.key[0][0].sql
        values = {untouched: untouched} | {c: c for c in table.c if c.onupdate is not None}
    where = [column.sql == scope.bind(slot) for column, slot in plan.key]
    statement = sa.update(table).values(values).where(*where, *scope.rule(plan.source, table))
    return _returning(scope, statement, plan, [c.sql for c in plan.source.resource.key])


def build_delete(scope: Scope, plan: DeletePlan) -> BuiltWrite:
    """`DELETE … RETURNING 1`, or the `UPDATE` that marks the row as deleted."""
    table = _table(plan.source.resource.table)
    where = [column.sql == scope.bind(slot) for column, slot in plan.key]
    statement: Any = sa.delete(table)
    if plan.marked is not None:
        values: dict[Any, Any] = {plan.marked.sql: current_instant()}
        version = plan.source.resource.table.version
        if version is not None:
            counted = plan.source.resource.table.columns[version].sql
            values[counted] = counted + fixed("1")
        statement = sa.update(table).values(values)
    outputs, names = [fixed("1").label("count")], [Output.COUNT]
    _attribute(scope, outputs, names)
    statement = statement.where(*where, *scope.rule(plan.source, table))
    return statement.returning(*outputs), tuple(names)


def _attribute(scope: Scope, outputs: list[Any], names: list[Output]) -> None:
    attribution = scope.dialect.attribution
    if attribution is not None:
        outputs.append(attribution.label("attributed"))
        names.append(Output.ATTRIBUTED)


def _table(facts: Table) -> sa.Table:
    assert isinstance(facts.sql, sa.Table), "only tables are written"
    return cast(sa.Table, cast(Any, facts).sql)


def _returning(scope: Scope, statement: Any, plan: InsertPlan | UpdatePlan, key: list[Any]) -> BuiltWrite:
    facts = plan.source.resource.table
    table = facts.sql
    data = scope.dialect.json_object(members_of(scope, plan.shape, table, Joined(table)))
    outputs: list[Any] = [_OfRow(scope.dialect.json_bytes(data), table).label("data")]
    names = [Output.DATA]
    if facts.version is not None:
        outputs.append(facts.columns[facts.version].sql.label("version"))
        names.append(Output.VERSION)
    outputs.append(scope.dialect.json_array(_key_values(scope, facts, key)).label("key"))
    names.append(Output.KEY)
    demands = [] if isinstance(plan.check, bool) else [on_alias(plan.check, table, table)]
    demands += [scope.refers(reference, table) for reference in plan.references]
    if demands:
        outputs.append(_OfRow(scope.dialect.allowed(sa.and_(*demands)), table).label("allowed"))
        names.append(Output.ALLOWED)
    _attribute(scope, outputs, names)
    return statement.returning(*outputs), tuple(names)


def _key_values(scope: Scope, facts: Table, key: list[Any]) -> list[Any]:
    by_sql = {column.sql: column for column in facts.columns.values()}
    return [scope.dialect.json_value(by_sql[column], column) for column in key]
