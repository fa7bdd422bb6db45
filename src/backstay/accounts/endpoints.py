"""The table of the endpoints of accounts, below `{base_path}/auth`: ordinary FastAPI routes."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from ..errors import CODES
from ..http.custom import CustomEndpoints
from ..schema.model import Column
from . import by_mail, impersonating, keys, mail_login, mfa, mine, oauth, passkeys, signing_in, token
from .bodies import Registration, registration_of

_CALLBACK = "OAUTH_FAILED FORBIDDEN NOT_FOUND CONFLICT PROVIDER_UNAVAILABLE"
_PROVED = "UNAUTHENTICATED WRONG_CREDENTIALS FORBIDDEN CSRF_FAILED TOO_MANY_ATTEMPTS"
Function = Callable[..., Any]
#: The refusals of what asks for the password again.
_CONFIRMED = "UNAUTHENTICATED WRONG_CREDENTIALS CSRF_FAILED TOO_MANY_ATTEMPTS"
#: Method, path, function, status of success, and the codes of its refusals.
_TABLE: tuple[tuple[str, str, Function, int, str], ...] = (
    ("POST", "register", signing_in.register, 201, "FORBIDDEN CONFLICT MAIL_UNAVAILABLE"),
    ("POST", "login", signing_in.login, 200, "WRONG_CREDENTIALS EMAIL_UNVERIFIED TOO_MANY_ATTEMPTS"),
    ("POST", "refresh", signing_in.renew, 200, "INVALID_TOKEN CSRF_FAILED"),
    ("POST", "logout", signing_in.logout, 204, "INVALID_TOKEN CSRF_FAILED"),
    ("POST", "logout-all", mine.logout_all, 204, "UNAUTHENTICATED CSRF_FAILED"),
    ("GET", "me", mine.me, 200, "UNAUTHENTICATED"),
    ("POST", "me/delete", mine.delete_me, 204, _CONFIRMED),
    ("GET", "sessions", mine.list_sessions, 200, "UNAUTHENTICATED"),
    ("DELETE", "sessions/{number:int}", mine.end_session, 204, "UNAUTHENTICATED CSRF_FAILED NOT_FOUND"),
    ("POST", "password", mine.change_password, 204, _CONFIRMED),
    ("POST", "password/forgot", by_mail.forgot, 202, "MAIL_UNAVAILABLE"),
    ("POST", "password/reset", by_mail.reset, 204, ""),
    ("POST", "email", mine.change_email, 202, f"{_CONFIRMED} MAIL_UNAVAILABLE"),
    ("POST", "verify", by_mail.verify, 204, "CONFLICT"),
    ("POST", "verify/resend", by_mail.resend, 202, "MAIL_UNAVAILABLE"),
    ("POST", "keys", keys.make_api_key, 201, "UNAUTHENTICATED FORBIDDEN CSRF_FAILED"),
    ("GET", "keys", keys.list_api_keys, 200, "UNAUTHENTICATED FORBIDDEN"),
    ("POST", "token", token.client_credentials, 200, ""),
    ("GET", "oauth/{provider}", oauth.begin_provider, 303, "NOT_FOUND PROVIDER_UNAVAILABLE ADDRESS_UNKNOWN"),
    ("GET", "oauth/{provider}/callback", oauth.finish_provider, 200, _CALLBACK),
    ("POST", "oauth/{provider}/link", oauth.begin_link, 200, "UNAUTHENTICATED FORBIDDEN CSRF_FAILED NOT_FOUND"),
    ("GET", "identities", oauth.list_identities, 200, "UNAUTHENTICATED FORBIDDEN"),
    (
        "DELETE",
        "identities/{number:int}",
        oauth.unlink_identity,
        204,
        "UNAUTHENTICATED FORBIDDEN CSRF_FAILED NOT_FOUND CONFLICT",
    ),
    ("GET", "mfa", mfa.show_mfa, 200, "UNAUTHENTICATED FORBIDDEN"),
    ("POST", "mfa/totp", mfa.enrol_totp, 200, _PROVED),
    ("POST", "mfa/totp/confirm", mfa.confirm_totp, 200, _PROVED),
    ("POST", "mfa/totp/delete", mfa.remove_totp, 204, _PROVED),
    ("POST", "mfa/recovery-codes", mfa.renew_recovery_codes, 200, _PROVED),
    ("POST", "mfa/login", mfa.second_step, 200, "INVALID_TOKEN WRONG_CREDENTIALS TOO_MANY_ATTEMPTS"),
    ("POST", "mail", mail_login.send_login, 202, "FORBIDDEN MAIL_UNAVAILABLE"),
    ("POST", "mail/login", mail_login.mail_login, 200, "WRONG_CREDENTIALS FORBIDDEN"),
    ("POST", "passkeys/options", passkeys.passkey_options, 200, f"{_PROVED} ADDRESS_UNKNOWN"),
    ("POST", "passkeys", passkeys.add_passkey, 201, f"{_PROVED} CONFLICT"),
    ("GET", "passkeys", passkeys.list_passkeys, 200, "UNAUTHENTICATED FORBIDDEN"),
    ("DELETE", "passkeys/{number:int}", passkeys.remove_passkey, 204, "UNAUTHENTICATED FORBIDDEN NOT_FOUND CONFLICT"),
    ("POST", "passkeys/login/options", passkeys.passkey_login_options, 200, "ADDRESS_UNKNOWN"),
    ("POST", "passkeys/login", passkeys.passkey_login, 200, "WRONG_CREDENTIALS ADDRESS_UNKNOWN"),
    ("POST", "impersonate", impersonating.begin_impersonation, 200, "UNAUTHENTICATED FORBIDDEN NOT_FOUND"),
    ("DELETE", "impersonate", impersonating.end_impersonation, 204, "UNAUTHENTICATED FORBIDDEN"),
    ("DELETE", "keys/{number:int}", keys.revoke_api_key, 204, "UNAUTHENTICATED FORBIDDEN CSRF_FAILED NOT_FOUND"),
)


def add_endpoints(custom: CustomEndpoints, base_path: str, profile: Mapping[str, Column]) -> None:
    """Add them to the program's own.

    Args:
        profile: columns of the user model that a registration has, too.
    """
    more = {"openapi_extra": token.OPENAPI, "response_model": token.ClientToken}
    for method, path, declared, status, codes in _TABLE:
        function = _registering(registration_of(profile)) if declared is signing_in.register else declared
        options = options_of(function, status, codes)
        if function is token.client_credentials:
            options |= more
            options["responses"] |= token.REFUSALS
        custom.add(method, f"{base_path}/auth/{path}", **options)(function)


def _registering(body: type[Registration]) -> Function:
    """The endpoint that takes such a body."""

    async def register(**given: Any) -> Any:
        return await signing_in.register(**given)

    signature = inspect.signature(signing_in.register, eval_str=True)
    parameters = [p.replace(annotation=body) if p.name == "body" else p for p in signature.parameters.values()]
    register.__doc__ = signing_in.register.__doc__
    register.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    return register


def options_of(function: Function, status: int, codes: str) -> dict[str, Any]:
    """What FastAPI is told of an endpoint."""
    options: dict[str, Any] = {"status_code": status, "tags": ["auth"], "responses": _responses(codes)}
    if "UNAUTHENTICATED" in codes:
        options["openapi_extra"] = {"security": [{"bearerAuth": []}, {"sessionCookie": []}]}
    options["operation_id"] = "auth" + function.__name__.title().replace("_", "")
    return options


def _responses(codes: str) -> dict[int | str, dict[str, Any]]:
    """What FastAPI documents of the refusals."""
    found: dict[int | str, dict[str, Any]] = {}
    content = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    for code in ("VALIDATION_ERROR", "UNAVAILABLE", *codes.split()):
        entry = CODES[code]
        known = found.setdefault(entry.status, {"description": entry.title, "content": content})
        if entry.title not in known["description"]:
            known["description"] += f", or: {entry.title}"
    return found
