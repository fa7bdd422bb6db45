"""Older versions of the API at work: their routes, what their answers say of their end, and who still uses them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from email.utils import format_datetime
from urllib.parse import quote

from ..errors import Problem
from ..http.frame import Handler
from ..http.messages import Header, Request
from ..http.quotas import address_of
from ..observe import Log, Series, Usage
from ..schema.resource import Catalog
from ..schema.versions import Version
from .routes import Routes

Found = tuple[Handler, Series] | None
#: What a Link target may have as it is (RFC 3986's pchar and slash, and the percent of what is encoded).
_SAFE = "/%-._~!$&'()*+,;=:@"


def lifecycle(version: Version) -> tuple[Header, ...]:
    """The headers that say since when a version is deprecated (RFC 9745), when it ends (RFC 8594), and what to do."""
    found: list[Header] = []
    if version.deprecated_at is not None:
        found.append((b"deprecation", b"@%d" % int(version.deprecated_at.timestamp())))
    if version.sunset_at is not None:
        found.append((b"sunset", format_datetime(version.sunset_at.astimezone(UTC), usegmt=True).encode()))
    if version.guide:
        found.append((b"link", f'<{version.guide}>; rel="deprecation"; type="text/html"'.encode()))
    return tuple(found)


class Successor:
    """Finds the path of a resource in the version that comes next (RFC 5829, `successor-version`).

    Args:
        base, catalog: the path prefix and the names of the older one.
        next_base, next_catalog: those of the next.
    """

    def __init__(self, base: str, catalog: Catalog, next_base: str, next_catalog: Catalog) -> None:
        self._start = len(base) + 1
        self._next = next_base
        by_origin = {resource.origin: resource for resource in next_catalog.resources.values()}
        self._names: dict[str, tuple[str, Mapping[str, str]]] = {}
        for name, resource in catalog.resources.items():
            found = by_origin.get(resource.origin)
            if found is not None:
                ways = {id(way.pairs): there for there, way in found.relationships.items()}
                known = {n: ways[id(way.pairs)] for n, way in resource.relationships.items() if id(way.pairs) in ways}
                self._names[quote(name)] = (quote(found.name), known)

    def of(self, path: bytes) -> Header | None:
        """The Link header of a request's path; `None` where nothing succeeds it."""
        name, *rest = path[self._start :].decode("ascii", "replace").split("/")
        found = self._names.get(name)
        if found is None:
            return None
        there, ways = found
        if len(rest) > 1:
            rest[1] = ways.get(rest[1], rest[1])
        target = quote("/".join([self._next, there, *rest]), safe=_SAFE)
        return b"link", f'<{target}>; rel="successor-version"'.encode()


class Older:
    """One older version.

    Args:
        prefix: its path, with a slash at the end.
        log: told who uses it.
        clock: the time now.
    """

    def __init__(
        self,
        version: Version,
        prefix: bytes,
        routes: Routes,
        successor: Successor,
        *,
        usage: Usage,
        log: Log,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.version = version
        self.prefix = prefix
        self.routes = routes
        self._headers = lifecycle(version)
        self._successor = successor
        self._usage = usage
        self.log = log
        self._clock = clock

    def find(self, request: Request) -> Found:
        """The endpoint of a request, as `Routes.find`; it is counted, whatever becomes of it.

        Raises:
            Problem: `VERSION_GONE` after its end, and what `Routes.find` raises.
        """
        following = self._successor.of(request.path)
        request.notices = self._headers if following is None else (*self._headers, following)
        context = request.context
        due = self._usage.add(context.principal.counted or address_of(context.ip))
        if due:
            self._tell(due)
        version = self.version
        if version.gone_after_sunset and version.sunset_at is not None and self._clock() >= version.sunset_at:
            raise Problem("VERSION_GONE", f"Version {version.name} of the API ended on {version.sunset_at:%Y-%m-%d}.")
        return self.routes.find(request)

    def report(self) -> None:
        """Say in the log who used it how often since the last time."""
        self._tell(self._usage.unreported())

    def _tell(self, due: Mapping[str, int]) -> None:
        for caller, requests in due.items():
            self.log.event("warning", "version_used", version=self.version.name, caller=caller, requests=requests)


class Versions:
    """The routes of the current version and of older ones; an app that has no older one needs none of this."""

    def __init__(self, current: Routes, older: Sequence[Older]) -> None:
        self.current = current
        self.older = older

    def find(self, request: Request) -> Found:
        """See `Routes.find`."""
        for older in self.older:
            if request.path.startswith(older.prefix):
                return older.find(request)
        return self.current.find(request)

    @property
    def find_any(self) -> Callable[[Request], Found]:
        """The quickest way to find a request's endpoint."""
        return self.find if self.older else self.current.find

    def missing(self, request: Request) -> Problem:
        """See `Routes.missing`."""
        for older in self.older:
            if request.path.startswith(older.prefix):
                return older.routes.missing(request)
        return self.current.missing(request)

    def report(self) -> None:
        """Say in the log what it does not say yet."""
        for older in self.older:
            older.report()
