"""The tables of a SQLite database by its pragmas, which stay right where parsing its SQL would go wrong."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from .found import Found, FoundColumn, FoundKey, FoundTable
from .model import Kind
from .sqlite_types import SAMPLED, Sample, settled, type_of

#: A sample looks at the first rows only: a column of nulls must not cost a scan of a large table.
SAMPLE_ROWS_MAX = 10_000
SAMPLE_VALUES_MAX = 50
SAMPLE_CHARS_MAX = 40

#: Shadow tables by the names that full-text and R-Tree modules give them, for modules that are not loaded.
_SHADOWS = re.compile(r"_(content|segments|segdir|docsize|stat|data|idx|config|node|rowid|parent)\Z")
_INTERNAL = re.compile(r"sqlite_|(alembic_version|backstay_changes|backstay_idempotency)\Z", re.IGNORECASE)
_GENERATED = (2, 3)
_HIDDEN = 1

Row = Mapping[str, Any]


def find_sqlite(connection: sa.Connection) -> Found:
    """Every table and view that can be read, with notes on the others.

    Raises:
        SQLAlchemyError: the file is not a database, or its schema cannot be read.
    """
    # As the engine opens it: what a schema may not call there is not served.
    connection.exec_driver_sql("PRAGMA trusted_schema = OFF")
    notes: list[str] = []
    views: list[tuple[str, list[Row]]] = []
    bare: list[tuple[FoundTable, list[Row]]] = []
    for name, kind in _listed(connection, notes):
        columns = _column_rows(connection, name, notes)
        if not columns:
            continue
        if kind == "view":
            views.append((name, columns))
        else:
            bare.append((_table(connection, name, columns, notes), _rows(connection, "foreign_key_list", name)))
    by_name = {_folded(table.name): table for table, _ in bare}
    tables = [_with_keys(table, rows, by_name, notes) for table, rows in bare]
    learned = {(c.name, str(c.type)): c for t in tables for c in t.columns}
    tables += [_view(name, columns, learned) for name, columns in views]
    return Found(tuple(tables), tuple(notes))


_PRAGMAS = {
    "table_list": ("schema", "name", "type"),
    "table_xinfo": ("cid", "name", "type", "notnull", "dflt_value", "pk", "hidden"),
    "foreign_key_list": ("id", "seq", "table", "from", "to"),
    "index_list": ("seq", "name", "unique", "origin", "partial"),
    "index_info": ("seqno", "cid", "name"),
}


def _rows(connection: sa.Connection, pragma: str, *arguments: str) -> list[Row]:
    """The rows of a pragma; as a table-valued function its argument is a parameter, whatever the name."""
    columns = _PRAGMAS[pragma]
    source = getattr(sa.func, f"pragma_{pragma}")(*arguments).table_valued(*columns)
    query = sa.select(*(source.c[name] for name in columns))
    return [dict(zip(columns, row, strict=True)) for row in connection.execute(query)]


def _folded(name: str) -> str:
    """SQLite compares names without the case of ASCII letters, and of no others."""
    return "".join(c.lower() if c.isascii() else c for c in name)


def _listed(connection: sa.Connection, notes: list[str]) -> Iterator[tuple[str, str]]:
    rows = _rows(connection, "table_list")
    listed = [(str(row["name"]), row["type"]) for row in rows if row["schema"] == "main"]
    virtual = [name for name, kind in listed if kind == "virtual"]
    for name, kind in sorted(listed):
        if _INTERNAL.match(name) or kind == "shadow":
            continue
        if kind == "virtual":
            notes.append(f"{name}: left out, it is a virtual table.")
        elif any(name.startswith(owner + "_") and _SHADOWS.match(name[len(owner) :]) for owner in virtual):
            continue
        elif not name:
            notes.append("A table without a name was left out.")
        else:
            yield name, kind


def _column_rows(connection: sa.Connection, name: str, notes: list[str]) -> list[Row]:
    try:
        rows = _rows(connection, "table_xinfo", name)
        named = [row for row in rows if row["name"] and row["hidden"] != _HIDDEN]
        _prepare(connection, name, [row["name"] for row in named])
    except SQLAlchemyError as error:
        notes.append(f"{name}: left out, SQLite cannot read it ({reason(error)}).")
        return []
    if any(not row["name"] for row in rows):
        notes.append(f"{name}: a column without a name was left out.")
    if not named:
        notes.append(f"{name}: left out, it has no columns that have names.")
    return named


def _prepare(connection: sa.Connection, name: str, columns: list[str]) -> None:
    """Have SQLite compile, but not run, a query that needs every function and collation of the table."""
    found: list[sa.ColumnClause[Any]] = [sa.column(column) for column in columns]
    query = sa.select(*found).select_from(sa.table(name, *found)).order_by(*found)
    connection.exec_driver_sql(f"EXPLAIN {query.compile(connection)}").close()


def reason(error: SQLAlchemyError) -> str:
    """The first line of what the database said."""
    text = str(getattr(error, "orig", None) or error).strip()
    return text.splitlines()[0][:200] if text else type(error).__name__


def _table(connection: sa.Connection, name: str, rows: list[Row], notes: list[str]) -> FoundTable:
    indexes = _rows(connection, "index_list", name)
    primary = tuple(row["name"] for row in sorted(rows, key=lambda row: row["pk"]) if row["pk"])
    # An INTEGER PRIMARY KEY is the rowid itself and has no index; every other primary key has one.
    own_index = any(row["origin"] == "pk" for row in indexes)
    alias = primary[0] if len(primary) == 1 and not own_index else ""
    columns = tuple(_column(connection, name, row, alias=alias, notes=notes) for row in rows)
    nullable = [c.name for c in columns if c.name in primary and c.nullable]
    return FoundTable(
        name,
        columns,
        primary_key=primary,
        automatic=alias,
        null_keys=bool(nullable) and _has_nulls(connection, name, nullable),
        uniques=tuple(_uniques(connection, indexes)),
        checks=_checks(connection, name),
    )


def _column(connection: sa.Connection, table: str, row: Row, *, alias: str, notes: list[str]) -> FoundColumn:
    name, declared = row["name"], row["type"] or ""
    type_ = type_of(declared)
    kind, layout = settled(type_, ())
    if kind in SAMPLED:
        kind, layout = settled(type_, _sample(connection, table, name))
        if kind is Kind.ANY:
            said = f"declared {declared}, but some values are written otherwise: served and compared as they are."
            notes.append(f"{table}.{name}: {said}")
    return FoundColumn(
        name,
        type_,
        kind,
        nullable=not row["notnull"] and name != alias,
        default=row["dflt_value"],
        generated=row["hidden"] in _GENERATED,
        layout=layout,
    )


def _sample(connection: sa.Connection, table: str, name: str) -> Sample:
    """Some values that are not null, of the first rows; as bytes, since text may be no text."""
    column: sa.ColumnClause[Any] = sa.column(name)
    first = sa.select(column.label("value")).select_from(sa.table(table, column)).limit(SAMPLE_ROWS_MAX).subquery()
    start = sa.cast(sa.func.substr(first.c.value, 1, SAMPLE_CHARS_MAX), sa.LargeBinary())
    query = sa.select(sa.func.typeof(first.c.value), start).where(first.c.value.is_not(None))
    try:
        return [(str(kind), bytes(start)) for kind, start in connection.execute(query.limit(SAMPLE_VALUES_MAX))]
    except SQLAlchemyError:
        return [("unreadable", b"")]


def _has_nulls(connection: sa.Connection, table: str, names: list[str]) -> bool:
    columns: list[sa.ColumnClause[Any]] = [sa.column(name) for name in names]
    source = sa.table(table, *columns)
    query = sa.select(sa.literal(1)).select_from(source).where(sa.or_(*(c.is_(None) for c in columns)))
    return connection.execute(query.limit(1)).first() is not None


def _uniques(connection: sa.Connection, indexes: list[Row]) -> Iterator[tuple[str, ...]]:
    for index in indexes:
        if index["unique"] and not index["partial"] and index["origin"] != "pk":
            names = [row["name"] for row in _rows(connection, "index_info", index["name"])]
            if all(names):
                yield tuple(names)


def _checks(connection: sa.Connection, table: str) -> tuple[str, ...]:
    """CHECK constraints have no pragma: SQLAlchemy reads them from the SQL, as far as it can."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            found = sa.inspect(connection).get_check_constraints(table)
        except Exception:
            return ()
    return tuple(check["sqltext"] for check in found if check["sqltext"])


