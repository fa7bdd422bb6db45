"""From a database URL to what compiles for it and what runs it."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import Any, cast

import sqlalchemy as sa

from ..config import Config
from ..context import Context
from ..errors import OperatorError
from ..sql.dialect import Dialect
from ..sql.postgresql import PostgresDialect
from ..sql.sqlite import SqliteDialect
from ..sql.statement import Output, Statement
from .database import Database
from .engines import backend_of
from .postgres_connect import connect, conninfo_of
from .postgres_engine import PostgresDatabase
from .recording import Recorded
from .recording_postgres import record_changes
from .recording_sqlite import make_tables
from .sqlite_connection import open_connection
from .sqlite_engine import SqliteDatabase, path_of

#: Whether there is a table or view.
_THERE = {
    "postgresql": "SELECT 1 WHERE to_regclass($1) IS NOT NULL",
    "sqlite": "SELECT 1 FROM sqlite_schema WHERE name = ? COLLATE NOCASE",
}
CHECK_S_MAX = 10.0
POSTGRES_SCHEMES = ("postgresql://", "postgres://")


def open_database(config: Config, *, read_only: bool, recorded: Sequence[Recorded] = ()) -> tuple[Dialect, Database]:
    """The dialect and the open database of a configuration.

    Args:
        recorded: the tables whose changes are recorded.

    Raises:
        OperatorError: no such kind of database, or one that cannot be opened.
    """
    url = config.database_url
    if url.startswith(POSTGRES_SCHEMES):
        return PostgresDialect(recorded=bool(recorded)), PostgresDatabase(
            config, read_only=read_only, recorded=recorded
        )
    if url.startswith("sqlite"):
        return SqliteDialect(), SqliteDatabase(config, read_only=read_only, recorded=recorded)
    scheme = url.partition("://")[0]
    raise OperatorError(
        f"No database of the kind {scheme!r}: write sqlite:///file.db or postgresql://user@host/name."
    )


def prepare_recording(config: Config, recorded: Sequence[Recorded]) -> None:
    """Make what records changes, as who may make tables; a server that starts looks for it, too.

    Raises:
        OperatorError: the database cannot be reached, or refuses.
    """
    if backend_of(config.database_url) == "sqlite":
        file = open_connection(path_of(config.database_url), write=True)
        make_tables(file)
        file.close()
        return
    connection = connect(conninfo_of(config.database_url, config))
    record_changes(connection, recorded)
    connection.finish()


async def check_tables(database: Database, dialect: Dialect, tables: Iterable[sa.FromClause]) -> None:
    """See that declared tables are there.

    Raises:
        OperatorError: with the command that makes them.
    """
    for table in tables:
        if not isinstance(table, sa.Table):
            continue
        context = Context("", deadline=time.monotonic() + CHECK_S_MAX)
        if not await is_there(database, dialect, cast("sa.Table[Any]", table), context):
            raise OperatorError(f"The database has no table {str(table.name)!r}: run `backstay db migrate` first.")


async def is_there(database: Database, dialect: Dialect, table: sa.Table[Any], context: Context) -> bool:
    """Whether the database has a table or view of that name."""
    statement = Statement(_THERE[dialect.name], "database", "tables", (Output.COUNT,), (), (), None)
    quoted: str = cast(Any, dialect.core.identifier_preparer).format_table(table)
    name = quoted.encode() if dialect.name == "postgresql" else str(table.name)
    found = database.read(statement, (name,), context)
    return bool(found if isinstance(found, list) else await found)
