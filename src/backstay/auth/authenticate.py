"""From a token to its Principal: looked up once in a process, then remembered until it is revoked or too old."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Mapping
from typing import Any

import sqlalchemy as sa

from ..context import Context, Principal, PrincipalKind
from ..schema.base import utc_now
from .accounts import Accounts
from .jws import ForgedError, header_of
from .tokens import Tokens, bearer_token, refusal


class Authenticator:
    """Finds who sends a request."""

    def __init__(self, accounts: Accounts, operator: Tokens) -> None:
        self._accounts = accounts
        self._operator = operator

    def principal(self, headers: Mapping[bytes, bytes], context: Context) -> Principal | Awaitable[Principal]:
        """Whose request it is.

        Raises:
            Problem: `INVALID_TOKEN`, at once or when awaited.
        """
        token = bearer_token(headers[b"authorization"])
        try:
            header = header_of(token)
        except ForgedError:
            raise refusal() from None
        if "kid" not in header:
            return self._operator.principal(headers[b"authorization"])
        return self._look_up(token, context)

    async def _look_up(self, token: bytes, context: Context) -> Principal:
        accounts = self._accounts
        tables = accounts.tables
        async with accounts.sessions.open(context) as session:
            if not accounts.keys.loaded:
                await accounts.keys.load(session)
            claims = accounts.tokens.read(token, accounts.keys.get)
            sessions, grants, roles = tables.sessions, tables.role_grants, tables.roles
            disabled = sa.inspect(accounts.user).local_table.c.disabled_at
            query = (
                sa.select(sessions.c.user_id, sessions.c.tenant, roles.c.name, roles.c.permissions)
                .join(tables.user, tables.user_key == sessions.c.user_id)
                .outerjoin(grants, grants.c.user_id == sessions.c.user_id)
                .outerjoin(roles, roles.c.name == grants.c.role)
                .where(sessions.c.id == claims.session, sessions.c.ended_at.is_(None), disabled.is_(None))
                .where(sessions.c.expires_at > utc_now())
            )
            rows = (await session.execute(query)).all()
        if not rows or str(rows[0].user_id) != claims.subject or claims.expires < time.time():
            raise refusal()
        first: Any = rows[0]
        names = frozenset(row.name for row in rows if row.name is not None)
        permissions = frozenset(p for row in rows for p in row.permissions or ())
        return Principal(
            PrincipalKind.USER,
            id=first.user_id,
            roles=names,
            permissions=permissions,
            tenant=first.tenant,
            credential=f"session:{claims.session}",
        )
