"""Indexes of our tables: every foreign key has one, and what only PostgreSQL has does no harm on SQLite."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import sqlalchemy as sa
from sqlalchemy import event

_MARK = "backstay_indexes"
#: Index methods that no B-tree stands in for: such an index is for PostgreSQL only.
_SPECIAL = frozenset({"gin", "gist", "spgist", "bloom"})


def index_tables_of(metadata: sa.MetaData) -> None:
    """From now on, tables of this MetaData get the indexes that their foreign keys need."""
    metadata.info[_MARK] = True


def is_special(index: sa.Index) -> bool:
    """Whether SQLite has nothing like this index."""
    return is_special_method(_options(index, "postgresql").get("using"))


def is_special_method(using: str | None) -> bool:
    """Whether SQLite has nothing like this method of an index."""
    return (using or "").lower() in _SPECIAL


def _options(index: sa.Index, dialect: str) -> Any:
    return index.dialect_options[dialect]


@event.listens_for(sa.Table, "after_parent_attach")
def _complete(table: sa.Table, metadata: Any) -> None:
    if not isinstance(metadata, sa.MetaData) or not metadata.info.get(_MARK):
        return
    for key in sorted(table.foreign_key_constraints, key=_names):
        columns = list(key.columns)
        if not any(_serves(lead, columns) for lead in _leads(table)):
            sa.Index(None, *columns)


@event.listens_for(sa.Index, "after_parent_attach")
def _make_portable(index: sa.Index, table: Any) -> None:
    """A partial index is partial on both databases; a special one is made on PostgreSQL only."""
    if not isinstance(table, sa.Table) or not table.metadata.info.get(_MARK):
        return
    postgresql, sqlite = _options(index, "postgresql"), _options(index, "sqlite")
    if is_special(index):
        index.ddl_if(dialect="postgresql")
    elif postgresql.get("where") is not None and sqlite.get("where") is None:
        sqlite["where"] = postgresql["where"]
    elif sqlite.get("where") is not None and postgresql.get("where") is None:
        postgresql["where"] = sqlite["where"]


def _names(key: sa.ForeignKeyConstraint) -> list[str]:
    return [str(name) for name in key.column_keys]


def _serves(lead: list[Any], columns: list[sa.Column[Any]]) -> bool:
    return len(lead) >= len(columns) and {*lead[: len(columns)]} == {*columns}


def _leads(table: sa.Table) -> Iterator[list[Any]]:
    """The columns of whatever finds rows by equality: keys, unique constraints, whole B-tree indexes."""
    yield list(table.primary_key.columns)
    for constraint in table.constraints:
        if isinstance(constraint, sa.UniqueConstraint):
            yield list(constraint.columns)
    for index in table.indexes:
        options = _options(index, "postgresql")
        if options.get("where") is None and str(options.get("using") or "btree").lower() == "btree":
            yield cast("list[Any]", list(index.expressions))
