"""Conditions on writes (RFC 9110 §13.1): a row is changed only as its writer knew it.

A validator begins with the row's version, and the version is what the write's own statement compares: of two writers
who know the same one, one wins. The digest behind it is of a representation, and others have other digests.
"""

from __future__ import annotations

import re

from ..errors import Problem
from ..http.messages import Request
from ..schema.resource import Resource
from .replies import ETAGS_BYTES_MAX, too_many_etags

_VERSION = re.compile(rb'"([0-9]{1,18})-[0-9a-f]{32}"\Z')
#: Validators that one header may name.
TAGS_MAX = 16
#: No row has it: they count from 1.
NEVER = (-1,)


def versions_wanted(request: Request, resource: Resource) -> tuple[int, ...] | None:
    """The versions that a write may find; `None` when it takes the row as it is.

    `NEVER` where no row can fulfil the condition, or where there is none and the resource wants one. Who may not
    write the row is told that first, as without a condition (RFC 9110 §13.2.1).

    Raises:
        Problem: `VALIDATION_ERROR` for too many of them.
    """
    if create_only(request):
        return NEVER
    header = request.headers.get(b"if-match")
    if header is None:
        return NEVER if resource.require_match else None
    if header.strip() == b"*":
        return None
    if len(header) > ETAGS_BYTES_MAX:
        raise too_many_etags("If-Match")
    tags = [tag.strip() for tag in header.split(b",")][:TAGS_MAX]
    found = [match for tag in tags if (match := _VERSION.match(tag))]
    return tuple(dict.fromkeys(int(match[1]) for match in found)) or NEVER


def create_only(request: Request) -> bool:
    """Whether a write is wanted only where there is no row (RFC 9110 §13.1.2)."""
    return request.headers.get(b"if-none-match", b"").strip() == b"*"


def unmet(request: Request, resource: Resource, etag: bytes) -> Problem:
    """What is told to who may write the row, whose current validator is `etag`."""
    if create_only(request):
        detail = f"A row of {resource.name} is there."
    elif b"if-match" not in request.headers:
        return Problem("PRECONDITION_REQUIRED", f"Writes to {resource.name} name the version that they change.")
    else:
        detail = f"This row of {resource.name} has been changed since, or was never so."
    return Problem("PRECONDITION_FAILED", detail, headers=[("etag", etag.decode())])
