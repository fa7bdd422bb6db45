"""SQLAlchemy's SQLite dialect over `apsw_dbapi`: DDL, Alembic, reflection and ORM sessions.

Importing registers nothing; call `register()`, or use `create_sync_engine()`, which does.
"""

import os
import re
from collections.abc import Callable, Mapping
from typing import Any, cast, get_args

import apsw
from sqlalchemy import Engine, create_engine, exc, pool, types
from sqlalchemy.dialects import registry, sqlite
from sqlalchemy.dialects.sqlite import base
from sqlalchemy.engine import URL, make_url

from backstay.db import apsw_dbapi
from backstay.db.apsw_dbapi import BeginMode, OpenMode
from backstay.db.apsw_types import ApswDateTime, ApswNumeric, ApswTime, refuse_wide
from backstay.schema.sqlite_types import JSON_TYPE

OnConnect = Callable[[apsw.Connection], object]
NOW = "strftime('%Y-%m-%d %H:%M:%f000', 'now')"
"""The current UTC time in the text format of DateTime values, so that both compare and sort as one."""


class ApswCompiler(base.SQLiteCompiler):
    """func.now() in the format that DateTime values are stored in."""

    def visit_now_func(self, fn: Any, **kw: Any) -> Any:
        """CURRENT_TIMESTAMP has no fraction: it never equals a stored value and sorts before it."""
        return NOW


class ApswTypeCompiler(base.SQLiteTypeCompiler):
    """Refuses to declare, or to cast to, a Numeric that SQLite cannot keep."""

    def visit_NUMERIC(self, type_: Any, **kw: Any) -> str:  # noqa: N802 - SQLAlchemy's name
        """NUMERIC(p, s)."""
        _refuse_declared(type_, kw)
        return super().visit_NUMERIC(type_, **kw)

    def visit_DECIMAL(self, type_: Any, **kw: Any) -> str:  # noqa: N802 - SQLAlchemy's name
        """DECIMAL(p, s)."""
        _refuse_declared(type_, kw)
        return super().visit_DECIMAL(type_, **kw)

    def visit_JSON(self, type_: Any, **kw: Any) -> Any:  # noqa: N802 - SQLAlchemy's name
        """A name with TEXT in it: a column declared JSON would turn a bare number beyond 64 bits into a REAL."""
        return JSON_TYPE


def _refuse_declared(type_: Any, kw: Mapping[str, Any]) -> None:
    # Without an expression nothing is declared: Alembic renders reflected types only to compare them.
    expression = kw.get("type_expression")
    if expression is not None:
        table = getattr(expression, "table", None)
        name = getattr(expression, "name", None)
        refuse_wide(type_, f"{table.name}.{name}" if table is not None else name)


class ApswContext(base.SQLiteExecutionContext):
    """Makes the streaming cursor for stream_results and yield_per."""

    def create_server_side_cursor(self) -> Any:
        """A cursor that does not fetch ahead."""
        connection: Any = self._dbapi_connection
        return connection.cursor(streaming=True)


class ApswDialect(base.SQLiteDialect):
    """`sqlite+apsw:///path.db`, `sqlite+apsw://` in memory, `sqlite+apsw:///file:/name?vfs=memdb` shared."""

    driver = "apsw"
    supports_statement_cache = True
    default_paramstyle = "qmark"
    returns_native_bytes = True
    supports_server_side_cursors = True
    execution_ctx_cls = ApswContext
    statement_compiler = ApswCompiler
    type_compiler_cls = ApswTypeCompiler
    colspecs = {
        **base.SQLiteDialect.colspecs,
        types.Numeric: ApswNumeric,
        types.DateTime: ApswDateTime,
        types.Time: ApswTime,
        # SQLite's own types, with a storage format of the caller's, stay what SQLAlchemy makes of them.
        base.DATETIME: base.DATETIME,
        base.TIME: base.TIME,
    }

    ischema_names = {**base.SQLiteDialect.ischema_names, JSON_TYPE: sqlite.JSON}

    @classmethod
    def import_dbapi(cls) -> Any:
        """The DBAPI module."""
        return apsw_dbapi

    @classmethod
    def get_pool_class(cls, url: URL) -> type[pool.Pool]:
        """One shared connection in memory, where each would be a database of its own; else a queue."""
        return pool.StaticPool if _in_memory(url) else pool.QueuePool

    def create_connect_args(self, url: URL) -> tuple[list[str], dict[str, Any]]:
        """`mode`, `timeout` and `begin_mode` from the query; a `file:` URI takes the rest."""
        if url.username or url.password or url.host or url.port:
            raise exc.ArgumentError(
                "a SQLite URL has no host: write sqlite+apsw:///relative.db or sqlite+apsw:////absolute.db"
            )
        query = {key: value if isinstance(value, str) else value[-1] for key, value in url.query.items()}
        database = url.database or ":memory:"
        options = _connect_options(query, uri=database.startswith("file:"))
        if database.startswith("file:"):
            if query.get("cache") == "shared" or query.get("mode") == "memory" or ":memory:" in database:
                raise exc.ArgumentError(
                    "this SQLite has no shared cache; share memory by sqlite+apsw:///file:/name?vfs=memdb"
                )
            parameters = "&".join(f"{key}={query[key]}" for key in sorted(query))
            return [f"{database}?{parameters}" if parameters else database], options
        if query:
            raise exc.ArgumentError(f"unknown in a SQLite URL: {', '.join(sorted(query))}")
        return [database if _in_memory(url) else os.path.abspath(database)], options

    def on_connect(self) -> Callable[[Any], None]:
        """REGEXP, which SQLite leaves to the application."""

        def connect(connection: Any) -> None:
            connection.create_function("regexp", 2, _regexp, deterministic=True)

        return connect

    def _get_server_version_info(self, connection: Any) -> tuple[int, ...]:
        return apsw_dbapi.sqlite_version_info

    def do_ping(self, dbapi_connection: Any) -> bool:
        """A pragma, because a SELECT would begin a transaction."""
        dbapi_connection.cursor().execute("PRAGMA data_version").close()
        return True

    def get_isolation_level_values(self, dbapi_connection: Any) -> list[Any]:
        """How a transaction begins: SERIALIZABLE is deferred, IMMEDIATE takes the write lock at once."""
        return ["SERIALIZABLE", "IMMEDIATE", "AUTOCOMMIT"]

    def set_isolation_level(self, dbapi_connection: Any, level: Any) -> None:
        """Set it for the next transaction."""
        dbapi_connection.autocommit = level == "AUTOCOMMIT"
        if level != "AUTOCOMMIT":
            dbapi_connection.begin_mode = "IMMEDIATE" if level == "IMMEDIATE" else "DEFERRED"

    def get_isolation_level(self, dbapi_connection: Any) -> Any:
        """The level set."""
        if dbapi_connection.autocommit:
            return "AUTOCOMMIT"
        return "IMMEDIATE" if dbapi_connection.begin_mode == "IMMEDIATE" else "SERIALIZABLE"

    def detect_autocommit_setting(self, dbapi_conn: Any) -> bool:
        """Whether each statement commits on its own."""
        return bool(dbapi_conn.autocommit)

    def is_disconnect(self, e: Any, connection: Any, cursor: Any) -> bool:
        """Only a connection closed by hand is gone; files do not hang up."""
        return isinstance(e, apsw_dbapi.ProgrammingError) and "connection has been closed" in str(e)


