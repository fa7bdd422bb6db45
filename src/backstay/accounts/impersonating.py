"""Impersonation for support: begun by who has the permission, seen in `me`, over soon."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import Response
from pydantic import AfterValidator, BaseModel, Field

from ..auth.impersonation import impersonate, stop
from ..context import Context
from ..errors import Problem
from ..query.values import text
from .bodies import Body, Key, Seconds
from .given import From, Service, session_of


class Impersonate(Body):
    """Whom to act for, and why."""

    user_id: Key | Annotated[str, Field(max_length=64), AfterValidator(text)]
    reason: Annotated[str, Field(min_length=1, max_length=500), AfterValidator(text)]


class Acting(BaseModel):
    """What to act with. There is no refresh token: it is over when this expires."""

    access_token: str
    token_type: Literal["Bearer"] = "Bearer"
    expires_in: Seconds


class ActingAnswer(BaseModel):
    """The envelope."""

    data: Acting


async def begin_impersonation(
    body: Impersonate, ctx: Context, accounts: Service, caller: From, response: Response
) -> ActingAnswer:
    """Act in a user's name for a while. It takes the permission `users.impersonate`, and their rights or more."""
    session_of(ctx)
    async with accounts.sessions.begin(ctx) as session:
        begun = await impersonate(accounts, session, caller, accounts.key(str(body.user_id)), body.reason)
    if begun is None:
        raise Problem("FORBIDDEN", "You cannot act for yourself, nor for somebody who may do more than you.")
    response.headers["cache-control"] = "no-store"
    return ActingAnswer(data=Acting(access_token=begun.access, expires_in=begun.expires_s))


async def end_impersonation(ctx: Context, accounts: Service, caller: From) -> Response:
    """Act in the user's name no more; sent with the token that one acts with."""
    session_of(ctx, acting=True)
    if ctx.principal.actor is None:
        raise Problem("FORBIDDEN", "You act for nobody.")
    async with accounts.sessions.begin(ctx) as session:
        await stop(accounts, session, caller)
    return Response(status_code=204)
