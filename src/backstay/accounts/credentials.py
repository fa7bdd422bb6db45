"""Who sends a request: by its Authorization or X-API-Key header, or by the cookie of a browser."""

from __future__ import annotations

from collections.abc import Awaitable

from ..auth.api_keys import START
from ..auth.authenticate import Authenticator
from ..auth.known import Found
from ..auth.tokens import refusal
from ..context import ANONYMOUS, Principal
from ..errors import Problem
from ..http.messages import Request
from .contract import API_KEY
from .cookies import CSRF_HEADER, SAFE_METHODS, Cookies

_CSRF = CSRF_HEADER.encode()
_API_KEY = API_KEY.lower().encode()
_KEY_START = START.encode()
#: Endpoints below /auth that people come to with a credential that is no good any more: they ask for no other.
OPEN = (
    *("login", "logout", "mail", "mfa/login", "oauth", "passkeys/login", "password/forgot", "password/reset"),
    *("refresh", "register", "token", "verify"),
)


class Credentials:
    """Reads the credential of a request."""

    def __init__(self, authenticator: Authenticator, cookies: Cookies, base_paths: tuple[str, ...]) -> None:
        self._authenticator = authenticator
        self._known = authenticator.known
        self._cookies = cookies
        self._open = tuple(f"{base}/auth/{name}".encode() for base in base_paths for name in OPEN)

    def __call__(self, request: Request) -> Principal | Awaitable[Principal]:
        """Whose request it is; at once when this process knows.

        Raises:
            Problem: `INVALID_TOKEN` or `CSRF_FAILED`, at once or when awaited.
        """
        headers = request.headers
        credential = headers.get(b"authorization")
        cookie = False
        if credential is None:
            token = headers.get(_API_KEY)
            if token is None:
                token = self._cookies.access_token(headers)
                if token is None:
                    return ANONYMOUS
                cookie = True
            elif not token.startswith(_KEY_START):
                raise refusal("X-API-Key takes an API key.")
            credential = b"Bearer " + token
        found = self._known(credential)
        if found is None:
            return self._find(credential, request, cookie=cookie)
        if cookie and request.method not in SAFE_METHODS:
            return self._by_cookie(found, request)
        return found.principal

    async def _find(self, credential: bytes, request: Request, *, cookie: bool) -> Principal:
        try:
            found = await self._authenticator.find(credential, request.context)
        except Problem as problem:
            if problem.code == "INVALID_TOKEN" and request.path.startswith(self._open):
                return ANONYMOUS
            raise
        return self._by_cookie(found, request) if cookie else found.principal

    def _by_cookie(self, found: Found, request: Request) -> Principal:
        """Browsers send cookies whoever made the request: one that changes something must prove where it is from."""
        if request.method not in SAFE_METHODS:
            sent = request.headers.get(_CSRF, b"").decode("latin-1")
            try:
                self._cookies.check_csrf(found.session, sent)
            except Problem:
                if request.path.startswith(self._open):
                    return ANONYMOUS
                raise
        return found.principal
