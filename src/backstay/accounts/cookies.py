"""The cookies of browsers that sign in: two that no script can read, and the CSRF token, which one must.

The CSRF token is the session's id signed with BACKSTAY_SECRET (OWASP, signed double submit): a page of another site
cannot read it, nor send it as a header.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from typing import TYPE_CHECKING

from ..auth.signing_in import Grant
from ..auth.vault import Vault
from ..config import Config
from ..errors import Problem
from .contract import cookie_names

if TYPE_CHECKING:
    from starlette.responses import Response

CSRF_HEADER = "x-csrf-token"
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


class Cookies:
    """Sets, reads and clears them. In development, on http://localhost, they are not `Secure`."""

    def __init__(self, config: Config, vault: Vault) -> None:
        self._secure = not config.dev
        self._vault = vault
        self._max_age_s = config.refresh_token_s
        self.access, self.refresh, self.csrf = cookie_names(config)
        self._access = self.access.encode()

    def set(self, response: Response, grant: Grant) -> str:
        """Give a browser its session; returns the CSRF token."""
        token = self.csrf_token(grant.session)
        for name, value in ((self.access, grant.access), (self.refresh, grant.refresh), (self.csrf, token)):
            response.set_cookie(
                name,
                value,
                max_age=self._max_age_s,
                path="/",
                secure=self._secure,
                httponly=name != self.csrf,
                samesite="lax",
            )
        return token

    def clear(self, response: Response) -> None:
        """Take it back."""
        for name in (self.access, self.refresh, self.csrf):
            response.delete_cookie(name, path="/", secure=self._secure, httponly=name != self.csrf, samesite="lax")

    def access_token(self, headers: Mapping[bytes, bytes]) -> bytes | None:
        """The access token in a request's cookies."""
        cookies = headers.get(b"cookie")
        if cookies is None or self._access not in cookies:
            return None
        pairs = (part.strip().partition(b"=") for part in cookies.split(b";"))
        return next((value for name, _, value in pairs if name == self._access), None)

    def csrf_token(self, session: int) -> str:
        """The token of a session."""
        return self._vault.sign("csrf", str(session))

    def check_csrf(self, session: int, sent: str | None) -> None:
        """See that a request comes from a page that may read the cookie.

        Raises:
            Problem: `CSRF_FAILED`.
        """
        if not hmac.compare_digest(self.csrf_token(session).encode(), (sent or "").encode("utf-8", "replace")):
            raise Problem("CSRF_FAILED")
