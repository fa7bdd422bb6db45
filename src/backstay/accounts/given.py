"""What the endpoints of accounts are given: the accounts, the cookies, and where a request comes from."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Depends, Request
from sqlalchemy.ext.asyncio import AsyncSession

from ..auth.accounts import Accounts, Caller
from ..auth.attempts import Limit
from ..auth.people import normal_login
from ..context import Context, network_of
from ..errors import Problem
from ..http.custom import CONTEXT_KEY
from .cookies import Cookies

#: Wrong passwords that cost nothing; an address may be that of a whole office.
ACCOUNT_FREE, IP_FREE = 5, 50


def _accounts(request: Request) -> Accounts:
    return request.app.state.accounts


def _cookies(request: Request) -> Cookies:
    return request.app.state.cookies


def _caller(request: Request) -> Caller:
    context: Context = request.scope[CONTEXT_KEY]
    return Caller(context.ip, request.headers.get("user-agent", ""), context)


Service = Annotated[Accounts, Depends(_accounts)]
Jar = Annotated[Cookies, Depends(_cookies)]
From = Annotated[Caller, Depends(_caller)]


def not_signed_in() -> Problem:
    """What whoever must sign in first is told."""
    return Problem("UNAUTHENTICATED", "Sign in first.", headers=(("www-authenticate", "Bearer"),))


def session_of(context: Context, *, acting: bool = False) -> int:
    """The session that a request is signed in with.

    Args:
        acting: whether somebody may act in the user's name; what is the user's own business, nobody else does.

    Raises:
        Problem: `UNAUTHENTICATED` when it is signed in with something else, or not at all; `FORBIDDEN`.
    """
    principal = context.principal
    kind, _, number = principal.credential.partition(":")
    if kind == "key":
        raise Problem("FORBIDDEN", "An API key cannot do this: sign in.")
    if kind != "session":
        raise not_signed_in()
    if principal.actor is not None and not acting:
        raise Problem("FORBIDDEN", "Only the user may do this: you act in their name.")
    return int(number)


async def me_of(accounts: Accounts, session: AsyncSession, context: Context) -> Any:
    """The user who sends a request.

    Raises:
        Problem: `UNAUTHENTICATED` when nobody does.
    """
    key = accounts.key(context.principal.id)
    user = None if key is None else await session.get(accounts.user, key)
    if user is None:
        raise not_signed_in()
    return user


def limits_of(login: str, caller: Caller) -> list[Limit]:
    """Whose failures count when somebody signs in; the account's first."""
    account = Limit("account", normal_login(login), ACCOUNT_FREE)
    return [account, Limit("ip", network_of(caller.ip), IP_FREE)] if caller.ip else [account]
