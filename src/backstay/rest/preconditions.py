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


def versions_wanted(request: Request, resource: Resource) -> tuple[int, ...] | None:
    """The versions that a write may find; `None` when it takes the row as it is.

    Raises:
        Problem: `VALIDATION_ERROR` for too many of them, `PRECONDITION_REQUIRED` where the resource wants a
            condition, `PRECONDITION_FAILED` for one that no row can fulfil.
    """
    if request.headers.get(b"if-none-match", b"").strip() == b"*":
        raise failed(f"A row of {resource.name} is there, or none can be made at this path.")
    header = request.headers.get(b"if-match")
    if header is None:
        if resource.require_match:
            raise Problem("PRECONDITION_REQUIRED", f"Writes to {resource.name} name the version that they change.")
        return None
    if header.strip() == b"*":
        return None
    if len(header) > ETAGS_BYTES_MAX:
        raise too_many_etags("If-Match")
    tags = [tag.strip() for tag in header.split(b",")][:TAGS_MAX]
    found = [match for tag in tags if (match := _VERSION.match(tag))]
    if not found:
        raise failed("If-Match names no ETag of this row.")
    return tuple(dict.fromkeys(int(match[1]) for match in found))


def failed(detail: str, etag: bytes = b"") -> Problem:
    """What is told to a writer whose knowledge is old; `etag` is the current one."""
    headers = [("etag", etag.decode())] if etag else []
    return Problem("PRECONDITION_FAILED", detail, headers=headers)
