"""Enums whose values changed: their CHECK is compared by the values it admits, since Alembic looks at names only."""

# pyright: reportPrivateUsage=false, reportUnknownMemberType=false

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from alembic.operations import ops
from alembic.util import sqla_compat

from ..schema.base import ENUM, admits

_LITERAL = re.compile(r"'((?:[^']|'')*)'")


@dataclass(frozen=True, slots=True, eq=False)
class EnumChange:
    """One enum column.

    Attributes:
        grows: every value that was admitted still is.
    """

    table: str
    column: str
    steps: tuple[ops.MigrateOperation, ...]
    values: tuple[str, ...]
    grows: bool


def enum_changes(connection: sa.Connection, metadata: sa.MetaData) -> Iterator[EnumChange]:
    """Enum columns whose CHECK in the database admits other values than the model."""
    inspector = sa.inspect(connection)
    there = set(inspector.get_table_names())
    for table in metadata.sorted_tables:
        declared = {_name(c, connection): c for c in table.constraints if ENUM in c.info}
        if not declared or table.name not in there:
            continue
        found = {str(check["name"]): check["sqltext"] for check in inspector.get_check_constraints(table.name)}
        for name, check in declared.items():
            if name not in found:
                continue
            had = [text.replace("''", "'") for text in _LITERAL.findall(found[name])]
            column_name, values = check.info[ENUM]
            if {*had} != {*values}:
                column = next(c for c in table.columns if c.name == column_name)
                # Written anew, and not as the database has it, so that undoing it runs on both.
                before = sa.CheckConstraint(admits(column, had), name=check.name, table=_copy(table, column))
                steps = (ops.DropConstraintOp.from_constraint(before), ops.AddConstraintOp.from_constraint(check))
                yield EnumChange(table.name, column.name, steps, tuple(values), {*had} <= {*values})


def _name(constraint: Any, connection: sa.Connection) -> str:
    return str(sqla_compat._get_constraint_final_name(constraint, connection.dialect))


def _copy(table: sa.Table, column: sa.Column[Any]) -> sa.Table:
    naming: Any = table.metadata.naming_convention
    return sa.Table(table.name, sa.MetaData(naming_convention=naming), column._copy())
