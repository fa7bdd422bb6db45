"""A sign-in with a provider on its way: what its browser keeps in a sealed cookie until it is back."""

from __future__ import annotations

import base64
import hashlib
import hmac
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlencode, urlsplit

import orjson

from ..auth.provider_client import Endpoints, ProviderClient, failed
from ..auth.providers import Provider
from ..auth.vault import Vault, random_token
from ..config import Config
from ..errors import NotFoundError, Problem, invalid

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from starlette.responses import Response

#: How long somebody may take at the provider.
FLOW_S = 600
_PURPOSE = "oauth"


@dataclass(frozen=True, slots=True)
class Flow:
    """One of them.

    Attributes:
        state: what the provider hands back (RFC 6749 §10.12).
        nonce: what the ID token must repeat.
        verifier: what proves that the code is ours (RFC 7636).
        began: `time.time()` then.
        session: of whoever links the provider to their account; 0 for who signs in.
    """

    provider: str
    state: str
    nonce: str
    verifier: str
    return_to: str
    mode: Literal["token", "cookie"]
    began: float
    session: int = 0

    @classmethod
    def begin(cls, provider: str, return_to: str, mode: Literal["token", "cookie"], session: int = 0) -> Flow:
        """A new one."""
        state, nonce, verifier = random_token(), random_token(), random_token()
        return cls(provider, state, nonce, verifier, return_to, mode, time.time(), session)

    def url(self, provider: Provider, endpoints: Endpoints, redirect_uri: str) -> str:
        """Where the browser goes (RFC 6749 §4.1.1, RFC 7636 §4.3)."""
        digest = hashlib.sha256(self.verifier.encode()).digest()
        query = {
            "response_type": "code",
            "client_id": provider.client_id,
            "redirect_uri": redirect_uri,
            "scope": " ".join(provider.scopes),
            "state": self.state,
            "code_challenge": base64.urlsafe_b64encode(digest).rstrip(b"=").decode(),
            "code_challenge_method": "S256",
        }
        if provider.kind == "oidc":
            query["nonce"] = self.nonce
        return f"{endpoints.authorize}{'&' if '?' in endpoints.authorize else '?'}{urlencode(query)}"


class FlowCookie:
    """Keeps a Flow in its browser."""

    def __init__(self, config: Config, vault: Vault) -> None:
        self._vault = vault
        self._secure = not config.dev
        self.name = ("" if config.dev else "__Host-") + "backstay_oauth"

    def set(self, response: Response, flow: Flow) -> None:
        """Give it to the browser; another flow that was on its way is forgotten."""
        sealed = self._vault.encrypt(_PURPOSE, flow.provider, orjson.dumps(asdict(flow)))
        value = base64.urlsafe_b64encode(sealed).decode()
        response.set_cookie(
            self.name, value, max_age=FLOW_S, path="/", secure=self._secure, httponly=True, samesite="lax"
        )

    def clear(self, response: Response) -> None:
        """Take it back."""
        response.delete_cookie(self.name, path="/", secure=self._secure, httponly=True, samesite="lax")

    def read(self, value: str | None, provider: str, state: str | None) -> Flow:
        """The Flow that a browser comes back with.

        Raises:
            Problem: `OAUTH_FAILED` for none, another provider's, another state, or one that took too long.
        """
        try:
            sealed = base64.urlsafe_b64decode((value or "").encode())
            told: Any = orjson.loads(self._vault.decrypt(_PURPOSE, provider, sealed))
        except ValueError:
            raise failed("This browser did not begin a sign-in with this provider.") from None
        flow = Flow(**told)
        if not hmac.compare_digest(flow.state.encode(), (state or "").encode()):
            raise failed("The state is not the one that the sign-in began with.")
        if flow.began + FLOW_S < time.time():
            raise failed("The sign-in took too long.")
        return flow


@dataclass(frozen=True, slots=True)
class Providers:
    """The providers of a process.

    Attributes:
        clients: by name.
    """

    clients: Mapping[str, ProviderClient]
    cookie: FlowCookie

    def client(self, name: str) -> ProviderClient:
        """One of them.

        Raises:
            NotFoundError: there is no such provider.
        """
        found = self.clients.get(name)
        if found is None:
            raise NotFoundError("providers", name)
        return found


def checked_return(return_to: str, origins: Sequence[str]) -> str:
    """Where somebody is sent after signing in: a path here, or an address of an origin that the program names.

    Raises:
        ValidationError: it leads elsewhere.

    Example:
        >>> checked_return("/me?tab=1", ()), checked_return("https://shop.example/x", ["https://shop.example"])
        ('/me?tab=1', 'https://shop.example/x')
    """
    fault = invalid("return_to", "elsewhere", "leads elsewhere.", hint="A path such as /me, or an allowed origin's.")
    if not return_to.isascii() or any(c <= " " or c == "\\" or c == "\x7f" for c in return_to):
        raise fault
    if return_to.startswith("/") and not return_to.startswith("//"):
        return return_to
    try:
        parts = urlsplit(return_to)
    except ValueError:
        raise fault from None
    if parts.scheme not in ("http", "https") or f"{parts.scheme}://{parts.netloc}" not in origins:
        raise fault
    return return_to


def own_address(config: Config) -> str:
    """Where browsers reach this server.

    Raises:
        Problem: `ADDRESS_UNKNOWN`.
    """
    if config.public_url:
        return config.public_url.rstrip("/")
    if config.dev:
        return f"http://localhost:{config.port}"
    raise Problem("ADDRESS_UNKNOWN")
