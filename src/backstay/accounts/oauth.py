"""Sign in with a provider: to it, back from it, and linking it to an account that is there."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Annotated, Any

import sqlalchemy as sa
from fastapi import Depends, Path, Query, Request, Response
from fastapi.responses import RedirectResponse
from pydantic import BaseModel, Field
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from ..auth.accounts import Accounts, Caller
from ..auth.events import record
from ..auth.identities import identities_of, link, unlink, user_for
from ..auth.provider_client import Exchange, ProviderClient, failed
from ..auth.providers import Profile
from ..auth.second_step import Pending, first_step
from ..auth.signing_in import Grant
from ..context import Context
from ..errors import NotFoundError, Problem
from ..schema.base import utc_now
from .bodies import Body, Mode, Number, SessionAnswer
from .cookies import Cookies
from .flows import Flow, Providers, checked_return, own_address
from .given import From, Jar, Service, me_of, session_of
from .signing_in import granted

_ERROR = re.compile(r"[a-z_]{1,64}\Z", re.ASCII)
ReturnTo = Annotated[str, Query(max_length=2_000, description="A path here, or an address of an allowed origin.")]
Told = Annotated[str | None, Query(max_length=1_024)]
Code = Annotated[str | None, Query(max_length=4_096)]


def _providers(request: Request) -> Providers:
    return request.app.state.providers


Named = Annotated[str, Path(max_length=64)]
Known = Annotated[Providers, Depends(_providers)]


class LinkWanted(Body):
    """Where to go after linking."""

    return_to: Annotated[str, Field(max_length=2_000)] = "/"


class LinkBegun(BaseModel):
    """Where the browser has to go now."""

    url: str


class IdentityShown(BaseModel):
    """A provider that leads to my account."""

    id: Number
    provider: str
    email: str | None
    created_at: datetime
    used_at: datetime | None


class LinkAnswer(BaseModel):
    """The envelope."""

    data: LinkBegun


class IdentitiesAnswer(BaseModel):
    """The envelope."""

    data: Annotated[list[IdentityShown], Field(max_length=1_000)]


async def begin_provider(
    provider: Named, accounts: Service, providers: Known, return_to: ReturnTo = "/", mode: Mode = "cookie"
) -> Response:
    """Go to a provider to sign in. `mode=token` answers at the end with tokens instead of cookies and a redirect."""
    client = providers.client(provider)
    flow = Flow.begin(provider, checked_return(return_to, accounts.options.return_origins), mode)
    url = flow.url(client.provider, await client.endpoints(), redirect_uri(accounts, provider))
    response = RedirectResponse(url, 303, {"cache-control": "no-store"})
    providers.cookie.set(response, flow)
    return response


async def begin_link(
    provider: Named, body: LinkWanted, ctx: Context, accounts: Service, providers: Known, response: Response
) -> LinkAnswer:
    """Begin to link a provider to my account: the answer says where this browser has to go."""
    number = session_of(ctx)
    client = providers.client(provider)
    back = checked_return(body.return_to, accounts.options.return_origins)
    flow = Flow.begin(provider, back, "cookie", number)
    url = flow.url(client.provider, await client.endpoints(), redirect_uri(accounts, provider))
    providers.cookie.set(response, flow)
    response.headers["cache-control"] = "no-store"
    return LinkAnswer(data=LinkBegun(url=url))


async def finish_provider(
    provider: Named,
    request: Request,
    response: Response,
    *,
    accounts: Service,
    providers: Known,
    jar: Jar,
    caller: From,
    code: Code = None,
    state: Told = None,
    error: Told = None,
    iss: Told = None,
) -> Any:
    """Come back from a provider."""
    try:
        client = providers.client(provider)
        flow = providers.cookie.read(request.cookies.get(providers.cookie.name), provider, state)
        profile = await _profile(client, accounts, flow, code=code, error=error, iss=iss)
        answer = await _signed_in(client, accounts, flow, profile, caller=caller, jar=jar, response=response)
    except Problem as problem:
        async with accounts.sessions.begin(caller.context) as session:
            await record(accounts, session, "login_failed", caller, why=f"oauth:{problem.code.lower()}")
        cleared = Response()
        providers.cookie.clear(cleared)
        problem.headers = (*problem.headers, ("set-cookie", cleared.headers["set-cookie"]))
        raise
    providers.cookie.clear(answer if isinstance(answer, Response) else response)
    return answer


async def list_identities(ctx: Context, accounts: Service) -> IdentitiesAnswer:
    """The providers that lead to my account."""
    session_of(ctx)
    async with accounts.sessions.open(ctx) as session:
        rows = await identities_of(accounts, session, accounts.key(ctx.principal.id))
    names = IdentityShown.model_fields
    return IdentitiesAnswer(data=[IdentityShown(**{name: getattr(row, name) for name in names}) for row in rows])


async def unlink_identity(number: Number, ctx: Context, accounts: Service, caller: From) -> Response:
    """Let a provider lead to my account no more; not the last way to sign in."""
    session_of(ctx)
    async with accounts.sessions.begin(ctx) as session:
        user = await me_of(accounts, session, ctx)
        if not await unlink(accounts, session, caller, user, number):
            raise NotFoundError("identities", number)
    return Response(status_code=204)


def redirect_uri(accounts: Accounts, provider: str) -> str:
    """Where a provider sends people back to; register it there."""
    return f"{own_address(accounts.config)}{accounts.config.base_path}/auth/oauth/{provider}/callback"


async def _profile(
    client: ProviderClient, accounts: Accounts, flow: Flow, *, code: str | None, error: str | None, iss: str | None
) -> Profile:
    """Who has come back.

    Raises:
        Problem: `OAUTH_FAILED` or `PROVIDER_UNAVAILABLE`.
    """
    provider = client.provider
    endpoints = await client.endpoints()
    # Another provider's answer must not be taken for this one's (RFC 9207).
    if provider.issuer and (iss is not None or endpoints.says_issuer) and iss != provider.issuer:
        raise failed("The answer is of another provider.")
    if error is not None:
        raise failed(f"{provider.name} says: {error if _ERROR.match(error) else 'an error'}.")
    if not code:
        raise failed(f"{provider.name} gave no code.")
    uri = redirect_uri(accounts, provider.name)
    return await client.profile(Exchange(code, uri, flow.verifier, flow.nonce))


async def _signed_in(
    client: ProviderClient,
    accounts: Accounts,
    flow: Flow,
    profile: Profile,
    *,
    caller: Caller,
    jar: Cookies,
    response: Response,
) -> Response | SessionAnswer:
    """What whoever has come back gets."""
    if flow.session:
        async with accounts.sessions.begin(caller.context) as session:
            user_id = await _user_of_session(accounts, session, flow.session)
            await link(accounts, session, client.provider, profile, caller, user_id)
        return RedirectResponse(flow.return_to, 303, {"cache-control": "no-store"})
    try:
        grant = await _session(client, accounts, profile, caller)
    except IntegrityError:
        # Somebody came twice at the same moment: now the account is there.
        grant = await _session(client, accounts, profile, caller)
    if flow.mode == "token":
        return SessionAnswer(data=granted(grant, "token", jar, response))
    if isinstance(grant, Pending):
        # In the fragment, which neither servers nor their logs are told (RFC 3986 §3.5).
        page = f"{flow.return_to.partition('#')[0]}#mfa_token={grant.token}"
        return RedirectResponse(page, 303, {"cache-control": "no-store"})
    back = RedirectResponse(flow.return_to, 303, {"cache-control": "no-store"})
    jar.set(back, grant)
    return back


async def _session(client: ProviderClient, accounts: Accounts, profile: Profile, caller: Caller) -> Grant | Pending:
    async with accounts.sessions.begin(caller.context) as session:
        user_id = await user_for(accounts, session, client.provider, profile, caller)
        return await first_step(accounts, session, user_id, caller, kind=f"oauth:{client.provider.name}")


async def _user_of_session(accounts: Accounts, session: AsyncSession, number: int) -> Any:
    """Whose session it is, if it still goes on.

    Raises:
        Problem: `OAUTH_FAILED`.
    """
    sessions = accounts.tables.sessions
    live = sa.and_(sessions.c.id == number, sessions.c.ended_at.is_(None), sessions.c.expires_at > utc_now())
    found = await session.scalar(sa.select(sessions.c.user_id).where(live))
    if found is None:
        raise failed("The session that began this has ended.")
    return found
