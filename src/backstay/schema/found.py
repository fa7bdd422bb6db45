"""What a database itself says of its tables, before the API gives names and ways to it.

One reader a database fills these in (`find_sqlite`); `reflect` makes a Schema of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy.types import TypeEngine

from .model import Kind

Names = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class FoundColumn:
    """One column as it is declared, with the kind that its values really are.

    Attributes:
        generated: the database computes it, or lets nobody write it.
        layout: of a datetime alone, how the file writes it; see `schema.kinds`.
        loose: the database holds values of other kinds in it too.
        limits: pydantic constraints that its CHECKs amount to.
    """

    name: str
    type: TypeEngine[Any]
    kind: Kind
    nullable: bool
    default: str | None = None
    generated: bool = False
    layout: str = ""
    loose: bool = True
    limits: tuple[Any, ...] = ()
    description: str = ""


@dataclass(frozen=True, slots=True)
class FoundKey:
    """A foreign key whose target exists and identifies one row."""

    columns: Names
    target: str
    target_columns: Names


@dataclass(frozen=True, slots=True)
class FoundTable:
    """A table or a view; `name` is unique among all that were found.

    Attributes:
        automatic: the primary key column that the database numbers by itself.
        null_keys: some row has NULL in its primary key now.
        uniques: sets of columns that identify a row, the primary key not among them.
        schema, sql_name: what SQL calls it, where that is not its name.
        note: why it is read-only, whatever its key.
    """

    name: str
    columns: tuple[FoundColumn, ...]
    is_view: bool = False
    primary_key: Names = ()
    automatic: str = ""
    null_keys: bool = False
    uniques: tuple[Names, ...] = ()
    foreign_keys: tuple[FoundKey, ...] = ()
    checks: Names = ()
    schema: str | None = None
    sql_name: str = ""
    description: str = ""
    note: str = ""

    def identifies(self, columns: Names) -> bool:
        """Whether at most one row has given values in these columns."""
        sets = [self.primary_key] if self.primary_key else []
        return any(set(unique) <= set(columns) for unique in [*sets, *self.uniques])

    def usable_key(self) -> Names:
        """The primary key if it is never NULL, else a unique set that never is; empty when there is none."""
        required = {column.name for column in self.columns if not column.nullable}
        candidates = (self.primary_key, *sorted(self.uniques, key=len))
        return next((names for names in candidates if names and set(names) <= required), ())


@dataclass(frozen=True, slots=True)
class Found:
    """All tables of a database, and sentences for its operator about what is not as declared."""

    tables: tuple[FoundTable, ...]
    notes: Names = ()
