"""What changes kept of rows, as rows: each database reads the JSON that its own triggers wrote."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler

from ..schema.kinds import kind_of
from ..schema.model import Kind
from .dialect import Expression, fixed


class SqliteImages:
    """See `dialect.Images`: values out of the JSON, as they were stored."""

    def row(self, table: sa.Table, change: sa.FromClause, side: str) -> tuple[Any, Sequence[Expression]]:
        """The change itself, and a path into its JSON for each column."""
        return change, [_value(column, change.c[side]) for column in table.columns]

    def key(self, values: Sequence[Expression]) -> Expression:
        """As the trigger writes it."""
        return sa.func.json_array(*values)


def _value(column: sa.Column[Any], image: Expression) -> Expression:
    path = f'$."{column.name}"'.replace("'", "''")
    value: Any = sa.func.json_extract(image, fixed(f"'{path}'"))
    if kind_of(column.type) is Kind.BYTES:
        value = sa.func.unhex(value)  # JSON has no bytes
    return sa.type_coerce(value, column.type)


class PostgresImages:
    """See `dialect.Images`: the database makes a row of the table's type."""

    def row(self, table: sa.Table, change: sa.FromClause, side: str) -> tuple[Any, Sequence[Expression]]:
        """The change beside the row that its JSON is."""
        names: list[Any] = [sa.column(column.name, column.type) for column in table.columns]
        function = sa.func.jsonb_populate_record(_NoRow(table), change.c[side])
        row = function.table_valued(*names, joins_implicitly=True)
        return change.join(row, sa.true()), [row.c[column.name] for column in table.columns]

    def key(self, values: Sequence[Expression]) -> Expression:
        """As the trigger writes it."""
        return sa.cast(sa.func.jsonb_build_array(*values), sa.Text())


class _NoRow(sa.ColumnElement[Any]):
    """No row of a table, which says what the columns of an image are."""

    inherit_cache = False

    def __init__(self, table: sa.Table) -> None:
        self.row = table


@compiles(_NoRow)
def _no_row(element: _NoRow, compiler: SQLCompiler, **kw: Any) -> str:
    return f"CAST(NULL AS {compiler.preparer.format_table(element.row)})"
