"""Sealing: what has committed gets its positions, in order, and hashes, each over the one before it.

PostgreSQL does it in one statement, so that no entry leaves it; SQLite has no SHA-256, and is in this process anyway.
"""

from __future__ import annotations

import hashlib
from typing import Any

import orjson
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

from ..db.recording import CHANGES

#: Entries that one transaction seals.
SEALED_MAX = 1_000
LOCK_KEY = int.from_bytes(hashlib.sha256(b"backstay change log").digest()[:7])
_SAID = "table_name, key, operation, before, after, actor, tenant, request_id"
_CONTENTS = {
    "sqlite": f"json_array(at, {_SAID})",
    "postgresql": f"json_build_array(at AT TIME ZONE 'UTC', {_SAID})::text",
}


class Content(FunctionElement[str]):
    """All that an entry says, as one text that the database makes."""

    type = sa.Text()
    inherit_cache = True


@compiles(Content)
def _content(element: Any, compiler: Any, **kw: Any) -> str:
    return _CONTENTS[compiler.dialect.name]


def hashed(before: str, position: int, content: str) -> str:
    """The hash of an entry behind another."""
    return hashlib.sha256(f"{before} {position} {content}".encode()).hexdigest()


async def waits(session: AsyncSession) -> bool:
    """Whether any entry is not sealed."""
    return await session.scalar(WAITING) is not None


async def seal(session: AsyncSession) -> int:
    """Seal the next entries, in the session's transaction; returns how many."""
    connection = await session.connection()
    if connection.dialect.name == "postgresql":
        # Whoever waits for the lock has to see what the other has sealed: the statement behind it looks anew.
        await session.execute(sa.select(sa.func.pg_advisory_xact_lock(LOCK_KEY)))
        return (await connection.exec_driver_sql(SEAL_POSTGRES)).rowcount
    last = (await session.execute(LAST)).one_or_none()
    position, before = (0, "") if last is None else last
    sealed: list[tuple[int, int, str]] = []
    for entry, content in (await session.execute(UNSEALED)).all():
        position += 1
        before = hashed(before, position, content)
        sealed.append((entry, position, before))
    if sealed:
        await connection.exec_driver_sql(_SEAL_SQLITE, (orjson.dumps(sealed).decode(),))
    return len(sealed)


WAITING = sa.select(CHANGES.c.id).where(CHANGES.c.position.is_(None)).limit(1)
LAST = (
    sa.select(CHANGES.c.position, CHANGES.c.hash)
    .where(CHANGES.c.position.is_not(None))
    .order_by(CHANGES.c.position.desc())
    .limit(1)
)
#: In the order of the index, which no database would take for that of `id` alone.
UNSEALED = (
    sa.select(CHANGES.c.id, Content())
    .where(CHANGES.c.position.is_(None))
    .order_by(CHANGES.c.position, CHANGES.c.id)
    .limit(SEALED_MAX)
)
#: As it is, because it is done for every change there is.
_SEAL_SQLITE = (
    "UPDATE backstay_changes AS c SET position = v.value ->> 1, hash = v.value ->> 2"
    " FROM json_each(?) AS v WHERE c.id = v.value ->> 0"
)
#: Each step looks the next entry up in the index of those that wait. The digest is that of `hashed`.
SEAL_POSTGRES = f"""
WITH RECURSIVE chain (count, id, position, hash) AS (
    SELECT 0, 0::bigint, coalesce(last.position, 0), coalesce(last.hash, '')
    FROM (VALUES (1)) AS one LEFT JOIN (
        SELECT position, hash FROM backstay_changes WHERE position IS NOT NULL ORDER BY position DESC LIMIT 1
    ) AS last ON true
    UNION ALL
    SELECT chain.count + 1, following.id, chain.position + 1,
        encode(sha256(convert_to(chain.hash || ' ' || chain.position + 1 || ' ' || following.content, 'UTF8')), 'hex')
    FROM chain CROSS JOIN LATERAL (
        SELECT c.id, {_CONTENTS["postgresql"]} AS content FROM backstay_changes AS c
        WHERE c.position IS NULL AND c.id > chain.id ORDER BY c.position, c.id LIMIT 1
    ) AS following
    WHERE chain.count < {SEALED_MAX}
)
UPDATE backstay_changes AS c SET position = chain.position, hash = chain.hash
FROM chain WHERE c.id = chain.id AND chain.count > 0
"""  # noqa: S608 - constants only
