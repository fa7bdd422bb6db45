"""The second step of signing in: whoever has turned it on is given a short-lived token instead of a session."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from ..schema.base import utc_now
from .accounts import Accounts, Caller
from .signing_in import Grant, sign_in
from .tokens import refusal
from .totp import has_totp
from .vault import hashed, random_token

PURPOSE = "second step"
TTL_S = 300
#: Wrong codes for one token.
ATTEMPTS_MAX = 5
#: Wrong codes of one user that nobody has to wait for.
FREE = 5


@dataclass(frozen=True, slots=True)
class Pending:
    """A sign-in that wants its second step, with this token, within `expires_s` seconds."""

    token: str
    expires_s: int = TTL_S


@dataclass(frozen=True, slots=True)
class Begun:
    """Whose second step it is, and how the first was made."""

    id: int
    user_id: Any
    kind: str


async def first_step(
    accounts: Accounts, session: AsyncSession, user_id: Any, caller: Caller, *, kind: str = "password"
) -> Grant | Pending:
    """Begin a session for a user who has proven who they are; or ask for the second step, if they turned it on."""
    if not await has_totp(accounts, session, user_id):
        return await sign_in(accounts, session, user_id, caller, kind=kind)
    token = random_token()
    row: dict[str, Any] = {"purpose": PURPOSE, "hash": hashed(token), "user_id": user_id, "details": {"kind": kind}}
    row["expires_at"] = utc_now() + timedelta(seconds=TTL_S)
    await session.execute(sa.insert(accounts.tables.one_time_codes).values(row))
    return Pending(token)


async def attempt(accounts: Accounts, session: AsyncSession, token: str) -> Begun:
    """Count one more attempt with a token; the transaction is to be committed, whatever comes of it.

    Raises:
        Problem: `INVALID_TOKEN` for one that is unknown, spent, too old, or was tried too often.
    """
    codes = accounts.tables.one_time_codes
    good = sa.and_(codes.c.hash == hashed(token), codes.c.purpose == PURPOSE, codes.c.used_at.is_(None))
    count = sa.update(codes).where(good, codes.c.expires_at > utc_now(), codes.c.attempts < ATTEMPTS_MAX)
    counted = count.values(attempts=codes.c.attempts + 1).returning(codes.c.id, codes.c.user_id, codes.c.details)
    found = (await session.execute(counted)).one_or_none()
    if found is None:
        raise refusal("The sign-in is over: begin it again.")
    return Begun(found.id, found.user_id, found.details["kind"])


async def finish(accounts: Accounts, session: AsyncSession, begun: Begun, caller: Caller, way: str) -> Grant:
    """Begin the session, once for each token.

    Raises:
        Problem: `INVALID_TOKEN` when the token was spent meanwhile, or the user disabled.
    """
    codes = accounts.tables.one_time_codes
    spend = sa.update(codes).where(codes.c.id == begun.id, codes.c.used_at.is_(None)).values(used_at=utc_now())
    spent = (await session.execute(spend.returning(codes.c.id))).first()
    user: Any = await session.get(accounts.user, begun.user_id)
    if spent is None or accounts.is_gone(user):
        raise refusal("The sign-in is over: begin it again.")
    return await sign_in(accounts, session, begun.user_id, caller, kind=f"{begun.kind}+{way}")
