"""Where migrations run: a connection with its locks, what there is in the database, and how all of it goes.

What differs between SQLite and PostgreSQL is here, and nothing of it in `migrate`.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import apsw
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from ..errors import OperatorError
from .engines import backend_of, create_sync_engine, display_url

#: How long a process waits for another one's migration.
WAIT_MS = 60_000
#: How long a migration on PostgreSQL waits for a table: whoever comes later waits behind it meanwhile.
LOCK_MS = 5_000
#: The advisory lock of a run, by which processes take turns; the bytes of "backstay".
LOCK_KEY = int.from_bytes(b"backstay", "big")

_LOCK_TIMEOUT = "55P03"
#: Objects that no extension made, and sequences that belong to no column.
_OBJECTS = """
SELECT CASE WHEN c.relkind = 'v' THEN 'VIEW' WHEN c.relkind = 'm' THEN 'MATERIALIZED VIEW'
            WHEN c.relkind = 'f' THEN 'FOREIGN TABLE' WHEN c.relkind = 'S' THEN 'SEQUENCE' ELSE 'TABLE' END,
       c.oid::regclass::text
FROM pg_class c WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind IN ('v', 'm', 'f', 'r', 'p', 'S')
  AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = c.oid
    AND (d.deptype = 'e' OR c.relkind = 'S' AND d.deptype IN ('a', 'i')))
UNION ALL
SELECT CASE WHEN t.typtype = 'd' THEN 'DOMAIN' ELSE 'TYPE' END, t.oid::regtype::text
FROM pg_type t WHERE t.typnamespace = current_schema()::regnamespace AND t.typtype IN ('e', 'd')
  AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = t.oid AND d.deptype = 'e')
"""


def place_of(url: str) -> str:
    """What to call the database of a URL.

    Raises:
        OperatorError: a URL of another database.
    """
    return display_url(url)


def sqlite_file(url: str) -> Path | None:
    """The file of a SQLite URL; None in memory."""
    database = sa.make_url(url).database
    return None if database in (None, "", ":memory:") else Path(str(database))


@contextmanager
def in_memory() -> Generator[sa.Connection]:
    """An empty database."""
    engine = create_sync_engine("sqlite://", write=True)
    try:
        with engine.connect() as connection:
            yield connection
    finally:
        engine.dispose()


@contextmanager
def reading(url: str) -> Generator[sa.Connection]:
    """A connection that changes nothing; a file that does not exist is an empty database."""
    if backend_of(url) == "sqlite":
        path = sqlite_file(url)
        if path is None or not path.exists():
            with in_memory() as connection:
                yield connection
            return
    with _one_line(url), create_sync_engine(url, poolclass=NullPool).connect() as connection:
        yield connection


@contextmanager
def writing(url: str) -> Generator[sa.Connection]:
    """The one transaction of a run; another process that wants to migrate waits for its end.

    Raises:
        OperatorError: a database in memory, or one that cannot be had.
    """
    if backend_of(url) == "sqlite":
        if sqlite_file(url) is None:
            raise OperatorError("A database in memory has nothing to migrate: name a file.")
        engine = create_sync_engine(url, write=True, on_connect=_prepare_sqlite, poolclass=NullPool)
    else:
        engine = create_sync_engine(url, write=True, poolclass=NullPool)
    with _one_line(url), engine.begin() as connection:
        if engine.name == "sqlite":
            # Inspecting runs pragmas, which begin no transaction: two processes would see one revision.
            connection.execute(sa.select(sa.literal(1)))
        else:
            _take_turn(connection)
        yield connection


def _prepare_sqlite(connection: apsw.Connection) -> None:
    connection.set_busy_timeout(WAIT_MS)
    connection.pragma("foreign_keys", False)  # pyright: ignore[reportUnknownMemberType]


def _take_turn(connection: sa.Connection) -> None:
    """Wait for other migrations long, and for other locks shortly; a migration itself may take its time."""
    connection.execute(sa.select(sa.func.set_config("lock_timeout", f"{WAIT_MS}ms", True)))
    connection.execute(sa.select(sa.func.pg_advisory_xact_lock(sa.literal(LOCK_KEY, sa.BigInteger()))))
    settings = {
        "lock_timeout": f"{LOCK_MS}ms",
        "statement_timeout": "0",
        "idle_in_transaction_session_timeout": "0",
    }
    connection.execute(sa.select(*(sa.func.set_config(name, value, True) for name, value in settings.items())))


def is_lock_timeout(error: BaseException | None) -> bool:
    """Whether PostgreSQL gave up waiting for a lock."""
    return getattr(error, "sqlstate", None) == _LOCK_TIMEOUT


@contextmanager
def _one_line(url: str) -> Generator[None]:
    """What the database says, in one line."""
    try:
        yield
    except DBAPIError as error:
        said = (str(error.orig).strip() or type(error.orig).__name__).splitlines()[0]
        where = place_of(url)
        if "locked" in said:
            raise OperatorError(f"Another process keeps writing {where}: stop it, or try again.") from None
        if is_lock_timeout(error.orig):
            raise OperatorError(f"Another process keeps migrating {where}: stop it, or try again.") from None
        raise OperatorError(f"Cannot migrate {where}: {said}.") from None


def table_names(connection: sa.Connection) -> list[str]:
    """The tables that hold rows of their own."""
    if connection.dialect.name == "sqlite":
        return [name for name, kind in _sqlite_objects(connection) if kind == "table"]
    return sa.inspect(connection).get_table_names()


def drop_everything(connection: sa.Connection) -> None:
    """Drop all tables and views; on PostgreSQL of the current schema, but not what an extension made."""
    if connection.dialect.name == "sqlite":
        _drop_sqlite(connection)
        return
    order = ("VIEW", "MATERIALIZED VIEW", "FOREIGN TABLE", "TABLE", "SEQUENCE", "TYPE", "DOMAIN")
    for kind, name in sorted(connection.exec_driver_sql(_OBJECTS).all(), key=lambda row: order.index(row[0])):
        connection.exec_driver_sql(f"DROP {kind} IF EXISTS {name} CASCADE")


def _sqlite_objects(connection: sa.Connection) -> list[tuple[str, str]]:
    """(name, kind) of what SQLite did not make itself: tables, virtual and shadow ones, views."""
    listed = sa.func.pragma_table_list().table_valued("schema", "name", "type")
    query = sa.select(listed.c.name, listed.c.type).where(listed.c.schema == "main")
    return [(name, kind) for name, kind in connection.execute(query) if not name.startswith("sqlite_")]


def _drop_sqlite(connection: sa.Connection) -> None:
    """Drop views, then tables: virtual ones first, which take their shadow tables along."""
    found = _sqlite_objects(connection)
    quote = connection.dialect.identifier_preparer.quote_identifier
    for wanted in ("view", "virtual", "table"):
        for name, kind in found:
            if kind == wanted:
                connection.exec_driver_sql(f"DROP {'VIEW' if kind == 'view' else 'TABLE'} {quote(name)}")


def broken_references(connection: sa.Connection) -> set[tuple[str, str]]:
    """(table, target) for every foreign key that some row breaks; SQLite does not enforce them meanwhile."""
    if connection.dialect.name != "sqlite":
        return set()
    rows = connection.exec_driver_sql("PRAGMA foreign_key_check").all()
    return {(row[0], row[2]) for row in rows}
