"""SQLAlchemy engines for any supported URL: SQLite over apsw, PostgreSQL over psycopg.

They serve commands, DDL and ORM sessions; requests go through `sqlite_engine` and `postgres_engine`. A database that
cannot be reached is one line that says why, and never a password.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.engine import URL
from sqlalchemy.exc import ArgumentError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from ..config import Config
from ..errors import OperatorError, Problem
from . import apsw_async, apsw_dialect
from .postgres_types import use_backstay_types

Backend = Literal["sqlite", "postgresql"]
#: Gets the driver's own connection, an `apsw.Connection` or a psycopg one, before anything uses it.
OnConnect = Callable[[Any], object]

#: How long a server may take to accept a connection, where the URL says nothing else.
CONNECT_S = 10
#: ORM sessions that a process has open at once on PostgreSQL; the next one waits.
SESSIONS_MAX = 10
MEND = "mend BACKSTAY_DATABASE_URL"
DRIVER_HINT = "pip install 'backstay[postgres]'"
_POSTGRES = {"postgresql", "postgres", "postgresql+psycopg"}


def backend_of(url: str | URL) -> Backend:
    """Which database a URL means.

    Raises:
        OperatorError: no URL, or of a database or driver that is not supported.

    Example:
        >>> backend_of("sqlite:///app.db"), backend_of("postgres://localhost/app")
        ('sqlite', 'postgresql')
    """
    given = _parsed(url)
    if given.drivername.partition("+")[0] == "sqlite":
        return "sqlite"
    if given.drivername in _POSTGRES:
        return "postgresql"
    hint = "write sqlite:///file.db or postgresql://user@host/database"
    raise OperatorError(f"{given.drivername}:// is not supported: {hint}.")


def display_url(url: str | URL) -> str:
    """Where a database is, in words that may be shown: without the password and the options.

    Example:
        >>> display_url("postgresql://ada:secret@db:5433/shop?sslmode=require")
        'ada@db:5433/shop'
    """
    given = _parsed(url)
    if backend_of(given) == "sqlite":
        return given.database or "in memory"
    host = given.host or _last(given.query.get("host")) or "localhost"
    port = f":{given.port}" if given.port else ""
    user = f"{given.username}@" if given.username else ""
    return f"{user}{host}{port}/{given.database or ''}"


def psycopg_url(url: str | URL) -> URL:
    """The URL by which SQLAlchemy finds psycopg, of a PostgreSQL URL.

    Raises:
        OperatorError: psycopg is not installed.
    """
    try:
        import psycopg  # noqa: F401 - loads libpq, which the module alone may lack  # pyright: ignore
    except ImportError:
        raise OperatorError(f"PostgreSQL needs its driver: {DRIVER_HINT}.") from None
    return _parsed(url).set(drivername="postgresql+psycopg")


def create_sync_engine(
    url: str | URL, *, write: bool = False, on_connect: OnConnect | None = None, **options: Any
) -> sa.Engine:
    """An engine; for reading only unless `write` says otherwise. `options` go to SQLAlchemy's create_engine().

    Raises:
        OperatorError: at once for a URL or driver that is not there; on connecting, for a server that cannot be used.
    """
    if backend_of(url) == "sqlite":
        return apsw_dialect.create_sync_engine(_parsed(url), write=write, on_connect=on_connect, **options)
    engine = sa.create_engine(psycopg_url(url), **_postgres_options(options, write=write))
    _prepare(engine, {"TimeZone": "UTC"}, on_connect, failure=unreachable)
    return engine


def create_session_engine(config: Config, *, write: bool = False, on_connect: OnConnect | None = None) -> AsyncEngine:
    """An asyncio engine for ORM sessions, whose connections are few; read-only unless `write` says otherwise.

    Args:
        on_connect: prepares SQLite's connection to write.

    Its failures are a caller's to see: a PostgreSQL server that cannot be reached is `UNAVAILABLE`.
    """
    # A failure is logged with its cause, and parameters may be secrets.
    options: dict[str, Any] = {
        "max_overflow": 0,
        "pool_timeout": config.request_timeout_s,
        "hide_parameters": True,
    }
    if backend_of(config.database_url) == "sqlite":
        if not write:
            options["pool_size"] = config.reader_threads
            return apsw_async.create_apsw_async_engine(config.database_url, **options)

        def prepare(connection: Any) -> None:
            connection.pragma("foreign_keys", True)
            connection.pragma("synchronous", 2)
            connection.set_busy_timeout(int(config.request_timeout_s * 1_000))
            if on_connect is not None:
                on_connect(connection)

        # One: a file has one writer at a time, and a queue here is fairer than SQLite's waiting.
        return apsw_async.create_apsw_async_engine(
            config.database_url, write=True, on_connect=prepare, pool_size=1, **options
        )
    # A connection that the server closed meanwhile is replaced, not used.
    options |= {"pool_size": SESSIONS_MAX, "pool_pre_ping": True}
    # A pooler gives each transaction another process of the server: nothing may stay there.
    shared = config.pool_mode == "transaction"
    if shared:
        options["connect_args"] = {"prepare_threshold": None}
    engine = create_async_engine(psycopg_url(config.database_url), **_postgres_options(options, write=write))
    deadline = f"{int(config.request_timeout_s * 1_000)}ms"
    settings = {"TimeZone": "UTC", "DateStyle": "ISO, MDY", "statement_timeout": deadline}
    _prepare(engine.sync_engine, settings, failure=_unavailable, shared=shared)
    return engine


def _parsed(url: str | URL) -> URL:
    try:
        return sa.make_url(url)
    except (ArgumentError, ValueError):
        # Not the text itself: it may hold a password.
        hint = "write sqlite:///file.db or postgresql://user@host/database"
        raise OperatorError(f"The database URL cannot be read: {hint}.") from None


def _last(value: str | tuple[str, ...] | None) -> str:
    return (value or "") if isinstance(value, str | None) else value[-1]


def _postgres_options(options: Mapping[str, Any], *, write: bool) -> dict[str, Any]:
    made: dict[str, Any] = {"use_native_hstore": False, **options}
    made["connect_args"] = {"connect_timeout": CONNECT_S, **options.get("connect_args", {})}
    if not write:
        made["execution_options"] = {"postgresql_readonly": True, **options.get("execution_options", {})}
    return made


def _prepare(
    engine: sa.Engine,
    settings: Mapping[str, str],
    on_connect: OnConnect | None = None,
    *,
    failure: Callable[[URL, Exception], Exception],
    shared: bool = False,
) -> None:
    """Give each new connection its settings, and a server that cannot be reached its words.

    Args:
        shared: the settings are for each transaction, and end with it.
    """
    use_backstay_types(engine.dialect)

    @event.listens_for(engine, "do_connect")
    def connect(dialect: Any, record: Any, args: Any, parameters: Any) -> Any:  # pyright: ignore[reportUnusedFunction]
        try:
            return dialect.connect(*args, **parameters)
        except dialect.dbapi.Error as error:
            raise failure(engine.url, error) from error

    def apply(connection: Any) -> None:
        cursor = connection.cursor()
        names = ", ".join(f"set_config(%s, %s, {'true' if shared else 'false'})" for _ in settings)
        cursor.execute(f"SELECT {names}", [part for setting in settings.items() for part in setting])
        cursor.close()

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, record: Any) -> None:  # pyright: ignore[reportUnusedFunction]
        if not shared:
            connection.autocommit = True
            apply(connection)
            connection.autocommit = False
        if on_connect is not None:
            on_connect(connection)

    def begin(connection: sa.Connection) -> None:
        apply(connection.connection)

    if shared:
        event.listen(engine, "begin", begin)


def _unavailable(url: URL, error: Exception) -> Problem:
    return Problem("UNAVAILABLE", "The database cannot be reached.", headers=[("Retry-After", "1")])


def unreachable(url: str | URL, error: Exception) -> OperatorError:
    """What to mend, from what libpq says; it has no code for it."""
    url = _parsed(url)
    said = str(error).strip()
    where = display_url(url)
    if f'database "{url.database}" does not exist' in said:
        hint = f"create it with `createdb {url.database}`"
        return OperatorError(f"PostgreSQL has no database {url.database!r} ({where}): {hint}.")
    if "password" in said:
        return OperatorError(f"PostgreSQL refuses the password, or misses one, for {where}: {MEND}.")
    if "role" in said and "does not exist" in said:
        return OperatorError(f"PostgreSQL has no user {url.username!r} ({where}): {MEND}.")
    first = said.splitlines()[0] if said else "no reason given"
    reason = first.rpartition(" failed: ")[2].removeprefix("FATAL:").strip().rstrip(".")
    return OperatorError(f"Cannot reach PostgreSQL at {where} ({reason}): start it, or {MEND}.")
