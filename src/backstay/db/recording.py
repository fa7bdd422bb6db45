"""Recording of changes: the tables behind it, and the triggers that fill them in the writer's transaction.

A trigger sees every row that changes, whoever changes it: the API, an ORM session, or a foreign key's cascade. On
SQLite triggers are TEMP ones of the connections that write, so that a file stays usable for every other tool; on
PostgreSQL they are part of the database. See docs/decisions/0017-changes-by-triggers.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from ..context import Context
from ..schema.base import UtcDateTime, utc_now
from ..schema.change_log import CHANGES as CHANGES
from ..schema.change_log import METADATA as METADATA
from ..schema.change_log import PREFIX as PREFIX
from ..schema.declare import SECRET

#: The answers of requests that had an Idempotency-Key.
IDEMPOTENCY = sa.Table(
    f"{PREFIX}idempotency",
    METADATA,
    sa.Column("key", sa.Text(), primary_key=True),
    sa.Column("fingerprint", sa.Text(), nullable=False),
    sa.Column("at", UtcDateTime(), nullable=False),
    sa.Column("status", sa.Integer()),
    sa.Column("data", sa.Text()),
    sa.Column("version", sa.BigInteger()),
    sa.Column("row", sa.Text()),
    sa.Column("headers", sa.Text()),
)
sa.Index(f"{PREFIX}idempotency_at", IDEMPOTENCY.c.at)


@dataclass(frozen=True, slots=True)
class Recorded:
    """A table whose changes are recorded.

    Attributes:
        key: the columns of its primary key.
        secret: columns that no record has.
    """

    table: sa.Table
    key: tuple[str, ...]
    secret: tuple[str, ...]


def recorded_tables(tables: Iterable[sa.Table], but: Sequence[str] = ()) -> tuple[Recorded, ...]:
    """The tables that are recorded: those with a key; `but` are prefixes of names that are not."""
    return tuple(
        Recorded(
            table,
            tuple(column.name for column in table.primary_key.columns),
            tuple(column.name for column in table.columns if column.info.get(SECRET)),
        )
        for table in tables
        if len(table.primary_key.columns) and not table.name.startswith(tuple(but))
    )


class Attribution:
    """Whose changes a connection makes now; what the triggers of SQLite ask for, value by value."""

    __slots__ = ("_values",)

    def __init__(self) -> None:
        self._values: tuple[str | None, ...] = (None, None, None, None)

    def of(self, context: Context | None) -> None:
        """Changes from here on are a request's, and of one moment."""
        at = utc_now().isoformat(timespec="microseconds")
        if context is None:
            self._values = (at, None, None, None)
            return
        self._values = (at, *context.attribution())

    def value(self, index: int) -> str | None:
        """The moment, the actor, the tenant or the request's id."""
        return self._values[index]
