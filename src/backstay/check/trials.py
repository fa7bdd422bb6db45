"""Rules are tried before anybody is served: the database that will run them says whether it can."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.sql import elements, operators, visitors

from ..context import Context, Principal, PrincipalKind
from ..db.database import Database
from ..errors import OperatorError
from ..schema.kinds import kind_of
from ..schema.model import Kind
from ..schema.policy import RULES, said_of_rows
from ..schema.resource import Catalog, Resource
from ..sql.compiler import compile_rule
from ..sql.dialect import Dialect
from .rule_values import misfit
from .words import words

_SOMEBODY = Principal(PrincipalKind.USER, id="1", tenant="1")
_RELATED = "related rows are asked by .any(), .has() or sa.exists()"
_OTHERWISE = (
    "a rule is true or false of one row: no aggregates or windows outside of a subquery, only functions and "
    "operators that this database has, and values of their column's type"
)
_CHARS_MAX = 200
_EQUAL = frozenset({operators.eq, operators.ne})
_LIKE = frozenset(
    getattr(operators, f"{no}{name}_op")
    for name in ("like", "ilike", "contains", "startswith", "endswith", "icontains", "istartswith", "iendswith")
    for no in ("", "not_")
)


def try_rules(catalog: Catalog, dialect: Dialect, database: Database) -> None:
    """Try each rule that asks the database.

    Raises:
        OperatorError: one that it could not run, or that means nothing of its row.
    """
    for resource in catalog.declared.values():
        tried: set[int] = set()
        for what, of, rule in _rules(catalog, resource):
            if id(rule) not in tried:
                tried.add(id(rule))
                _try(f"{resource.name}: the rule {what}", of, rule, dialect, database)


def _rules(catalog: Catalog, resource: Resource) -> Iterator[tuple[str, Resource, sa.ColumnElement[bool]]]:
    """What each is, whose rows it is about, and itself."""
    for name in RULES:
        yield name, resource, getattr(resource.policy, name)
    for field, own in resource.policy.fields.items():
        yield f"read of {field}", resource, own.read
        if own.write is not None:
            yield f"write of {field}", resource, own.write
        target = _target(catalog, resource, field)
        if own.refer is not None and target is not None:
            yield f"refer of {field}", target, own.refer


def _target(catalog: Catalog, resource: Resource, field: str) -> Resource | None:
    """What a reference leads to, if it has rules of its own."""
    keys = cast("set[sa.ForeignKey]", cast(Any, resource.table.columns[field].sql).foreign_keys)
    tables = {key.column.table for key in keys}
    return next((r for r in catalog.declared.values() if r.table.sql in tables), None)


def _try(where: str, resource: Resource, rule: sa.ColumnElement[bool], dialect: Dialect, database: Database) -> None:
    said = said_of_rows(rule)
    if said is None:
        return
    told = words(rule, resource.table.sql)[:_CHARS_MAX]
    if mend := _mend(said) or misfit(said):
        raise OperatorError(f"{where} cannot be kept: {told}. Mend: {mend}.")
    try:
        statement, others = compile_rule(resource, said, dialect)
        refusal = database.refusal(statement, statement.parameters([], Context("", _SOMEBODY)))
    except (SQLAlchemyError, ArithmeticError, AssertionError, AttributeError, TypeError, ValueError) as error:
        raise OperatorError(f"{where} cannot be kept ({_line(error)}): {told}. Mend: {_OTHERWISE}.") from error
    if others:
        raise OperatorError(f"{where} speaks of {others[0]}, which is no part of its row: {told}. Mend: {_RELATED}.")
    if refusal:
        raise OperatorError(f"{where} cannot be kept ({refusal}): {told}. Mend: {_OTHERWISE}.")


def _mend(rule: sa.ColumnElement[bool]) -> str:
    """What to write instead of a comparison that the two databases understand in different ways."""
    for element in visitors.iterate(rule):
        if not isinstance(element, elements.BinaryExpression):
            continue
        said = cast(Any, element)
        kinds = {kind_of(said.left.type)}
        if Kind.JSON in kinds and said.operator in _EQUAL | _LIKE:
            return "take a value out of JSON with .as_string(), .as_integer(), .as_float() or .as_boolean()"
        if Kind.ARRAY in kinds and said.operator in _LIKE:
            return "keep what rules ask in rows of a table of its own"
    return ""


def _line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
