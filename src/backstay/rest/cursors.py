"""Keyset cursors: the order values of one row, and a digest of the order they belong to.

A cursor is `base64url(json([digest, direction, values…]))`. It is not secret and not signed: it only says
where to go on, and every rule applies to what comes after.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from ..errors import ValidationError, invalid
from ..query.ir import OrderKey

#: Half a URL: a cursor that is handed out must fit the request that brings it back.
CURSOR_CHARS_MAX = 4_096


@dataclass(frozen=True, slots=True)
class Cursor:
    """Where a page starts: behind these values, or before them."""

    values: list[Any]
    backward: bool


def digest(resource: str, order: Sequence[OrderKey]) -> str:
    """What a cursor must share with the request that uses it."""
    text = "|".join([resource, *(("-" if key.descending else "") + ".".join(key.path) for key in order)])
    return hashlib.blake2b(text.encode(errors="surrogatepass"), digest_size=6).hexdigest()


def encode(order_digest: str, values: Sequence[Any], *, backward: bool) -> str:
    """The text of a cursor.

    Example:
        >>> decode(encode("ab", [1, None], backward=True), "ab")
        Cursor(values=[1, None], backward=True)

    Raises:
        ValidationError: a value of the sort order is too long for any cursor.
    """
    payload = orjson.dumps([order_digest, int(backward), *values])
    text = base64.urlsafe_b64encode(payload).rstrip(b"=").decode("ascii")
    if len(text) > CURSOR_CHARS_MAX:
        hint = "Sort by a shorter field, or use page and limit."
        raise invalid("sort", "too_long", "a row's value is too long for a cursor.", hint=hint)
    return text


def decode(text: str, order_digest: str) -> Cursor:
    """The cursor of a text.

    Raises:
        ValidationError: malformed, or made for another order.
    """
    try:
        if len(text) > CURSOR_CHARS_MAX:
            raise ValueError
        padded = text + "=" * (-len(text) % 4)
        made_for, backward, *values = orjson.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
    except (ValueError, TypeError, binascii.Error):
        raise _refusal("is malformed.") from None
    if made_for != order_digest:
        raise _refusal("was made for another sort order or resource.")
    if (
        type(backward) is not int
        or backward not in (0, 1)
        or not values
        or not all(_scalar(value) for value in values)
    ):
        raise _refusal("is malformed.")
    return Cursor(values, bool(backward))


def _scalar(value: Any) -> bool:
    return value is None or isinstance(value, (str, int, float))


def _refusal(message: str) -> ValidationError:
    return invalid("cursor", "cursor", message, hint="Use next_cursor of the last page, or start with cursor=.")
