"""Schema from an existing database, as it is: names are kept, and what cannot be served is said in notes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from ..errors import OperatorError
from .find_postgres import find_postgres
from .find_sqlite import find_sqlite, reason
from .found import Found, FoundColumn, FoundTable
from .kinds import facts_of, kind_of
from .model import Column, Schema, Table
from .ways import Ways

#: What the grammars of REST give a meaning of its own inside a name.
_SPECIAL = re.compile(r"[.,/\[\]\x00-\x1f\x7f]|^[-+\s]|\s\Z")

VIEW_NOTE = "it is a view: write to its tables."
NO_KEY_NOTE = "it has no primary key, nor a unique constraint on NOT NULL columns, so that no row can be addressed."
NULLABLE_KEY_NOTE = "its primary key may be NULL: declare the key's columns NOT NULL to make it writable."


def reflect(database: sa.Connection | sa.Engine, schemas: Sequence[str] = ()) -> Schema:
    """The Schema of a SQLite or PostgreSQL database.

    Args:
        schemas: of PostgreSQL, those to look into; by default all but the system's.

    Raises:
        OperatorError: no database, or one that cannot be read.
    """
    try:
        if isinstance(database, sa.Engine):
            with database.connect() as connection:
                return _schema(_find(connection, schemas))
        return _schema(_find(database, schemas))
    except SQLAlchemyError as error:
        name = database.engine.url.database or "in memory"
        what = "the file" if database.dialect.name == "sqlite" else "its URL"
        raise OperatorError(f"Cannot read the database {name} ({reason(error)}): check {what}.") from None


def _find(connection: sa.Connection, schemas: Sequence[str]) -> Found:
    match connection.dialect.name:
        case "sqlite":
            return find_sqlite(connection)
        case "postgresql":
            return find_postgres(connection, schemas)
        case name:
            raise OperatorError(f"Serving an existing {name} database is not there yet: use SQLite or PostgreSQL.")


def _schema(found: Found) -> Schema:
    notes = [*found.notes]
    metadata = sa.MetaData()
    by_name = {table.name: table for table in found.tables}
    names = mended_names(by_name)
    sql: dict[str, sa.Table] = {}
    columns: dict[str, dict[str, Column]] = {}
    for table in found.tables:
        if names[table.name] != table.name:
            notes.append(f"{table.name!r}: served as {names[table.name]!r}.")
        sql[table.name] = _sql_table(table, metadata)
        columns[table.name] = _columns(table, sql[table.name], notes)
    _add_foreign_keys(by_name, sql)
    ways = Ways(by_name, names, sql, columns).all()
    tables: dict[str, Table] = {}
    for table in found.tables:
        key, note = _key(table)
        api_names = {column.sql.name: name for name, column in columns[table.name].items()}
        tables[names[table.name]] = Table(
            name=names[table.name],
            sql=sql[table.name],
            columns=columns[table.name],
            relationships=ways[table.name],
            key=tuple(api_names[name] for name in key),
            read_only=bool(note),
            note=note,
            description=table.description,
        )
        if note:
            notes.append(f"{table.name}: read-only, {note}")
    return Schema(tables, metadata, tuple(notes))


def mended_names(names: Iterable[str]) -> dict[str, str]:
    """Each name without the characters that a URL's grammar gives a meaning to; no two become alike.

    Example:
        >>> mended_names(["Order Details", "price.net", "price_net"])
        {'Order Details': 'Order Details', 'price_net': 'price_net', 'price.net': 'price_net_2'}
    """
    names = list(names)
    mended = {name: name for name in names if not _SPECIAL.search(name)}
    for name in names:
        if name not in mended:
            plain = _SPECIAL.sub("_", name)
            numbered = (f"{plain}_{number}" for number in range(2, len(names) + 3))
            taken = set(mended.values())
            mended[name] = next(candidate for candidate in (plain, *numbered) if candidate not in taken)
    return mended


def _sql_table(table: FoundTable, metadata: sa.MetaData) -> sa.Table:
    by_name = {column.name: _sql_column(column, table) for column in table.columns}
    constraints: list[Any] = [sa.UniqueConstraint(*(by_name[n] for n in names)) for names in table.uniques]
    constraints += [sa.CheckConstraint(sa.literal_column(check, sa.Boolean())) for check in table.checks]
    if table.primary_key:
        constraints.append(sa.PrimaryKeyConstraint(*(by_name[name] for name in table.primary_key)))
    return sa.Table(table.sql_name or table.name, metadata, *by_name.values(), *constraints, schema=table.schema)


def _sql_column(column: FoundColumn, table: FoundTable) -> sa.Column[Any]:
    default: Any = None
    if column.generated:
        default = sa.FetchedValue()
    elif column.default is not None:
        default = sa.literal_column(column.default, sa.types.NullType())
    return sa.Column(
        column.name,
        column.type,
        nullable=column.nullable,
        server_default=default,
        autoincrement="auto" if column.name == table.automatic else False,
    )


def _columns(table: FoundTable, sql: sa.Table, notes: list[str]) -> dict[str, Column]:
    columns: dict[str, Column] = {}
    names = mended_names(column.name for column in table.columns)
    foreign = {name for key in table.foreign_keys for name in key.columns}
    for found in table.columns:
        name = names[found.name]
        if name != found.name:
            notes.append(f"{table.name}: its column {found.name!r} is served as {name!r}.")
        automatic = found.name == table.automatic and found.name not in foreign
        facts: dict[str, Any] = {}
        if kind_of(found.type) is found.kind:
            facts |= facts_of(found.type, loose=found.loose)
        facts["layout"] = found.layout
        columns[name] = Column(
            name=name,
            sql=sql.c[found.name],
            kind=found.kind,
            nullable=found.nullable,
            primary_key=found.name in table.primary_key,
            unique=table.identifies((found.name,)),
            has_default=automatic or found.generated or found.default is not None,
            server_set=automatic or found.generated,
            loose=found.loose,
            metadata=found.limits,
            description=found.description,
            **facts,
        )
    return columns


def _add_foreign_keys(found: dict[str, FoundTable], sql: dict[str, sa.Table]) -> None:
    """Foreign keys by column objects: text like `table.column` would not survive a dot in a name."""
    for table in found.values():
        for key in table.foreign_keys:
            local = [sql[table.name].c[name] for name in key.columns]
            remote = [sql[key.target].c[name] for name in key.target_columns]
            sql[table.name].append_constraint(sa.ForeignKeyConstraint(local, remote))


def _key(table: FoundTable) -> tuple[tuple[str, ...], str]:
    """The columns that address a row, and why the table is read-only, if it is."""
    if table.is_view:
        return (), table.note or VIEW_NOTE
    key = table.usable_key()
    if key:
        return key, table.note
    if not table.primary_key:
        return (), NO_KEY_NOTE
    # Rows can be read by their key as long as none of them lacks it.
    return (() if table.null_keys else table.primary_key), NULLABLE_KEY_NOTE
