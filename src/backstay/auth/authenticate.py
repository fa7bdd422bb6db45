"""From a credential to its Principal: looked up once in a process, then remembered until it is revoked or too old."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from ..context import ANONYMOUS, Context, Principal, PrincipalKind
from ..db.lookups import Lookups, Rows
from ..schema.base import UtcDateTime, utc_now
from ..sql.lookup import given
from .accounts import Accounts
from .clients import Clients
from .impersonation import actor_session, may_act
from .jws import ForgedError, header_of
from .known import Found, Known
from .tokens import Tokens, bearer_token, refusal

#: Finds whose a credential is; it raises `INVALID_TOKEN` for one that is no good.
Finder = Callable[[bytes, Context], Awaitable[Found]]


class Authenticator:
    """Finds who sends a request.

    Attributes:
        finders: for credentials that begin with these bytes, such as API keys; everything else is a token.
    """

    def __init__(self, accounts: Accounts, operator: Tokens, lookups: Lookups) -> None:
        self._accounts = accounts
        self._operator = operator
        self._lookups = lookups
        self._known = Known(accounts.config.session_cache_s)
        self._look_up = self._known.get
        self._revocations = accounts.revocations
        self._revocations.listen(self._known.forget)
        self._session = lookups.prepare("session", _session_query(accounts))
        self._clients = Clients(accounts, lookups)
        self.finders: dict[bytes, Finder] = {}

    def known(self, credential: bytes) -> Found | None:
        """What is known of an Authorization header, and may be trusted now."""
        found = self._look_up(credential)
        now = time.monotonic()
        return found if found is not None and now < found.until and now < self._revocations.until else None

    async def find(self, credential: bytes, context: Context) -> Found:
        """Whose an Authorization header is, and what else there is to know of it.

        Raises:
            Problem: `INVALID_TOKEN`.
        """
        await self._revocations.look(context)
        found = self._look_up(credential)
        if found is not None and time.monotonic() < found.until:
            return found
        token = bearer_token(credential)
        seen = self._revocations.seen
        finder = next((f for start, f in self.finders.items() if token.startswith(start)), self._of_token)
        found = await finder(token, context)
        # What was revoked while it was looked up may be this: then it is good for this request only.
        if seen == self._revocations.seen:
            self._known.keep(credential, found)
        return found

    async def _of_token(self, token: bytes, context: Context) -> Found:
        try:
            header = header_of(token)
        except ForgedError:
            raise refusal() from None
        if "kid" in header:
            return await self._of_session(token, context)
        expires, principal = self._operator.verify(token)
        return Found(principal, expires)

    async def _of_session(self, token: bytes, context: Context) -> Found:
        accounts = self._accounts
        await accounts.keys.load_once()
        claims = accounts.tokens.read(token, accounts.keys.get)
        if not claims.session:
            return await self._clients.find(claims, context)
        rows = await self._lookups.rows(self._session, (claims.session, utc_now()), context)
        if not rows or str(rows[0][0]) != claims.subject:
            raise refusal()
        principal, subjects = self._principal(rows, claims.session)
        number = actor_session(rows[0][4])
        if number is None:
            return Found(principal, claims.expires, subjects, claims.session)
        return await self._of_actor(number, Found(principal, claims.expires, subjects, claims.session), context)

    async def _of_actor(self, number: int, acted: Found, context: Context) -> Found:
        """A user's session that somebody else acts in, as long as they may."""
        rows = await self._lookups.rows(self._session, (number, utc_now()), context)
        actor, subjects = self._principal(rows, number) if rows else (ANONYMOUS, ())
        if actor_session(rows[0][4] if rows else "") is not None or not may_act(actor, acted.principal):
            raise refusal()
        principal = replace(acted.principal, actor=actor.id)
        return replace(acted, principal=principal, subjects=(*acted.subjects, *subjects))

    def _principal(self, rows: Rows, number: int) -> tuple[Principal, tuple[str, ...]]:
        """Whose session it is, and what may be revoked to end it."""
        user, tenant = rows[0][:2]
        principal = Principal(
            PrincipalKind.USER,
            id=UUID(user) if isinstance(user, str) and self._accounts.uuid_keys else user,
            roles=frozenset(row[2] for row in rows if row[2] is not None),
            permissions=frozenset(name for row in rows for name in row[3] or ()),
            tenant=tenant,
            credential=f"session:{number}",
        )
        return principal, (f"session:{number}", f"user:{user}")


def _session_query(accounts: Accounts) -> sa.Select[*tuple[Any, ...]]:
    """A row for each role of a live session's user, or one without a role."""
    tables, user = accounts.tables, accounts.user
    sessions, grants, roles = tables.sessions, tables.role_grants, tables.roles
    return (
        sa.select(sessions.c.user_id, sessions.c.tenant, roles.c.name, roles.c.permissions, sessions.c.kind)
        .join(user, tables.user_key == sessions.c.user_id)
        .outerjoin(grants, grants.c.user_id == sessions.c.user_id)
        .outerjoin(roles, roles.c.name == grants.c.role)
        .where(sessions.c.id == given(0, sa.BigInteger()), sessions.c.ended_at.is_(None))
        .where(sessions.c.expires_at > given(1, UtcDateTime()), accounts.gone_at.is_(None))
    )
