"""Security events: what an operator wants to know later of who signed in, failed to, or was shut out."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from .accounts import Accounts, Caller

#: Each kind, and what it means. The log has those with an exclamation mark as warnings.
KINDS = {
    "registered": "An account was made.",
    "registration_repeated": "Somebody wanted to make an account with an address that has one.",
    "login": "Somebody signed in.",
    "login_failed": "! A wrong password, or an account that is not there.",
    "lockout": "! Too many failures: an account or an address has to wait.",
    "refresh_reuse": "! A spent refresh token was sent again: its session ended.",
    "logout": "A session was ended by its user.",
    "password_change": "A password was changed.",
    "password_reset": "A password was reset by mail.",
    "email_change": "An account got another e-mail address.",
    "email_verified": "An address was proven to be its user's.",
    "role_change": "! A user got or lost a role, or a role's permissions changed.",
    "user_disabled": "! A user can no longer sign in.",
    "user_enabled": "A user can sign in again.",
    "user_deleted": "! An account was deleted.",
    "key_created": "An API key was made.",
    "key_used": "An API key was used, for the first time of the day.",
    "key_revoked": "An API key was revoked.",
    "client_created": "A service client was made.",
    "client_disabled": "A service client can no longer sign in.",
    "client_token": "A service client signed in.",
    "client_refused": "! A service client that is unknown, or has a wrong secret.",
    "identity_linked": "A provider leads to an account now.",
    "identity_unlinked": "A provider leads to an account no more.",
    "mfa_on": "! Somebody signs in in two steps from now on.",
    "mfa_off": "! Somebody signs in in one step again.",
    "mfa_codes": "Somebody has new recovery codes.",
    "mfa_failed": "! A wrong or spent code for the second step.",
    "passkey_added": "! An account can be signed in to with a new passkey.",
    "passkey_removed": "A passkey was removed.",
    "impersonation_began": "! Somebody acts in a user's name.",
    "impersonation_ended": "Somebody acts in a user's name no more.",
    "impersonation_refused": "! Somebody wanted to act for a user who may do more than they.",
    "tenant_change": "A session is used for another tenant.",
    "keys_rotated": "! The signing keys were changed.",
}


async def record(
    accounts: Accounts, session: AsyncSession, kind: str, caller: Caller, user: object = None, **details: str | int
) -> None:
    """Write a security event to the log at once, and to its table when the transaction commits.

    Args:
        user: the id of whose account it is about, if it is known.
        details: facts, never a secret.
    """
    meaning = KINDS.get(kind, "")
    level = "warning" if meaning.startswith("!") else "info"
    user_id = None if user is None else str(user)
    request_id = caller.context.request_id
    accounts.log.event(level, "security", kind=kind, user=user_id, ip=caller.ip, request_id=request_id, **details)
    row: dict[str, Any] = {"kind": kind, "user_id": user_id, "ip": caller.ip, "request_id": request_id}
    await session.execute(sa.insert(accounts.tables.events).values(row | {"details": details}))
