"""The change log: every committed row change, in an order that never changes, each entry sealed by a hash.

Entries are written in the transaction of their change; see `db.recording`. A number that a transaction draws says
nothing about when it commits, so positions are given later, to what has committed, by one process at a time: a reader
never passes an entry that is still in flight, and a long transaction keeps nobody waiting. What depends on another
change was written after that one had committed, so its `id` is larger: in the order of `id`, positions never put an
effect before its cause. Each hash covers the one before it (RFC 9162 calls such a log tamper-evident).
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson
import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncSession

from ..db.recording import CHANGES
from ..db.sessions import Sessions
from ..errors import Problem

#: Entries that one transaction seals.
SEALED_MAX = 1_000
#: What has committed is sealed at the latest after so long.
SEAL_S = 1.0
#: A follower looks for news so often.
POLL_S = 0.05
#: The operation of the entry that stands for those that were pruned.
PRUNED = "prune"
LOCK_KEY = int.from_bytes(hashlib.sha256(b"backstay change log").digest()[:7])
_FIELDS = ("table_name", "key", "operation", "before", "after", "actor", "tenant", "request_id")
_IMAGES = ("before", "after")


@dataclass(frozen=True, slots=True)
class Change:
    """One committed change of a row.

    Attributes:
        position: its place in the order of commits, from 1, without gaps.
        key: the row's primary key, as a JSON array.
        operation: `create`, `update` or `delete`.
        before, after: the row as it was stored, as a JSON object without its secrets.
        actor: `user:7`, `service:3`; none is nobody who signed in, or another program.
        hash: SHA-256 over the entry and the hash before it, in hexadecimal digits.
    """

    position: int
    at: datetime
    table: str
    key: str
    operation: str
    before: str | None
    after: str | None
    actor: str | None
    tenant: str | None
    request_id: str | None
    hash: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a verification found.

    Attributes:
        entries: how many were looked at.
        position, hash: of the last one. Kept elsewhere, they prove later that nothing before was replaced.
        broken: the position from which on the log is not what was written; none is well.
    """

    entries: int
    position: int
    hash: str
    broken: int | None = None


