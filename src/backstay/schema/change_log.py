"""The table of recorded changes, as those know it who fill it and those who read past rows from it."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from .base import UtcDateTime

PREFIX = "backstay_"
#: The operation of the entry that stands for those that were pruned; it has the newest instant of theirs.
PRUNED = "prune"
METADATA = sa.MetaData()
_IMAGE = sa.Text().with_variant(JSONB(), "postgresql")
_BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


#: One row for each row that changed. `position` and `hash` come later, in the order of commits; see `events.changes`.
CHANGES = sa.Table(
    f"{PREFIX}changes",
    METADATA,
    sa.Column("id", _BIG, sa.Identity(always=True), primary_key=True),
    sa.Column("position", sa.BigInteger()),
    sa.Column("at", UtcDateTime(), nullable=False, server_default=sa.text("now()")),
    sa.Column("table_name", sa.Text(), nullable=False),
    sa.Column("key", sa.Text(), nullable=False),
    sa.Column("operation", sa.Text(), nullable=False),
    sa.Column("before", _IMAGE),
    sa.Column("after", _IMAGE),
    sa.Column("actor", sa.Text()),
    sa.Column("tenant", sa.Text()),
    sa.Column("request_id", sa.Text()),
    sa.Column("hash", sa.Text()),
    sqlite_autoincrement=True,
)
_PLACED = CHANGES.c.position.is_not(None)
sa.Index(f"{PREFIX}changes_position", CHANGES.c.position, unique=True, sqlite_where=_PLACED, postgresql_where=_PLACED)
#: Of the entries that have none yet. SQLite would not look at an index of `id` alone, but at the whole log.
_ORDER = (CHANGES.c.position, CHANGES.c.id)
sa.Index(f"{PREFIX}changes_waiting", *_ORDER, sqlite_where=~_PLACED, postgresql_where=~_PLACED)
sa.Index(f"{PREFIX}changes_row", CHANGES.c.table_name, CHANGES.c.key, CHANGES.c.id)
