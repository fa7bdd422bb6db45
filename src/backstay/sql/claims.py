"""A write together with the record of its answer: whoever sends the same Idempotency-Key again gets that.

On PostgreSQL both are one statement, of data-modifying CTEs; on SQLite the writer runs a second one in the same
savepoint.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from .statement import Output, Statement

#: The parameters of a claim: its key and what the request said, both as hashes.
CLAIM_KEY, CLAIM_FINGERPRINT = "claim_key", "claim_fingerprint"
#: What an action answers when it is done.
STATUS = {"create": 201, "update": 200, "delete": 204}
TABLE = "backstay_idempotency"
_RECORDS = sa.table(
    TABLE,
    *(sa.column(name, sa.Text()) for name in ("key", "fingerprint", "data", "row")),
    sa.column("at", sa.DateTime(timezone=True)),
    sa.column("status", sa.Integer()),
    sa.column("version", sa.BigInteger()),
)
_COLUMNS = ("key", "fingerprint", "at", "status", "data", "version", "row")
#: On SQLite: the same, with the moment and the outputs as parameters.
INSERTION = (
    "INSERT INTO backstay_idempotency (key, fingerprint, at, status, data, version, row) VALUES (?, ?, ?, ?, ?, ?, ?)"
)


def with_claim(tree: Any, outputs: Sequence[Output], action: str) -> Any:
    """The statement of PostgreSQL: the write, the record of its row, and what the write returns."""
    written = tree.cte("written")
    columns: dict[Output, Any] = dict(zip(outputs, written.columns, strict=True))
    absent = sa.null()
    values: list[Any] = [
        sa.bindparam(CLAIM_KEY, type_=sa.Text()),
        sa.bindparam(CLAIM_FINGERPRINT, type_=sa.Text()),
        sa.func.now(),
        sa.literal_column(str(STATUS[action])),
        sa.cast(columns[Output.DATA], sa.Text()) if Output.DATA in columns else absent,
        columns.get(Output.VERSION, absent),
        sa.cast(columns[Output.KEY], sa.Text()) if Output.KEY in columns else absent,
    ]
    kept = sa.insert(_RECORDS).from_select(_COLUMNS, sa.select(*values).select_from(written)).cte("kept")
    return sa.select(*written.columns).add_cte(kept)


def claim_values(statement: Statement, row: Sequence[Any], at: str | None) -> tuple[Any, ...]:
    """The values of `INSERTION` behind key and fingerprint."""

    def told(output: Output) -> Any:
        value = row[statement.position(output)] if output in statement.outputs else None
        return value.decode() if isinstance(value, bytes) else value

    return at, STATUS[statement.action], told(Output.DATA), told(Output.VERSION), told(Output.KEY)
