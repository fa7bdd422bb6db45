"""Keys that PostgreSQL numbers, after rows came with numbers of their own."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

#: (table, column, sequence) of every numbered column in the current schema.
_NUMBERED = sa.text(r"""
SELECT c.relname, a.attname, pg_get_serial_sequence(c.oid\:\:regclass\:\:text, a.attname)
FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
WHERE c.relnamespace = current_schema()\:\:regnamespace AND c.relkind IN ('r', 'p') AND a.attnum > 0
  AND NOT a.attisdropped AND (a.attidentity <> '' OR a.atthasdef)
  AND pg_get_serial_sequence(c.oid\:\:regclass\:\:text, a.attname) IS NOT NULL
""")
#: The last number that a sequence gave; null when it gave none.
_TAKEN = sa.text("SELECT pg_sequence_last_value(CAST(:sequence AS regclass))")


def advance_identities(connection: sa.Connection) -> None:
    """Let every numbered column go on after its largest value; SQLite does so by itself.

    Without it, the first insert after a seed with ids of its own would meet a row that is there.
    """
    if connection.dialect.name != "postgresql":
        return
    for name, column_name, sequence in connection.execute(_NUMBERED).all():
        column: sa.ColumnClause[Any] = sa.column(column_name)
        largest = connection.scalar(sa.select(sa.func.max(column)).select_from(sa.table(name, column)))
        if largest is not None:
            # Never backwards: another process may have taken numbers meanwhile.
            taken = connection.execute(_TAKEN, {"sequence": sequence}).scalar()
            if taken is None or taken < largest:
                connection.execute(sa.select(sa.func.setval(sequence, largest)))
