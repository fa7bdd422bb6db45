"""The tables of a PostgreSQL database by its catalog: what the connection's role may read, of some schemas or all."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import sqlalchemy as sa

from ..errors import OperatorError
from . import postgres_catalog as catalog
from .found import Found, FoundColumn, FoundKey, FoundTable, Names
from .kinds import kind_of
from .model import Kind
from .postgres_catalog import Row
from .postgres_types import UNSHOWN, Types, bounds, condition

MATERIALIZED_NOTE = "it is a materialised view: write to its tables."
FOREIGN_NOTE = "it is a table of another server."
PRIVILEGE_NOTE = "this database role may not write to it."
INHERITED_NOTE = "other tables inherit from it, so that several rows may have the same key."
REWRITTEN_NOTE = "it has rules that rewrite what is written to it."

_INTERNAL = frozenset({"alembic_version", "backstay_changes", "backstay_idempotency"})
#: Kinds whose values cannot stand in a path.
_NO_KEY = frozenset({Kind.ARRAY, Kind.RANGE, Kind.OPAQUE, Kind.JSON})


@dataclass(frozen=True, slots=True)
class _Facts:
    """What the catalog says of all tables that are served, by table."""

    types: Types
    columns: Mapping[int, Sequence[Row]]
    keys: Mapping[int, Sequence[Row]]
    foreign_keys: Mapping[int, Sequence[Row]]
    checks: Mapping[int, Sequence[Row]]


def find_postgres(connection: sa.Connection, schemas: Sequence[str] = ()) -> Found:
    """Every table and view that can be read, with notes on the others.

    Raises:
        OperatorError: a schema that does not exist.
        SQLAlchemyError: the catalog cannot be read.
    """
    missing = catalog.schemas_missing(connection, schemas)
    if missing:
        raise OperatorError(f"The database has no schema {missing[0]!r}: correct ?schema= in its URL.")
    rows = [row for row in catalog.tables(connection, schemas) if row["name"] not in _INTERNAL]
    notes: list[str] = []
    for row in rows:
        if not row["readable"]:
            notes.append(f"{row['schema']}.{row['name']}: left out, this database role may not read it.")
    rows = [row for row in rows if row["readable"]]
    names = _names(rows)
    facts = _facts(connection, list(names))
    tables: dict[int, FoundTable] = {}
    numbers: dict[int, dict[int, str]] = {}
    for row in rows:
        table, numbers[row["oid"]] = _table(row, names[row["oid"]], facts, notes)
        if table.columns:
            tables[row["oid"]] = table
        else:
            notes.append(f"{table.name}: left out, it has no columns that can be shown.")
    for number, table in tables.items():
        keys = _foreign_keys(number, facts.foreign_keys[number], tables, numbers, notes)
        tables[number] = replace(table, foreign_keys=keys)
    return Found(tuple(tables.values()), tuple(notes))


def _facts(connection: sa.Connection, tables: list[int]) -> _Facts:
    columns = catalog.columns(connection, tables)
    types = catalog.types(connection, {row["type"] for row in columns})
    return _Facts(
        Types(types),
        _by_table(columns),
        _by_table(catalog.keys(connection, tables)),
        _by_table(catalog.foreign_keys(connection, tables)),
        _by_table(catalog.checks(connection, tables)),
    )


def _by_table(rows: Iterable[Row]) -> Mapping[int, Sequence[Row]]:
    found: defaultdict[int, list[Row]] = defaultdict(list)
    for row in rows:
        found[row["table"]].append(row)
    return found


def _names(rows: Sequence[Row]) -> dict[int, str]:
    """What each table is called: its name, or `schema_name` where another table of that name comes first.

    First is the one that the search path leads to, so that a table elsewhere never changes its name.
    """
    count = Counter(row["name"] for row in rows)
    found = {row["oid"]: row["name"] for row in rows if row["visible"] or count[row["name"]] == 1}
    taken = set(found.values())
    for row in rows:
        if row["oid"] not in found:
            plain = f"{row['schema']}_{row['name']}"
            numbered = (f"{plain}_{number}" for number in range(2, len(rows) + 3))
            found[row["oid"]] = next(name for name in (plain, *numbered) if name not in taken)
            taken.add(found[row["oid"]])
    return {row["oid"]: found[row["oid"]] for row in rows}


def _table(row: Row, name: str, facts: _Facts, notes: list[str]) -> tuple[FoundTable, dict[int, str]]:
    """The table without its foreign keys, and the names of its columns by their numbers."""
    shown: list[Row] = []
    for column in facts.columns[row["oid"]]:
        type_name = facts.types.base(column["type"])["name"]
        if not column["readable"]:
            notes.append(f"{name}: its column {column['name']!r} is left out, this database role may not read it.")
        elif type_name in UNSHOWN:
            notes.append(f"{name}: its column {column['name']!r} is left out, it is of the type {type_name}.")
        else:
            shown.append(column)
    by_number = {column["number"]: str(column["name"]) for column in shown}
    keys = [(key["is_primary"], _named(by_number, key["columns"])) for key in facts.keys[row["oid"]]]
    primary = next((names for is_primary, names in keys if is_primary and names), ())
    columns, checks = _columns(shown, primary, facts, facts.checks[row["oid"]])
    kinds = {column.name: column.kind for column in columns}
    uniques = [names for is_primary, names in keys if names and not is_primary]
    uniques = [names for names in uniques if not any(kinds[n] in _NO_KEY for n in names)]
    is_view = row["kind"] in ("v", "m")
    automatic = next((c["name"] for c in shown if (c["name"],) == primary and _is_numbered(c)), "")
    found = FoundTable(
        name,
        columns,
        is_view=is_view,
        primary_key=() if is_view or any(kinds[n] in _NO_KEY for n in primary) else primary,
        automatic=automatic,
        uniques=() if is_view else tuple(dict.fromkeys(uniques)),
        checks=checks,
        schema=row["schema"],
        sql_name=row["name"],
        description=" ".join((row["description"] or "").split()),
        note=_note(row),
    )
    return found, by_number


def _note(row: Row) -> str:
    """Why a table cannot be written, whatever its key."""
    reasons = (
        (row["kind"] == "m", MATERIALIZED_NOTE),
        (row["kind"] == "f", FOREIGN_NOTE),
        (row["kind"] == "v", ""),
        (row["rewritten"], REWRITTEN_NOTE),
        (row["inherited"], INHERITED_NOTE),
        (not row["writable"], PRIVILEGE_NOTE),
    )
    return next((note for holds, note in reasons if holds), "")


def _named(by_number: Mapping[int, str], numbers: Sequence[int]) -> Names:
    """Column names of column numbers; none when one of them is not shown."""
    found = tuple(by_number[number] for number in numbers if number in by_number)
    return found if len(found) == len(numbers) else ()


def _is_numbered(column: Row) -> bool:
    """Whether the database counts the values up: an identity, or a default from a sequence."""
    return bool(column["identity"]) or str(column["default"] or "").startswith("nextval(")


def _columns(
    rows: Sequence[Row], primary: Names, facts: _Facts, checks: Sequence[Row]
) -> tuple[tuple[FoundColumn, ...], Names]:
    """The columns with the bounds that CHECK constraints and domains set, and the conditions of the constraints."""
    types = {row["name"]: facts.types.type_of(row["type"], row["modifier"]) for row in rows}
    kinds = {name: kind_of(type_) or Kind.OPAQUE for name, type_ in types.items()}
    conditions = [condition(row["definition"]) for row in checks]
    limits: defaultdict[str, list[Any]] = defaultdict(list)
    for expression in conditions:
        for name, limit in bounds(expression, kinds):
            limits[name].append(limit)
    for row in rows:
        for check in facts.types.checks(row["type"]):
            found = bounds(condition(check), {"VALUE": kinds[row["name"]]})
            limits[row["name"]] += [limit for _, limit in found]
    columns = tuple(
        FoundColumn(
            row["name"],
            types[row["name"]],
            kinds[row["name"]],
            nullable=not (row["required"] or facts.types.required(row["type"])),
            default="GENERATED BY DEFAULT AS IDENTITY" if row["identity"] else row["default"],
            generated=bool(row["generated"]) or row["identity"] == "a" or not row["writable"],
            loose=False,
            limits=tuple(limits[row["name"]]),
            description=" ".join((row["description"] or "").split()),
        )
        for row in rows
    )
    return columns, tuple(conditions)


def _foreign_keys(
    number: int,
    rows: Sequence[Row],
    tables: Mapping[int, FoundTable],
    numbers: Mapping[int, Mapping[int, str]],
    notes: list[str],
) -> tuple[FoundKey, ...]:
    keys: dict[FoundKey, None] = {}
    for row in rows:
        columns = _named(numbers[number], row["columns"])
        target = tables.get(row["target"])
        if not columns:
            continue
        if target is None:
            said = f"because {row['target_name']} is left out"
        else:
            target_columns = _named(numbers[row["target"]], row["target_columns"])
            if target_columns and target.identifies(target_columns):
                keys[FoundKey(columns, target.name, target_columns)] = None
                continue
            said = f"because the columns of {target.name} that it names are left out or not unique"
        notes.append(f"{tables[number].name}: no relationship by {', '.join(columns)}, {said}.")
    return tuple(keys)
