"""An existing database as a Schema, for `Backstay(schema=...)`."""

from __future__ import annotations

from pathlib import Path

from .db.engines import create_sync_engine
from .errors import OperatorError
from .schema.model import Schema
from .schema.reflect import reflect as reflect_engine


def reflect(url: str) -> Schema:
    """What is in the database: its tables and views, their columns, keys and relations.

    Args:
        url: `sqlite:///file.db`.

    Raises:
        OperatorError: no such file, or nothing in it to serve.

    Example:
        >>> library = reflect("sqlite:///library.db")  # doctest: +SKIP
        >>> sorted(library.tables)
        ['authors', 'books', 'loans']
    """
    if not url.startswith("sqlite:"):
        raise OperatorError(f"Only SQLite databases can be served yet: write sqlite:///file.db, not {url!r}.")
    engine = create_sync_engine(url)
    path = Path(engine.url.database or "")
    if not path.is_file():
        raise OperatorError(f"There is no database file {path}.")
    try:
        schema = reflect_engine(engine)
    finally:
        engine.dispose()
    if not schema.tables:
        raise OperatorError(f"{path} has no tables to serve. {' '.join(schema.notes)}".rstrip())
    return schema
