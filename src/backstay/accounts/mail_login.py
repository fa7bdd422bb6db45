"""Sign in by a link or a code in a mail. The answer never says whether an address has an account."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import Response
from pydantic import BaseModel, Field

from ..auth.events import record
from ..auth.mail_codes import DIGITS, attempt, send
from ..auth.second_step import first_step
from ..auth.vault import random_token
from ..errors import Problem
from .bodies import Body, Email, Mode, SessionAnswer, Token
from .given import From, Jar, Service
from .signing_in import granted


class MailWanted(Body):
    """Whom to send what: a link, or a code to type in."""

    email: Email
    kind: Literal["link", "code"] = "code"


class MailOnItsWay(BaseModel):
    """A mail says what to do next, if there is anything to do. A code is good only with this `ticket`."""

    status: Literal["mail_sent"] = "mail_sent"
    ticket: str | None


class MailLogin(Body):
    """The token of a link; or the ticket and the code."""

    token: Token | None = None
    ticket: Token | None = None
    code: Annotated[str, Field(pattern=rf"^[0-9]{{{DIGITS}}}$")] | None = None
    mode: Mode = "token"


class MailTicketAnswer(BaseModel):
    """The envelope."""

    data: MailOnItsWay


async def send_login(body: MailWanted, accounts: Service, caller: From, response: Response) -> MailTicketAnswer:
    """Send a link or a code to sign in with, if the address has an account; the answer is always the same."""
    if not accounts.options.sign_in_by_mail:
        raise Problem("FORBIDDEN", "Nobody signs in by mail here.")
    accounts.post.require()
    link, ticket = body.kind == "link", random_token()
    accounts.later.start(send(accounts, body.email, ticket, link=link))
    response.headers["cache-control"] = "no-store"
    return MailTicketAnswer(data=MailOnItsWay(ticket=None if link else ticket))


async def mail_login(body: MailLogin, accounts: Service, jar: Jar, caller: From, response: Response) -> SessionAnswer:
    """Sign in with what a mail said; it is good once, and for a while."""
    if not accounts.options.sign_in_by_mail:
        raise Problem("FORBIDDEN", "Nobody signs in by mail here.")
    ticket = body.token if body.code is None else body.ticket
    async with accounts.sessions.begin(caller.context) as session:
        user_id = None if ticket is None else await attempt(accounts, session, ticket, body.code)
        if user_id is not None:
            grant = await first_step(accounts, session, user_id, caller, kind="mail")
            return SessionAnswer(data=granted(grant, body.mode, jar, response))
        await record(accounts, session, "login_failed", caller, why="mail")
    raise Problem("WRONG_CREDENTIALS", "The code is wrong, spent or too old.", hint="Ask for a new mail.")
