"""Service clients: programs that sign in as themselves, by client credentials (RFC 6749 §4.4)."""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from ..context import Context, Principal, PrincipalKind
from ..db.lookups import Lookups
from ..schema.base import utc_now
from ..sql.lookup import given
from .accounts import Accounts, Caller
from .api_keys import USE_S, checked_scopes, permissions_in
from .events import record
from .known import Found
from .revocations import revoke
from .tokens import AccessClaims, refusal
from .vault import hashed, random_token

_ID_BYTES = 8


@dataclass(frozen=True, slots=True)
class MadeClient:
    """A new client; nobody can be shown its secret again."""

    id: str
    secret: str


class ClientRefusedError(Exception):
    """Why a client gets no token, as a code of RFC 6749 §5.2."""

    def __init__(self, code: str, description: str) -> None:
        super().__init__(description)
        self.code = code


@dataclass(frozen=True, slots=True)
class ClientGrant:
    """An access token of a client, for `expires_s` seconds."""

    access: str
    expires_s: int
    scopes: Sequence[str]


def covers(granted: Sequence[str], wanted: str) -> bool:
    """Whether some scopes include one.

    Example:
        >>> covers(["scores:*"], "scores:read"), covers(["*:read"], "scores:write"), covers(["*"], "a:*")
        (True, False, True)
    """
    name, _, action = wanted.partition(":")
    return not {"*", wanted, f"{name}:*", f"*:{action}", "*:*"}.isdisjoint(granted)


async def make_client(
    accounts: Accounts,
    session: AsyncSession,
    caller: Caller,
    name: str,
    *,
    scopes: Sequence[str],
    roles: Sequence[str] = (),
    tenant: str | None = None,
) -> MadeClient:
    """A new client.

    Raises:
        ValidationError: scopes that say nothing.
    """
    made = MadeClient(secrets.token_hex(_ID_BYTES), random_token())
    row: dict[str, Any] = {"id": made.id, "name": name, "hash": hashed(made.secret), "roles": list(roles)}
    row |= {"scopes": checked_scopes(scopes), "tenant": tenant}
    await session.execute(sa.insert(accounts.tables.clients).values(row))
    await record(accounts, session, "client_created", caller, client=made.id)
    return made


async def clients_of(accounts: Accounts, session: AsyncSession) -> list[Any]:
    """Every client, the oldest first."""
    clients = accounts.tables.clients
    return list((await session.execute(sa.select(clients).order_by(clients.c.created_at, clients.c.id))).all())


async def disable_client(accounts: Accounts, session: AsyncSession, caller: Caller, client: str) -> bool:
    """Let a client sign in no more, and end its tokens in every process; whether there was one."""
    clients = accounts.tables.clients
    good = sa.and_(clients.c.id == client, clients.c.disabled_at.is_(None))
    ended = await session.execute(
        sa.update(clients).where(good).values(disabled_at=utc_now()).returning(clients.c.id)
    )
    if ended.first() is None:
        return False
    await revoke(session, accounts.tables, "client", client)
    await record(accounts, session, "client_disabled", caller, client=client)
    return True


async def client_token(
    accounts: Accounts, session: AsyncSession, caller: Caller, client: str, secret: str, scope: str
) -> ClientGrant:
    """An access token for a client that knows its secret.

    Args:
        scope: what the token shall be good for; empty for all that the client may do.

    Raises:
        ClientRefusedError: no such client, a wrong secret, or more than it may do.
    """
    clients, now = accounts.tables.clients, utc_now()
    good = sa.and_(clients.c.id == client, clients.c.disabled_at.is_(None))
    found = (await session.execute(sa.select(clients).where(good))).one_or_none()
    if not hmac.compare_digest(hashed(secret), found.hash if found is not None else hashed("")) or found is None:
        raise ClientRefusedError("invalid_client", "The client is unknown, or its secret is wrong.")
    granted: list[str] = list(found.scopes)
    wanted = list(dict.fromkeys(scope.split(" "))) if scope else granted
    if not all(covers(granted, one) for one in wanted):
        raise ClientRefusedError("invalid_scope", "The client may not do so much.")
    if found.used_at is None or now - found.used_at >= timedelta(seconds=USE_S):
        await session.execute(sa.update(clients).where(clients.c.id == client).values(used_at=now))
    key = await accounts.keys.current(session)
    access = accounts.tokens.issue_client(key, client=client, scopes=wanted, tenant=found.tenant)
    await record(accounts, session, "client_token", caller, client=client)
    return ClientGrant(access, accounts.tokens.ttl_s, wanted)


class Clients:
    """Finds what a client's access token is good for."""

    def __init__(self, accounts: Accounts, lookups: Lookups) -> None:
        clients, roles = accounts.tables.clients, accounts.tables.roles
        good = sa.and_(clients.c.id == given(0, sa.Text()), clients.c.disabled_at.is_(None))
        self._lookups = lookups
        self._client = lookups.prepare(
            "client", sa.select(clients.c.scopes, clients.c.roles, clients.c.tenant).where(good)
        )
        self._roles = lookups.prepare("roles", sa.select(roles.c.name, roles.c.permissions))

    async def find(self, claims: AccessClaims, context: Context) -> Found:
        """The service that a token is of.

        Raises:
            Problem: `INVALID_TOKEN` when it is disabled.
        """
        rows = await self._lookups.rows(self._client, (claims.subject,), context)
        if not rows:
            raise refusal()
        granted, roles, tenant = rows[0]
        known = await self._lookups.rows(self._roles, (), context) if roles else []
        principal = Principal(
            PrincipalKind.SERVICE,
            id=claims.subject,
            roles=frozenset(roles),
            permissions=permissions_in(permissions for name, permissions in known if name in roles),
            scopes=frozenset(scope for scope in claims.scopes if covers(granted, scope)),
            tenant=tenant,
            credential=f"client:{claims.subject}",
        )
        return Found(principal, claims.expires, (f"client:{claims.subject}",))
