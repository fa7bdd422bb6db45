"""An existing database as a Schema, for `Backstay(schema=...)`."""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa

from .db.apsw_dialect import create_sync_engine
from .errors import OperatorError
from .schema.model import Schema
from .schema.reflect import reflect as reflect_engine

_POSTGRES = ("postgresql", "postgres")
#: The part of a PostgreSQL URL's query that is ours and not the driver's.
_SCHEMA = "schema"


def reflect(url: str) -> Schema:
    """What is in the database: its tables and views, their columns, keys and relations.

    Args:
        url: `sqlite:///file.db`, or `postgresql://user@host/name`, with `?schema=a,b` to look into these schemas
            only.

    Raises:
        OperatorError: no such database, or nothing in it to serve.

    Example:
        >>> library = reflect("sqlite:///library.db")  # doctest: +SKIP
        >>> sorted(library.tables)
        ['authors', 'books', 'loans']
    """
    backend = url.partition(":")[0].partition("+")[0]
    if backend not in ("sqlite", *_POSTGRES):
        hint = "write sqlite:///file.db or postgresql://user@host/name"
        raise OperatorError(f"Only SQLite and PostgreSQL databases can be served: {hint}, not {_shown(url)!r}.")
    schema = _postgres(url) if backend in _POSTGRES else _sqlite(url)
    if not schema.tables:
        name = sa.make_url(url).database
        raise OperatorError(f"{name} has no tables to serve. {' '.join(schema.notes)}".rstrip())
    return schema


def without_schemas(url: str) -> str:
    """The URL for a driver, which knows no `schema`."""
    return _url(url).difference_update_query([_SCHEMA]).render_as_string(hide_password=False)


def _sqlite(url: str) -> Schema:
    engine = create_sync_engine(url)
    path = Path(engine.url.database or "")
    if not path.is_file():
        raise OperatorError(f"There is no database file {path}.")
    try:
        return reflect_engine(engine)
    finally:
        engine.dispose()


def _postgres(url: str) -> Schema:
    named = _url(url).query.get(_SCHEMA, ())
    listed = ",".join([named] if isinstance(named, str) else named)
    schemas = [name.strip() for name in listed.split(",") if name.strip()]
    engine = _postgres_engine(without_schemas(url))
    try:
        return reflect_engine(engine, schemas)
    finally:
        engine.dispose()


def _postgres_engine(url: str) -> sa.Engine:
    try:
        return sa.create_engine(_url(url).set(drivername="postgresql+psycopg"), poolclass=sa.NullPool)
    except ModuleNotFoundError:
        raise OperatorError("PostgreSQL needs its driver: pip install 'backstay[postgres]'.") from None


def _url(url: str) -> sa.URL:
    try:
        return sa.make_url(url)
    except sa.exc.ArgumentError:
        raise OperatorError(f"{_shown(url)!r} is no database URL: write postgresql://user@host/name.") from None


def _shown(url: str) -> str:
    """A URL without its password, even where it cannot be parsed."""
    scheme, _, rest = url.partition("://")
    return f"{scheme}://…@{rest.rpartition('@')[2]}" if "@" in rest else url
