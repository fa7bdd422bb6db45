"""Roles and permissions as data: who has which role, and what it permits. A change holds at once, everywhere."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from .revocations import ALL, revoke
from .tables import AuthTables


async def set_role(session: AsyncSession, tables: AuthTables, name: str, permissions: Sequence[str]) -> None:
    """Make a role, or change what it permits."""
    roles = tables.roles
    changed = await session.execute(
        sa.update(roles).where(roles.c.name == name).values(permissions=list(permissions)).returning(roles.c.name)
    )
    if changed.first() is None:
        await session.execute(sa.insert(roles).values(name=name, permissions=list(permissions)))
    else:
        await revoke(session, tables, ALL, "")


async def permissions_of(session: AsyncSession, tables: AuthTables) -> dict[str, list[str]]:
    """Every role and what it permits."""
    roles = tables.roles
    rows = (await session.execute(sa.select(roles.c.name, roles.c.permissions).order_by(roles.c.name))).all()
    return {row.name: list(row.permissions) for row in rows}


async def grant_role(session: AsyncSession, tables: AuthTables, user_id: Any, role: str) -> bool:
    """Give a user a role that there is; whether they did not have it."""
    grants = tables.role_grants
    mine = sa.and_(grants.c.user_id == user_id, grants.c.role == role)
    if await session.scalar(sa.select(grants.c.role).where(mine)) is not None:
        return False
    await session.execute(sa.insert(grants).values(user_id=user_id, role=role))
    await revoke(session, tables, "user", user_id)
    return True


async def take_role(session: AsyncSession, tables: AuthTables, user_id: Any, role: str) -> bool:
    """Take a role from a user; whether they had it."""
    grants = tables.role_grants
    mine = sa.and_(grants.c.user_id == user_id, grants.c.role == role)
    taken = await session.execute(sa.delete(grants).where(mine).returning(grants.c.role))
    if taken.first() is None:
        return False
    await revoke(session, tables, "user", user_id)
    return True
