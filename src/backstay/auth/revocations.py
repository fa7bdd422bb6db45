"""What every process must forget: rows that are appended in the transaction that ends a session or changes a user."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from .tables import AuthTables

#: The advisory lock under which PostgreSQL numbers revocations.
_ORDER = 0x6261636B73746179


async def revoke(session: AsyncSession, tables: AuthTables, kind: str, subject: object) -> None:
    """Tell every process to forget what it knows of a subject, once the transaction commits.

    Readers ask for what is newer than the last row that they know, so rows must be numbered in the order of commits.
    SQLite has one writer; on PostgreSQL whoever numbers one waits for the others' commits.

    Args:
        kind: `session`, `user` or `keys`.
        subject: the id of the session or the user; empty for keys.
    """
    if session.get_bind().dialect.name == "postgresql":
        await session.execute(sa.select(sa.func.pg_advisory_xact_lock(_ORDER)))
    await session.execute(sa.insert(tables.revocations).values(kind=kind, subject=str(subject)))
