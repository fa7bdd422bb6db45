"""The frozen facts: Kind, Column, Relationship, Table and Schema. Nothing here talks to a database."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

import sqlalchemy as sa


class Kind(Enum):
    """What a column's values are, on every database and in JSON."""

    INTEGER = "integer"
    FLOAT = "number"
    NUMERIC = "numeric"
    TEXT = "text"
    BOOLEAN = "boolean"
    DATETIME = "datetime"
    DATE = "date"
    TIME = "time"
    UUID = "uuid"
    BYTES = "bytes"
    JSON = "json"
    ENUM = "enum"
    ARRAY = "array"
    RANGE = "range"
    #: Of a type that only the database understands, carried as its text: it is equal or not, and has an order.
    OTHER = "other"
    #: As `OTHER`, but the database itself cannot compare its values.
    OPAQUE = "opaque"
    ANY = "any"


#: Kinds whose values have an order that means something to a caller.
ORDERED = frozenset(Kind) - {Kind.JSON, Kind.BYTES, Kind.ARRAY, Kind.RANGE, Kind.OPAQUE}
#: Kinds that match text patterns.
TEXTUAL = frozenset({Kind.TEXT, Kind.ENUM, Kind.ANY})
#: Kinds that can be summed and averaged.
ADDITIVE = frozenset({Kind.INTEGER, Kind.FLOAT, Kind.NUMERIC})


@dataclass(frozen=True, slots=True, eq=False)
class Column:
    """One column. `name` is what the API calls it, `sql` the SQLAlchemy column behind it.

    Attributes:
        metadata: pydantic constraints (`Field(ge=0)`, `StringConstraints(...)`) as declared.
        low, high: the inclusive integer range that both databases hold.
        scale: digits behind the point of a `NUMERIC`; `None` when each value has its own.
        item: what the values of an `ARRAY` are, a column of its own.
        loose: the values may not be of the kind (an existing SQLite file promises nothing).
        layout: how an existing file writes this datetime, learned from a sample; see `reflect`.
        server_set: the server sets it; a caller never may.
        mask: where it does not hold, the value is null to whoever asks; see `query.sight`.
        answer: what it always is, where no table has it any more; see `schema.versions`.
        secret: nobody is ever shown it, whatever a program says.
        private: it is hidden unless a resource shows it.
        normal: puts text into the form that it is stored and compared in.
    """

    name: str
    sql: sa.Column[Any]
    kind: Kind
    nullable: bool
    primary_key: bool = False
    unique: bool = False
    has_default: bool = False
    server_set: bool = False
    secret: bool = False
    private: bool = False
    normal: Callable[[str], str] | None = None
    metadata: tuple[Any, ...] = ()
    choices: tuple[str, ...] = ()
    low: int = -(2**63)
    high: int = 2**63 - 1
    scale: int | None = 0
    digits: int = 15
    item: Column | None = None
    length: int | None = None
    loose: bool = False
    layout: str = ""
    timezone: bool = True
    description: str = ""
    mask: sa.ColumnElement[bool] | None = None
    answer: sa.ColumnElement[Any] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Relationship:
    """A way from one table to another.

    Attributes:
        pairs: `(local, remote)` columns that are equal on a direct way.
        through: the association table of a many-to-many way, with
            `pairs` = (local, association) and `far_pairs` = (association, remote).
        many: whether there may be several related rows.
    """

    name: str
    target: str
    many: bool
    pairs: tuple[tuple[sa.Column[Any], sa.Column[Any]], ...]
    through: sa.Table | None = None
    far_pairs: tuple[tuple[sa.Column[Any], sa.Column[Any]], ...] = ()


@dataclass(frozen=True, slots=True)
class Search:
    """Full text search of a table.

    Attributes:
        table: the table's name.
        columns: the database's names of the columns, in the declared order.
        rowid: what numbers the rows on SQLite; see `schema.search`.
    """

    table: str
    columns: tuple[str, ...]
    rowid: str


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """One table or view. `name` is unique in its Schema.

    Attributes:
        key: names of the columns that identify a row; empty when there are none.
        version: name of the column that counts the row's updates, if there is one.
        note: why the table is read-only, in words for its operator.
        model: the mapped class it was declared by, if any.
        search: what `q=` looks in, if it was declared.
        tenant: name of the column that says whose row it is, if rows belong to tenants.
        deleted: name of the column that says when a row was deleted softly, if rows are.
    """

    name: str
    sql: sa.FromClause
    columns: Mapping[str, Column]
    relationships: Mapping[str, Relationship] = field(default_factory=dict[str, Relationship])
    key: tuple[str, ...] = ()
    version: str | None = None
    touched: str | None = None
    read_only: bool = False
    note: str = ""
    model: type[Any] | None = None
    description: str = ""
    search: Search | None = None
    tenant: str | None = None
    deleted: str | None = None

    def column_of(self, sql: sa.ColumnElement[Any]) -> Column | None:
        """The Column behind a SQLAlchemy column, if it is one of this table's."""
        return next((c for c in self.columns.values() if c.sql is sql), None)


@dataclass(frozen=True, slots=True, eq=False)
class Schema:
    """All tables by name, and the MetaData they came from."""

    tables: Mapping[str, Table]
    metadata: sa.MetaData
    notes: tuple[str, ...] = ()

    def by_model(self, model: type[Any]) -> Table | None:
        """The table that a mapped class declared."""
        return next((t for t in self.tables.values() if t.model is model), None)
