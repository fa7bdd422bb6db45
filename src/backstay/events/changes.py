"""The change log: every committed row change, in an order that never changes, each entry sealed by a hash.

Entries are written in the transaction of their change; see `db.recording`. A number that a transaction draws says
nothing about when it commits, so positions are given later, to what has committed, by one process at a time: a reader
never passes an entry that is still in flight, and a long transaction keeps nobody waiting. What depends on another
change was written after that one had committed, so its `id` is larger: in the order of `id`, positions never put an
effect before its cause. Each hash covers the one before it (RFC 9162 calls such a log tamper-evident).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from ..db.recording import CHANGES
from ..db.sessions import Sessions
from ..periodic import Periodic
from ..schema.change_log import PRUNED
from .sealing import SEALED_MAX, Content, hashed, seal, waits

#: Entries that one transaction drops.
PRUNED_MAX = 5_000
#: What has committed is sealed at the latest after so long.
SEAL_S = 1.0
#: A follower looks for news so often.
POLL_S = 0.05
_IMAGES = ("before", "after")
#: Is told how many entries are done.
Progress = Callable[[int], object]


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
        first: the position of the first one; those before were pruned.
        position, hash: of the last one. Kept elsewhere, they prove later that nothing before was replaced.
        broken: the position from which on the log is not what was written; none is well.
    """

    entries: int
    position: int
    hash: str
    broken: int | None = None
    first: int = 0


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which changes are looked for; what is none is not asked for.

    Attributes:
        keys: the row's primary key as a JSON array, in any of these ways to write it.
    """

    table: str | None = None
    keys: Sequence[str] = ()
    actor: str | None = None
    request_id: str | None = None

    def conditions(self) -> list[sa.ColumnElement[bool]]:
        """What is asked for."""
        c = CHANGES.c
        asked = ((c.table_name, self.table), (c.actor, self.actor), (c.request_id, self.request_id))
        found = [column == value for column, value in asked if value is not None]
        return [*found, c.key.in_(self.keys)] if self.keys else found


class Changes:
    """Reads, seals, verifies and prunes the change log.

    Args:
        sessions: the database's.
    """

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions
        #: What is not sealed could be changed unseen.
        self.sealing = Periodic(self._seal_all, SEAL_S)

    async def seal(self) -> int:
        """Give what has committed since its positions and hashes; returns how many, at most `SEALED_MAX`."""
        async with self._sessions.open() as session:
            if not await waits(session):
                return 0
        async with self._sessions.begin() as session:
            return await seal(session)

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

    async def _seal_all(self) -> None:
        while await self.seal() == SEALED_MAX:
            pass

    async def find(self, wanted: Wanted, limit: int = 100) -> list[Change]:
        """The newest changes that are wanted, the newest first."""
        await self.seal()
        placed = (CHANGES.c.position.is_not(None), CHANGES.c.operation != PRUNED)
        found = sa.select(*_texts()).where(*placed, *wanted.conditions())
        async with self._sessions.open() as session:
            rows = (await session.execute(found.order_by(CHANGES.c.position.desc()).limit(limit))).all()
        return [_change(row) for row in rows]

    async def bounds(self) -> tuple[int, int]:
        """The positions of the first and of the last entry; zeros without any."""
        await self.seal()
        async with self._sessions.open() as session:
            return await _bounds(session)

    async def verify(self, *, position: int = 0, known: str = "", progress: Progress | None = None) -> Verdict:
        """Compute every hash again.

        Args:
            position, known: a position and its hash that were kept elsewhere; the log has to have them.
        """
        await self.seal()
        while True:
            async with self._sessions.open() as session:
                start = (await _bounds(session))[0]
                verdict = await _verified(session, position, known, progress)
                # What was pruned meanwhile is missing, and no fault.
                if verdict.broken is None or (await _bounds(session))[0] == start:
                    return verdict

    async def prune(self, before: datetime, progress: Progress | None = None) -> int:
        """Drop the entries from before an instant; one stays instead, with the hash that the next goes on from.

        Returns:
            How many were dropped.
        """
        await self.seal()
        async with self._sessions.open() as session:
            last = await _older(session, before)
            step = (await _bounds(session))[0]
        dropped = 0
        while step <= last:
            step = min(step + PRUNED_MAX, last)
            async with self._sessions.begin() as session:
                dropped += await _drop(session, step)
            step += 1
            if progress is not None:
                progress(dropped)
        return dropped

    async def older(self, before: datetime) -> int:
        """How many entries `prune` would drop."""
        await self.seal()
        async with self._sessions.open() as session:
            until = CHANGES.c.position <= await _older(session, before)
            count = sa.select(sa.func.count()).select_from(CHANGES).where(until, CHANGES.c.operation != PRUNED)
            return int(await session.scalar(count) or 0)


async def _verified(session: AsyncSession, position: int, known: str, progress: Progress | None) -> Verdict:
    entries, first, last, before = 0, 0, 0, ""
    while rows := (await session.execute(_LINKS, {"b_after": last, "b_limit": SEALED_MAX})).all():
        for row in rows:
            anchor = row.operation == PRUNED and entries == 0
            expected = row.hash if anchor else hashed(before, row.position, row.content)
            gap = row.position != last + 1 and not anchor
            replaced = row.position == position and row.hash != known
            if gap or expected != row.hash or replaced:
                return Verdict(entries, last, before, last + 1 if gap else row.position, first)
            entries, last, before = entries + 1, row.position, row.hash
            first = first or last
        if progress is not None:
            progress(entries)
    return Verdict(entries, last, before, last + 1 if last < position else None, first)


async def _bounds(session: AsyncSession) -> tuple[int, int]:
    least, most = (await session.execute(_BOUNDS)).one()
    return least or 0, most or 0


async def _older(session: AsyncSession, before: datetime) -> int:
    """The position up to which all entries are from before an instant; 0 where there are none."""
    young = sa.and_(CHANGES.c.at >= before, CHANGES.c.operation != PRUNED)
    kept = await session.scalar(sa.select(sa.func.min(CHANGES.c.position)).where(young))
    return (await _bounds(session))[1] if kept is None else kept - 1


async def _drop(session: AsyncSession, last: int) -> int:
    """Drop the entries up to a position, whose own becomes the anchor; returns how many changes those were."""
    until, change = CHANGES.c.position <= last, CHANGES.c.operation != PRUNED
    count = await session.scalar(sa.select(sa.func.count()).select_from(CHANGES).where(until, change))
    emptied: dict[str, Any] = dict.fromkeys(("before", "after", "actor", "tenant", "request_id"))
    emptied["at"] = await session.scalar(sa.select(sa.func.max(CHANGES.c.at)).where(CHANGES.c.position <= last))
    anchor = {"operation": PRUNED, "table_name": "", "key": "[]", **emptied}
    await session.execute(sa.delete(CHANGES).where(CHANGES.c.position < last))
    await session.execute(sa.update(CHANGES).where(CHANGES.c.position == last, change).values(anchor))
    return int(count or 0)


def _texts() -> list[Any]:
    """The columns of an entry; the images as the text that they are."""
    return [sa.cast(c, sa.Text()).label(c.name) if c.name in _IMAGES else c for c in CHANGES.columns]


_LINKS = (
    sa.select(CHANGES.c.position, CHANGES.c.hash, CHANGES.c.operation, Content().label("content"))
    .where(CHANGES.c.position > sa.bindparam("b_after"))
    .order_by(CHANGES.c.position)
    .limit(sa.bindparam("b_limit"))
)
_PLACED = CHANGES.c.position.is_not(None)
_END = sa.select(CHANGES.c.position).where(_PLACED).limit(1)
#: Each from an end of the index; SQLite would work out min() and max() together from the whole log.
_BOUNDS = sa.select(
    _END.order_by(CHANGES.c.position).scalar_subquery(), _END.order_by(CHANGES.c.position.desc()).scalar_subquery()
)
_CHAIN = (
    sa.select(*_texts())
    .where(CHANGES.c.position > sa.bindparam("b_after"))
    .order_by(CHANGES.c.position)
    .limit(sa.bindparam("b_limit"))
)


async def _page(session: AsyncSession, position: int, limit: int) -> list[Change]:
    rows: Sequence[Any] = (await session.execute(_CHAIN, {"b_after": position, "b_limit": limit})).all()
    return [_change(row) for row in rows if row.operation != PRUNED]


def _change(row: Any) -> Change:
    return Change(
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
