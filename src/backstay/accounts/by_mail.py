"""What goes by mail: proving an address, and a new password for who forgot it."""

from __future__ import annotations

from typing import Any

from fastapi import Response
from sqlalchemy.exc import IntegrityError

from ..auth.accounts import Accounts, Caller
from ..auth.attempts import Limit, begin_attempt, forget
from ..auth.codes import make_code, spend_code, void_codes
from ..auth.events import record
from ..auth.people import end_sessions_of, sign_in_facts
from ..auth.weak import check_password
from ..errors import FieldError, Problem
from ..schema.base import utc_now
from .bodies import Address, Code, MailAnswer, MailSent, Reset
from .given import From, Service, limits_of

#: Mails to one address that nobody has to wait for.
MAILS_FREE = 3


async def forgot(body: Address, accounts: Service, caller: From) -> MailAnswer:
    """Send a code to choose a new password with, if the address has an account; the answer is always the same."""
    accounts.post.require()
    accounts.later.start(_send(accounts, "reset", body.email))
    return MailAnswer(data=MailSent())


async def resend(body: Address, accounts: Service, caller: From) -> MailAnswer:
    """Send the code that proves an address again, if it is still unproven; the answer is always the same."""
    accounts.post.require()
    accounts.later.start(_send(accounts, "verify", body.email))
    return MailAnswer(data=MailSent())


async def _send(accounts: Accounts, purpose: str, email: str) -> None:
    """Send a code to who has an account; not too many."""
    async with accounts.sessions.begin() as session:
        user = await sign_in_facts(accounts, session, email)
        if user is None or user.gone_at is not None:
            return
        if purpose == "verify" and user.email_verified_at is not None:
            return
        try:
            await begin_attempt(session, accounts.tables, [Limit(f"mail:{purpose}", email, MAILS_FREE)])
        except Problem:
            await session.rollback()
            return
        token = await make_code(session, accounts.tables, purpose, user.id, target=email)
    accounts.post.send_code(purpose, email, token)


async def verify(body: Code, accounts: Service, caller: From) -> Response:
    """Prove an address with the code that was sent to it."""
    try:
        async with accounts.sessions.begin(caller.context) as session:
            spent = await spend_code(session, accounts.tables, ("verify", "email"), body.token)
            user: Any = await session.get(accounts.user, spent.user_id)
            old = user.email
            user.email, user.email_verified_at = spent.target, utc_now()
            await record(accounts, session, "email_verified", caller, spent.user_id)
            if spent.purpose == "email":
                await record(accounts, session, "email_change", caller, spent.user_id)
    except IntegrityError:
        errors = [FieldError("email", "unique", "has an account of its own by now.")]
        raise Problem("CONFLICT", "The address has an account of its own.", errors=errors) from None
    if spent.purpose == "email":
        accounts.post.send_notice("email_changed", old)
    return Response(status_code=204)


async def reset(body: Reset, accounts: Service, caller: From) -> Response:
    """Choose a new password with a code from a mail; every session ends."""
    await check_password(body.password, breached=accounts.options.breached)
    kept = await accounts.passwords.hash(body.password)
    async with accounts.sessions.begin(caller.context) as session:
        spent = await spend_code(session, accounts.tables, ("reset",), body.token)
        user: Any = await session.get(accounts.user, spent.user_id)
        await check_password(body.password, names=(user.email, user.username))
        user.password_hash = kept
        if user.email == spent.target:
            user.email_verified_at = user.email_verified_at or utc_now()
        await changed(accounts, session, caller, user)
        await record(accounts, session, "password_reset", caller, spent.user_id)
    return Response(status_code=204)


async def changed(accounts: Accounts, session: Any, caller: Caller, user: Any, *, but: int = 0) -> None:
    """What follows a new password: other sessions end, waits too, codes are void, and its owner hears of it."""
    tables = accounts.tables
    await void_codes(session, tables, "reset", accounts.id_of(user))
    await end_sessions_of(accounts, session, accounts.id_of(user), but=but)
    for login in (user.email, user.username):
        if login is not None:
            await forget(session, tables, limits_of(login, caller)[0])
    accounts.post.send_notice("password_changed", user.email)
