"""Search indexes in migrations: `op.create_search("games", ["name"])` makes what each database has for it.

Alembic sees neither FTS5 tables nor what an index of expressions is of; they are compared here. Importing this
gives Alembic's `op` its two new operations.
"""

# pyright: reportPrivateUsage=false, reportUnknownMemberType=false, reportUntypedFunctionDecorator=false
# pyright: reportUntypedClassDecorator=false

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from alembic.autogenerate import render
from alembic.operations import Operations, ops

from ..schema.model import Search
from ..schema.search import free_rowid, search_name, search_of
from ..schema.search_ddl import (
    comment_of,
    create_search,
    drop_search,
    index_name,
    sqlite_statements,
)

_CONTENT = re.compile(r"\bcontent='((?:[^']|'')*)'")
_SHADOWS = ("", "_data", "_idx", "_docsize", "_config", "_content")
_VIRTUAL = sa.text(
    "SELECT name, sql FROM sqlite_schema WHERE type = 'table' AND sql LIKE 'CREATE VIRTUAL TABLE%fts5%'"
)
_TRIGGERS = sa.text("SELECT name, sql FROM sqlite_schema WHERE type = 'trigger' AND tbl_name = :name")
_COLUMNS = sa.text("SELECT name, type, pk FROM pragma_table_info(:name)")
_INDEXES = sa.text(
    """SELECT t.relname, i.relname, obj_description(i.oid, 'pg_class') FROM pg_index x
    JOIN pg_class i ON i.oid = x.indexrelid JOIN pg_class t ON t.oid = x.indrelid
    WHERE t.relnamespace = current_schema()::regnamespace
    AND obj_description(i.oid, 'pg_class') LIKE 'backstay search of %'"""
)


@Operations.register_operation("create_search")
class CreateSearchOp(ops.MigrateOperation):
    """Make a table searchable by these columns."""

    def __init__(self, table_name: str, columns: Sequence[str]) -> None:
        self.table_name = table_name
        self.columns = tuple(columns)

    @classmethod
    def create_search(cls, operations: Operations, table_name: str, columns: Sequence[str]) -> Any:
        """`op.create_search(table, columns)`; what was there of it before is replaced."""
        return operations.invoke(cls(table_name, columns))

    def reverse(self) -> DropSearchOp:
        """What undoes it."""
        return DropSearchOp(self.table_name, self.columns)


@Operations.register_operation("drop_search")
class DropSearchOp(ops.MigrateOperation):
    """Make a table not searchable."""

    def __init__(self, table_name: str, columns: Sequence[str] = ()) -> None:
        self.table_name = table_name
        self.columns = tuple(columns)

    @classmethod
    def drop_search(cls, operations: Operations, table_name: str) -> Any:
        """`op.drop_search(table)`; no rows are lost."""
        return operations.invoke(cls(table_name))

    def reverse(self) -> CreateSearchOp:
        """What undoes it."""
        return CreateSearchOp(self.table_name, self.columns)


@Operations.implementation_for(CreateSearchOp)
def _create(operations: Operations, op: CreateSearchOp) -> None:
    connection = operations.get_bind()
    name = search_name(op.table_name)
    drop_search(connection, name)
    create_search(connection, Search(op.table_name, op.columns, _rowid(connection, op.table_name)), name)


@Operations.implementation_for(DropSearchOp)
def _drop(operations: Operations, op: DropSearchOp) -> None:
    drop_search(operations.get_bind(), search_name(op.table_name))


@render.renderers.dispatch_for(CreateSearchOp)
def _render_create(context: Any, op: CreateSearchOp) -> str:
    return f"op.create_search({op.table_name!r}, {list(op.columns)!r})"


@render.renderers.dispatch_for(DropSearchOp)
def _render_drop(context: Any, op: DropSearchOp) -> str:
    return f"op.drop_search({op.table_name!r})"


@dataclass(frozen=True, slots=True)
class FoundSearch:
    """A search index of a database; `current` says that it is what this version would make."""

    columns: tuple[str, ...]
    current: bool


def is_search_part(table: str, tables: Sequence[str]) -> bool:
    """Whether a table of SQLite only belongs to the search of one of the others."""
    return any(table in {search_name(owner) + suffix for suffix in _SHADOWS} for owner in tables)


def is_search_index(index: sa.Index) -> bool:
    """Whether an index that PostgreSQL has is a search's."""
    return index.table is not None and index.name == index_name(search_name(index.table.name))


def search_changes(
    connection: sa.Connection, metadata: sa.MetaData
) -> tuple[list[DropSearchOp], list[CreateSearchOp]]:
    """What has to go before the tables change, and what can come only after."""
    declared = {table.name: search_of(table) for table in metadata.sorted_tables}
    wanted = {name: FoundSearch(search.columns, True) for name, search in declared.items() if search is not None}
    found = found_searches(connection)
    drops = [DropSearchOp(table, had.columns) for table, had in found.items() if wanted.get(table) != had]
    creates = [CreateSearchOp(table, has.columns) for table, has in wanted.items() if found.get(table) != has]
    return drops, creates


def found_searches(connection: sa.Connection) -> dict[str, FoundSearch]:
    """The search indexes of a database by their table."""
    if connection.dialect.name == "sqlite":
        return dict(
            _sqlite_found(connection, name, sql) for name, sql in connection.execute(_VIRTUAL) if _owner(name, sql)
        )
    found: dict[str, FoundSearch] = {}
    for table, index, comment in connection.execute(_INDEXES):
        if index == index_name(search_name(table)):
            columns = tuple(comment.removeprefix(comment_of(())).split(", "))
            found[table] = FoundSearch(columns, True)
    return found


def _owner(name: str, sql: str) -> str:
    """The table whose search it is; empty when it is a program's own."""
    content = _CONTENT.search(sql)
    table = content[1].replace("''", "'") if content else ""
    return table if table and search_name(table) == name else ""


def _sqlite_found(connection: sa.Connection, name: str, sql: str) -> tuple[str, FoundSearch]:
    table = _owner(name, sql)
    columns = tuple(row.name for row in connection.execute(_COLUMNS, {"name": name}))
    expected = sqlite_statements(connection, Search(table, columns, _rowid(connection, table)), name)
    triggers = {row.sql for row in connection.execute(_TRIGGERS, {"name": table})}
    return table, FoundSearch(columns, sql == expected[0] and triggers >= {*expected[1:]})


def _rowid(connection: sa.Connection, table: str) -> str:
    """As `schema.search.rowid_of`, of a table that is there."""
    if connection.dialect.name != "sqlite":
        return ""
    rows = connection.execute(_COLUMNS, {"name": table}).all()
    key = [row for row in rows if row.pk]
    if len(key) == 1 and key[0].type.upper() == "INTEGER":
        return str(key[0].name)
    return free_rowid([row.name for row in rows])
