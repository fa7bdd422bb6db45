"""Read-your-writes across replicas: the position that a write answers with and a later read brings back.

It travels in a header for programs and in a cookie for browsers. A position is PostgreSQL's LSN; whoever sends
something else is served by the primary, which shows everything.
"""

from __future__ import annotations

from collections.abc import Mapping

from .messages import Header

HEADER = b"backstay-read-after"
COOKIE = b"backstay_read_after"
#: Replicas are seconds behind at most; a browser need not keep it longer.
COOKIE_S = 60
#: No replica ever gets here.
PRIMARY = 2**64


def read_after(headers: Mapping[bytes, bytes]) -> int:
    """The position that a request has to see; 0 when it asks for none.

    Example:
        >>> read_after({b"backstay-read-after": b"1/16"})
        4294967318
    """
    found = headers.get(HEADER)
    if found is None:
        cookies = headers.get(b"cookie")
        if cookies is None or COOKIE not in cookies:
            return 0
        pairs = (part.strip().partition(b"=") for part in cookies.split(b";"))
        found = next((value for name, _, value in pairs if name == COOKIE), b"")
    high, _, low = found.partition(b"/")
    try:
        return (int(high, 16) << 32) + int(low, 16)
    except ValueError:
        return PRIMARY


def position_headers(position: int) -> list[Header]:
    """What a write answers with."""
    text = b"%X/%X" % (position >> 32, position & 0xFFFFFFFF)
    cookie = b"%b=%b; Path=/; Max-Age=%d; HttpOnly; SameSite=Lax" % (COOKIE, text, COOKIE_S)
    return [(HEADER, text), (b"set-cookie", cookie)]
