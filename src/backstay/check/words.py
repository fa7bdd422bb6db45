"""A rule in words: SQL-like text with its values in it, for people to read and for machines to compare.

It is never run.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import sqlalchemy as sa
from sqlalchemy.engine.default import StrCompileDialect
from sqlalchemy.sql import elements, operators
from sqlalchemy.sql.compiler import StrSQLCompiler

from ..schema.policy import ME_PREFIX


class _Words(StrSQLCompiler):
    """Writes a parameter as its value, or as what of the principal it is."""

    def visit_bindparam(self, bindparam: sa.BindParameter[Any], *_: Any, **__: Any) -> str:  # type: ignore[override]
        name = str(bindparam.key)
        if name.startswith(ME_PREFIX):
            return f"me.{name.removeprefix(ME_PREFIX)}"
        return _constant(bindparam.effective_value)


class _InWords(StrCompileDialect):
    statement_compiler = _Words


_DIALECT = _InWords()


def words(rule: object, rows: sa.FromClause | None = None) -> str:
    """The text of a rule, a stamp or a constant.

    Args:
        rows: the table that a rule is about, which its subqueries refer to.

    Example:
        >>> from backstay import has_role, me
        >>> words(has_role("admin") | (sa.column("owner") == me.id) & (sa.column("size") < 10))
        "has_role('admin') OR owner = me.id AND size < 10"
    """
    if not isinstance(rule, sa.ClauseElement):
        return repr(rule)
    if rows is None:
        return _text(rule)
    condition: Any = rule
    tree: sa.Select[*tuple[Any, ...]] = sa.select(sa.literal(1)).select_from(rows).where(condition)
    return _text(tree).partition(" WHERE ")[2]


def terms(rule: object, rows: sa.FromClause | None = None) -> tuple[str, ...]:
    """The texts of the terms that all have to hold."""
    if isinstance(rule, elements.Grouping):
        return terms(rule.element, rows)  # type: ignore[reportUnknownMemberType]
    if not isinstance(rule, elements.BooleanClauseList):
        return (words(rule, rows),)
    if rule.operator is operators.and_:
        return tuple(text for clause in rule.clauses for text in terms(clause, rows))
    return (f"({words(rule, rows)})",)


def _text(element: sa.ClauseElement) -> str:
    return " ".join(str(element.compile(dialect=_DIALECT)).split())


def _constant(value: Any) -> str:
    if isinstance(value, list | tuple):
        items = [_constant(item) for item in cast("Sequence[Any]", value)]
        return f"({', '.join(items)})"
    if value is None or isinstance(value, bool):
        return "NULL" if value is None else str(value).upper()
    if isinstance(value, int | float):
        return repr(value)
    return "'" + str(value).replace("'", "''") + "'"
