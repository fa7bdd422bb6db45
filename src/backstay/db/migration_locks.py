"""What a migration makes others wait for on PostgreSQL, said before it runs."""

# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false

from __future__ import annotations

import sqlalchemy as sa
from alembic.operations import ops

from .migration_search import CreateSearchOp

#: A table that is read or indexed within a moment needs no warning.
BIG_BYTES = 64 * 1024 * 1024

_SIZE = sa.text("SELECT pg_table_size(to_regclass(quote_ident(:name)))")


def lock_warning(connection: sa.Connection, operation: ops.MigrateOperation) -> str:
    """Who waits while the operation works on a big table; empty when nobody does for long."""
    if connection.dialect.name != "postgresql":
        return ""
    table, waits = _waits(operation)
    size = connection.execute(_SIZE, {"name": table}).scalar() if waits else None
    if not size or size < BIG_BYTES:
        return ""
    return f"{table} has {size // 1024**2:,} MiB: {waits}"


def _waits(operation: ops.MigrateOperation) -> tuple[str, str]:
    match operation:
        case ops.CreateIndexOp() if not operation.kw.get("postgresql_concurrently"):
            mend = "create it CONCURRENTLY by hand before, and give the migration if_not_exists=True"
            return operation.table_name, f"writes wait while {operation.index_name} is built; {mend}"
        case CreateSearchOp():
            return operation.table_name, "writes wait while its words are indexed"
        case ops.AlterColumnOp() if operation.modify_type is not None:
            return operation.table_name, f"everybody waits while {operation.column_name} is rewritten"
        case ops.AlterColumnOp() if operation.modify_nullable is False:
            return operation.table_name, f"everybody waits while {operation.column_name} is searched for NULL"
        case ops.CreateForeignKeyOp():
            return operation.source_table, "writes wait while every row is checked"
        case ops.AddConstraintOp():
            return str(getattr(operation, "table_name", "")), "everybody waits while every row is checked"
        case _:
            return "", ""
