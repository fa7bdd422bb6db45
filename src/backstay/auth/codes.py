"""One-time codes: 256 random bits that somebody is sent, good once, for one purpose and for a while."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from ..errors import invalid
from ..schema.base import utc_now
from .tables import AuthTables
from .vault import hashed, random_token

#: How long a code of each purpose lasts.
TTL_S = {"verify": 86_400, "email": 86_400, "reset": 3_600}


@dataclass(frozen=True, slots=True)
class Spent:
    """What a code was for."""

    purpose: str
    user_id: Any
    target: str | None
    details: Mapping[str, Any]


async def make_code(
    session: AsyncSession, tables: AuthTables, purpose: str, user_id: Any, *, target: str | None = None
) -> str:
    """A new code; older ones of the purpose are void.

    Args:
        target: where it is sent.
    """
    codes, now = tables.one_time_codes, utc_now()
    await void_codes(session, tables, purpose, user_id)
    token = random_token()
    row: dict[str, Any] = {
        "purpose": purpose,
        "hash": hashed(token),
        "user_id": user_id,
        "target": target,
        "details": {},
    }
    await session.execute(sa.insert(codes).values(row | {"expires_at": now + timedelta(seconds=TTL_S[purpose])}))
    return token


async def void_codes(session: AsyncSession, tables: AuthTables, purpose: str, user_id: Any) -> None:
    """Let a user's codes of a purpose be good no more."""
    codes = tables.one_time_codes
    mine = sa.and_(codes.c.user_id == user_id, codes.c.purpose == purpose, codes.c.used_at.is_(None))
    await session.execute(sa.update(codes).where(mine).values(used_at=utc_now()))


async def spend_code(session: AsyncSession, tables: AuthTables, purposes: tuple[str, ...], token: str) -> Spent:
    """Use a code up.

    Raises:
        ValidationError: it is unknown, spent or too old; which, is not said.
    """
    codes, now = tables.one_time_codes, utc_now()
    good = sa.and_(codes.c.hash == hashed(token), codes.c.used_at.is_(None), codes.c.expires_at > now)
    spend = sa.update(codes).where(good, codes.c.purpose.in_(purposes)).values(used_at=now)
    found = (
        await session.execute(spend.returning(codes.c.purpose, codes.c.user_id, codes.c.target, codes.c.details))
    ).one_or_none()
    if found is None:
        raise invalid("token", "invalid_token", "is spent, too old or unknown.", hint="Ask for a new one.")
    return Spent(found.purpose, found.user_id, found.target, found.details)
