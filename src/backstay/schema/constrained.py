"""Which columns a constraint is about, by its name: for databases that tell no more of one that does not hold."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from .model import Table

_WORD = re.compile(r"\w+")


def columns_about(table: Table, constraint: str, expressions: str = "") -> Sequence[str]:
    """The database's names of the columns of a constraint or a unique index, in the order of the table.

    One that is not declared is known by its expressions, where the database tells them, or by the name that it gives
    it (`games_low_high_check`).
    """
    columns = [column.sql.name for column in table.columns.values()]
    sql: Any = table.sql
    declared: list[sa.Constraint | sa.Index] = [*sql.constraints, *sql.indexes] if isinstance(sql, sa.Table) else []
    for item in declared:
        if constraint and str(item.name) == constraint:
            said = _names_in(item)
            return [name for name in columns if name in said]
    words = set(_WORD.findall(expressions))
    if not words.isdisjoint(columns):
        return [name for name in columns if name in words]
    rest, found = f"_{'_'.join(_WORD.findall(constraint))}_", set[str]()
    for name in sorted(columns, key=len, reverse=True):
        if f"_{name}_" in rest:
            found.add(name)
            rest = rest.replace(f"_{name}_", "__")
    return [name for name in columns if name in found]


def _names_in(item: sa.Constraint | sa.Index) -> set[str]:
    """The words of its expressions, among them the names of its columns."""
    if isinstance(item, sa.CheckConstraint):
        expressions: list[Any] = [item.sqltext]
    else:
        expressions = list(getattr(item, "expressions", None) or getattr(item, "columns", ()))
    return {word for expression in expressions for word in _WORD.findall(str(expression))}
