"""The endpoints of accounts, below `{base_path}/auth`: ordinary FastAPI routes."""

from __future__ import annotations

from typing import Annotated, Any

import sqlalchemy as sa
from fastapi import Depends, Request, Response
from sqlalchemy.exc import IntegrityError

from ..auth.accounts import Accounts, Caller
from ..auth.signing_in import Grant, end_sessions, not_signed_in, refresh, sign_in
from ..context import Context
from ..errors import Problem, invalid
from ..http.custom import CONTEXT_KEY, CustomEndpoints
from ..schema.names import EmailText, UsernameText
from .bodies import Answer, Granted, Login, Me, Refresh, Registration


def _accounts(request: Request) -> Accounts:
    return request.app.state.accounts


def _caller(request: Request) -> Caller:
    """Where a request comes from."""
    peer = request.client
    return Caller(peer.host if peer else "", request.headers.get("user-agent", ""), request.scope[CONTEXT_KEY])


#: What endpoints are given.
Service = Annotated[Accounts, Depends(_accounts)]
From = Annotated[Caller, Depends(_caller)]


def add_endpoints(custom: CustomEndpoints, base_path: str) -> None:
    """Add them to the program's own."""
    prefix = f"{base_path}/auth"
    custom.add("POST", f"{prefix}/register", status_code=201, tags=["auth"])(register)
    custom.add("POST", f"{prefix}/login", tags=["auth"])(login)
    custom.add("POST", f"{prefix}/refresh", tags=["auth"])(renew)
    custom.add("POST", f"{prefix}/logout", status_code=204, tags=["auth"])(logout)
    custom.add("GET", f"{prefix}/me", tags=["auth"])(me)


async def register(body: Registration, accounts: Service, caller: From) -> Answer[Granted]:
    """Make an account and sign in."""
    hashed = await accounts.passwords.hash(body.password)
    user = accounts.user(email=body.email, username=body.username, password_hash=hashed)
    try:
        async with accounts.sessions.begin(caller.context) as session:
            session.add(user)
            await session.flush()
            grant = await sign_in(accounts, session, user.id, caller)
    except IntegrityError:
        raise Problem("CONFLICT", "The address or the name is taken.") from None
    return _granted(grant)


async def login(body: Login, accounts: Service, caller: From) -> Answer[Granted]:
    """Sign in with a password."""
    async with accounts.sessions.open(caller.context) as session:
        user = await session.scalar(sa.select(accounts.user).where(_login_is(accounts.user, body.login)))
    right, newer = await accounts.passwords.verify(body.password, user.password_hash if user else None)
    if user is None or not right or user.disabled_at is not None:
        raise Problem("WRONG_CREDENTIALS")
    async with accounts.sessions.begin(caller.context) as session:
        if newer is not None:
            session.add(user)
            user.password_hash = newer
        return _granted(await sign_in(accounts, session, user.id, caller))


async def renew(body: Refresh, accounts: Service, caller: From) -> Answer[Granted]:
    """A new access token, and a new refresh token instead of the one sent."""
    async with accounts.sessions.begin(caller.context) as session:
        grant = await refresh(accounts, session, body.refresh_token, caller)
    if grant is None:
        raise Problem("INVALID_TOKEN", "The refresh token is spent, expired or unknown.")
    return _granted(grant)


async def logout(ctx: Context, accounts: Service) -> Response:
    """End this session."""
    number = _session_of(ctx)
    async with accounts.sessions.begin(ctx) as session:
        await end_sessions(accounts, session, [number])
    return Response(status_code=204)


async def me(ctx: Context, accounts: Service) -> Answer[Me]:
    """Who is signed in."""
    principal = ctx.principal
    if principal.is_anonymous:
        raise not_signed_in()
    async with accounts.sessions.open(ctx) as session:
        user = await session.get(accounts.user, principal.id)
    if user is None:
        raise not_signed_in()
    shown = Me(
        id=user.id,
        email=user.email,
        username=user.username,
        email_verified_at=user.email_verified_at,
        roles=sorted(principal.roles),
        permissions=sorted(principal.permissions),
        tenant=principal.tenant,
    )
    return Answer(data=shown)


def _session_of(ctx: Context) -> int:
    """The session that a request is signed in with."""
    kind, _, number = ctx.principal.credential.partition(":")
    if kind != "session":
        raise not_signed_in()
    return int(number)


def _login_is(user: Any, login: str) -> Any:
    """Whose address or name it is."""
    try:
        if "@" in login:
            return user.email == EmailText().normal(login)
        return user.username == UsernameText().normal(login)
    except ValueError as error:
        raise invalid("login", "invalid_value", f"{error}.") from None


def _granted(grant: Grant) -> Answer[Granted]:
    return Answer(data=Granted(access_token=grant.access, expires_in=grant.expires_s, refresh_token=grant.refresh))
