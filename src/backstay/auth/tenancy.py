"""Tenants and who belongs to them: a membership, looked up once, decides whom a user may act for, and as what.

The tenant that somebody names is never believed: without a membership it is as if there were no such tenant.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapper, object_session

from ..context import ANONYMOUS, Context, Principal, PrincipalKind
from ..db.lookups import Lookups, Rows
from ..errors import OperatorError, Problem
from ..query.values import parse
from ..schema.kinds import column_like
from ..schema.mixins import DELETED
from ..sql.lookup import given
from .revocations import ALL, REVOKED, Revocations, revoking
from .tables import AuthTables

#: Where a request may say which tenant it is for; a header wins over a subdomain, and either over the token.
Way = Literal["token", "header", "subdomain"]
#: The kind of revocation that makes processes forget memberships.
MEMBERS = "members"
NAME_CHARS_MAX = 128
KNOWN_MAX = 10_000


class DeclaredTenants:
    """What `app.tenants` was told.

    Attributes:
        key, slug: the columns that name a tenant; perhaps it has no slug.
        user, tenant, role: the columns of a membership.
        roles: what each role of a membership permits; others count for nothing. `None` takes every role.
        visitors: whether who is not signed in may visit a tenant.
    """

    def __init__(
        self,
        model: type[Any],
        members: type[Any],
        tables: AuthTables,
        *,
        slug: Any = None,
        by: Sequence[Way] = ("token", "header"),
        roles: Mapping[str, Sequence[str]] | None = None,
        visitors: bool = False,
    ) -> None:
        table, found = _table(model), _table(members)
        self.model = model
        self.members = members
        self.table = table
        self.member_table = found
        self.key: sa.Column[Any] = next(iter(table.primary_key.columns))
        self.slug: sa.Column[Any] | None = None if slug is None else sa.inspect(slug).property.columns[0]
        self.user = _reference(found, tables.user_key, "the users")
        self.tenant = _reference(found, self.key, table.name)
        if "role" not in found.c:
            raise OperatorError(f"{members.__name__} has no column role: give it MembershipBase.")
        self.role: sa.Column[Any] = found.c["role"]
        self.by = frozenset(by)
        self.roles = None if roles is None else {name: frozenset(given) for name, given in roles.items()}
        self.visitors = visitors
        if "subdomain" in self.by and self.slug is None:
            raise OperatorError("Tenants by subdomain need a slug: app.tenants(…, slug=Organization.slug).")
        _watch(members, model, tables)

    def alive(self) -> list[sa.ColumnElement[bool]]:
        """That neither a tenant nor a membership was deleted softly."""
        return [t.c[DELETED].is_(None) for t in (self.table, self.member_table) if DELETED in t.c]


@dataclass(frozen=True, slots=True)
class Membership:
    """Where a user belongs.

    Attributes:
        slug: that of the tenant, if tenants have one.
    """

    tenant: Any
    slug: str | None
    role: str


class Tenancy:
    """The memberships of one serving process, as far as it has looked them up."""

    def __init__(
        self, declared: DeclaredTenants, lookups: Lookups, revocations: Revocations, *, keep_s: float
    ) -> None:
        self.declared = declared
        self._lookups = lookups
        self._keep_s = keep_s
        self._known: dict[tuple[Principal, str], tuple[float, Principal]] = {}
        self._revocations = revocations
        revocations.listen(self._forget)
        user, key, slug = declared.user, declared.key, declared.slug
        mine = _memberships(declared).where(user == given(0, user.type))
        self._by_key = lookups.prepare("membership", mine.where(key == given(1, key.type)))
        self._by_slug = (
            None if slug is None else lookups.prepare("membership", mine.where(slug == given(1, slug.type)))
        )
        self._visit_by_key, self._visit_by_slug = _visits(declared, lookups)
        self._key_like = column_like(key.type, nullable=False)

    def known(self, principal: Principal, name: str) -> Principal | None:
        """A principal in a tenant, where this process knows and may trust it."""
        found = self._known.get((principal, name))
        return found[1] if found is not None and time.monotonic() < found[0] else None

    async def enter(self, principal: Principal, name: str, context: Context) -> Principal | None:
        """The principal as a member of the tenant that it names, by key or slug; `None` when it is none."""
        seen = self._revocations.seen
        if principal.is_anonymous:
            entered = await self._visit(name, context)
        elif principal.kind is PrincipalKind.SERVICE or (principal.tenant is not None and not principal.credential):
            # The operator made the credential, for its tenant.
            return principal if str(principal.tenant) == name else None
        else:
            found = await self._membership(principal.id, name, context)
            entered = None if found is None or _elsewhere(principal, found) else self.joined(principal, found)
        # What was revoked while it was looked up may be this: then it is good for this request only.
        if entered is not None and seen == self._revocations.seen:
            if len(self._known) >= KNOWN_MAX:
                self._known.clear()
            self._known[principal, name] = (time.monotonic() + self._keep_s, entered)
        return entered

    def joined(self, principal: Principal, membership: Membership) -> Principal:
        """The principal with what its role in a tenant gives."""
        roles = self.declared.roles
        if roles is not None and membership.role not in roles:
            return replace(principal, tenant=membership.tenant)
        permissions = frozenset[str]() if roles is None else roles[membership.role]
        return replace(
            principal,
            tenant=membership.tenant,
            roles=principal.roles | {membership.role},
            permissions=principal.permissions | permissions,
        )

    async def find(self, session: AsyncSession, user_id: Any, name: str) -> Membership | None:
        """A membership by the tenant's key or slug, as a transaction sees it."""
        rows = await self.all(session, user_id)
        return next((m for m in rows if name in (str(m.tenant), m.slug)), None)

    async def all(self, session: AsyncSession, user_id: Any) -> list[Membership]:
        """Where a user belongs, as a transaction sees it."""
        declared = self.declared
        found = await session.execute(_memberships(declared).where(declared.user == user_id).order_by(declared.key))
        return [Membership(tenant, slug, role) for tenant, slug, role in found.all()]

    async def only(self, session: AsyncSession, user_id: Any) -> Membership | None:
        """The one tenant that a user belongs to; `None` for more, or none."""
        found = await self.all(session, user_id)
        return found[0] if len(found) == 1 else None

    async def _membership(self, user_id: Any, name: str, context: Context) -> Membership | None:
        user_like = column_like(self.declared.user.type, nullable=False)
        try:
            user = parse(user_like, user_id) if isinstance(user_id, str) else user_id
        except ValueError:
            return None
        rows = await self._rows(self._by_key, self._by_slug, (user,), name, context)
        return Membership(self._key(rows[0][0]), rows[0][1], rows[0][2]) if rows else None

    async def _visit(self, name: str, context: Context) -> Principal | None:
        rows = await self._rows(self._visit_by_key, self._visit_by_slug, (), name, context)
        return replace(ANONYMOUS, tenant=self._key(rows[0][0])) if rows else None

    async def _rows(self, by_key: Any, by_slug: Any, values: tuple[Any, ...], name: str, context: Context) -> Rows:
        """Those of a tenant by its key, or else by its slug."""
        rows: Rows = []
        if len(name) > NAME_CHARS_MAX or "\x00" in name:
            return rows
        key = self._parsed(name)
        if key is not None:
            rows = await self._lookups.rows(by_key, (*values, key), context)
        if not rows and by_slug is not None:
            rows = await self._lookups.rows(by_slug, (*values, name), context)
        return rows

    def _parsed(self, name: str) -> Any:
        try:
            key = parse(self._key_like, name)
        except ValueError:
            return None
        return None if isinstance(key, int) and not -(2**63) <= key < 2**63 else key

    def _key(self, value: Any) -> Any:
        """A key as Python has it, from a lookup's JSON."""
        return parse(self._key_like, value) if isinstance(value, str) else value

    def _forget(self, kind: str, subject: str) -> None:
        if kind in (MEMBERS, ALL):
            self._known.clear()
        elif kind == "user":
            for entry in [e for e in self._known if str(e[0].id) == subject]:
                del self._known[entry]


