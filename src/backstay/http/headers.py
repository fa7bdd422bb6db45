"""Headers that every response gets: of its request, of its caller's quota, and what protects it in a browser."""

from __future__ import annotations

import time

from ..config import Config
from .consistency import position_headers
from .cors import Cors
from .messages import Header, Page, Request, Response, Streamed

NO_SNIFF: Header = (b"x-content-type-options", b"nosniff")
HSTS: Header = (b"strict-transport-security", b"max-age=31536000; includeSubDomains")
#: Answers are data: a browser that is made to show one as a page finds nothing that it may load or run.
DATA_POLICY: Header = (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'")
#: The web server's name and version are nobody's business.
_COMMON: tuple[Header, ...] = (
    NO_SNIFF,
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"server", b"api"),
)
_DATA = (*_COMMON, DATA_POLICY)
_PAGE: tuple[Header, ...] = (*_COMMON, (b"cross-origin-opener-policy", b"same-origin"))
_NO_STORE: Header = (b"cache-control", b"no-store")
#: What only this caller may see: a browser may keep it, and asks whether it still holds.
_VALIDATED: Header = (b"cache-control", b"private, no-cache")


class Outgoing:
    """Adds them.

    Raises:
        OperatorError: see `Cors`.
    """

    def __init__(self, config: Config) -> None:
        self.cors = Cors(config.cors_origins) if config.cors_origins else None

    def finish(self, response: Response, request: Request, seconds: float) -> None:
        """Complete a response of ours, which has none of them yet.

        Args:
            seconds: since the request came.
        """
        context = request.context
        out = response.headers
        if not context.principal.is_anonymous:
            _keep(out)
        database_ms = context.database_s * 1000
        spent = (database_ms, seconds * 1000 - database_ms, context.statements)
        out += _DATA if type(response) is not Page else _PAGE
        if type(response) is not Streamed:
            out.append((b"content-length", b"%d" % len(response.body)))
        out += (
            (b"x-request-id", context.request_id.encode()),
            (b"server-timing", b'db;dur=%.3f, app;dur=%.3f, statements;desc="%d"' % spent),
        )
        self._add(out, request)

    def joined(self, given: list[Header], request: Request) -> list[Header]:
        """The headers of a custom endpoint's response, and those that it does not set itself."""
        context = request.context
        spent = (time.monotonic() - request.started) * 1000
        out = [(bytes(name).lower(), bytes(value)) for name, value in given]
        names = {name for name, _ in out}
        if not context.principal.is_anonymous:
            _keep(out)
        out += [header for header in _DATA if header[0] not in names]
        out += (
            (b"x-request-id", context.request_id.encode()),
            (b"server-timing", b'app;dur=%.3f, statements;desc="%d"' % (spent, context.statements)),
        )
        self._add(out, request)
        return out

    def _add(self, out: list[Header], request: Request) -> None:
        """What depends on the request alone."""
        if request.quota is not None:
            out += request.quota
        if request.notices is not None:
            out += request.notices
        if self.cors is not None:
            out += self.cors.headers(request)
        context = request.context
        if context.wrote:
            out += position_headers(context.wrote)
        if context.scheme == "https":
            out.append(HSTS)


def _keep(out: list[Header]) -> None:
    """Say whether an answer to somebody signed in may be kept, where it does not say so itself."""
    found = _NO_STORE
    for name, _ in out:
        if name == b"etag":
            found = _VALIDATED
        elif name == b"cache-control":
            return
    out.append(found)