def register() -> None:
    """Make `sqlite+apsw://` known to SQLAlchemy."""
    registry.register("sqlite.apsw", __name__, ApswDialect.__name__)


def apsw_url(url_or_path: str | os.PathLike[str] | URL, *, write: bool, driver: str = "apsw") -> URL:
    """The URL of a path or of any `sqlite:` URL, opened as `write` says unless the URL says more."""
    given = url_or_path if isinstance(url_or_path, URL) else None
    if given is None:
        text = os.fspath(cast("str | os.PathLike[str]", url_or_path))
        given = make_url(text) if "://" in text else URL.create("sqlite", database=text)
    if given.get_backend_name() != "sqlite":
        raise exc.ArgumentError(f"not a SQLite URL: {given!r}")
    url = given.set(drivername=f"sqlite+{driver}")
    defaults = {"begin_mode": "immediate" if write else "deferred"}
    if not write and not _in_memory(url) and not str(url.database).startswith("file:"):
        defaults["mode"] = "rw"  # reading must not create the file
    return url.update_query_dict({key: value for key, value in defaults.items() if key not in url.query})


def query_only_unless(write: bool, on_connect: OnConnect | None) -> OnConnect:
    """`on_connect`, then refuse writes on a connection that is not for them."""

    def prepare(connection: apsw.Connection) -> None:
        if on_connect is not None:
            on_connect(connection)
        if not write:
            connection.pragma("query_only", True)  # pyright: ignore[reportUnknownMemberType]

    return prepare


def create_sync_engine(
    url_or_path: str | os.PathLike[str] | URL,
    *,
    write: bool = False,
    on_connect: OnConnect | None = None,
    **options: Any,
) -> Engine:
    """An engine; for reading only, or with BEGIN IMMEDIATE for writing. `options` go to create_engine()."""
    register()
    url = apsw_url(url_or_path, write=write)
    return create_engine(url, connect_args={"on_connect": query_only_unless(write, on_connect)}, **options)


def _in_memory(url: URL) -> bool:
    return url.database in (None, "", ":memory:")


def _connect_options(query: dict[str, str], *, uri: bool) -> dict[str, Any]:
    """Take what connect() understands out of `query`; a URI keeps its own `mode`."""
    options: dict[str, Any] = {}
    if "begin_mode" in query:
        options["begin_mode"] = _one_of(BeginMode, "begin_mode", query.pop("begin_mode").upper())
    if "mode" in query and not uri:
        options["mode"] = _one_of(OpenMode, "mode", query.pop("mode"))
    if "timeout" in query:
        try:
            options["timeout_s"] = float(query.pop("timeout"))
        except ValueError as error:
            raise exc.ArgumentError("timeout in a SQLite URL is a number of seconds") from error
    return options


def _one_of(allowed: Any, name: str, value: str) -> str:
    choices = get_args(allowed)
    if value not in choices:
        raise exc.ArgumentError(f"{name} in a SQLite URL is one of {', '.join(choices).lower()}")
    return value


def _regexp(pattern: str, value: str | None) -> bool | None:
    return None if value is None else re.search(pattern, value) is not None
