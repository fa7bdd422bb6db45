"""The tables of a copy: from an app's models, or from the source, in types that both databases have."""

from __future__ import annotations

import warnings
from typing import Any, cast

import sqlalchemy as sa

from ..errors import OperatorError
from ..schema.base import NAMING, UtcDateTime
from ..schema.indexes import index_tables_of
from ..schema.model import Column, Kind, Table
from ..schema.reflect import reflect
from .imports import IMPORTS
from .migration_database import table_names
from .recording import METADATA

#: What is ours or the tools': it is not data of the app.
INTERNAL = frozenset({"alembic_version", "backstay_copy", IMPORTS.name, *METADATA.tables})


def tables_of_models(source: sa.Connection, metadata: sa.MetaData) -> list[sa.Table]:
    """The models' tables, all of which the source must have.

    Raises:
        OperatorError: one is missing in the source, or the source has others.
    """
    there = set(table_names(source)) - INTERNAL
    missing = [table.name for table in metadata.sorted_tables if table.name not in there]
    if missing:
        raise OperatorError(f"The source has no table {missing[0]!r}: run `backstay db migrate` on it first.")
    left = sorted(there - {table.name for table in metadata.sorted_tables})
    if left:
        raise OperatorError(
            f"The app's models do not know the table {left[0]!r}: add --no-app to copy what is there."
        )
    return list(metadata.sorted_tables)


def tables_found(source: sa.Connection) -> list[sa.Table]:
    """The source's tables as they are.

    Raises:
        OperatorError: one that cannot be copied.
    """
    schema = reflect(source)
    lost = set(table_names(source)) - INTERNAL - {_sql(t).name for t in schema.tables.values() if _is_table(t)}
    if lost:
        raise OperatorError(f"The table {min(lost)!r} cannot be copied: {' '.join(schema.notes)}")
    metadata = sa.MetaData(naming_convention=NAMING)
    index_tables_of(metadata)
    copied = {table.sql: _copied(table, metadata) for table in schema.tables.values() if _is_table(table)}
    _add_keys(copied)
    _add_indexes(source, copied)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of tables that refer to each other, which the copy can do
        return list(metadata.sorted_tables)


def _sql(table: Table) -> sa.Table:
    return cast(sa.Table, table.sql)


def _is_table(table: Table) -> bool:
    return isinstance(table.sql, sa.Table) and "is a view" not in table.note and "computed by" not in table.note


def _copied(table: Table, metadata: sa.MetaData) -> sa.Table:
    sql: Any = table.sql
    if sql.schema not in (None, "public"):
        raise OperatorError(f"{sql.schema}.{sql.name}: only the schema public is copied.")
    columns = [_column(column) for column in table.columns.values()]
    return sa.Table(sql.name, metadata, *columns)


def _column(column: Column) -> sa.Column[Any]:
    numbered = column.primary_key and column.has_default and column.kind is Kind.INTEGER
    return sa.Column(
        column.sql.name,
        _type(column),
        primary_key=column.primary_key,
        nullable=column.nullable,
        autoincrement=numbered,
    )


def _type(column: Column) -> Any:
    """A type by what the values are; a text keeps its length, a number its digits."""
    match column.kind:
        case Kind.INTEGER:
            return sa.BigInteger().with_variant(sa.Integer(), "sqlite")
        case Kind.FLOAT:
            return sa.Float(53)
        case Kind.NUMERIC:
            return sa.Numeric(column.digits, column.scale)
        case Kind.BOOLEAN:
            return sa.Boolean()
        case Kind.DATETIME:
            zoned = column.timezone if not column.loose or not column.layout else column.layout.endswith(("Z", "00"))
            return UtcDateTime() if zoned else sa.DateTime()
        case Kind.DATE:
            return sa.Date()
        case Kind.TIME:
            return sa.Time()
        case Kind.UUID:
            return sa.Uuid()
        case Kind.BYTES:
            return sa.LargeBinary()
        case Kind.JSON:
            return sa.JSON()
        case _:
            return sa.String(column.length) if column.length else sa.Text()


def _add_keys(copied: dict[Any, sa.Table]) -> None:
    """Unique constraints and foreign keys."""
    for old, new in copied.items():
        found: list[Any] = sorted(old.constraints, key=lambda c: ",".join(map(str, c.columns.keys())))
        for constraint in found:
            names = [str(column.name) for column in constraint.columns]
            if isinstance(constraint, sa.UniqueConstraint):
                new.append_constraint(sa.UniqueConstraint(*(new.c[name] for name in names)))
            elif isinstance(constraint, sa.ForeignKeyConstraint) and constraint.referred_table in copied:
                target = copied[constraint.referred_table]
                remote = [target.c[element.column.name] for element in constraint.elements]
                rule: dict[str, Any] = {"ondelete": constraint.ondelete, "onupdate": constraint.onupdate}
                new.append_constraint(sa.ForeignKeyConstraint([new.c[name] for name in names], remote, **rule))


def _add_indexes(source: sa.Connection, copied: dict[Any, sa.Table]) -> None:
    """Indexes of columns; those of expressions are the database's own."""
    inspector = sa.inspect(source)
    for table in copied.values():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = inspector.get_indexes(table.name)
        for index in found:
            names = [name for name in index["column_names"] if name is not None]
            own = {tuple(c.name for c in other.columns) for other in table.indexes}
            partial = any(key.endswith("_where") for key in index.get("dialect_options", {}))
            plain_one = len(names) == len(index["column_names"]) and not partial and index["name"]
            method = index.get("dialect_options", {}).get("postgresql_using") or "btree"
            if plain_one and tuple(names) not in own and not index.get("duplicates_constraint") and method == "btree":
                sa.Index(index["name"], *(table.c[name] for name in names), unique=bool(index["unique"]))
