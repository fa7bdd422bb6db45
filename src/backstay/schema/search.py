"""Full text search as a part of a table: the columns that `q=` looks in, declared once as `__search__`.

Both databases keep an index of them, which is made and dropped with the table; `search_ddl` has its SQL.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from typing import Any
from weakref import WeakKeyDictionary

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.dialects.sqlite.base import SQLiteDialect
from sqlalchemy.orm import class_mapper

from ..errors import OperatorError, perhaps
from .kinds import kind_of
from .model import Kind, Search
from .search_ddl import ROWIDS, create_search, drop_search

#: Beside the tables: Alembic would write what is in their `info` into migrations.
_DECLARED: WeakKeyDictionary[sa.Table, Search] = WeakKeyDictionary()
#: PostgreSQL cuts longer names; this leaves room for `ix_`.
_NAME_BYTES_MAX = 60
#: FTS5 has columns of these names already.
_RESERVED = frozenset({"rank", "rowid"})


def search_name(table: str) -> str:
    """What the index of a table's search is called.

    Example:
        >>> search_name("games")
        'games_search'
    """
    name = f"{table}_search"
    if len(name.encode()) <= _NAME_BYTES_MAX:
        return name
    digest = blake2b(table.encode(), digest_size=4).hexdigest()
    return f"{table.encode()[: _NAME_BYTES_MAX - 16].decode(errors='ignore')}_{digest}_search"


def search_of(table: sa.Table) -> Search | None:
    """What was declared for a table."""
    return _DECLARED.get(table)


def declare_search(model: type[Any], table: sa.Table) -> None:
    """Give the table of a mapped class the search that its `__search__` names; more than once does no harm.

    Raises:
        OperatorError: a name that is no column, or a column that holds no text.
    """
    given: Any = getattr(model, "__search__", ())
    names = (given,) if isinstance(given, str) else tuple(given)
    if not names or table in _DECLARED:
        return
    columns = [_column(model, name) for name in dict.fromkeys(names)]
    _DECLARED[table] = Search(table.name, tuple(c.name for c in columns), rowid_of(table))
    event.listen(table, "after_create", _created)
    event.listen(table, "before_drop", _dropped)


def _column(model: type[Any], name: str) -> Any:
    mapped: Any = class_mapper(model, configure=False).columns
    column: Any = mapped.get(name)
    where = f"{model.__name__}.__search__"
    if not _is_column(column):
        raise OperatorError(f"{where}: there is no column {name!r}. {perhaps(name, mapped.keys(), noun='column')}")
    if kind_of(column.type) is not Kind.TEXT:
        raise OperatorError(f"{where}: {name} holds no text: only columns of text can be searched.")
    if column.name.lower() in _RESERVED:
        raise OperatorError(f"{where}: SQLite cannot search a column named {column.name!r}: give it another name.")
    return column


def _is_column(given: object) -> bool:
    return isinstance(given, sa.Column)


def rowid_of(table: sa.Table) -> str:
    """The column that numbers the rows on SQLite: the key if it is an INTEGER, else one that nobody declared.

    Raises:
        OperatorError: the table has none.
    """
    if table.dialect_options["sqlite"].get("with_rowid") is False:
        raise OperatorError(f"{table.name} is made WITHOUT ROWID: SQLite cannot search it.")
    key = list(table.primary_key.columns)
    if len(key) == 1 and key[0].type.compile(dialect=SQLiteDialect()) == "INTEGER":
        return key[0].name
    return free_rowid([column.name for column in table.columns])


def free_rowid(columns: Sequence[str]) -> str:
    """The first of SQLite's own names that is no column's."""
    taken = {name.lower() for name in columns}
    return next(name for name in ROWIDS if name not in taken)


def _created(table: sa.Table, connection: sa.Connection, **kw: Any) -> None:
    found = search_of(table)
    assert found is not None, "only tables with a search listen"
    create_search(connection, found, search_name(table.name), schema=table.schema)


def _dropped(table: sa.Table, connection: sa.Connection, **kw: Any) -> None:
    drop_search(connection, search_name(table.name), schema=table.schema)
