"""The table of the endpoints of accounts, below `{base_path}/auth`: ordinary FastAPI routes."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from ..errors import CODES
from ..http.custom import CustomEndpoints
from ..schema.model import Column
from . import by_mail, mine, signing_in
from .bodies import Registration, registration_of

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
    ("DELETE", "sessions/{number}", mine.end_session, 204, "UNAUTHENTICATED CSRF_FAILED NOT_FOUND"),
    ("POST", "password", mine.change_password, 204, _CONFIRMED),
    ("POST", "password/forgot", by_mail.forgot, 202, "MAIL_UNAVAILABLE"),
    ("POST", "password/reset", by_mail.reset, 204, ""),
    ("POST", "email", mine.change_email, 202, f"{_CONFIRMED} MAIL_UNAVAILABLE"),
    ("POST", "verify", by_mail.verify, 204, "CONFLICT"),
    ("POST", "verify/resend", by_mail.resend, 202, "MAIL_UNAVAILABLE"),
)


def add_endpoints(custom: CustomEndpoints, base_path: str, profile: Mapping[str, Column]) -> None:
    """Add them to the program's own.

    Args:
        profile: columns of the user model that a registration has, too.
    """
    for method, path, declared, status, codes in _TABLE:
        function = _registering(registration_of(profile)) if declared is signing_in.register else declared
        options: dict[str, Any] = {"status_code": status, "tags": ["auth"], "responses": responses(codes)}
        if "UNAUTHENTICATED" in codes:
            options["openapi_extra"] = {"security": [{"bearerAuth": []}, {"sessionCookie": []}]}
        options["operation_id"] = "auth" + function.__name__.title().replace("_", "")
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


def responses(codes: str) -> dict[int | str, dict[str, Any]]:
    """What FastAPI documents of the refusals."""
    found: dict[int | str, dict[str, Any]] = {}
    content = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    for code in ("VALIDATION_ERROR", "UNAVAILABLE", *codes.split()):
        entry = CODES[code]
        known = found.setdefault(entry.status, {"description": entry.title, "content": content})
        if entry.title not in known["description"]:
            known["description"] += f", or: {entry.title}"
    return found