def no_tenant() -> Problem:
    """What is said of a tenant that is not there, and of one that is not theirs."""
    return Problem("NOT_FOUND", "There is no such tenant.", hint="Choose one of GET /auth/tenants, or none.")


def _elsewhere(principal: Principal, membership: Membership) -> bool:
    """Whether a credential is made for another tenant: sessions are good for any of their user's."""
    bound = principal.tenant is not None and not principal.credential.startswith("session:")
    return bound and str(principal.tenant) != str(membership.tenant)


def _table(model: type[Any]) -> sa.Table:
    table: sa.Table | None = getattr(model, "__table__", None)
    if table is None:
        raise OperatorError(f"app.tenants takes models: {model!r} is none.")
    return table


def _reference(table: sa.Table, target: sa.Column[Any], noun: str) -> sa.Column[Any]:
    """The column of a table that refers to another."""
    found = [column for column in table.columns if any(key.column is target for key in column.foreign_keys)]
    if len(found) != 1:
        raise OperatorError(f"{table.name} must have one foreign key to {noun}; it has {len(found)}.")
    return found[0]


def _memberships(declared: DeclaredTenants) -> sa.Select[*tuple[Any, ...]]:
    slug = sa.null().cast(sa.Text()) if declared.slug is None else declared.slug
    joined = sa.join(declared.member_table, declared.table, declared.tenant == declared.key)
    return sa.select(declared.key, slug.label("slug"), declared.role).select_from(joined).where(*declared.alive())


def _visits(declared: DeclaredTenants, lookups: Lookups) -> tuple[Any, Any]:
    """The statements of visitors."""
    key, slug = declared.key, declared.slug
    alive = [declared.table.c[DELETED].is_(None)] if DELETED in declared.table.c else []
    there = sa.select(key).where(*alive)
    by_key = lookups.prepare("tenant", there.where(key == given(0, key.type)))
    return by_key, None if slug is None else lookups.prepare("tenant", there.where(slug == given(0, slug.type)))


def _watch(members: type[Any], tenants: type[Any], tables: AuthTables) -> None:
    """Tell every process of memberships that an ORM session changes, in that session's transaction."""

    def changed(mapper: Mapper[Any], connection: sa.Connection, row: Any) -> None:
        session = object_session(row)
        assert session is not None, "a session is flushing it"
        session.info[REVOKED] = True
        for statement in revoking(connection.dialect.name, tables, MEMBERS, ""):
            connection.execute(statement)

    for model in (members, tenants):
        for name in ("after_update", "after_delete"):
            event.listen(model, name, changed)
