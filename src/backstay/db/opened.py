"""From a database URL to what compiles for it and what runs it."""

from __future__ import annotations

from ..config import Config
from ..errors import OperatorError
from ..sql.dialect import Dialect
from ..sql.postgresql import PostgresDialect
from ..sql.sqlite import SqliteDialect
from .database import Database
from .postgres_engine import PostgresDatabase
from .sqlite_engine import SqliteDatabase

POSTGRES_SCHEMES = ("postgresql://", "postgres://")


def open_database(config: Config, *, read_only: bool) -> tuple[Dialect, Database]:
    """The dialect and the open database of a configuration.

    Raises:
        OperatorError: no such kind of database, or one that cannot be opened.
    """
    url = config.database_url
    if url.startswith(POSTGRES_SCHEMES):
        return PostgresDialect(), PostgresDatabase(config, read_only=read_only)
    if url.startswith("sqlite"):
        return SqliteDialect(), SqliteDatabase(config, read_only=read_only)
    scheme = url.partition("://")[0]
    raise OperatorError(
        f"No database of the kind {scheme!r}: write sqlite:///file.db or postgresql://user@host/name."
    )
