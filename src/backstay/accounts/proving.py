"""Before somebody changes how they sign in, they prove once more who they are."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import sqlalchemy as sa

from ..auth.accounts import Accounts, Caller
from ..errors import Problem
from ..schema.base import utc_now
from .given import me_of, session_of
from .mine import confirmed

#: Who has no password must have signed in so lately.
FRESH_S = 600


async def prove(accounts: Accounts, caller: Caller, password: str | None) -> Any:
    """The user who sends a request, by their password; by a fresh session for who has none.

    Raises:
        Problem: `UNAUTHENTICATED`, `WRONG_CREDENTIALS` or `TOO_MANY_ATTEMPTS`.
    """
    context, sessions = caller.context, accounts.tables.sessions
    number = session_of(context)
    async with accounts.sessions.open(context) as session:
        user = await me_of(accounts, session, context)
        began = await session.scalar(sa.select(sessions.c.created_at).where(sessions.c.id == number))
    if user.password_hash is not None:
        return await confirmed(accounts, caller, password or "")
    if began is None or began < utc_now() - timedelta(seconds=FRESH_S):
        raise Problem("UNAUTHENTICATED", "Sign in again first: you have no password to confirm this with.")
    return user
