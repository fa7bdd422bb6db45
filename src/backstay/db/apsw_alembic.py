"""What Alembic must know of SQLite under apsw: DDL is transactional, and a copied table keeps what it was.

SQLite changes a table by making a new one, copying the rows and renaming it. Reflection does not see all
that the old one had; what it misses is put back here. Importing registers nothing; call `register()`
before a MigrationContext is configured.
"""

# pyright: reportPrivateUsage=false, reportUnknownMemberType=false
# (Alembic registers an implementation when its class is defined; we do it when asked)

from typing import Any

import apsw
import sqlalchemy as sa
from alembic.ddl import impl
from alembic.ddl.sqlite import SQLiteImpl
from alembic.operations.batch import ApplyBatchImpl

from ..schema.search import search_name
from ..schema.search_ddl import rebuild

_COPY = "_alembic_tmp_"
_TRIGGERS = sa.text("SELECT sql FROM sqlite_schema WHERE type = 'trigger' AND tbl_name = :name ORDER BY rowid")
_INDEXES = sa.text("SELECT name FROM sqlite_schema WHERE type = 'index'")
_SEARCH = sa.text("SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = :name AND sql LIKE '%fts5%'")
_OPTIONS = sa.text("SELECT wr, strict FROM pragma_table_list(:name) WHERE schema = 'main'")


class ApswImpl(SQLiteImpl):
    """Alembic's SQLite implementation, without its concessions to the old sqlite3 module."""

    transactional_ddl = True
    _triggers: tuple[str, ...] = ()

    def prep_table_for_batch(self, batch_impl: ApplyBatchImpl, table: sa.Table) -> None:
        """Let the new table be like the old one, and leave generated columns out of the copy.

        SQLite computes those and refuses to be told.
        """
        super().prep_table_for_batch(batch_impl, table)
        for name, transfer in batch_impl.column_transfers.items():
            if batch_impl.columns[name].computed is not None:
                transfer.pop("expr", None)
        if batch_impl.reflected and batch_impl.new_table is not None and self.connection is not None:
            self._keep_options(self.connection, table, batch_impl.new_table)
            triggers = self.connection.execute(_TRIGGERS, {"name": table.name})
            # DROP TABLE drops them too; they come back with the name.
            self._triggers = tuple(row.sql for row in triggers)

    def _keep_options(self, connection: sa.Connection, old: sa.Table, new: sa.Table) -> None:
        options: Any = new.dialect_options["sqlite"]
        row = connection.execute(_OPTIONS, {"name": old.name}).first()
        if row is not None:
            options["with_rowid"] = not row.wr
            options["strict"] = bool(row.strict)
        raw: Any = connection.connection.dbapi_connection
        for column in new.columns:
            if column.name not in old.columns:
                continue
            try:
                facts = raw.raw.column_metadata("main", old.name, column.name)
            except apsw.SQLError:
                continue
            collation, automatic = facts[1], facts[4]
            if automatic:
                options["autoincrement"] = True
            if collation.upper() != "BINARY" and isinstance(column.type, sa.String) and not column.type.collation:
                column.type = column.type.copy()
                column.type.collation = collation

    def correct_for_autogen_constraints(
        self,
        conn_unique_constraints: Any,
        conn_indexes: Any,
        metadata_unique_constraints: Any,
        metadata_indexes: Any,
    ) -> None:
        """Reflection does not list an index of expressions; it is there when its name is."""
        assert self.connection is not None, "autogenerate has a database"
        there = set(self.connection.scalars(_INDEXES))
        for index in [index for index in metadata_indexes if index.name in there]:
            if not all(isinstance(expression, sa.Column) for expression in index.expressions):
                metadata_indexes.discard(index)

    def rename_table(self, old_table_name: str, new_table_name: Any, schema: Any = None) -> None:
        """Give a copy its name: without a look at views, whose table is missing now; with the old one's triggers."""
        if not old_table_name.startswith(_COPY) or self.connection is None:
            super().rename_table(old_table_name, new_table_name, schema)
            return
        self.connection.exec_driver_sql("PRAGMA legacy_alter_table = ON")
        try:
            super().rename_table(old_table_name, new_table_name, schema)
        finally:
            self.connection.exec_driver_sql("PRAGMA legacy_alter_table = OFF")
        triggers, self._triggers = self._triggers, ()
        for trigger in triggers:
            self.connection.exec_driver_sql(trigger)
        words = search_name(new_table_name)
        if self.connection.execute(_SEARCH, {"name": words}).first() is not None:
            # Rows without an INTEGER key were numbered anew.
            rebuild(self.connection, words)


def register() -> None:
    """Make it Alembic's implementation for SQLite in this process."""
    impl._impls["sqlite"] = ApswImpl
