"""API keys: a long-lived credential that acts for its user, narrowed by scopes, shown once and kept as its hash."""

from __future__ import annotations

import hmac
import re
import secrets
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from ..context import Context, Principal, PrincipalKind
from ..db.lookups import Lookups
from ..errors import invalid
from ..schema.base import UtcDateTime, utc_now
from ..sql.lookup import given
from .accounts import Accounts, Caller
from .events import record
from .known import Found
from .revocations import revoke
from .tokens import refusal
from .vault import hashed, random_token

#: What every key begins with, so that scanners of source code know one.
START = "bsk_"
#: Keys of one user that are good at the same time.
KEYS_MAX = 100
#: The last use is kept to this many seconds, and a process looks a key up again as often.
USE_S = 60
_PREFIX_BYTES = 6
_KEY = re.compile(rb"(bsk_[0-9a-f]{12})_[\w-]{43}\Z", re.ASCII)
_SCOPE = re.compile(r"(?:\*|[A-Za-z_][\w.-]{0,99})(?::(?:\*|read|write))?\Z", re.ASCII)
SCOPES_MAX = 50


@dataclass(frozen=True, slots=True)
class MadeKey:
    """A new key.

    Attributes:
        key: the whole of it, which nobody can be shown again.
        prefix: what tells it from others.
    """

    id: int
    key: str
    prefix: str


def checked_scopes(scopes: Sequence[str], field: str = "scopes") -> list[str]:
    """Scopes in their order, each once.

    Raises:
        ValidationError: one that says nothing.

    Example:
        >>> checked_scopes(["scores:read", "*:read", "scores:read"])
        ['scores:read', '*:read']
    """
    if len(scopes) > SCOPES_MAX:
        raise invalid(field, "too_many", f"may be {SCOPES_MAX} at most.")
    for scope in scopes:
        if not _SCOPE.match(scope) or (":" not in scope and scope != "*"):
            message = f"{scope[:80]!r} is none."
            raise invalid(field, "bad_scope", message, hint="As scores:read, scores:write, scores:*, *:read or *.")
    return list(dict.fromkeys(scopes))


async def make_key(
    accounts: Accounts,
    session: AsyncSession,
    caller: Caller,
    *,
    name: str,
    scopes: Sequence[str],
    expires_at: datetime | None = None,
) -> MadeKey:
    """A new key of whoever sends the request.

    Args:
        scopes: what it is good for; they narrow what its user may do, and never widen it.

    Raises:
        ValidationError: scopes that say nothing, a time that has passed, or too many keys.
    """
    keys, now, principal = accounts.tables.api_keys, utc_now(), caller.context.principal
    if expires_at is not None and expires_at <= now:
        raise invalid("expires_at", "in_the_past", "has passed already.")
    user_id = accounts.key(principal.id)
    good = _good(accounts, now)
    if (await session.scalar(sa.select(sa.func.count()).where(keys.c.user_id == user_id, good)) or 0) >= KEYS_MAX:
        raise invalid("name", "too_many", f"You have {KEYS_MAX} keys already: revoke one.")
    prefix = START + secrets.token_hex(_PREFIX_BYTES)
    key = f"{prefix}_{random_token()}"
    row: dict[str, Any] = {"user_id": user_id, "name": name, "prefix": prefix, "hash": hashed(key)}
    row |= {"scopes": checked_scopes(scopes), "expires_at": expires_at}
    row["tenant"] = None if principal.tenant is None else str(principal.tenant)
    number = await session.scalar(sa.insert(keys).values(row).returning(keys.c.id))
    assert number is not None, "INSERT … RETURNING returns its row"
    await record(accounts, session, "key_created", caller, user_id, key_id=number)
    return MadeKey(number, key, prefix)


async def keys_of(accounts: Accounts, session: AsyncSession, user_id: Any) -> list[Any]:
    """A user's keys that are good, the newest first."""
    keys = accounts.tables.api_keys
    found = sa.select(keys).where(keys.c.user_id == user_id, _good(accounts, utc_now())).order_by(keys.c.id.desc())
    return list((await session.execute(found)).all())


