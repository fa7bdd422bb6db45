"""Which tenant a request is for: what its header says, else its subdomain, else its session."""

from __future__ import annotations

from collections.abc import Awaitable
from dataclasses import replace
from urllib.parse import urlsplit

from ..auth.tenancy import Tenancy, no_tenant
from ..config import Config
from ..context import Principal
from ..http.messages import Request
from .credentials import Credentials

HEADER = "x-tenant"
_HEADER = HEADER.encode()


class TenantChoice:
    """Finds who sends a request, as a member of the tenant that it is for.

    A tenant that is named and not theirs is refused, except below /auth, where people sign in and out wherever they
    are. That of a session which is theirs no more is no tenant.
    """

    def __init__(
        self, credentials: Credentials, tenancy: Tenancy, config: Config, base_paths: tuple[str, ...]
    ) -> None:
        self._credentials = credentials
        self._tenancy = tenancy
        self._by_header = "header" in tenancy.declared.by
        self._by_token = "token" in tenancy.declared.by
        self._by_subdomain = "subdomain" in tenancy.declared.by
        self._visitors = tenancy.declared.visitors
        self._domain = b"." + (urlsplit(config.public_url).hostname or "localhost").encode()
        self._bases = tuple(f"{base}/".encode() for base in base_paths)
        self._auth = tuple(base + b"auth/" for base in self._bases)

    def __call__(self, request: Request) -> Principal | Awaitable[Principal]:
        """Whose request it is, and in which tenant; at once when this process knows.

        Raises:
            Problem: `NOT_FOUND` for a tenant that is not theirs, and what `Credentials` raises; at once or awaited.
        """
        found = self._credentials(request)
        if not isinstance(found, Principal):
            return self._later(found, request)
        name, named = self._name(found, request)
        if not name or (found.is_anonymous and not self._visitors):
            return found if found.tenant is None or found.is_anonymous else _without(found)
        known = self._tenancy.known(found, name)
        return known if known is not None else self._enter(found, name, request, named=named)

    async def _later(self, finding: Awaitable[Principal], request: Request) -> Principal:
        found = await finding
        name, named = self._name(found, request)
        if not name or (found.is_anonymous and not self._visitors):
            return found if found.tenant is None or found.is_anonymous else _without(found)
        known = self._tenancy.known(found, name)
        return known if known is not None else await self._enter(found, name, request, named=named)

    async def _enter(self, principal: Principal, name: str, request: Request, *, named: bool) -> Principal:
        entered = await self._tenancy.enter(principal, name, request.context)
        if entered is not None:
            return entered
        outside = not request.path.startswith(self._bases) or request.path.startswith(self._auth)
        if named and not outside and not principal.is_anonymous:
            raise no_tenant()
        return _without(principal)

    def _name(self, principal: Principal, request: Request) -> tuple[str, bool]:
        """What the tenant is called, and whether the request itself says so."""
        headers = request.headers
        if self._by_header and _HEADER in headers:
            return headers[_HEADER].decode("utf-8", "replace"), True
        if self._by_subdomain:
            label, domain, port = headers.get(b"host", b"").lower().partition(self._domain)
            if domain and label and b"." not in label and (not port or port.startswith(b":")):
                return label.decode("latin-1"), True
        if principal.tenant is None or not self._by_token:
            return "", False
        return str(principal.tenant), False


def _without(principal: Principal) -> Principal:
    return principal if principal.tenant is None else replace(principal, tenant=None)
