"""Failures are counted before they happen: guessing a secret gets slower with each, in all processes together.

An attempt counts as a failure when it begins and is taken back when it succeeds, so that many at once do not get
around the count. After so many free ones each failure makes the next wait twice as long (OWASP, Authentication
Cheat Sheet). Addresses without an account are counted just so.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncSession

from ..errors import Problem
from ..schema.base import utc_now
from .tables import AuthTables

WAIT_S_MAX = 900
#: Failures that are older no longer count.
FORGET_S = 3_600


@dataclass(frozen=True, slots=True)
class Limit:
    """Of whom failures are counted, and how many are free.

    Attributes:
        what: such as `account` or `ip`.
        who: whose failures; it is kept as a hash.
    """

    what: str
    who: str
    free: int

    @property
    def subject(self) -> str:
        """Its key in the table."""
        return f"{self.what}:{hashlib.sha256(self.who.encode()).hexdigest()[:32]}"


async def begin_attempt(session: AsyncSession, tables: AuthTables, limits: Sequence[Limit]) -> list[Limit]:
    """Count one more failure of each; returns those whose next attempt has to wait.

    Raises:
        Problem: `TOO_MANY_ATTEMPTS`; the transaction is to be undone, so that nothing is counted.
    """
    now = utc_now()
    return [limit for limit in limits if await _count(session, tables, limit, now)]


async def succeed(session: AsyncSession, tables: AuthTables, limits: Sequence[Limit], *, clear: Limit) -> None:
    """Take the attempt back; `clear` starts anew, as its secret is known to who made it."""
    attempts = tables.attempts
    await session.execute(sa.delete(attempts).where(attempts.c.subject == clear.subject))
    for limit in limits:
        if limit != clear:
            fewer = sa.update(attempts).where(attempts.c.subject == limit.subject, attempts.c.failures > 0)
            await session.execute(fewer.values(failures=attempts.c.failures - 1, locked_until=None))


async def forget(session: AsyncSession, tables: AuthTables, limit: Limit) -> None:
    """Let nobody wait any more."""
    attempts = tables.attempts
    await session.execute(sa.delete(attempts).where(attempts.c.subject == limit.subject))


async def _count(session: AsyncSession, tables: AuthTables, limit: Limit, now: datetime) -> bool:
    """Count one; whether the next has to wait. Who asks at the same time waits for this row, and sees its count."""
    attempts = tables.attempts
    insert: Any = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}[session.get_bind().dialect.name]
    recent = attempts.c.failed_at > now - timedelta(seconds=FORGET_S)
    counted = sa.case((recent, attempts.c.failures + 1), else_=1)
    upsert = insert(attempts).values(subject=limit.subject, failures=1, failed_at=now)
    upsert = upsert.on_conflict_do_update(
        index_elements=["subject"],
        set_={"failures": counted, "failed_at": now},
        where=sa.or_(attempts.c.locked_until.is_(None), attempts.c.locked_until <= now),
    )
    failures: int | None = await session.scalar(upsert.returning(attempts.c.failures))
    mine = attempts.c.subject == limit.subject
    if failures is None:
        until = await session.scalar(sa.select(attempts.c.locked_until).where(mine))
        raise _too_many((until - now).total_seconds() if until is not None else 1)
    if failures < limit.free:
        return False
    wait_s = min(WAIT_S_MAX, 2 ** min(failures - limit.free, 20))
    await session.execute(sa.update(attempts).where(mine).values(locked_until=now + timedelta(seconds=wait_s)))
    return True


def _too_many(wait_s: float) -> Problem:
    seconds = max(1, math.ceil(wait_s))
    return Problem("TOO_MANY_ATTEMPTS", f"Try again in {seconds} s.", headers=(("retry-after", str(seconds)),))
