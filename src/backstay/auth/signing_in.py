"""Sessions and their tokens: begin one for whoever proved who they are, renew it, end it.

`sign_in` is where every way of signing in ends: a password, a provider, a passkey, a code in a mail.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from ..schema.base import utc_now
from .accounts import Accounts, Caller
from .events import record
from .prune import prune_sometimes
from .revocations import revoke
from .vault import hashed, random_token

DEVICE_CHARS_MAX = 200


@dataclass(frozen=True, slots=True)
class Grant:
    """What a session is used with.

    Attributes:
        access: the access token, for `expires_s` seconds.
        refresh: good for one new Grant.
    """

    access: str
    refresh: str
    expires_s: int
    session: int
    user: Any


async def sign_in(
    accounts: Accounts,
    session: AsyncSession,
    user_id: Any,
    caller: Caller,
    *,
    kind: str = "password",
    tenant: object = None,
) -> Grant:
    """Begin a session for a user who has proven who they are.

    Args:
        session: a transaction, as `Sessions.begin` gives it.
        kind: how they proved it, such as `password` or `oauth:github`; they see it in the list of their sessions.
        tenant: the key of the tenant that it is for; by default the only one that they belong to.
    """
    tables, now = accounts.tables, utc_now()
    if tenant is None and accounts.tenancy is not None:
        only = await accounts.tenancy.only(session, user_id)
        tenant = None if only is None else only.tenant
    row = {
        "user_id": user_id,
        "kind": kind,
        "device": caller.device[:DEVICE_CHARS_MAX],
        "ip": caller.ip,
        "tenant": None if tenant is None else str(tenant),
        "used_at": now,
        "expires_at": now + timedelta(seconds=accounts.config.refresh_token_s),
    }
    number = await session.scalar(sa.insert(tables.sessions).values(row).returning(tables.sessions.c.id))
    assert number is not None, "INSERT … RETURNING returns its row"
    prune_sometimes(accounts)
    await record(accounts, session, "login", caller, user_id, by=kind, session_id=number)
    return await _grant(accounts, session, number, user_id, tenant)


async def refresh(accounts: Accounts, session: AsyncSession, token: str, caller: Caller) -> Grant | None:
    """A new Grant for a refresh token, which is spent by it; `None` when it is no good.

    One that was spent already was stolen, or is sent by who it was stolen from: its session ends.
    """
    tables, now = accounts.tables, utc_now()
    tokens, sessions = tables.refresh_tokens, tables.sessions
    spend = (
        sa.update(tokens)
        .where(tokens.c.hash == hashed(token), tokens.c.used_at.is_(None), tokens.c.expires_at > now)
        .values(used_at=now)
        .returning(tokens.c.session_id)
    )
    spent = await session.scalar(spend)
    if spent is None:
        family = await session.scalar(
            sa.select(tokens.c.session_id).where(tokens.c.hash == hashed(token), tokens.c.used_at.is_not(None))
        )
        if family is not None:
            user = await end_sessions(accounts, session, [family])
            if user is not None:  # it was still live
                await record(accounts, session, "refresh_reuse", caller, user, session_id=family)
        return None
    here = sa.exists().where(tables.user_key == sessions.c.user_id, accounts.gone_at.is_(None))
    live = sa.and_(sessions.c.id == spent, sessions.c.ended_at.is_(None), here)
    expires = now + timedelta(seconds=accounts.config.refresh_token_s)
    found = (
        await session.execute(
            sa.update(sessions)
            .where(live, sessions.c.expires_at > now)
            .values(used_at=now, expires_at=expires, ip=caller.ip)
            .returning(sessions.c.user_id, sessions.c.tenant)
        )
    ).one_or_none()
    return None if found is None else await _grant(accounts, session, spent, found.user_id, found.tenant)


async def end_sessions(accounts: Accounts, session: AsyncSession, ids: Sequence[int]) -> Any:
    """End sessions, in every process; returns the id of whose they were, or `None` when they had ended before."""
    sessions = accounts.tables.sessions
    live = sa.and_(sessions.c.id.in_(ids), sessions.c.ended_at.is_(None))
    ended = sa.update(sessions).where(live).values(ended_at=utc_now()).returning(sessions.c.user_id)
    users = (await session.scalars(ended)).all()
    for number in ids if users else ():
        await revoke(session, accounts.tables, "session", number)
    return users[0] if users else None


async def session_of_refresh(accounts: Accounts, session: AsyncSession, token: str) -> int | None:
    """The session that a refresh token is of, spent or not."""
    tokens = accounts.tables.refresh_tokens
    return await session.scalar(sa.select(tokens.c.session_id).where(tokens.c.hash == hashed(token)))


async def roles_of(accounts: Accounts, session: AsyncSession, user_id: Any) -> list[str]:
    """The names of a user's roles."""
    grants = accounts.tables.role_grants
    found = await session.scalars(sa.select(grants.c.role).where(grants.c.user_id == user_id).order_by(grants.c.role))
    return list(found)


async def _grant(accounts: Accounts, session: AsyncSession, number: int, user_id: Any, tenant: object) -> Grant:
    tables, config = accounts.tables, accounts.config
    token = random_token()
    expires = utc_now() + timedelta(seconds=config.refresh_token_s)
    kept = {"session_id": number, "hash": hashed(token), "expires_at": expires}
    await session.execute(sa.insert(tables.refresh_tokens).values(kept))
    key = await accounts.keys.current(session)
    roles = await roles_of(accounts, session, user_id)
    access = accounts.tokens.issue(key, subject=user_id, session=number, roles=roles, tenant=tenant)
    return Grant(access, token, config.access_token_s, number, user_id)
