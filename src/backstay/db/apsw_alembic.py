"""What Alembic must know of SQLite under apsw: DDL is transactional, and generated columns are not copied.

Importing registers nothing; call `register()` before a MigrationContext is configured.
"""

# pyright: reportPrivateUsage=false
# (Alembic registers an implementation when its class is defined; we do it when asked)

from alembic.ddl import impl
from alembic.ddl.sqlite import SQLiteImpl
from alembic.operations.batch import ApplyBatchImpl
from sqlalchemy import Table


class ApswImpl(SQLiteImpl):
    """Alembic's SQLite implementation, without its two concessions to the old sqlite3 module."""

    transactional_ddl = True

    def prep_table_for_batch(self, batch_impl: ApplyBatchImpl, table: Table) -> None:
        """Leave generated columns out of the copy: SQLite computes them, and refuses to be told."""
        super().prep_table_for_batch(batch_impl, table)
        for name, transfer in batch_impl.column_transfers.items():
            if batch_impl.columns[name].computed is not None:
                transfer.pop("expr", None)


def register() -> None:
    """Make it Alembic's implementation for SQLite in this process."""
    impl._impls["sqlite"] = ApswImpl
