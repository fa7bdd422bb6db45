"""Rules in statements: said of an alias of their table, with the principal's values, in words of both databases."""

from __future__ import annotations

from typing import Any, cast

import sqlalchemy as sa
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql import elements, functions, operators, visitors
from sqlalchemy.sql.elements import ClauseList
from sqlalchemy.types import NullType

from ..schema.kinds import ISO_LAYOUT, kind_of
from ..schema.policy import ME_PREFIX
from .dialect import Expression

Rows = sa.FromClause
_EQUAL = frozenset({operators.eq, operators.ne, operators.is_distinct_from, operators.is_not_distinct_from})
_LISTED = frozenset({operators.in_op, operators.not_in_op})
_TIMES = (functions.now, functions.current_timestamp)


def on_alias(rule: Expression, table: Rows, rows: Rows) -> Expression:
    """A rule about a table, said of an alias of it, and of the principal's values by their types.

    Inside a subquery that reads the table itself, its columns are that subquery's.
    """

    def replace(element: Any, **kw: Any) -> Any:
        if rows is not table and isinstance(element, sa.Select) and _reads(cast(Any, element), table):
            return on_alias(cast(Any, element), table, table)
        if isinstance(element, elements.BinaryExpression):
            said = _portable(cast(Any, element))
            return None if said is element else on_alias(said, table, rows)
        if isinstance(element, sa.BindParameter):
            return _value(cast(Any, element))
        if isinstance(element, _TIMES):
            return _Now(ISO_LAYOUT)
        if rows is not table and isinstance(element, sa.Column) and cast(Any, element).table is table:
            key: str = cast(Any, element).key
            return rows.c[key]
        return None

    return visitors.replacement_traverse(rule, {}, replace)


def _value(bound: Any) -> Any:
    """A parameter of a rule; true and false are words: PostgreSQL takes no parameter where it wants a condition."""
    if bound.expanding:
        return _listed(bound)
    if isinstance(bound.value, bool) and isinstance(bound.type, sa.Boolean):
        return sa.true() if bound.value else sa.false()
    return me_as(bound, bound.type)


def _portable(said: Any) -> Any:
    """A comparison as both databases understand it; the very same where they do."""
    if said.operator in _LISTED and isinstance(said.left, elements.Tuple) and _is_list(said.right):
        return _tuples(said)
    if said.operator in _LISTED and _is_untyped_me(said.left) and _is_list(said.right):
        known = next((sa.literal(value).type for value in said.right.value), None)
        return said if known is None else _of(said, me_as(said.left, known), _typed(said.right, known))
    sides = [said.left, said.right]
    for place, (side, other) in enumerate(((said.left, said.right), (said.right, said.left))):
        if _is_untyped_me(side) and said.operator in _EQUAL and not _is_me(other):
            if _is_untyped(other):
                if not isinstance(other, functions.FunctionElement | sa.BindParameter):
                    continue
                known: Any = sa.Text()
                if isinstance(other, sa.BindParameter):
                    known = sa.literal(cast(Any, other).value).type
                sides[1 - place] = _typed(other, known)
                sides[place] = me_as(side, known)
            elif kind_of(other.type) is not None:
                sides[place] = me_as(side, other.type)
        elif isinstance(side, _TIMES):
            sides[place] = _Now(getattr(other.type, "layout", ISO_LAYOUT))
    return said if sides == [said.left, said.right] else _of(said, *sides)


def _of(said: Any, left: Any, right: Any) -> Any:
    """The same comparison of others."""
    return elements.BinaryExpression(left, right, said.operator, said.type, said.negate, said.modifiers)


def _tuples(said: Any) -> Any:
    """`(a, b) IN ((1, 2), (3, 4))` by its parts: SQLite has no such list, and each part has its column's type."""
    columns = list(said.left.clauses)
    rows = [sa.and_(*[c == v for c, v in zip(columns, row, strict=True)]) for row in said.right.value]
    found = sa.or_(sa.false(), *rows).self_group()
    return found if said.operator is operators.in_op else sa.not_(found)


def _is_list(side: Any) -> bool:
    return isinstance(side, sa.BindParameter) and bool(cast(Any, side).expanding)


def _is_me(side: Any) -> bool:
    return isinstance(side, sa.BindParameter) and str(cast(Any, side).key).startswith(ME_PREFIX)


def _is_untyped(side: Any) -> bool:
    return isinstance(getattr(side, "type", None), NullType)


def _is_untyped_me(side: Any) -> bool:
    return _is_me(side) and _is_untyped(side)


def _typed(side: Any, known: Any) -> Any:
    """What has no type, of one: a function's answer as text, which every value of a principal can be."""
    if not isinstance(side, sa.BindParameter):
        return sa.cast(side, known)
    bound = cast(Any, side)._clone()
    bound.type = known
    return bound


class _Now(functions.GenericFunction[Any]):
    """The time now, in the form of the column that it is compared with."""

    type = sa.DateTime(timezone=True)
    inherit_cache = False
    name = "backstay_now"

    def __init__(self, layout: str) -> None:
        super().__init__()
        self.layout = layout


@compiles(_Now)
def _now(element: _Now, compiler: Any, **kw: Any) -> str:
    return "CURRENT_TIMESTAMP"


@compiles(_Now, "sqlite")
def _now_as_text(element: _Now, compiler: Any, **kw: Any) -> str:
    """SQLite's own has a space and no fraction, which sorts before the same instant of a row.

    It knows milliseconds: what a row has got since the last one is not in the future.
    """
    separator, digits, suffix = element.layout.split("|")
    seconds = "%f" + "9" * (int(digits) - 3) if digits and int(digits) >= 3 else "%S"
    return f"strftime('%Y-%m-%d{separator}%H:%M:{seconds}{suffix}', 'now')"


def _listed(values: Any) -> Any:
    """The values of an `IN`, each a parameter: SQLAlchemy would tell them apart when it runs the statement itself."""
    found = [sa.literal(value, values.type) for value in values.value]
    if not found:
        return sa.select(sa.null()).where(sa.false()).scalar_subquery()
    return cast(Any, ClauseList(*found)).self_group(against=operators.in_op)


def _reads(query: Any, table: Rows) -> bool:
    """Whether a query says itself that it reads a table."""
    return table in set(query._from_obj)  # a table that is annotated equals the one that it was


def me_as(value: Any, sql_type: Any) -> Any:
    """`me.id` as a value of a type: one that is compared with columns of two types is a parameter for each.

    What is no value of the principal stays as it is.
    """
    name = str(value.key) if isinstance(cast(object, value), sa.BindParameter) else ""
    if not name.startswith(ME_PREFIX):
        return value
    attribute = name.removeprefix(ME_PREFIX).partition("_")[0]
    kind = kind_of(sql_type)
    assert kind is not None, "a rule compares columns that the API can carry"
    return sa.bindparam(f"{ME_PREFIX}{attribute}_{kind.name.lower()}", unique=False, type_=sql_type)
