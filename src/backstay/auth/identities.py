"""Identities: what links an account to a provider. An address leads to an account only where both sides proved it."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from ..errors import Problem
from ..schema.base import utc_now
from ..schema.names import EmailText
from .accounts import Accounts, Caller
from .events import record
from .people import user_of
from .providers import Profile, Provider


async def user_for(
    accounts: Accounts, session: AsyncSession, provider: Provider, profile: Profile, caller: Caller
) -> Any:
    """The id of whoever a provider says has come; an account is made for who has none.

    Raises:
        Problem: `FORBIDDEN` for who is disabled, or where nobody registers; `CONFLICT` where the address has an
            account that it must not lead to.
    """
    identities = accounts.tables.identities
    mine = sa.and_(identities.c.provider == provider.name, identities.c.subject == profile.subject)
    used = sa.update(identities).where(mine).values(used_at=utc_now()).returning(identities.c.user_id)
    user_id = await session.scalar(used)
    if user_id is not None:
        user: Any = await session.get(accounts.user, user_id)
    else:
        user = await _user_by_address(accounts, session, provider, profile, caller)
        user_id = accounts.id_of(user)
        await link(accounts, session, provider, profile, caller, user_id)
    if accounts.is_gone(user):
        raise Problem("FORBIDDEN", "The account is disabled.")
    return user_id


async def _user_by_address(
    accounts: Accounts, session: AsyncSession, provider: Provider, profile: Profile, caller: Caller
) -> Any:
    """The account of a verified address, or a new one."""
    email = _normal(profile.email) if profile.verified else None
    known: Any = None if email is None else await user_of(accounts, session, email)
    if known is not None:
        # Whoever made an account with an address that they did not prove must not get its owner's sign-in.
        if known.email_verified_at is None or not provider.links_by_email:
            raise Problem(
                "CONFLICT",
                "An account has this address already.",
                hint="Sign in to it and link the provider there, or reset its password.",
            )
        return known
    if not accounts.options.registration:
        raise Problem("FORBIDDEN", "Nobody can register here.")
    trusted = email if provider.links_by_email else None
    user = accounts.user(email=trusted, email_verified_at=None if trusted is None else utc_now())
    session.add(user)
    await session.flush()
    await record(accounts, session, "registered", caller, accounts.id_of(user), by=f"oauth:{provider.name}")
    return user


async def link(
    accounts: Accounts, session: AsyncSession, provider: Provider, profile: Profile, caller: Caller, user_id: Any
) -> None:
    """Let an account be signed in to with a provider.

    Raises:
        Problem: `CONFLICT` when the identity is another account's.
    """
    identities = accounts.tables.identities
    row: dict[str, Any] = {"user_id": user_id, "provider": provider.name, "subject": profile.subject}
    row |= {"email": _normal(profile.email), "used_at": utc_now()}
    try:
        async with session.begin_nested():
            await session.execute(sa.insert(identities).values(row))
    except IntegrityError:
        mine = sa.and_(identities.c.provider == provider.name, identities.c.subject == profile.subject)
        if await session.scalar(sa.select(identities.c.user_id).where(mine)) == user_id:
            return
        raise Problem("CONFLICT", f"This {provider.name} account is linked to another account.") from None
    await record(accounts, session, "identity_linked", caller, user_id, provider=provider.name)


async def identities_of(accounts: Accounts, session: AsyncSession, user_id: Any) -> list[Any]:
    """What an account is linked to."""
    identities = accounts.tables.identities
    found = sa.select(identities).where(identities.c.user_id == user_id).order_by(identities.c.id)
    return list((await session.execute(found)).all())


async def unlink(accounts: Accounts, session: AsyncSession, caller: Caller, user: Any, number: int) -> bool:
    """Let a provider lead to an account no more; whether it did.

    Raises:
        Problem: `CONFLICT` when it is the only way to sign in.
    """
    tables, user_id = accounts.tables, accounts.id_of(user)
    mine = sa.and_(tables.identities.c.user_id == user_id, tables.identities.c.id == number)
    ended = sa.delete(tables.identities).where(mine).returning(tables.identities.c.provider)
    provider = await session.scalar(ended)
    if provider is None:
        return False
    ways = [
        await session.scalar(sa.select(sa.func.count()).select_from(t).where(t.c.user_id == user_id))
        for t in (tables.identities, tables.passkeys)
    ]
    if user.password_hash is None and not any(ways):
        raise Problem("CONFLICT", "It is the only way to sign in.", hint="Choose a password first.")
    await record(accounts, session, "identity_unlinked", caller, user_id, provider=provider)
    return True


def _normal(email: str | None) -> str | None:
    """An address in its normal form; none for what is no address."""
    try:
        return None if email is None else EmailText().normal(email)
    except ValueError:
        return None
