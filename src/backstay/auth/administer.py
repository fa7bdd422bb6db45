"""What operators do to users, roles and keys, by the names they know them by."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from ..context import Context
from ..errors import OperatorError, perhaps
from ..schema.base import utc_now
from ..schema.names import EmailText
from .accounts import Accounts, Caller
from .events import record
from .people import end_sessions_of, normal_login, set_disabled, user_of
from .roles import grant_role, permissions_of, set_role, take_role
from .weak import check_password

_NAMES_SHOWN = 1_000


def operator() -> Caller:
    """Where a command comes from."""
    return Caller("", "command line", Context("command-line"))


async def find_user(accounts: Accounts, session: AsyncSession, name: str) -> Any:
    """A user by address, name or id.

    Raises:
        OperatorError: there is none.
    """
    user = await user_of(accounts, session, normal_login(name))
    key = None if user is not None else accounts.key(name)
    if key is not None:
        user = await session.get(accounts.user, key)
    if user is None:
        kind = accounts.user.email if "@" in name else accounts.user.username
        known = (await session.scalars(sa.select(kind).where(kind.is_not(None)).limit(_NAMES_SHOWN))).all()
        raise OperatorError(f"There is no user {name!r}. {perhaps(name, known, noun='user')}".rstrip())
    return user


async def create_user(
    accounts: Accounts,
    session: AsyncSession,
    email: str,
    password: str,
    *,
    username: str | None = None,
    roles: Sequence[str] = (),
) -> Any:
    """Make a user whose address counts as proven; returns the id.

    Raises:
        OperatorError: an address or name that is taken or malformed.
        ValidationError: a weak password.
    """
    try:
        address = EmailText().normal(email)
    except ValueError as error:
        raise OperatorError(f"{email!r} {error}.") from None
    await check_password(password, names=(address, username), breached=accounts.options.breached)
    kept = await accounts.passwords.hash(password)
    user = accounts.user(email=address, username=username, password_hash=kept, email_verified_at=utc_now())
    session.add(user)
    try:
        await session.flush()
    except IntegrityError:
        raise OperatorError(f"The address {address} or the name is taken by another user.") from None
    key = accounts.id_of(user)
    await record(accounts, session, "registered", operator(), key)
    for role in roles:
        await _make_known(accounts, session, role)
        await grant_role(session, accounts.tables, key, role)
    return key


async def disable_user(accounts: Accounts, session: AsyncSession, name: str, *, disabled: bool) -> None:
    """Let a user sign in no more, or again."""
    user = await find_user(accounts, session, name)
    await set_disabled(accounts, session, user, disabled=disabled)
    kind = "user_disabled" if disabled else "user_enabled"
    await record(accounts, session, kind, operator(), accounts.id_of(user))


async def logout_user(accounts: Accounts, session: AsyncSession, name: str) -> None:
    """End every session of a user."""
    user = await find_user(accounts, session, name)
    await end_sessions_of(accounts, session, accounts.id_of(user))
    await record(accounts, session, "logout", operator(), accounts.id_of(user), session_id="all")


async def change_role(accounts: Accounts, session: AsyncSession, name: str, role: str, *, given: bool) -> bool:
    """Give a user a role, or take it; whether anything changed."""
    user = await find_user(accounts, session, name)
    await _make_known(accounts, session, role)
    change = grant_role if given else take_role
    changed = await change(session, accounts.tables, accounts.id_of(user), role)
    if changed:
        await record(accounts, session, "role_change", operator(), accounts.id_of(user), role=role, given=int(given))
    return changed


async def define_role(accounts: Accounts, session: AsyncSession, role: str, permissions: Sequence[str]) -> None:
    """Make a role, or say anew what it permits."""
    await set_role(session, accounts.tables, role, permissions)
    await record(accounts, session, "role_change", operator(), role=role, permissions=", ".join(permissions))


async def rotate_keys(accounts: Accounts, session: AsyncSession, *, forget: bool) -> str:
    """Sign with a new key; returns its kid."""
    kid = await accounts.keys.rotate(session, forget=forget)
    await record(accounts, session, "keys_rotated", operator(), kid=kid)
    return kid


async def _make_known(accounts: Accounts, session: AsyncSession, role: str) -> None:
    """A role that a rule names needs no making.

    Raises:
        OperatorError: nobody has ever heard of it.
    """
    known = await permissions_of(session, accounts.tables)
    if role in known:
        return
    if role not in accounts.named_roles:
        hint = perhaps(role, {*known, *accounts.named_roles}, noun="role")
        raise OperatorError(f"There is no role {role!r}. {hint} Make it: backstay auth role {role}")
    await set_role(session, accounts.tables, role, ())
