"""Talks to a provider: its discovery document and keys, the exchange of a code, the profile of who signed in."""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast
from urllib.parse import quote_plus

import orjson

from ..errors import OperatorError, Problem
from .id_tokens import Expected, IdTokenError, Jwk, UnknownKeyError, verified
from .providers import Profile, Provider, is_safe

TIMEOUT_S = 10.0
ANSWER_BYTES_MAX = 262_144
#: How long a discovery document and keys are believed.
KEEP_S = 600
#: A key that is not known may be new: how often a provider is asked.
AGAIN_S = 10
_HINT = "pip install 'backstay[accounts]'"


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Where a provider does what."""

    authorize: str
    token: str
    profile: str
    keys: str
    algorithms: tuple[str, ...] = ()
    #: Whether the secret goes into the form instead of a header.
    posts_secret: bool = True
    #: Whether it always says who it is (RFC 9207).
    says_issuer: bool = False


@dataclass(frozen=True, slots=True)
class Exchange:
    """What a code is exchanged with."""

    code: str
    redirect_uri: str
    verifier: str
    nonce: str


def failed(detail: str) -> Problem:
    """A sign-in that did not work out."""
    return Problem("OAUTH_FAILED", detail)


def unavailable(provider: Provider) -> Problem:
    """A provider that does not answer as it should."""
    return Problem("PROVIDER_UNAVAILABLE", f"{provider.name} does not answer.", headers=(("retry-after", "5"),))


class ProviderClient:
    """One provider, as this process knows it. It follows no redirects, and reads answers to a bound."""

    def __init__(self, provider: Provider) -> None:
        self.provider = provider
        self._http: Any = None
        self._endpoints: tuple[float, Endpoints] | None = None
        self._keys: tuple[float, list[Jwk]] | None = None

    async def endpoints(self) -> Endpoints:
        """Its endpoints.

        Raises:
            Problem: `PROVIDER_UNAVAILABLE`.
        """
        provider, known = self.provider, self._endpoints
        if not provider.issuer:
            return Endpoints(provider.authorize_url, provider.token_url, provider.profile_url, "")
        if known is None or known[0] + KEEP_S < time.monotonic():
            url = provider.issuer.rstrip("/") + "/.well-known/openid-configuration"
            known = self._endpoints = (time.monotonic(), self._discovered(await self._json("GET", url)))
        return known[1]

    def _discovered(self, found: Any) -> Endpoints:
        """What a discovery document says (OpenID Connect Discovery 1.0 §4.3)."""
        provider = self.provider
        if not isinstance(found, dict) or cast("Any", found).get("issuer") != provider.issuer:
            raise unavailable(provider)
        told = cast("dict[str, Any]", found)
        names = ("authorization_endpoint", "token_endpoint", "jwks_uri", "userinfo_endpoint")
        authorize, token, keys, profile = (told.get(name, "") for name in names)
        for url in (authorize, token, keys, *([profile] if profile else [])):
            if not isinstance(url, str) or not is_safe(url, provider.issuer):
                raise unavailable(provider)
        methods = told.get("token_endpoint_auth_methods_supported", ["client_secret_basic"])
        listed = told.get("id_token_signing_alg_values_supported")
        algorithms = cast("list[Any]", listed) if isinstance(listed, list) else []
        return Endpoints(
            authorize,
            token,
            profile,
            keys,
            tuple(str(name) for name in algorithms),
            posts_secret="client_secret_basic" not in methods,
            says_issuer=told.get("authorization_response_iss_parameter_supported") is True,
        )

    async def profile(self, exchange: Exchange) -> Profile:
        """Who signed in, for the code that their browser brought.

        Raises:
            Problem: `OAUTH_FAILED` when the code or what it is exchanged for is not good; `PROVIDER_UNAVAILABLE`.
        """
        endpoints = await self.endpoints()
        answer = await self._exchanged(endpoints, exchange)
        access = answer.get("access_token")
        if not isinstance(access, str) or not access or str(answer.get("token_type", "")).lower() != "bearer":
            raise failed(f"{self.provider.name} gave no access token.")
        if self.provider.kind != "oidc":
            return await self._plain_profile(access)
        token = answer.get("id_token")
        if not isinstance(token, str):
            raise failed(f"{self.provider.name} gave no ID token.")
        provider = self.provider
        expected = Expected(provider.issuer, provider.client_id, exchange.nonce, access, endpoints.algorithms)
        try:
            claims = await self._claims(token, endpoints, expected)
        except IdTokenError as error:
            raise failed(str(error)) from None
        if "email" not in claims and endpoints.profile:
            more = await self._json("GET", endpoints.profile, bearer=access)
            if not isinstance(more, dict) or cast("Any", more).get("sub") != claims["sub"]:
                raise failed("The profile is somebody else's.")
            claims = cast("dict[str, Any]", more)
        return _profile(claims["sub"], claims.get("email"), claims.get("email_verified"))

    async def _claims(self, token: str, endpoints: Endpoints, expected: Expected) -> dict[str, Any]:
        known = self._keys
        if known is None or known[0] + KEEP_S < time.monotonic():
            known = await self._read_keys(endpoints)
        try:
            return verified(token, known[1], expected)
        except UnknownKeyError:
            if known[0] + AGAIN_S > time.monotonic():
                raise
            return verified(token, (await self._read_keys(endpoints))[1], expected)

    async def _read_keys(self, endpoints: Endpoints) -> tuple[float, list[Jwk]]:
        found = await self._json("GET", endpoints.keys)
        keys = cast("Any", found).get("keys") if isinstance(found, dict) else None
        if not isinstance(keys, list):
            raise unavailable(self.provider)
        objects = [cast("Jwk", key) for key in cast("list[Any]", keys) if isinstance(key, dict)]
        self._keys = (time.monotonic(), objects)
        return self._keys

    async def _exchanged(self, endpoints: Endpoints, exchange: Exchange) -> dict[str, Any]:
        """The token response (RFC 6749 §4.1.3, RFC 7636 §4.5)."""
        provider = self.provider
        form = {"grant_type": "authorization_code", "code": exchange.code, "redirect_uri": exchange.redirect_uri}
        form |= {"code_verifier": exchange.verifier, "client_id": provider.client_id}
        basic = ""
        if provider.client_secret and endpoints.posts_secret:
            form["client_secret"] = provider.client_secret
        elif provider.client_secret:
            pair = f"{quote_plus(provider.client_id)}:{quote_plus(provider.client_secret)}"
            basic = base64.b64encode(pair.encode()).decode()
        answer = await self._json("POST", endpoints.token, form=form, basic=basic, refusable=True)
        if not isinstance(answer, dict) or "error" in answer:
            raise failed(f"{provider.name} refused the code.")
        return cast("dict[str, Any]", answer)

    async def _plain_profile(self, access: str) -> Profile:
        """Of a provider without ID tokens."""
        provider = self.provider
        found = await self._json("GET", provider.profile_url, bearer=access)
        profile = cast("dict[str, Any]", found) if isinstance(found, dict) else {}
        subject = profile.get("id")
        if isinstance(subject, bool) or not isinstance(subject, (int, str)) or not str(subject):
            raise failed(f"{provider.name} gave no profile.")
        if provider.kind == "discord":
            return _profile(subject, profile.get("email"), profile.get("verified"))
        listed = await self._json("GET", provider.emails_url, bearer=access)
        rows: list[Any] = cast("list[Any]", listed) if isinstance(listed, list) else []
        for row in rows:
            if isinstance(row, dict) and cast("Any", row).get("primary") is True:
                own = cast("dict[str, Any]", row)
                return _profile(subject, own.get("email"), own.get("verified"))
        return Profile(str(subject), None, verified=False)

    async def _json(
        self,
        method: str,
        url: str,
        *,
        form: Mapping[str, str] | None = None,
        basic: str = "",
        bearer: str = "",
        refusable: bool = False,
    ) -> Any:
        """The JSON that an endpoint answers with.

        Args:
            refusable: whether a 4xx is an answer too.
        """
        import httpx2

        headers = {"accept": "application/json", "user-agent": "backstay"}
        if basic or bearer:
            headers["authorization"] = f"Basic {basic}" if basic else f"Bearer {bearer}"
        if self._http is None:
            self._http = httpx2.AsyncClient(timeout=TIMEOUT_S, follow_redirects=False)
        body = b""
        try:
            async with (
                asyncio.timeout(TIMEOUT_S),
                self._http.stream(method, url, headers=headers, data=form) as answer,
            ):
                async for chunk in answer.aiter_bytes():
                    body += chunk
                    if len(body) > ANSWER_BYTES_MAX:
                        raise unavailable(self.provider)
            if answer.status_code == 200 or (refusable and 400 <= answer.status_code < 500):
                return orjson.loads(body)
        except (httpx2.HTTPError, httpx2.InvalidURL, TimeoutError, ValueError):
            pass
        raise unavailable(self.provider)

    async def close(self) -> None:
        """Let go of its connections."""
        if self._http is not None:
            await self._http.aclose()


def _profile(subject: object, email: object, verified: object) -> Profile:
    known = isinstance(email, str) and bool(email)
    return Profile(str(subject), str(email) if known else None, verified=known and verified in (True, "true"))


def require_client() -> None:
    """See that the HTTP client is installed.

    Raises:
        OperatorError: it is not.
    """
    try:
        import httpx2
    except ImportError:
        raise OperatorError(f"Signing in with providers needs httpx2: {_HINT}.") from None
    assert httpx2
