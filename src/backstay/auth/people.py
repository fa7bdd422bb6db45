"""Users as accounts know them: found by what they sign in with, given a password, disabled, deleted."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from ..schema.base import utc_now
from ..schema.names import EmailText, UsernameText
from .accounts import Accounts
from .revocations import revoke


def normal_login(login: str) -> str:
    """The normal form of an address or a name; what cannot be one stays as it is, and nobody's."""
    try:
        return EmailText().normal(login) if "@" in login else UsernameText().normal(login)
    except ValueError:
        return login


async def sign_in_facts(accounts: Accounts, session: AsyncSession, login: str) -> Any:
    """What decides whether somebody may sign in: `id`, `password_hash`, `gone_at`, `email_verified_at`.

    No object is made of them: that would take time which only an account that is there takes.
    """
    user, key = accounts.user, accounts.tables.user_key
    facts = sa.select(key.label("id"), user.password_hash, accounts.gone_at.label("gone_at"), user.email_verified_at)
    return (await session.execute(facts.where(_signs_in_by(user, login)))).one_or_none()


async def user_of(accounts: Accounts, session: AsyncSession, login: str) -> Any:
    """Who signs in by an address or a name, if anybody does; `login` is in its normal form."""
    return await session.scalar(sa.select(accounts.user).where(_signs_in_by(accounts.user, login)))


def _signs_in_by(user: Any, login: str) -> Any:
    column, kind = (user.email, EmailText()) if "@" in login else (user.username, UsernameText())
    try:
        kind.normal(login)
    except ValueError:
        return sa.and_(column.is_(None), column.is_not(None))
    return column == login


async def end_sessions_of(accounts: Accounts, session: AsyncSession, user_id: Any, *, but: int = 0) -> None:
    """End a user's sessions, in every process.

    Args:
        but: the one that goes on.
    """
    sessions = accounts.tables.sessions
    mine = sa.and_(sessions.c.user_id == user_id, sessions.c.ended_at.is_(None), sessions.c.id != but)
    await session.execute(sa.update(sessions).where(mine).values(ended_at=utc_now()))
    await revoke(session, accounts.tables, "user", user_id)


async def set_disabled(accounts: Accounts, session: AsyncSession, user: Any, *, disabled: bool) -> None:
    """Let a user sign in no more, or again. `user` belongs to the session."""
    user.disabled_at = utc_now() if disabled else None
    await session.flush()
    if disabled:
        await end_sessions_of(accounts, session, accounts.id_of(user))


async def delete_user(accounts: Accounts, session: AsyncSession, user: Any) -> bool:
    """Delete an account; whether its row is gone too.

    A row that others refer to stays, without address, name and password, and disabled: what others see of it goes on.
    """
    await end_sessions_of(accounts, session, accounts.id_of(user))
    try:
        async with session.begin_nested():
            await session.delete(user)
            await session.flush()
    except IntegrityError:
        await session.refresh(user)
        user.email = user.username = user.password_hash = user.email_verified_at = None
        user.disabled_at = utc_now()
        for table in (accounts.tables.identities, accounts.tables.passkeys, accounts.tables.factors):
            await session.execute(sa.delete(table).where(table.c.user_id == accounts.id_of(user)))
        return False
    return True
