"""Passkeys: added and removed by their user, and signed in with."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any
from urllib.parse import urlsplit

from fastapi import Response
from pydantic import AfterValidator, BaseModel, Field

from ..auth import passkeys
from ..auth.accounts import Accounts
from ..auth.events import record
from ..auth.signing_in import sign_in
from ..context import Context
from ..errors import NotFoundError, Problem
from ..query.values import text
from .bodies import Body, Mode, Number, SessionAnswer
from .flows import own_address
from .given import From, Jar, Service, me_of, session_of
from .mfa import Proof
from .proving import prove
from .signing_in import granted

Json = dict[str, Any]


class NewPasskey(Body):
    """What `navigator.credentials.create` returned, as JSON, and a name for it."""

    credential: Json
    name: Annotated[str, Field(min_length=1, max_length=100), AfterValidator(text)] = "passkey"


class PasskeyLogin(Body):
    """What `navigator.credentials.get` returned, as JSON."""

    credential: Json
    mode: Mode = "token"


class PasskeyShown(BaseModel):
    """One of my passkeys."""

    id: Number
    name: str
    created_at: datetime
    used_at: datetime | None


class PasskeyMade(BaseModel):
    """The number of a new passkey."""

    id: Number


class PasskeyOptionsAnswer(BaseModel):
    """The envelope."""

    data: Json


class PasskeyMadeAnswer(BaseModel):
    """The envelope."""

    data: PasskeyMade


class PasskeysAnswer(BaseModel):
    """The envelope."""

    data: Annotated[list[PasskeyShown], Field(max_length=100)]


def site_of(accounts: Accounts) -> passkeys.Site:
    """Where this server's passkeys are good.

    Raises:
        Problem: `ADDRESS_UNKNOWN`.
    """
    origin = own_address(accounts.config)
    parts = urlsplit(origin)
    name = accounts.options.passkey_domain or parts.hostname or ""
    return passkeys.Site(
        name, accounts.post.name, (f"{parts.scheme}://{parts.netloc}", *accounts.options.return_origins)
    )


async def passkey_options(body: Proof, accounts: Service, caller: From, response: Response) -> PasskeyOptionsAnswer:
    """Begin to add a passkey: the answer is for `navigator.credentials.create`."""
    user = await prove(accounts, caller, body.password)
    async with accounts.sessions.open(caller.context) as session:
        options = await passkeys.registration_options(accounts, session, user, site_of(accounts))
    response.headers["cache-control"] = "no-store"
    return PasskeyOptionsAnswer(data=options)


async def add_passkey(body: NewPasskey, ctx: Context, accounts: Service, caller: From) -> PasskeyMadeAnswer:
    """Add a passkey."""
    session_of(ctx)
    async with accounts.sessions.begin(ctx) as session:
        user = await me_of(accounts, session, ctx)
        number = await passkeys.register(accounts, session, user, site_of(accounts), body.credential, body.name)
        await record(accounts, session, "passkey_added", caller, accounts.id_of(user), passkey_id=number)
    return PasskeyMadeAnswer(data=PasskeyMade(id=number))


async def list_passkeys(ctx: Context, accounts: Service) -> PasskeysAnswer:
    """My passkeys."""
    session_of(ctx)
    async with accounts.sessions.open(ctx) as session:
        rows = await passkeys.passkeys_of(accounts, session, accounts.key(ctx.principal.id))
    names = PasskeyShown.model_fields
    return PasskeysAnswer(data=[PasskeyShown(**{name: getattr(row, name) for name in names}) for row in rows])


async def remove_passkey(number: Number, ctx: Context, accounts: Service, caller: From) -> Response:
    """Forget a passkey of mine; not the last way to sign in."""
    session_of(ctx)
    async with accounts.sessions.begin(ctx) as session:
        user = await me_of(accounts, session, ctx)
        if not await passkeys.remove(accounts, session, user, number):
            raise NotFoundError("passkeys", number)
        await record(accounts, session, "passkey_removed", caller, accounts.id_of(user), passkey_id=number)
    return Response(status_code=204)


async def passkey_login_options(accounts: Service, response: Response) -> PasskeyOptionsAnswer:
    """Begin to sign in with a passkey: the answer is for `navigator.credentials.get`."""
    response.headers["cache-control"] = "no-store"
    return PasskeyOptionsAnswer(data=passkeys.login_options(accounts, site_of(accounts)))


async def passkey_login(
    body: PasskeyLogin, accounts: Service, jar: Jar, caller: From, response: Response
) -> SessionAnswer:
    """Sign in with a passkey. It is both steps: something that one has, and the device's own check of who it is."""
    try:
        async with accounts.sessions.begin(caller.context) as session:
            user_id = await passkeys.login(accounts, session, site_of(accounts), body.credential)
            grant = await sign_in(accounts, session, user_id, caller, kind="passkey")
    except Problem as problem:
        if problem.code == "WRONG_CREDENTIALS":
            async with accounts.sessions.begin(caller.context) as session:
                await record(accounts, session, "login_failed", caller, why="passkey")
        raise
    return SessionAnswer(data=granted(grant, body.mode, jar, response))
