"""Where one server's rows are: a SQLite file, or a database of a PostgreSQL server; seen from outside the server."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import apsw
import psycopg


class Database(Protocol):
    """What the checks and the runner ask of it."""

    @property
    def url(self) -> str:
        """Return what a server is told."""
        ...

    def score_count(self) -> int:
        """Return the number of committed scores."""
        ...


@dataclass(frozen=True, slots=True)
class SQLiteFile:
    """A file of its own."""

    path: Path

    @property
    def url(self) -> str:
        """Return the URL of the absolute path."""
        return f"sqlite:///{self.path}"

    def score_count(self) -> int:
        """Count in the file itself."""
        connection = apsw.Connection(str(self.path), flags=apsw.SQLITE_OPEN_READONLY)
        connection.set_busy_timeout(20_000)
        try:
            return int(connection.execute("select count(*) from scores").get)
        finally:
            connection.close()


@dataclass(frozen=True, slots=True)
class PostgresDatabase:
    """A database of the benchmark's own PostgreSQL server."""

    url: str

    def score_count(self) -> int:
        """Count on a connection of its own."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            row = connection.execute("select count(*) from scores").fetchone()
        assert row is not None, "count(*) gives one row"
        return int(row[0])
