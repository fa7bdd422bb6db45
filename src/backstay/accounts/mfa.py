"""The second step: turned on and off by its user, and taken when they sign in."""

from __future__ import annotations

from typing import Annotated, Any

import sqlalchemy as sa
from fastapi import Response
from pydantic import AfterValidator, BaseModel, Field

from ..auth.accounts import Accounts, Caller
from ..auth.attempts import Limit, begin_attempt, succeed
from ..auth.events import record
from ..auth.second_step import FREE, attempt, finish
from ..auth.totp import confirm, enrol, has_totp, new_recovery_codes, recovery_codes_left, spend_second, turn_off
from ..context import Context
from ..errors import Problem
from ..query.values import text
from .bodies import Body, Count, Mode, Password, SessionAnswer, Token
from .given import From, Jar, Service, session_of
from .proving import prove
from .signing_in import granted

SecondCode = Annotated[str, Field(min_length=1, max_length=64), AfterValidator(text)]


class Proof(Body):
    """The password; none for who has none and has just signed in."""

    password: Password | None = None


class CodeSent(Body):
    """A code of the authenticator app, or a recovery code."""

    code: SecondCode


class SecondStep(Body):
    """A code, for the token that the first step gave."""

    mfa_token: Token
    code: SecondCode
    mode: Mode = "token"


class Seed(BaseModel):
    """What an authenticator app has to be given: `uri` as a QR code, or `secret` by hand."""

    secret: str
    uri: str


class RecoveryCodes(BaseModel):
    """Each is good once, instead of a code of the app. They are shown this once."""

    recovery_codes: list[str]


class MfaShown(BaseModel):
    """How I sign in, beside my password."""

    totp: bool
    recovery_codes: Count
    passkeys: Count


class MfaAnswer(BaseModel):
    """The envelope."""

    data: MfaShown


class SeedAnswer(BaseModel):
    """The envelope."""

    data: Seed


class RecoveryCodesAnswer(BaseModel):
    """The envelope."""

    data: RecoveryCodes


async def show_mfa(ctx: Context, accounts: Service) -> MfaAnswer:
    """Which second steps I have."""
    session_of(ctx)
    passkeys, user_id = accounts.tables.passkeys, accounts.key(ctx.principal.id)
    async with accounts.sessions.open(ctx) as session:
        count = sa.select(sa.func.count()).select_from(passkeys).where(passkeys.c.user_id == user_id)
        shown = MfaShown(
            totp=await has_totp(accounts, session, user_id),
            recovery_codes=await recovery_codes_left(accounts, session, user_id),
            passkeys=await session.scalar(count) or 0,
        )
    return MfaAnswer(data=shown)


async def enrol_totp(body: Proof, accounts: Service, caller: From, response: Response) -> SeedAnswer:
    """Begin to turn one-time passwords on: give an authenticator app the seed, then confirm with its first code."""
    user = await prove(accounts, caller, body.password)
    async with accounts.sessions.begin(caller.context) as session:
        made = await enrol(accounts, session, user)
    response.headers["cache-control"] = "no-store"
    return SeedAnswer(data=Seed(secret=made.secret, uri=made.uri))


async def confirm_totp(
    body: CodeSent, ctx: Context, accounts: Service, caller: From, response: Response
) -> RecoveryCodesAnswer:
    """Turn one-time passwords on, by the first code; the answer has the recovery codes."""
    session_of(ctx)
    user_id = accounts.key(ctx.principal.id)
    await _count(accounts, caller, user_id)
    async with accounts.sessions.begin(ctx) as session:
        codes = await confirm(accounts, session, user_id, body.code)
        await _settle(accounts, session, caller, user_id, right=codes is not None)
        if codes is not None:
            await record(accounts, session, "mfa_on", caller, user_id)
    if codes is None:
        raise wrong_code()
    response.headers["cache-control"] = "no-store"
    return RecoveryCodesAnswer(data=RecoveryCodes(recovery_codes=codes))


async def remove_totp(body: CodeSent, ctx: Context, accounts: Service, caller: From) -> Response:
    """Turn one-time passwords off, by a code."""
    session_of(ctx)
    user_id = accounts.key(ctx.principal.id)
    await _count(accounts, caller, user_id)
    async with accounts.sessions.begin(ctx) as session:
        way = await spend_second(accounts, session, user_id, body.code)
        await _settle(accounts, session, caller, user_id, right=way is not None)
        if way is not None:
            await turn_off(accounts, session, user_id)
            await record(accounts, session, "mfa_off", caller, user_id)
    if way is None:
        raise wrong_code()
    return Response(status_code=204)


async def renew_recovery_codes(
    body: CodeSent, ctx: Context, accounts: Service, caller: From, response: Response
) -> RecoveryCodesAnswer:
    """New recovery codes instead of the old ones, by a code."""
    session_of(ctx)
    user_id = accounts.key(ctx.principal.id)
    await _count(accounts, caller, user_id)
    codes: list[str] = []
    async with accounts.sessions.begin(ctx) as session:
        way = await spend_second(accounts, session, user_id, body.code)
        await _settle(accounts, session, caller, user_id, right=way is not None)
        if way is not None:
            codes = await new_recovery_codes(accounts, session, user_id)
            await record(accounts, session, "mfa_codes", caller, user_id)
    if way is None:
        raise wrong_code()
    response.headers["cache-control"] = "no-store"
    return RecoveryCodesAnswer(data=RecoveryCodes(recovery_codes=codes))


async def second_step(
    body: SecondStep, accounts: Service, jar: Jar, caller: From, response: Response
) -> SessionAnswer:
    """Finish signing in with a code of the authenticator app, or a recovery code."""
    async with accounts.sessions.begin(caller.context) as session:
        begun = await attempt(accounts, session, body.mfa_token)
    await _count(accounts, caller, begun.user_id)
    grant: Any = None
    async with accounts.sessions.begin(caller.context) as session:
        way = await spend_second(accounts, session, begun.user_id, body.code)
        await _settle(accounts, session, caller, begun.user_id, right=way is not None)
        if way is not None:
            grant = await finish(accounts, session, begun, caller, way)
    if way is None:
        raise wrong_code()
    return SessionAnswer(data=granted(grant, body.mode, jar, response))


def wrong_code() -> Problem:
    """What whoever sends a wrong or a spent code is told."""
    return Problem("WRONG_CREDENTIALS", "The code is wrong or was used.", hint="Wait for the next code and send it.")


async def _count(accounts: Accounts, caller: Caller, user_id: Any) -> None:
    """Count an attempt before it is made.

    Raises:
        Problem: `TOO_MANY_ATTEMPTS`.
    """
    async with accounts.sessions.begin(caller.context) as session:
        for limit in await begin_attempt(session, accounts.tables, [_limit(user_id)]):
            await record(accounts, session, "lockout", caller, user_id, of=limit.what)


async def _settle(accounts: Accounts, session: Any, caller: Caller, user_id: Any, *, right: bool) -> None:
    if right:
        await succeed(session, accounts.tables, [_limit(user_id)], clear=_limit(user_id))
    else:
        await record(accounts, session, "mfa_failed", caller, user_id)


def _limit(user_id: Any) -> Limit:
    return Limit("mfa", str(user_id), FREE)
