"""Impersonation: somebody of support acts in a user's name, for a while, never with more rights than their own."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from ..context import Principal, PrincipalKind
from ..errors import NotFoundError, Problem
from ..schema.base import utc_now
from .accounts import Accounts, Caller
from .events import record
from .roles import permissions_of
from .signing_in import DEVICE_CHARS_MAX, end_sessions, roles_of

#: Who may do it.
PERMISSION = "users.impersonate"
KIND = "impersonation"
TTL_S = 900


@dataclass(frozen=True, slots=True)
class Impersonation:
    """What it is done with; there is no refresh token.

    Attributes:
        access: the access token.
    """

    access: str
    session: int
    expires_s: int


def actor_session(kind: str) -> int | None:
    """The session of whoever acts, from the kind of the user's session; `None` where nobody does.

    Example:
        >>> actor_session("impersonation:7"), actor_session("password")
        (7, None)
    """
    name, _, number = kind.partition(":")
    return int(number) if name == KIND else None


def may_act(actor: Principal, target: Principal) -> bool:
    """Whether somebody may act for somebody else: nobody gets a right by it that they do not have.

    Both are as they are in no tenant: the owner of a tenant has no rights beyond it.
    """
    return (
        PERMISSION in actor.permissions
        and actor.actor is None
        and actor.id != target.id
        and target.roles <= actor.roles
        and target.permissions <= actor.permissions
    )


async def impersonate(
    accounts: Accounts, session: AsyncSession, caller: Caller, target: Any, reason: str
) -> Impersonation | None:
    """Begin to act in a user's name; `None` when that user may do more than who asks.

    Args:
        target: the user's id.
        reason: why, for who reads the security events.

    Raises:
        Problem: `FORBIDDEN` for who may act for nobody.
        NotFoundError: there is no such user, or they are disabled.
    """
    principal, tables = caller.context.principal, accounts.tables
    if PERMISSION not in principal.permissions:
        raise Problem("FORBIDDEN", f"You need the permission {PERMISSION}.")
    user: Any = None if target is None else await session.get(accounts.user, target)
    if accounts.is_gone(user):
        raise NotFoundError("users", target)
    user_id, mine = accounts.id_of(user), accounts.key(principal.id)
    acted = await _everywhere(accounts, session, user_id)
    if not may_act(await _everywhere(accounts, session, mine), acted):
        await record(accounts, session, "impersonation_refused", caller, user_id, actor=str(mine))
        return None
    only = None if accounts.tenancy is None else await accounts.tenancy.only(session, user_id)
    tenant, now = None if only is None else only.tenant, utc_now()
    own = int(principal.credential.partition(":")[2])
    row = {
        "user_id": user_id,
        "kind": f"{KIND}:{own}",
        "device": caller.device[:DEVICE_CHARS_MAX],
        "ip": caller.ip,
        "tenant": None if tenant is None else str(tenant),
        "used_at": now,
        "expires_at": now + timedelta(seconds=TTL_S),
    }
    number = await session.scalar(sa.insert(tables.sessions).values(row).returning(tables.sessions.c.id))
    assert number is not None, "INSERT … RETURNING returns its row"
    key = await accounts.keys.current(session)
    access = accounts.tokens.issue(key, subject=user_id, session=number, roles=sorted(acted.roles), tenant=tenant)
    about = {"actor": str(mine), "session_id": number, "reason": reason}
    await record(accounts, session, "impersonation_began", caller, user_id, **about)
    return Impersonation(access, number, min(TTL_S, accounts.tokens.ttl_s))


async def _everywhere(accounts: Accounts, session: AsyncSession, user_id: Any) -> Principal:
    """A user with the rights that they have in no tenant: those of memberships neither give nor bar this."""
    roles = await roles_of(accounts, session, user_id)
    known = await permissions_of(session, accounts.tables)
    permissions = frozenset(name for role in roles for name in known.get(role, ()))
    return Principal(PrincipalKind.USER, id=user_id, roles=frozenset(roles), permissions=permissions)


async def stop(accounts: Accounts, session: AsyncSession, caller: Caller) -> None:
    """End it, in every process."""
    principal = caller.context.principal
    number = int(principal.credential.partition(":")[2])
    user = await end_sessions(accounts, session, [number])
    about = {"actor": str(principal.actor), "session_id": number}
    await record(accounts, session, "impersonation_ended", caller, user, **about)
