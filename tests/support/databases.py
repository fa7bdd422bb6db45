"""The databases that tests run on, and rows that many tests start from: filled once in a process, then copied."""

import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import apsw
import psycopg
import sqlalchemy as sa

from backstay.db.sqlite_engine import path_of
from support.asgi import sync_engine
from support.postgres import fresh_database, template_database

DATABASES = ("sqlite", "postgresql")
#: Where the files live that are copied; it goes with the process.
_FOLDER = tempfile.TemporaryDirectory(prefix="backstay-filled-", ignore_cleanup_errors=True)
_ASIDE = "aside"


@dataclass(slots=True)
class Filled:
    """Tables and their rows.

    Args:
        key: a name of its own, also of its file.
        fill: makes the tables and the rows.
    """

    key: str
    fill: Callable[[sa.Engine], object]
    _owned: list[str] = field(default_factory=list[str])
    _shared: list[str] = field(default_factory=list[str])

    def copied(self, database: str, folder: Path) -> str:
        """The URL of a copy for as long as anybody wants it."""
        return self.own(database, folder) if database == "sqlite" else fresh_database(self._template())

    def shared(self, database: str, folder: Path) -> str:
        """The URL of a database for tests that change nothing."""
        if database == "sqlite":
            return self.own(database, folder)
        if not self._shared:
            self._shared.append(fresh_database(self._template()))
        return self._shared[0]

    def own(self, database: str, folder: Path) -> str:
        """The URL of a database as filled, for one test at a time.

        On PostgreSQL it is one whose rows are put back, which takes a hundredth of the time of a copy.
        """
        if database == "sqlite":
            for left in ("-wal", "-shm"):
                (folder / f"{self.key}.db{left}").unlink(missing_ok=True)
            shutil.copy(self._file(), folder / f"{self.key}.db")
            return f"sqlite:///{folder / f'{self.key}.db'}"
        if not self._owned:
            url = fresh_database(self._template())
            self._owned += [url, _put_aside(url)]
        url, put_back = self._owned
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(put_back.encode())
        return url

    def _file(self) -> Path:
        path = Path(_FOLDER.name) / f"{self.key}.db"
        if not path.exists():
            self._fill(f"sqlite:///{path}")
        return path

    def _template(self) -> str:
        return template_database(self.key, self._fill)

    def _fill(self, url: str) -> None:
        engine = sync_engine(url)
        self.fill(engine)
        engine.dispose()
        if url.startswith("postgresql"):
            number_on(url)


def empty_database(database: str, folder: Path, metadata: sa.MetaData) -> str:
    """The URL of a database of the caller's own with these tables."""
    url = f"sqlite:///{folder / 'empty.db'}" if database == "sqlite" else fresh_database()
    engine = sync_engine(url)
    metadata.create_all(engine)
    engine.dispose()
    return url


def number_on(url: str) -> None:
    """Let generated keys go on behind those that were filled in, as they do on SQLite."""
    with psycopg.connect(url, autocommit=True) as connection:
        columns = connection.execute(
            "SELECT table_name, column_name FROM information_schema.columns"
            " WHERE table_schema = 'public' AND is_identity = 'YES'"
        )
        for table, column in columns.fetchall():
            connection.execute(
                f"""SELECT setval(pg_get_serial_sequence('"{table}"', '{column}'), max("{column}"))
                    FROM "{table}" HAVING count(*) > 0""".encode()
            )


def dump(url: str) -> list[tuple[object, ...]]:
    """Every row of every table."""
    if url.startswith("sqlite"):
        file = apsw.Connection(path_of(url), flags=apsw.SQLITE_OPEN_READONLY)
        try:
            listed = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
            tables = [name for (name,) in file.execute(listed)]
            return [(table, *row) for table in tables for row in file.execute(f'SELECT * FROM "{table}"')]
        finally:
            file.close()
    with psycopg.connect(url, autocommit=True) as connection:
        names = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1")
        return [
            (table, *row)
            for (table,) in names.fetchall()
            for row in connection.execute(f'SELECT t::text FROM "{table}" AS t ORDER BY 1'.encode())
        ]


def _put_aside(url: str) -> str:
    """Keep every table's rows in a schema of their own; returns the SQL that puts them back, sequences too."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"CREATE SCHEMA {_ASIDE}".encode())
        tables = [n for (n,) in connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")]
        sequences = connection.execute("SELECT sequencename, last_value FROM pg_sequences").fetchall()
        for table in tables:
            connection.execute(f'CREATE TABLE {_ASIDE}."{table}" AS TABLE public."{table}"'.encode())
    emptied = [f'DELETE FROM "{table}"' for table in tables]
    filled = [f'INSERT INTO "{table}" SELECT * FROM {_ASIDE}."{table}"' for table in tables]
    numbered = [
        f"""SELECT setval('"{name}"', {last if last is not None else 1}, {last is not None})"""
        for name, last in sequences
    ]
    return "; ".join(["SET session_replication_role = replica", *emptied, *filled, *numbered])
