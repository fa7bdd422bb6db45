"""Lookups: selects of the product's own, such as whose session it is, on the quick way that requests' reads take."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.sql.compiler import SQLCompiler

from ..schema.kinds import column_like
from .dialect import Dialect
from .statement import Binder, Output, Statement


def given(number: int, sql_type: Any) -> sa.BindParameter[Any]:
    """The place of a lookup's value, by its position."""
    return sa.bindparam(f"s{number}", type_=sql_type, unique=False)


def lookup(name: str, query: sa.Select[*tuple[Any, ...]], dialect: Dialect) -> Statement:
    """A Statement whose rows have one output each: the selected columns as a JSON array.

    Args:
        name: what it looks for, for metrics.
        query: a select of columns; its values are `given`, by their positions.
    """
    shown = [dialect.json_value(column_like(c.type, nullable=True), c) for c in query.selected_columns]
    tree = query.with_only_columns(dialect.json_bytes(dialect.json_array(shown)), maintain_column_froms=True)
    compiled = tree.compile(dialect=dialect.core)
    return Statement(
        text=compiled.string,
        resource="auth",
        action=name,
        outputs=(Output.DATA,),
        slots=(),
        readers=(),
        binders=tuple(_binder(n, compiled, dialect) for n in compiled.positiontup or ()),
        many=True,
    )


def _binder(name: str, compiled: SQLCompiler, dialect: Dialect) -> Binder:
    """What fills a parameter: a given value, or a constant of the query."""
    store = dialect.reader(column_like(compiled.binds[name].type, nullable=True)) or dialect.plain
    if name.startswith("s") and name[1:].isdigit():
        place = int(name[1:])
        return lambda values, principal: store(values[place])
    constant = store(compiled.params[name])
    return lambda values, principal: constant
