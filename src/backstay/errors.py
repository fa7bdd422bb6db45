"""Every error the product can answer with, as data, and the one renderer of problem details.

An error is a `Problem`: a stable code from `CODES`, a sentence, the fields at fault and a hint that names
the mend. Nothing here knows about HTTP servers; `problem_body` renders RFC 9457 JSON.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

import orjson

DOCS_URL = "https://backstay.dev/errors"
#: Bounds of what a Problem says, in characters; the contract states them. A caller's names and values are in it.
TEXT_CHARS_MAX = 4_096
NAME_CHARS_MAX = 256
INSTANCE_CHARS_MAX = 512
FIELD_ERRORS_MAX = 100


@dataclass(frozen=True, slots=True)
class ErrorCode:
    """One row of the error registry: what it means and how to mend it."""

    code: str
    status: int
    title: str
    hint: str


def _table(*rows: tuple[str, int, str, str]) -> dict[str, ErrorCode]:
    return {row[0]: ErrorCode(*row) for row in rows}


#: Grouped by the stage that refuses, in the order of the pipeline. A code is never reused.
CODES: Mapping[str, ErrorCode] = _table(
    # frame
    ("MALFORMED_REQUEST", 400, "Malformed request", "Send valid UTF-8 and percent-encoding in the URL."),
    ("UNAUTHENTICATED", 401, "Authentication required", "Send `Authorization: Bearer <token>`."),
    ("INVALID_TOKEN", 401, "Invalid token", "Sign in again and send the new token."),
    ("WRONG_CREDENTIALS", 401, "Wrong credentials", "Check the login and the password, or reset the password."),
    ("EMAIL_UNVERIFIED", 403, "E-mail address not confirmed", "Follow the link in the mail, or ask for a new one."),
    ("CSRF_FAILED", 403, "CSRF token missing or wrong", "Send the value of the CSRF cookie in X-CSRF-Token."),
    ("TOO_MANY_ATTEMPTS", 429, "Too many attempts", "Wait for the time in Retry-After, or reset the password."),
    ("MAIL_UNAVAILABLE", 503, "No mail can be sent", "Ask the operator to declare a mailer: @app.mailer."),
    ("OAUTH_FAILED", 400, "Sign-in with the provider failed", "Begin again at /auth/oauth/{provider}."),
    ("PROVIDER_UNAVAILABLE", 503, "The provider does not answer", "Try again later, or sign in another way."),
    (
        "ADDRESS_UNKNOWN",
        503,
        "The server does not know its own address",
        "The operator has to set BACKSTAY_PUBLIC_URL.",
    ),
    ("NOT_FOUND", 404, "Not found", "Check the path and the key."),
    ("VERSION_GONE", 410, "This version of the API has ended", "Use the version that the Link header names."),
    ("METHOD_NOT_ALLOWED", 405, "Method not allowed", "Use one of the methods in the Allow header."),
    ("NOT_ACCEPTABLE", 406, "Not acceptable", "Accept application/json."),
    ("REQUEST_TIMEOUT", 408, "Request timeout", "Send the whole body without pauses."),
    ("PAYLOAD_TOO_LARGE", 413, "Payload too large", "Send a smaller body, or several requests."),
    ("URI_TOO_LONG", 414, "URI too long", "Shorten the query string."),
    ("UNSUPPORTED_MEDIA_TYPE", 415, "Unsupported media type", "Send Content-Type: application/json."),
    ("ORIGIN_NOT_ALLOWED", 403, "Origin not allowed", "Add the page's origin to BACKSTAY_CORS_ORIGINS."),
    ("RATE_LIMITED", 429, "Too many requests", "Wait for the seconds in Retry-After."),
    ("HEADERS_TOO_LARGE", 431, "Request header fields too large", "Send fewer or smaller headers."),
    ("DEADLINE_EXCEEDED", 503, "The request took too long", "Ask for less, or try again later."),
    # front ends
    ("MALFORMED_JSON", 400, "Malformed JSON", "Send one JSON object, UTF-8, without a byte order mark."),
    ("VALIDATION_ERROR", 400, "Invalid input", "Mend the fields listed in errors."),
    # planner
    ("FORBIDDEN", 403, "Forbidden", "Ask for the role or scope that the resource's rule names."),
    ("INSUFFICIENT_SCOPE", 403, "Insufficient scope", "Use a key or token with the scope that detail names."),
    ("TENANT_REQUIRED", 403, "Tenant required", "Choose a tenant: sign in to one, or send the tenant header."),
    ("READ_ONLY", 405, "Read only", "The table has no usable key or is a view: write to its base table."),
    # engine
    ("HISTORY_PRUNED", 410, "Older than the change log", "Ask for an instant from the one on that detail names."),
    ("CONFLICT", 409, "Conflict", "Another row already has these values: change them or update that row."),
    ("STILL_REFERENCED", 409, "Still referenced", "Delete or move the rows that refer to this one first."),
    ("PRECONDITION_FAILED", 412, "Precondition failed", "Read the row again and retry with its new ETag."),
    (
        "PRECONDITION_REQUIRED",
        428,
        "Precondition required",
        "Send If-Match with the ETag of the row as you read it.",
    ),
    (
        "IDEMPOTENCY_KEY_REUSED",
        422,
        "Idempotency-Key used for another request",
        "Make a new key for each request; send the same again only to repeat it.",
    ),
    (
        "IDEMPOTENCY_IN_PROGRESS",
        409,
        "The request is in progress",
        "Repeat it after the seconds in Retry-After.",
    ),
    ("RESULT_TOO_LARGE", 400, "Result too large", "Ask for fewer rows, fields or includes."),
    ("QUERY_TIMEOUT", 503, "The query took too long", "Filter by an indexed field, or ask for less."),
    ("UNAVAILABLE", 503, "Temporarily unavailable", "Try again after the time in Retry-After."),
    ("GATEWAY_TIMEOUT", 504, "Upstream timed out", "Try again later."),
    ("INTERNAL", 500, "Internal error", "Report the request id: the log has the cause."),
)


@dataclass(frozen=True, slots=True)
class FieldError:
    """What is wrong with one field of the input."""

    field: str
    code: str
    message: str


class Problem(Exception):  # noqa: N818 - the RFC's own word
    """A refusal or failure that a caller may see.

    Args:
        code: a key of `CODES`; it decides the status, title and default hint.
        detail: one sentence about this occurrence, without internals.
        errors: every field at fault, all at once.
        hint: what to do; computed where possible, else the code's own.
        headers: extra response headers, such as `Allow` or `Retry-After`.

    Example:
        >>> Problem("NOT_FOUND", "No game has the key 'tetris'.").status
        404
    """

    def __init__(
        self,
        code: str,
        detail: str = "",
        *,
        errors: Iterable[FieldError] = (),
        hint: str = "",
        headers: Iterable[tuple[str, str]] = (),
    ) -> None:
        entry = CODES[code]
        super().__init__(detail or entry.title)
        self.code = code
        self.status = entry.status
        self.title = entry.title
        self.detail = detail or entry.title + "."
        self.errors = tuple(errors)
        self.hint = hint or entry.hint
        self.headers = tuple(headers)


class ValidationError(Problem):
    """Input that breaks its contract: 400 with every field error at once."""

    def __init__(self, errors: Iterable[FieldError], *, hint: str = "") -> None:
        errors = tuple(errors)
        more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
        first = next(iter(errors))
        super().__init__("VALIDATION_ERROR", f"{first.field}: {first.message}{more}", errors=errors, hint=hint)


class NotFoundError(Problem):
    """No such row, or one that the principal may not see: 404 says the same of both."""

    def __init__(self, resource: str, key: object) -> None:
        super().__init__("NOT_FOUND", f"No row of {resource} has the key {str(key)[:80]!r}.")
        self.resource = resource
        self.key = key


class ForbiddenError(Problem):
    """The principal may not do this: 401 when it is anonymous, else 403."""

    def __init__(self, action: str, resource: str, *, anonymous: bool) -> None:
        if anonymous:
            headers = (("www-authenticate", "Bearer"),)
            super().__init__("UNAUTHENTICATED", f"Sign in to {action} {resource}.", headers=headers)
        else:
            super().__init__("FORBIDDEN", f"You may not {action} {resource}.")


class OperatorError(Exception):
    """A mistake of whoever runs the backend: one line that names the mend, never a traceback."""


def invalid(field: str, code: str, message: str, *, hint: str = "") -> ValidationError:
    """A `ValidationError` about one field."""
    return ValidationError((FieldError(field, code, message),), hint=hint)


def perhaps(word: str, choices: Iterable[str], *, noun: str = "one") -> str:
    """A hint computed from what exists: the nearest names, else the first few.

    Example:
        >>> perhaps("usernme", ["id", "username"])
        "Perhaps you meant 'username'."
    """
    known = sorted(choices)
    near = difflib.get_close_matches(word, known, n=3, cutoff=0.6)
    if near:
        return "Perhaps you meant " + " or ".join(repr(name) for name in near) + "."
    if not known:
        return ""
    return f"Known {noun}s: {', '.join(known[:12])}{', …' if len(known) > 12 else ''}."


Json = dict[str, Any]


def problem_body(problem: Problem, *, instance: str, request_id: str, success_flag: bool = False) -> bytes:
    """RFC 9457 problem details of one failure, as JSON bytes."""
    body: Json = {"success": False} if success_flag else {}
    body |= {
        "type": f"{DOCS_URL}#{problem.code.lower()}",
        "title": problem.title,
        "status": problem.status,
        "detail": problem.detail[:TEXT_CHARS_MAX],
        "instance": instance[:INSTANCE_CHARS_MAX],
        "code": problem.code,
        "errors": [_field_body(error) for error in problem.errors[:FIELD_ERRORS_MAX]],
        "hint": problem.hint[:TEXT_CHARS_MAX],
        "request_id": request_id,
        "timestamp": datetime.now(UTC).isoformat(timespec="microseconds"),
    }
    return orjson.dumps(body, default=str)


def _field_body(error: FieldError) -> Json:
    name, code = error.field[:NAME_CHARS_MAX], error.code[:NAME_CHARS_MAX]
    return {"field": name, "code": code, "message": error.message[:TEXT_CHARS_MAX]}


Action = Literal["read", "create", "update", "delete"]
