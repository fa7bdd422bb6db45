"""Rows that a path makes: `PUT /{resource}/{key}` with `If-None-Match: *`, where the caller chooses the key."""

from __future__ import annotations

import math
import re
from collections.abc import Awaitable, Callable, Container, Mapping, Sequence
from typing import Any

from ..errors import FieldError, Problem, ValidationError
from ..http.messages import Request, Response
from ..query.payload import writable_columns
from ..schema.model import Column, Kind
from ..schema.policy import nobody
from ..schema.resource import Resource

_INTEGER = re.compile(r"-?[0-9]{1,19}\Z", re.ASCII)


def makes_rows(resource: Resource, settable: Container[str] | None = None) -> bool:
    """Whether a path can make a row: every part of the key is the caller's to set.

    Args:
        settable: the fields that a principal may set; by default all that anybody may.
    """
    if not resource.writable or resource.policy.create is nobody:
        return False
    known = writable_columns(resource) if settable is None else settable
    return all(column.name in known for column in resource.key)


def key_members(resource: Resource, key: Sequence[str]) -> dict[str, Any]:
    """The key of a path as the members that a body would have for it."""
    return {column.name: _json_of(column, text) for column, text in zip(resource.key, key, strict=True)}


def check_repeated(body: Mapping[str, Any], key: Mapping[str, Any]) -> None:
    """A body may repeat the key of its path (RFC 9110 §9.3.4).

    Raises:
        Problem: `CONFLICT` where it names another.
    """
    errors = [FieldError(n, "read_only", "is set by the path.") for n in key if n in body and body[n] != key[n]]
    if errors:
        hint = "Name the key of the path, or leave it out."
        raise Problem("CONFLICT", "The body has another key than the path.", errors=errors, hint=hint)


def unfit_key(error: ValidationError, resource: Resource) -> Problem:
    """That no row can have the key, where nothing else is at fault."""
    names = {column.name for column in resource.key}
    if not all(e.field in names for e in error.errors):
        return error
    return Problem("NOT_FOUND", f"No row of {resource.name} can have this key.", errors=error.errors)


async def current_etag(get: Callable[[Request], Response | Awaitable[Response]], request: Request) -> bytes:
    """The validator of the row that the principal sees at the path; empty where there is none."""
    try:
        found = get(request)
        response = found if isinstance(found, Response) else await found
    except Problem:
        return b""
    return dict(response.headers).get(b"etag", b"")


def _json_of(column: Column, text: str) -> Any:
    """A key's text in the JSON form of its kind; what is not of that kind stays text, which the contract refuses."""
    if column.kind is Kind.INTEGER and _INTEGER.match(text):
        return int(text)
    if column.kind is Kind.BOOLEAN:
        return {"true": True, "false": False}.get(text, text)
    if column.kind is Kind.FLOAT:
        try:
            number = float(text)
        except ValueError:
            return text
        return number if math.isfinite(number) else text
    return text
