"""Signing in by mail: a link, or a short code that is good only together with the ticket of whoever asked for it."""

from __future__ import annotations

import hmac
import secrets
from datetime import timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from ..errors import Problem
from ..schema.base import utc_now
from .accounts import Accounts
from .attempts import Limit, begin_attempt
from .people import end_sessions_of, user_of
from .vault import hashed

LINK, CODE = "login link", "login code"
TTL_S = 900
DIGITS = 8
#: Wrong codes for one ticket.
ATTEMPTS_MAX = 5
#: Mails to one address that nobody has to wait for.
MAILS_FREE = 3


async def send(accounts: Accounts, email: str, ticket: str, *, link: bool) -> None:
    """Send a link or a code to who has an account; not too many, and nothing to anybody else.

    Args:
        ticket: for a link, what it has; for a code, what must come back with it.
    """
    tables, code = accounts.tables, "".join(secrets.choice("0123456789") for _ in range(DIGITS))
    async with accounts.sessions.begin() as session:
        user: Any = await user_of(accounts, session, email)
        if accounts.is_gone(user):
            return
        try:
            await begin_attempt(session, tables, [Limit("mail:login", email, MAILS_FREE)])
        except Problem:
            await session.rollback()
            return
        row: dict[str, Any] = {"purpose": LINK if link else CODE, "hash": hashed(ticket), "target": email}
        row |= {"user_id": accounts.id_of(user), "expires_at": utc_now() + timedelta(seconds=TTL_S)}
        row["details"] = {} if link else {"code": _kept(accounts, ticket, code)}
        await session.execute(sa.insert(tables.one_time_codes).values(row))
    accounts.post.send_code("login" if link else "login_code", email, ticket if link else code)


async def attempt(accounts: Accounts, session: AsyncSession, ticket: str, code: str | None) -> Any:
    """Use a link or a code up; the id of the user, or `None` when it is wrong, spent or too old.

    The transaction is to be committed, whatever comes of it: a wrong code counts.
    """
    codes, now = accounts.tables.one_time_codes, utc_now()
    purpose = LINK if code is None else CODE
    good = sa.and_(codes.c.hash == hashed(ticket), codes.c.purpose == purpose, codes.c.used_at.is_(None))
    count = sa.update(codes).where(good, codes.c.expires_at > now, codes.c.attempts < ATTEMPTS_MAX)
    counted = count.values(attempts=codes.c.attempts + 1)
    found = (
        await session.execute(counted.returning(codes.c.id, codes.c.user_id, codes.c.target, codes.c.details))
    ).one_or_none()
    if found is None:
        return None
    if code is not None and not hmac.compare_digest(found.details["code"], _kept(accounts, ticket, code)):
        return None
    await session.execute(sa.update(codes).where(codes.c.id == found.id).values(used_at=now))
    return await _proven(accounts, session, found.user_id, found.target)


async def _proven(accounts: Accounts, session: AsyncSession, user_id: Any, address: str) -> Any:
    """The user whose address is proven now, unless it is theirs no more."""
    user: Any = await session.get(accounts.user, user_id)
    if accounts.is_gone(user) or user.email != address:
        return None
    if user.email_verified_at is None:
        # Whoever made the account did not prove the address: what they know and have open is worth nothing now.
        user.email_verified_at, user.password_hash = utc_now(), None
        await _forget_others(accounts, session, user_id)
    return user_id


async def _forget_others(accounts: Accounts, session: AsyncSession, user_id: Any) -> None:
    tables = accounts.tables
    await end_sessions_of(accounts, session, user_id)
    keys = sa.and_(tables.api_keys.c.user_id == user_id, tables.api_keys.c.revoked_at.is_(None))
    await session.execute(sa.update(tables.api_keys).where(keys).values(revoked_at=utc_now()))
    for table in (tables.identities, tables.passkeys, tables.factors, tables.recovery_codes):
        await session.execute(sa.delete(table).where(table.c.user_id == user_id))


def _kept(accounts: Accounts, ticket: str, code: str) -> str:
    return accounts.vault.sign(CODE, f"{ticket}:{code}")
