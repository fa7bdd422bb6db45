# apsw's stubs name `Buffer`, which typing has from Python 3.12 on.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
"""Recording of changes on SQLite: TEMP triggers of a connection that writes.

TEMP ones may call functions of the process, which know who acts, and are gone with the connection: other tools see
a plain file.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, cast

import apsw
import sqlalchemy as sa
from sqlalchemy.schema import CreateIndex, CreateTable

from ..schema.kinds import kind_of
from ..schema.model import Kind
from ..sql.sqlite import FLOAT_TEXT, SqliteDialect
from .recording import CHANGES, IDEMPOTENCY, METADATA, Attribution, Recorded

_BY = "backstay_by"
#: What SQLite's JSON has as it is.
_PLAIN = frozenset({Kind.INTEGER, Kind.TEXT, Kind.BOOLEAN, Kind.DATETIME, Kind.DATE, Kind.TIME, Kind.ENUM})
_THERE = "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name IN (?, ?)"
_COLUMNS = "SELECT name FROM pragma_table_xinfo(?)"
_COLUMNS_OF_ENTRY = "at, actor, tenant, request_id, table_name, key, operation, before, after, hash"
_INSERT = f"INSERT INTO backstay_changes ({_COLUMNS_OF_ENTRY})"
#: Room for the hash and the position: pages are full, and an entry that grew when it is sealed would split its own.
_ROOM = f"'{'':72}'"
_BY_WHOM = ", ".join(f"{_BY}({index})" for index in range(4))
_EVENTS = {"create": ("INSERT", "new"), "update": ("UPDATE", "new"), "delete": ("DELETE", "old")}


def make_tables(connection: apsw.Connection) -> None:
    """Make the tables that are not there."""
    if connection.execute(_THERE, (CHANGES.name, IDEMPOTENCY.name)).get == len(METADATA.tables):
        return
    core = SqliteDialect().core
    with connection:
        for table in METADATA.sorted_tables:
            connection.execute(str(CreateTable(table, if_not_exists=True).compile(dialect=core)))
            for index in sorted(table.indexes, key=lambda index: str(index.name)):
                connection.execute(str(CreateIndex(index, if_not_exists=True).compile(dialect=core)))


def record_changes(connection: apsw.Connection, tables: Iterable[Recorded], attribution: Attribution) -> None:
    """Record what this connection changes in these tables, as far as they are there."""
    connection.create_scalar_function(_BY, cast(Any, attribution.value), 1)
    quote = SqliteDialect().core.identifier_preparer.quote_identifier
    for recorded in tables:
        there = [name for (name,) in connection.execute(_COLUMNS, (recorded.table.name,))]
        columns = [c for c in recorded.table.columns if c.name in there and c.name not in recorded.secret]
        if not columns or not set(recorded.key) <= {column.name for column in columns}:
            continue
        for statement in _triggers(recorded, columns, there, quote):
            connection.execute(statement)


def _triggers(
    recorded: Recorded, columns: Sequence[sa.Column[Any]], there: Sequence[str], quote: Any
) -> Iterator[str]:
    table = quote(recorded.table.name)
    changed = " OR ".join(f"old.{quote(name)} IS NOT new.{quote(name)}" for name in there)
    for operation, (event, row) in _EVENTS.items():
        before = "NULL" if operation == "create" else _image(columns, "old", quote)
        after = "NULL" if operation == "delete" else _image(columns, "new", quote)
        key = ", ".join(f"{row}.{quote(name)}" for name in recorded.key)
        when = f"WHEN {changed} " if operation == "update" else ""
        name = quote(f"{recorded.table.name}_{operation}_recorded")
        values = f"{_BY_WHOM}, {_literal(recorded.table.name)}, json_array({key}), '{operation}', {before}, {after}"
        values += f", {_ROOM}"
        yield f"CREATE TEMP TRIGGER {name} AFTER {event} ON main.{table} {when}BEGIN {_INSERT} VALUES ({values}); END"


def _image(columns: Sequence[sa.Column[Any]], row: str, quote: Any) -> str:
    """A row as a JSON object of what is stored: bytes as hexadecimal digits, numbers exactly."""
    members = ", ".join(f"{_literal(c.name)}, {_value(c, f'{row}.{quote(c.name)}')}" for c in columns)
    return f"json_object({members})"


def _value(column: sa.Column[Any], value: str) -> str:
    if kind_of(column.type) in _PLAIN:
        return value
    real = f"WHEN 'real' THEN json({FLOAT_TEXT}({value}))"
    return f"CASE typeof({value}) WHEN 'blob' THEN hex({value}) {real} ELSE {value} END"


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
