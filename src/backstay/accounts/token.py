"""`/auth/token`: access tokens for service clients, as RFC 6749 has it, errors too."""

from __future__ import annotations

import base64
import binascii
from typing import Any
from urllib.parse import parse_qsl, unquote_plus

from fastapi import Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from ..auth.clients import ClientRefusedError, client_token
from ..auth.events import record
from ..context import Context
from .bodies import Seconds
from .given import From, Service

_BODY_BYTES_MAX = 8_192
_FORM = "application/x-www-form-urlencoded"
_FIELDS = {
    "grant_type": {"type": "string", "const": "client_credentials"},
    **{name: {"type": "string"} for name in ("scope", "client_id", "client_secret")},
}
#: What FastAPI cannot read off the function.
OPENAPI: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {_FORM: {"schema": {"type": "object", "required": ["grant_type"], "properties": _FIELDS}}},
    }
}


_TEXT = {"type": "string", "maxLength": 256}
_ERROR = {"type": "object", "required": ["error"], "properties": {"error": _TEXT, "error_description": _TEXT}}
_PROBLEM = {"schema": {"$ref": "#/components/schemas/Problem"}}
_REFUSED = {"application/json": {"schema": _ERROR}, "application/problem+json": _PROBLEM}
#: RFC 6749 §5.2 has errors of its own; what the server refuses before it looks is a problem as everywhere.
REFUSALS: dict[int | str, dict[str, Any]] = {
    400: {"description": "The request is not one for a token", "content": _REFUSED},
    401: {"description": "Not a client, or a wrong secret", "content": _REFUSED},
}


class ClientToken(BaseModel):
    """An access token of a service client."""

    access_token: str
    token_type: str
    expires_in: Seconds
    scope: str


async def client_credentials(request: Request, ctx: Context, accounts: Service, caller: From) -> Response:
    """An access token for a service client, by its id and secret: in HTTP Basic, or in the form."""
    try:
        form = await _form(request)
        client, secret = _credentials(request.headers.get("authorization"), form)
        if "grant_type" not in form:
            raise ClientRefusedError("invalid_request", "grant_type is missing.")
        if form["grant_type"] != "client_credentials":
            raise ClientRefusedError("unsupported_grant_type", "Only client_credentials is supported.")
        async with accounts.sessions.begin(ctx) as session:
            grant = await client_token(accounts, session, caller, client, secret, form.get("scope", ""))
    except ClientRefusedError as error:
        if error.code == "invalid_client":
            async with accounts.sessions.begin(ctx) as session:
                await record(accounts, session, "client_refused", caller)
        return _refused(error)
    body = ClientToken(
        access_token=grant.access, token_type="Bearer", expires_in=grant.expires_s, scope=" ".join(grant.scopes)
    )
    return JSONResponse(body.model_dump(), headers={"cache-control": "no-store"})


async def _form(request: Request) -> dict[str, str]:
    """The form of a request, each field once (RFC 6749 §3.2)."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != _FORM:
        raise ClientRefusedError("invalid_request", f"Send {_FORM}.")
    raw = b""
    async for chunk in request.stream():
        raw += chunk
        if len(raw) > _BODY_BYTES_MAX:
            raise ClientRefusedError("invalid_request", "The form is too long.")
    try:
        pairs = parse_qsl(raw.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=20)
    except ValueError:
        raise ClientRefusedError("invalid_request", "The form is malformed.") from None
    found = {name: value for name, value in pairs if value}
    if len({name for name, _ in pairs}) != len(pairs) or any("\0" in value for value in found.values()):
        raise ClientRefusedError("invalid_request", "The form is malformed.")
    return found


def _credentials(header: str | None, form: dict[str, str]) -> tuple[str, str]:
    """The client's id and secret, given in one way only (RFC 6749 §2.3)."""
    if header is None:
        if "client_id" not in form or "client_secret" not in form:
            raise ClientRefusedError("invalid_client", "Send client_id and client_secret.")
        return form["client_id"], form["client_secret"]
    if "client_secret" in form:
        raise ClientRefusedError("invalid_request", "Send the secret in the header or in the form, not in both.")
    scheme, _, encoded = header.partition(" ")
    try:
        pair = base64.b64decode(encoded, validate=True).decode() if scheme.lower() == "basic" else ""
    except (binascii.Error, ValueError):
        pair = ""
    client, colon, secret = pair.partition(":")
    if not colon or "\0" in unquote_plus(client):
        raise ClientRefusedError("invalid_client", "Send client_id and client_secret by HTTP Basic.")
    return unquote_plus(client), unquote_plus(secret)


def _refused(error: ClientRefusedError) -> Response:
    status = 401 if error.code == "invalid_client" else 400
    headers = {"cache-control": "no-store"}
    if status == 401:
        headers["www-authenticate"] = 'Basic realm="backstay"'
    return JSONResponse({"error": error.code, "error_description": str(error)}, status, headers)
