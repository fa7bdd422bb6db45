"""API keys of whoever is signed in: made, listed, revoked."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import Response
from pydantic import AfterValidator, AwareDatetime, BaseModel, Field

from ..auth.api_keys import KEYS_MAX, keys_of, make_key, revoke_key
from ..context import Context
from ..errors import NotFoundError
from ..query.values import text
from .bodies import Body, Number
from .given import From, Service, session_of

KeyName = Annotated[str, Field(min_length=1, max_length=100), AfterValidator(text)]


class NewKey(Body):
    """A key to make.

    Attributes:
        scopes: what it is good for, such as `scores:read`, `scores:*`, `*:read` or `*`.
        expires_at: when it stops being good; never by default.
    """

    name: KeyName
    scopes: Annotated[list[str], Field(min_length=1)]
    expires_at: Annotated[AwareDatetime | None, Field(strict=False)] = None


class KeyShown(BaseModel):
    """One of my keys.

    Attributes:
        prefix: what the key begins with.
        used_at: its last use, to the minute.
    """

    id: Number
    name: str
    prefix: str
    scopes: list[str]
    created_at: datetime
    expires_at: datetime | None
    used_at: datetime | None


class KeyMade(BaseModel):
    """A new key. `key` is shown this once."""

    id: Number
    name: str
    prefix: str
    scopes: list[str]
    expires_at: datetime | None
    key: str


class KeyMadeAnswer(BaseModel):
    """The envelope."""

    data: KeyMade


class KeysAnswer(BaseModel):
    """The envelope."""

    data: Annotated[list[KeyShown], Field(max_length=KEYS_MAX)]


async def make_api_key(
    body: NewKey, ctx: Context, accounts: Service, caller: From, response: Response
) -> KeyMadeAnswer:
    """Make an API key that acts for me, within its scopes. It is shown this once."""
    session_of(ctx)
    async with accounts.sessions.begin(ctx) as session:
        made = await make_key(
            accounts, session, caller, name=body.name, scopes=body.scopes, expires_at=body.expires_at
        )
    response.headers["cache-control"] = "no-store"
    shown = KeyMade(
        id=made.id,
        name=body.name,
        prefix=made.prefix,
        scopes=list(dict.fromkeys(body.scopes)),
        expires_at=body.expires_at,
        key=made.key,
    )
    return KeyMadeAnswer(data=shown)


async def list_api_keys(ctx: Context, accounts: Service) -> KeysAnswer:
    """My API keys, the newest first."""
    session_of(ctx)
    async with accounts.sessions.open(ctx) as session:
        rows = await keys_of(accounts, session, accounts.key(ctx.principal.id))
    return KeysAnswer(data=[KeyShown(**{name: getattr(row, name) for name in KeyShown.model_fields}) for row in rows])


async def revoke_api_key(number: Number, ctx: Context, accounts: Service, caller: From) -> Response:
    """End an API key of mine, everywhere and at once."""
    session_of(ctx)
    async with accounts.sessions.begin(ctx) as session:
        if not await revoke_key(accounts, session, caller, number):
            raise NotFoundError("keys", number)
    return Response(status_code=204)
