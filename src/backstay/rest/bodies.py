"""What the body of a write is sent as, and the object in it."""

from __future__ import annotations

from ..errors import Problem
from ..query.objects import parse_object

__all__ = ["check_media_type", "parse_object"]


def check_media_type(header: bytes | None) -> None:
    """Only JSON, in UTF-8.

    Raises:
        Problem: `UNSUPPORTED_MEDIA_TYPE`.
    """
    if header == b"application/json":
        return
    media, _, parameters = (header or b"").lower().partition(b";")
    media = media.strip()
    named = media == b"application/json" or (media.startswith(b"application/") and media.endswith(b"+json"))
    charset = parameters.replace(b" ", b"").replace(b'"', b"")
    if not named or (b"charset=" in charset and b"charset=utf-8" not in charset):
        shown = (header or b"none").decode("latin-1")[:80]
        raise Problem("UNSUPPORTED_MEDIA_TYPE", f"The body's Content-Type is {shown}.")
