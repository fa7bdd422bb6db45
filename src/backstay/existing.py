"""An existing database as a Schema, for `Backstay(schema=...)`."""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa

from .db.engines import backend_of, create_sync_engine
from .errors import OperatorError
from .schema.model import Schema
from .schema.reflect import reflect as reflect_engine

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
    schema = _sqlite(url) if backend_of(url) == "sqlite" else _postgres(url)
    if not schema.tables:
        name = sa.make_url(url).database
        raise OperatorError(f"{name} has no tables to serve. {' '.join(schema.notes)}".rstrip())
    return schema


def without_schemas(url: str) -> str:
    """The URL for a driver, which knows no `schema`."""
    if backend_of(url) == "sqlite":
        return url
    return sa.make_url(url).difference_update_query([_SCHEMA]).render_as_string(hide_password=False)


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
    named = sa.make_url(url).query.get(_SCHEMA, ())
    listed = ",".join([named] if isinstance(named, str) else named)
    schemas = [name.strip() for name in listed.split(",") if name.strip()]
    engine = create_sync_engine(without_schemas(url))
    try:
        return reflect_engine(engine, schemas)
    finally:
        engine.dispose()
