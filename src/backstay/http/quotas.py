"""Rate limits of requests: whose they are, which one holds for a route, and what the answer says of it.

The headers are those of draft-ietf-httpapi-ratelimit-headers (revision 10): `RateLimit-Policy: "default";q=100;w=60`
and `RateLimit: "default";r=99;t=60`, where `t` is the seconds until a place comes free.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from ..context import network_of
from ..errors import Problem
from ..observe import Series
from ..stores.limits import Limiter, Verdict
from .messages import Header, Request

DEFAULT = "default"


class Quota:
    """One rate and its name.

    Args:
        name: of the default, of a resource, or the path of a custom endpoint.
    """

    __slots__ = ("_name", "_policy", "_window", "hit", "rate")

    def __init__(self, name: str, limiter: Limiter) -> None:
        self.rate = limiter.rate
        self._window = limiter.rate.seconds
        self.hit: Callable[[str], Verdict | Awaitable[Verdict]] = limiter.hit
        quoted = name.replace("\\", "\\\\").replace('"', '\\"').encode("ascii", "replace")
        self._name = b'"%b";r=%%d;t=%%d' % quoted.replace(b"%", b"%%")
        policy = b'"%b";q=%d;w=%d' % (quoted, self.rate.count, self.rate.seconds)
        self._policy: Header = (b"ratelimit-policy", policy)

    def headers(self, verdict: Verdict) -> tuple[Header, Header]:
        """What an answer says of the limit."""
        left, wait = verdict
        if wait > self._window:
            wait = self._window
        return (b"ratelimit", self._name % (left if left > 0 else 0, wait)), self._policy

    def refusal(self, verdict: Verdict) -> Problem:
        """The problem of one request too many."""
        wait = verdict[1]
        detail = f"At most {self.rate} are answered; {wait} s from now there is a place again."
        return Problem("RATE_LIMITED", detail, headers=(("retry-after", str(wait)),))


class Quotas:
    """Which quota a request counts against: its route's own, else the default.

    Args:
        default: of all routes that have none of their own; `None` for no limit.
        routes: those that have, by their series; `None` for routes that are never limited.
        custom: that of a request that a custom endpoint answers.
    """

    def __init__(
        self,
        default: Quota | None,
        routes: Mapping[Series, Quota | None],
        custom: Callable[[Request], Quota | None] | None = None,
    ) -> None:
        self.default = default
        self.routes = routes
        self.custom = custom

    async def count(self, request: Request, series: Series) -> None:
        """Count one more request, of a route, that another one stands for; its answer says what is left.

        Raises:
            Problem: `RATE_LIMITED`.
        """
        quota = self.routes.get(series, self.default)
        if quota is None:
            return
        found = quota.hit(request.context.principal.counted or address_of(request.context.ip))
        verdict = found if isinstance(found, tuple) else await found
        request.quota = quota.headers(verdict)
        if verdict[0] < 0:
            raise quota.refusal(verdict)


#: No limits at all.
UNLIMITED = Quotas(None, {})


def address_of(ip: str) -> str:
    """Whom the requests of somebody unknown count for: the address, or the subscriber's network of IPv6."""
    return f"ip:{network_of(ip)}" if ":" in ip else f"ip:{ip}"