def _with_keys(table: FoundTable, rows: list[Row], by_name: dict[str, FoundTable], notes: list[str]) -> FoundTable:
    keys: list[FoundKey] = []
    # SQLite lists the last declared first.
    for number in sorted({row["id"] for row in rows}, reverse=True):
        parts = sorted((row for row in rows if row["id"] == number), key=lambda row: row["seq"])
        key = _foreign_key(table, parts, by_name)
        if isinstance(key, FoundKey):
            keys.append(key)
        else:
            columns = ", ".join(part["from"] for part in parts)
            notes.append(f"{table.name}: no relationship by {columns}, {key}.")
    return replace(table, foreign_keys=tuple(keys))


def _foreign_key(table: FoundTable, parts: list[Row], by_name: dict[str, FoundTable]) -> FoundKey | str:
    """The key, or why there is none."""
    target = by_name.get(_folded(parts[0]["table"]))
    if target is None:
        return f"because {parts[0]['table']} does not exist or is left out"
    own = {_folded(column.name): column.name for column in table.columns}
    theirs = {_folded(column.name): column.name for column in target.columns}
    local = [own.get(_folded(part["from"])) for part in parts]
    if parts[0]["to"] is None:
        remote: list[str | None] = [*target.primary_key]
    else:
        remote = [theirs.get(_folded(part["to"])) for part in parts]
    columns, target_columns = tuple(filter(None, local)), tuple(filter(None, remote))
    if not len(columns) == len(target_columns) == len(parts):
        return f"because the columns of {target.name} that it names do not exist"
    if not target.identifies(target_columns):
        return f"because {', '.join(target_columns)} of {target.name} is not unique"
    return FoundKey(columns, target.name, target_columns)


def _view(name: str, rows: list[Row], learned: dict[tuple[str, str], FoundColumn]) -> FoundTable:
    """A view is never sampled, since it may be dear to run: its dates are those of a column of the same name."""
    columns: list[FoundColumn] = []
    for row in rows:
        type_ = type_of(row["type"] or "")
        kind, layout = settled(type_, ())
        if kind in SAMPLED:
            base = learned.get((row["name"], str(type_)))
            kind, layout = (base.kind, base.layout) if base else (Kind.ANY, "")
        columns.append(FoundColumn(row["name"], type_, kind, nullable=True, layout=layout))
    return FoundTable(name, tuple(columns), is_view=True)
