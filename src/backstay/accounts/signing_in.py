"""Register, sign in, renew, sign out."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from fastapi import Request, Response
from sqlalchemy.exc import IntegrityError

from ..auth.accounts import Accounts, Caller
from ..auth.attempts import begin_attempt, succeed
from ..auth.codes import make_code
from ..auth.events import record
from ..auth.people import normal_login, sign_in_facts, user_of
from ..auth.second_step import Pending, first_step
from ..auth.signing_in import Grant, end_sessions, refresh, session_of_refresh, sign_in
from ..auth.weak import check_password
from ..context import Context
from ..errors import FieldError, Problem
from .bodies import (
    CookiesSet,
    Granted,
    Login,
    MailSent,
    MfaWanted,
    Refresh,
    Registration,
    RegistrationAnswer,
    SessionAnswer,
)
from .cookies import CSRF_HEADER, Cookies
from .given import From, Jar, Service, limits_of, session_of

Session = Granted | CookiesSet | MfaWanted


async def register(
    body: Registration, accounts: Service, jar: Jar, caller: From, response: Response
) -> RegistrationAnswer:
    """Make an account.

    It is signed in at once, unless its address must be confirmed first. Then the answer is the same whether or not
    the address has an account already.
    """
    options = accounts.options
    if not options.registration:
        raise Problem("FORBIDDEN", "Nobody can register here.")
    if options.verify_email:
        accounts.post.require()
    await check_password(body.password, names=(body.email, body.username), breached=options.breached)
    kept = await accounts.passwords.hash(body.password)
    user = accounts.user(email=body.email, username=body.username, password_hash=kept)
    if options.verify_email:
        await _register_by_mail(accounts, caller, user)
        response.status_code = 202
        return RegistrationAnswer(data=MailSent())
    try:
        async with accounts.sessions.begin(caller.context) as session:
            session.add(user)
            await session.flush()
            await record(accounts, session, "registered", caller, accounts.id_of(user))
            grant = await sign_in(accounts, session, accounts.id_of(user), caller)
    except IntegrityError:
        raise await _taken(accounts, caller, body) from None
    return RegistrationAnswer(data=granted(grant, body.mode, jar, response))


async def _register_by_mail(accounts: Accounts, caller: Caller, user: Any) -> None:
    """Make an account, or tell who has one that somebody wanted another; either writes, and takes as long."""
    email = user.email
    try:
        async with accounts.sessions.begin(caller.context) as session:
            if user.username is not None and await user_of(accounts, session, user.username) is not None:
                raise _conflict("username")
            known = await user_of(accounts, session, email)
            if known is None:
                session.add(user)
                await session.flush()
                await record(accounts, session, "registered", caller, accounts.id_of(user))
            else:
                await record(accounts, session, "registration_repeated", caller, accounts.id_of(known))
    except IntegrityError:
        known = user  # somebody was quicker by a moment
    if known is None:
        accounts.later.start(send_verification(accounts, accounts.id_of(user), email))
    else:
        accounts.post.send_notice("taken", email)


async def send_verification(accounts: Accounts, user_id: Any, email: str) -> None:
    """Send a code that proves an address."""
    async with accounts.sessions.begin() as session:
        token = await make_code(session, accounts.tables, "verify", user_id, target=email)
    accounts.post.send_code("verify", email, token)


async def login(body: Login, accounts: Service, jar: Jar, caller: From, response: Response) -> SessionAnswer:
    """Sign in with a password; wrong ones make the next attempt wait."""
    tables, limits = accounts.tables, limits_of(body.login, caller)
    async with accounts.sessions.begin(caller.context) as session:
        for limit in await begin_attempt(session, tables, limits):
            await record(accounts, session, "lockout", caller, of=limit.what)
        user = await sign_in_facts(accounts, session, normal_login(body.login))
    right, newer = await accounts.passwords.verify(body.password, user.password_hash if user else None)
    right = right and user.gone_at is None
    async with accounts.sessions.begin(caller.context) as session:
        if right:
            await succeed(session, tables, limits, clear=limits[0])
        if right and (user.email_verified_at is not None or not accounts.options.verify_email):
            if newer is not None:
                (await session.get_one(accounts.user, user.id)).password_hash = newer
            grant = await first_step(accounts, session, user.id, caller)
            return SessionAnswer(data=granted(grant, body.mode, jar, response))
        known = None if user is None else user.id
        await record(accounts, session, "login_failed", caller, known, why="unverified" if right else "credentials")
    raise Problem("EMAIL_UNVERIFIED" if right else "WRONG_CREDENTIALS")


async def renew(
    accounts: Service, jar: Jar, caller: From, request: Request, response: Response, body: Refresh | None = None
) -> SessionAnswer:
    """A new access token, and a new refresh token instead of the one sent, which is spent.

    A spent one that is sent again ends its session: somebody else has it too.
    """
    sent = body.refresh_token if body is not None else None
    token = sent or request.cookies.get(jar.refresh, "")
    async with accounts.sessions.begin(caller.context) as session:
        if sent is None and token:
            await _check_csrf(accounts, jar, request, await session_of_refresh(accounts, session, token))
        grant = await refresh(accounts, session, token, caller)
    if grant is None:
        raise Problem("INVALID_TOKEN", "The refresh token is spent, expired or unknown.")
    return SessionAnswer(data=granted(grant, "token" if sent is not None else "cookie", jar, response))


async def logout(
    ctx: Context, accounts: Service, jar: Jar, caller: From, request: Request, body: Refresh | None = None
) -> Response:
    """End this session: that of the access token, or else of the refresh token. Without either there is none."""
    sent = body.refresh_token if body is not None else None
    token = sent or request.cookies.get(jar.refresh, "")
    async with accounts.sessions.begin(ctx) as session:
        number = None if ctx.principal.is_anonymous else session_of(ctx, acting=True)
        if number is None and token:
            number = await session_of_refresh(accounts, session, token)
            if sent is None:
                await _check_csrf(accounts, jar, request, number)
        if number is not None:
            user = await end_sessions(accounts, session, [number])
            await record(accounts, session, "logout", caller, user, session_id=number)
    response = Response(status_code=204)
    jar.clear(response)
    return response


async def _check_csrf(accounts: Accounts, jar: Cookies, request: Request, number: int | None) -> None:
    if number is not None:
        jar.check_csrf(number, request.headers.get(CSRF_HEADER))


def granted(grant: Grant | Pending, mode: str, jar: Cookies, response: Response) -> Session:
    """A session as it was asked for: as tokens, or in cookies. Or what it takes to get one."""
    response.headers["cache-control"] = "no-store"
    if isinstance(grant, Pending):
        return MfaWanted(mfa_token=grant.token, expires_in=grant.expires_s)
    if mode == "cookie":
        return CookiesSet(expires_in=grant.expires_s, csrf_token=jar.set(response, grant))
    return Granted(access_token=grant.access, expires_in=grant.expires_s, refresh_token=grant.refresh)


async def _taken(accounts: Accounts, caller: Caller, body: Registration) -> Problem:
    """Which of the names has an account already."""
    async with accounts.sessions.open(caller.context) as session:
        taken = await session.scalar(sa.select(accounts.user.email).where(accounts.user.email == body.email))
    return _conflict("username" if taken is None else "email")


def _conflict(field: str) -> Problem:
    errors = [FieldError(field, "unique", "is taken by another account.")]
    return Problem("CONFLICT", f"The {field} is taken.", errors=errors, hint="Sign in, or choose another.")
