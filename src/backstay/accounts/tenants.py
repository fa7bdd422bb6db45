"""The tenants of whoever is signed in: which there are, and which this session is used for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any
from uuid import UUID

import sqlalchemy as sa
from fastapi import Depends, Request
from pydantic import BaseModel, Field

from ..auth.events import record
from ..auth.revocations import revoke
from ..auth.tenancy import NAME_CHARS_MAX, Tenancy, no_tenant
from ..context import Context
from ..http.custom import CustomEndpoints
from .bodies import Body, Key
from .endpoints import options_of
from .given import From, Service, not_signed_in, session_of


class TenantChosen(Body):
    """The key or the slug of a tenant; null for none."""

    tenant: Annotated[str | Key | None, Field(union_mode="left_to_right")]


class TenantShown(BaseModel):
    """A tenant that I belong to.

    Attributes:
        current: whether this request is for it.
    """

    tenant: Key | UUID | str
    slug: str | None
    role: str
    current: bool


class TenantAnswer(BaseModel):
    """The tenant that a session is used for now."""

    data: TenantShown | None


class TenantsAnswer(BaseModel):
    """My tenants."""

    data: list[TenantShown]


def _tenancy(request: Request) -> Tenancy:
    return request.app.state.tenancy


Tenants = Annotated[Tenancy, Depends(_tenancy)]


async def list_tenants(ctx: Context, accounts: Service, tenants: Tenants) -> TenantsAnswer:
    """Where I belong, and as what."""
    key = None if ctx.principal.is_anonymous else accounts.key(ctx.principal.id)
    if key is None:
        raise not_signed_in()
    async with accounts.sessions.open(ctx) as session:
        found = await tenants.all(session, key)
    here = str(ctx.principal.tenant)
    shown = [TenantShown(tenant=m.tenant, slug=m.slug, role=m.role, current=str(m.tenant) == here) for m in found]
    return TenantsAnswer(data=shown)


async def choose_tenant(
    body: TenantChosen, ctx: Context, accounts: Service, tenants: Tenants, caller: From
) -> TenantAnswer:
    """Use this session for another tenant of mine, or for none."""
    number, sessions = session_of(ctx), accounts.tables.sessions
    name = None if body.tenant is None else str(body.tenant)[:NAME_CHARS_MAX]
    async with accounts.sessions.begin(ctx) as session:
        found = None if name is None else await tenants.find(session, accounts.key(ctx.principal.id), name)
        if found is None and name is not None:
            raise no_tenant()
        tenant = None if found is None else str(found.tenant)
        await session.execute(sa.update(sessions).where(sessions.c.id == number).values(tenant=tenant))
        await revoke(session, accounts.tables, "session", number)
        await record(accounts, session, "tenant_change", caller, ctx.principal.id, tenant=tenant or "none")
    if found is None:
        return TenantAnswer(data=None)
    return TenantAnswer(data=TenantShown(tenant=found.tenant, slug=found.slug, role=found.role, current=True))


def add_tenant_endpoints(custom: CustomEndpoints, base_path: str) -> None:
    """Add them to the program's own."""
    table: tuple[tuple[str, str, Callable[..., Any], str], ...] = (
        ("GET", "tenants", list_tenants, "UNAUTHENTICATED"),
        ("POST", "tenant", choose_tenant, "UNAUTHENTICATED CSRF_FAILED NOT_FOUND"),
    )
    for method, path, function, codes in table:
        custom.add(method, f"{base_path}/auth/{path}", **options_of(function, 200, codes))(function)
