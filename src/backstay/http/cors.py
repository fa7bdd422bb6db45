"""Cross-origin requests of browsers: the Fetch standard's CORS protocol, for generated and custom endpoints alike.

The headers of each origin are made once; a request only picks its tuple.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import urlsplit

from ..errors import OperatorError, Problem
from .messages import Header, Request, Response

ANY = "*"
#: How long a browser may keep the answer to a preflight, in seconds; two hours is the most that browsers keep.
PREFLIGHT_S = 7_200
#: Response headers that other origins' scripts may read.
EXPOSED = (
    "Backstay-Read-After, Content-Disposition, Deprecation, ETag, Idempotency-Replayed, Link, Location,"
    " RateLimit, RateLimit-Policy, Retry-After, Server-Timing, Sunset, WWW-Authenticate, X-Request-Id"
)
_METHODS = (b"access-control-allow-methods", b"GET, HEAD, POST, PUT, PATCH, DELETE")
_REQUESTED = re.compile(rb"[A-Za-z0-9!#$%&'*+.^_`|~, -]{1,2048}")
_PORTS = {"http": 80, "https": 443}


class Cors:
    """Cross-origin requests of browsers (the Fetch standard's CORS protocol).

    Args:
        text: the origins whose pages may call, separated by commas; `*` is all of them, then without cookies.

    Raises:
        OperatorError: something that is no origin.
    """

    def __init__(self, text: str) -> None:
        origins = [part.strip() for part in text.split(",") if part.strip()]
        exposed = (b"access-control-expose-headers", EXPOSED.encode())
        self._everybody: tuple[Header, ...] | None = None
        if ANY in origins:
            if len(origins) > 1:
                raise OperatorError("BACKSTAY_CORS_ORIGINS: * stands alone, or for nobody: name the origins instead.")
            self._everybody = ((b"access-control-allow-origin", b"*"), exposed)
        self._refused: tuple[Header, ...] = ((b"vary", b"Origin"),)
        credentials = (b"access-control-allow-credentials", b"true")
        self._allowed: Mapping[bytes, tuple[Header, ...]] = {
            origin: ((b"access-control-allow-origin", origin), credentials, exposed, *self._refused)
            for origin in (_origin(given) for given in origins if given != ANY)
        }

    def headers(self, request: Request) -> tuple[Header, ...]:
        """What the answer to a request gets; an origin that may not read it gets nothing."""
        if self._everybody is not None:
            return self._everybody
        origin = request.headers.get(b"origin")
        return self._refused if origin is None else self._allowed.get(origin, self._refused)

    def preflight(self, request: Request) -> Response:
        """The answer to a browser's question before a request that a form could not send.

        Raises:
            Problem: `ORIGIN_NOT_ALLOWED`.
        """
        origin = request.headers.get(b"origin", b"")
        if self._everybody is None and origin not in self._allowed:
            shown = origin.decode("latin-1")[:120]
            raise Problem("ORIGIN_NOT_ALLOWED", f"Pages of {shown} may not call this API.")
        headers = [_METHODS, (b"access-control-max-age", b"%d" % PREFLIGHT_S)]
        wanted = request.headers.get(b"access-control-request-headers", b"")
        if _REQUESTED.fullmatch(wanted):
            headers.append((b"access-control-allow-headers", wanted))
        headers.append((b"vary", b"Access-Control-Request-Headers"))
        return Response(204, b"", headers)


def is_preflight(request: Request) -> bool:
    """Whether an OPTIONS request is a browser's preflight."""
    return b"access-control-request-method" in request.headers and b"origin" in request.headers


def _origin(text: str) -> bytes:
    """An origin as browsers send it: lower case, without the default port.

    Raises:
        OperatorError: it is none.
    """
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None
    host = parts.hostname or ""
    plain = not (parts.path or parts.query or parts.fragment or parts.username) and host.isascii() and "*" not in host
    if not parts.scheme or not host or not plain:
        raise OperatorError(f"BACKSTAY_CORS_ORIGINS: {text!r} is no origin: write https://app.example.com.")
    shown = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{shown}{'' if port in (None, _PORTS.get(parts.scheme)) else f':{port}'}".encode()