async def revoke_key(accounts: Accounts, session: AsyncSession, caller: Caller, number: int) -> bool:
    """End a key of whoever sends the request, in every process; whether there was one."""
    keys = accounts.tables.api_keys
    user_id = accounts.key(caller.context.principal.id)
    mine = sa.and_(keys.c.id == number, keys.c.user_id == user_id, keys.c.revoked_at.is_(None))
    ended = await session.execute(sa.update(keys).where(mine).values(revoked_at=utc_now()).returning(keys.c.id))
    if ended.first() is None:
        return False
    await revoke(session, accounts.tables, "key", number)
    await record(accounts, session, "key_revoked", caller, user_id, key_id=number)
    return True


def _good(accounts: Accounts, now: datetime) -> sa.ColumnElement[bool]:
    keys = accounts.tables.api_keys
    return sa.and_(keys.c.revoked_at.is_(None), sa.or_(keys.c.expires_at.is_(None), keys.c.expires_at > now))


class ApiKeys:
    """Finds whose a key is; a finder of the Authenticator."""

    def __init__(self, accounts: Accounts, lookups: Lookups) -> None:
        self._accounts = accounts
        self._lookups = lookups
        self._query = lookups.prepare("api key", _key_query(accounts))

    async def find(self, token: bytes, context: Context) -> Found:
        """Whose a key is.

        Raises:
            Problem: `INVALID_TOKEN` for one that is unknown, revoked or expired, or whose user is disabled.
        """
        parts = _KEY.match(token)
        if parts is None:
            raise refusal()
        rows = await self._lookups.rows(self._query, (parts[1].decode(), utc_now()), context)
        if not rows or not hmac.compare_digest(rows[0][1], hashed(token.decode())):
            raise refusal()
        number, _, user, tenant, scopes, used_at, until = rows[0][:7]
        accounts = self._accounts
        principal = Principal(
            PrincipalKind.USER,
            id=UUID(user) if isinstance(user, str) and accounts.uuid_keys else user,
            roles=frozenset(row[7] for row in rows if row[7] is not None),
            permissions=permissions_in(row[8] for row in rows),
            scopes=frozenset(scopes),
            tenant=tenant,
            credential=f"key:{number}",
        )
        self._used(number, used_at, principal, context)
        now = time.time()
        expires = now + USE_S if until is None else min(now + USE_S, datetime.fromisoformat(until).timestamp())
        return Found(principal, expires, (f"key:{number}", f"user:{user}"))

    def _used(self, number: int, used_at: str | None, principal: Principal, context: Context) -> None:
        """Keep when it was used, after the answer; its first use of a day is a security event."""
        now = utc_now()
        last = None if used_at is None else datetime.fromisoformat(used_at)
        if last is None or now - last >= timedelta(seconds=USE_S):
            first = last is None or last.date() != now.date()
            self._accounts.later.start(_keep_use(self._accounts, number, principal.id, context, first=first))


async def _keep_use(accounts: Accounts, number: int, user_id: Any, context: Context, *, first: bool) -> None:
    keys, now = accounts.tables.api_keys, utc_now()
    own = Context(context.request_id)
    async with accounts.sessions.begin(own) as session:
        before = sa.or_(keys.c.used_at.is_(None), keys.c.used_at <= now - timedelta(seconds=USE_S))
        used = sa.update(keys).where(keys.c.id == number, before).values(used_at=now).returning(keys.c.id)
        if (await session.execute(used)).first() is not None and first:
            await record(accounts, session, "key_used", Caller("", "", own), user_id, key_id=number)


def permissions_in(lists: Iterable[Sequence[str] | None]) -> frozenset[str]:
    """All of the names in some lists."""
    return frozenset(name for names in lists for name in names or ())


def _key_query(accounts: Accounts) -> sa.Select[*tuple[Any, ...]]:
    """A row for each role of a good key's user, or one without a role."""
    tables, user = accounts.tables, accounts.user
    keys, grants, roles = tables.api_keys, tables.role_grants, tables.roles
    return (
        sa.select(
            *(keys.c.id, keys.c.hash, keys.c.user_id, keys.c.tenant, keys.c.scopes, keys.c.used_at),
            *(keys.c.expires_at, roles.c.name, roles.c.permissions),
        )
        .join(user, tables.user_key == keys.c.user_id)
        .outerjoin(grants, grants.c.user_id == keys.c.user_id)
        .outerjoin(roles, roles.c.name == grants.c.role)
        .where(keys.c.prefix == given(0, sa.Text()), keys.c.revoked_at.is_(None), accounts.gone_at.is_(None))
        .where(sa.or_(keys.c.expires_at.is_(None), keys.c.expires_at > given(1, UtcDateTime())))
    )