class Changes:
    """Reads, seals, verifies and prunes the change log.

    Args:
        sessions: the database's.
    """

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions
        self._sealing: asyncio.Task[None] | None = None

    async def seal(self) -> int:
        """Give what has committed since its positions and hashes; returns how many entries were left without."""
        async with self._sessions.open() as session:
            if await session.scalar(_WAITING) is None:
                return 0
        async with self._sessions.begin() as session:
            if session.get_bind().dialect.name == "postgresql":
                await session.execute(sa.select(sa.func.pg_advisory_xact_lock(LOCK_KEY)))
            last = (await session.execute(_LAST)).one_or_none()
            position, before = (0, "") if last is None else last
            rows = (await session.execute(_UNSEALED)).all()
            sealed: list[dict[str, Any]] = []
            for row in rows:
                position += 1
                before = hashed(before, position, row)
                sealed.append({"b_id": row.id, "b_position": position, "b_hash": before})
            if sealed:
                await (await session.connection()).execute(_SEAL, sealed)
        return len(rows)

    async def after(self, position: int, limit: int = 100) -> list[Change]:
        """The changes behind a position, in order; those that commit later come later."""
        await self.seal()
        async with self._sessions.open() as session:
            return await _page(session, position, limit)

    async def follow(self, position: int = 0) -> AsyncIterator[Change]:
        """Every change behind a position, now and as they come, each once.

        Example:
            >>> async for change in changes.follow(last_seen):  # doctest: +SKIP
            ...     print(change.table, change.key, change.operation)
        """
        while True:
            found = await self.after(position)
            for change in found:
                position = change.position
                yield change
            if not found:
                await asyncio.sleep(POLL_S)

    def work(self) -> None:
        """Seal from time to time, until `rest`: what is not sealed could be changed unseen."""
        self._sealing = self._sealing or asyncio.get_running_loop().create_task(self._keep_sealed())

    def rest(self) -> None:
        """Stop doing so."""
        if self._sealing is not None:
            self._sealing.cancel()
            self._sealing = None

    async def _keep_sealed(self) -> None:
        while True:
            await asyncio.sleep(SEAL_S)
            with contextlib.suppress(Problem, SQLAlchemyError):  # the database is away, or busy: later, then
                while await self.seal() == SEALED_MAX:
                    pass

    async def verify(self, *, position: int = 0, known: str = "") -> Verdict:
        """Compute every hash again.

        Args:
            position, known: a position and its hash that were kept elsewhere; the log has to have them.
        """
        await self.seal()
        entries, last, before = 0, 0, ""
        async with self._sessions.open() as session:
            while rows := (await session.execute(_CHAIN, {"b_after": last, "b_limit": SEALED_MAX})).all():
                for row in rows:
                    anchor = row.operation == PRUNED and entries == 0
                    expected = row.hash if anchor else hashed(before, row.position, row)
                    gap = row.position != last + 1 and not anchor
                    replaced = row.position == position and row.hash != known
                    if gap or expected != row.hash or replaced:
                        return Verdict(entries, last, before, last + 1 if gap else row.position)
                    entries, last, before = entries + 1, row.position, row.hash
        return Verdict(entries, last, before, last + 1 if last < position else None)

    async def prune(self, before: datetime) -> int:
        """Drop the entries from before an instant; one stays instead, with the hash that the next goes on from.

        Returns:
            How many were dropped.
        """
        await self.seal()
        async with self._sessions.begin() as session:
            young = sa.and_(CHANGES.c.at >= before, CHANGES.c.operation != PRUNED)
            kept = await session.scalar(sa.select(sa.func.min(CHANGES.c.position)).where(young))
            newest = await session.scalar(sa.select(sa.func.max(CHANGES.c.position)))
            last = (kept - 1) if kept is not None else newest
            if not last:
                return 0
            dropped = sa.delete(CHANGES).where(CHANGES.c.position < last)
            counted: Any = await session.execute(dropped)
            emptied = dict.fromkeys(("before", "after", "actor", "tenant", "request_id"))
            anchor = {"operation": PRUNED, "table_name": "", "key": "[]", **emptied}
            was_anchor = sa.and_(CHANGES.c.position == last, CHANGES.c.operation != PRUNED)
            changed: Any = await session.execute(sa.update(CHANGES).where(was_anchor).values(anchor))
            return int(counted.rowcount) + int(changed.rowcount)


def hashed(before: str, position: int, row: Any) -> str:
    """The hash of an entry behind another."""
    at = row.at.isoformat(timespec="microseconds")
    content = orjson.dumps([before, position, at, *(getattr(row, name) for name in _FIELDS)])
    return hashlib.sha256(content).hexdigest()


def _texts() -> list[Any]:
    """The columns of an entry; the images as the text that they are."""
    return [sa.cast(c, sa.Text()).label(c.name) if c.name in _IMAGES else c for c in CHANGES.columns]


_WAITING = sa.select(CHANGES.c.id).where(CHANGES.c.position.is_(None)).limit(1)
_LAST = (
    sa.select(CHANGES.c.position, CHANGES.c.hash)
    .where(CHANGES.c.position.is_not(None))
    .order_by(CHANGES.c.position.desc())
    .limit(1)
)
_UNSEALED = sa.select(*_texts()).where(CHANGES.c.position.is_(None)).order_by(CHANGES.c.id).limit(SEALED_MAX)
_SEAL = (
    sa.update(CHANGES)
    .where(CHANGES.c.id == sa.bindparam("b_id"))
    .values(position=sa.bindparam("b_position"), hash=sa.bindparam("b_hash"))
)
_CHAIN = (
    sa.select(*_texts())
    .where(CHANGES.c.position > sa.bindparam("b_after"))
    .order_by(CHANGES.c.position)
    .limit(sa.bindparam("b_limit"))
)


async def _page(session: AsyncSession, position: int, limit: int) -> list[Change]:
    rows: Sequence[Any] = (await session.execute(_CHAIN, {"b_after": position, "b_limit": limit})).all()
    return [
        Change(
            row.position,
            row.at,
            row.table_name,
            row.key,
            row.operation,
            row.before,
            row.after,
            row.actor,
            row.tenant,
            row.request_id,
            row.hash,
        )
        for row in rows
        if row.operation != PRUNED
    ]
