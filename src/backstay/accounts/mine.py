"""What belongs to whoever is signed in: the account, its password and address, its sessions."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from fastapi import Response
from sqlalchemy.ext.asyncio import AsyncSession

from ..auth.accounts import Accounts, Caller
from ..auth.attempts import begin_attempt, succeed
from ..auth.codes import make_code
from ..auth.events import record
from ..auth.people import delete_user, end_sessions_of, user_of
from ..auth.signing_in import end_sessions
from ..auth.weak import check_password
from ..context import Context
from ..errors import NotFoundError, Problem
from ..schema.base import utc_now
from .bodies import (
    Confirmation,
    EmailChange,
    MailAnswer,
    MailSent,
    Me,
    MeAnswer,
    Number,
    PasswordChange,
    SessionsAnswer,
    SessionShown,
)
from .by_mail import changed
from .given import From, Jar, Service, limits_of, me_of, session_of


async def me(ctx: Context, accounts: Service) -> MeAnswer:
    """Who is signed in."""
    async with accounts.sessions.open(ctx) as session:
        user = await me_of(accounts, session, ctx)
    shown = Me(
        id=accounts.id_of(user),
        email=user.email,
        username=user.username,
        email_verified_at=user.email_verified_at,
        roles=sorted(ctx.principal.roles),
        permissions=sorted(ctx.principal.permissions),
        tenant=ctx.principal.tenant,
        actor=ctx.principal.actor,
    )
    return MeAnswer(data=shown)


async def change_password(body: PasswordChange, ctx: Context, accounts: Service, caller: From) -> Response:
    """Choose a new password; other sessions end."""
    number = session_of(ctx)
    user = await confirmed(accounts, caller, body.current_password)
    names = (user.email, user.username)
    await check_password(body.new_password, "new_password", names=names, breached=accounts.options.breached)
    kept = await accounts.passwords.hash(body.new_password)
    async with accounts.sessions.begin(ctx) as session:
        user = await me_of(accounts, session, ctx)
        user.password_hash = kept
        await changed(accounts, session, caller, user, but=number)
        await record(accounts, session, "password_change", caller, accounts.id_of(user))
    return Response(status_code=204)


async def change_email(body: EmailChange, ctx: Context, accounts: Service, caller: From) -> MailAnswer:
    """Send a code to another address of mine; it is the account's when the code comes back."""
    session_of(ctx)
    accounts.post.require()
    user = await confirmed(accounts, caller, body.password)
    accounts.later.start(_send_change(accounts, accounts.id_of(user), body.email))
    return MailAnswer(data=MailSent())


async def _send_change(accounts: Accounts, user_id: Any, email: str) -> None:
    async with accounts.sessions.begin() as session:
        if await user_of(accounts, session, email) is not None:
            accounts.post.send_notice("taken", email)
            return
        token = await make_code(session, accounts.tables, "email", user_id, target=email)
    accounts.post.send_code("email", email, token)


async def delete_me(body: Confirmation, ctx: Context, accounts: Service, caller: From, jar: Jar) -> Response:
    """Delete my account. What others refer to stays, without my address and my name."""
    session_of(ctx)
    await confirmed(accounts, caller, body.password)
    async with accounts.sessions.begin(ctx) as session:
        user = await me_of(accounts, session, ctx)
        key = accounts.id_of(user)
        await delete_user(accounts, session, user)
        await record(accounts, session, "user_deleted", caller, key)
    response = Response(status_code=204)
    jar.clear(response)
    return response


async def list_sessions(ctx: Context, accounts: Service) -> SessionsAnswer:
    """Where I am signed in, the latest first."""
    current, sessions = session_of(ctx), accounts.tables.sessions
    async with accounts.sessions.open(ctx) as session:
        live = _mine(accounts, ctx) & (sessions.c.expires_at > utc_now())
        rows = (await session.execute(sa.select(sessions).where(live).order_by(sessions.c.used_at.desc()))).mappings()
        names = SessionShown.model_fields.keys() - {"current"}
        shown = [SessionShown(**{n: row[n] for n in names}, current=row["id"] == current) for row in rows]
    return SessionsAnswer(data=shown)


async def end_session(number: Number, ctx: Context, accounts: Service, caller: From) -> Response:
    """Sign a device of mine out."""
    session_of(ctx)
    sessions = accounts.tables.sessions
    async with accounts.sessions.begin(ctx) as session:
        found = await session.scalar(sa.select(sessions.c.id).where(sessions.c.id == number, _mine(accounts, ctx)))
        if found is None:
            raise NotFoundError("sessions", number)
        await end_sessions(accounts, session, [number])
        await record(accounts, session, "logout", caller, ctx.principal.id, session_id=number)
    return Response(status_code=204)


async def logout_all(ctx: Context, accounts: Service, caller: From, jar: Jar) -> Response:
    """Sign all my devices out, this one too."""
    session_of(ctx)
    async with accounts.sessions.begin(ctx) as session:
        await end_sessions_of(accounts, session, ctx.principal.id)
        await record(accounts, session, "logout", caller, ctx.principal.id, session_id="all")
    response = Response(status_code=204)
    jar.clear(response)
    return response


def _mine(accounts: Accounts, ctx: Context) -> sa.ColumnElement[bool]:
    sessions = accounts.tables.sessions
    return sa.and_(sessions.c.user_id == ctx.principal.id, sessions.c.ended_at.is_(None))


async def confirmed(accounts: Accounts, caller: Caller, password: str) -> Any:
    """The user who sends a request, whose password it is; guessing it is as slow as signing in.

    Raises:
        Problem: `WRONG_CREDENTIALS`, or `TOO_MANY_ATTEMPTS`.
    """
    ctx, tables = caller.context, accounts.tables
    async with accounts.sessions.begin(ctx) as session:
        user = await me_of(accounts, session, ctx)
        limits = limits_of(user.email or user.username or str(ctx.principal.id), caller)
        for limit in await begin_attempt(session, tables, limits):
            await record(accounts, session, "lockout", caller, accounts.id_of(user), of=limit.what)
    right, _ = await accounts.passwords.verify(password, user.password_hash)
    await _settle(accounts, caller, user, right=right)
    return user


async def _settle(accounts: Accounts, caller: Caller, user: Any, *, right: bool) -> None:
    limits = limits_of(user.email or user.username or str(accounts.id_of(user)), caller)
    session: AsyncSession
    async with accounts.sessions.begin(caller.context) as session:
        if right:
            await succeed(session, accounts.tables, limits, clear=limits[0])
            return
        await record(accounts, session, "login_failed", caller, accounts.id_of(user), why="credentials")
    raise Problem("WRONG_CREDENTIALS", "The password is wrong.")
