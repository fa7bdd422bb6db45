"""Access tokens (JWT, RFC 7519): those that the operator signs with BACKSTAY_SECRET, and accounts' (RFC 9068).

The operator's name a principal and its roles, and are all that a program without accounts has. Those of accounts name
a user and a session, which `authenticate` looks up.
"""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeGuard, cast

import orjson

from ..context import Principal, PrincipalKind
from ..errors import OperatorError, Problem
from .jws import TOKEN_BYTES_MAX, ForgedError, KeyOf, claims_of, sign
from .keys import SigningKey
from .vault import check_secret

TOKENS_MAX = 10_000
SUBJECT_CHARS_MAX = 255
#: Clocks of two machines may differ by so much.
LEEWAY_S = 5
_NUMBER = re.compile(r"[1-9][0-9]{0,17}\Z")
_TIME_MAX = 2**53
_CHALLENGE = (("www-authenticate", 'Bearer error="invalid_token"'),)


def refusal(detail: str = "") -> Problem:
    """What the bearer of anything but a valid token is told."""
    return Problem("INVALID_TOKEN", detail, headers=_CHALLENGE)


def bearer_token(credential: bytes) -> bytes:
    """The token of an Authorization header (RFC 6750).

    Raises:
        Problem: `INVALID_TOKEN` for another scheme, or none.
    """
    scheme, _, token = credential.partition(b" ")
    if scheme.lower() != b"bearer" or not token or len(token) > TOKEN_BYTES_MAX:
        raise refusal("Send `Authorization: Bearer <token>`.")
    return token


class Tokens:
    """Issues and verifies the operator's tokens, with one secret (HS256).

    Raises:
        OperatorError: the secret is too short to be safe.

    Example:
        >>> tokens = Tokens("a secret of at least thirty-two bytes")
        >>> tokens.principal(b"Bearer " + tokens.issue(7, roles=["admin"]).encode()).id
        '7'
    """

    def __init__(self, secret: str) -> None:
        if secret:
            check_secret(secret)
        self._secret = secret
        self._made: SigningKey | None = None
        self._verified: dict[bytes, tuple[float, Principal]] = {}

    def issue(
        self,
        subject: object,
        *,
        roles: Sequence[str] = (),
        permissions: Sequence[str] = (),
        scopes: Sequence[str] | None = None,
        tenant: object = None,
        ttl_s: int = 900,
    ) -> str:
        """A token for a principal.

        Args:
            subject: its id.
            roles: names that `has_role` knows.
            permissions: names that `has_permission` knows.
            scopes: what it is limited to, as `scores:read`; `None` for no limit.
            tenant: the key of the tenant that it acts for.
            ttl_s: seconds until it expires.
        """
        claims: dict[str, Any] = {"sub": str(subject), "roles": [*roles], "exp": int(time.time()) + ttl_s}
        if permissions:
            claims["permissions"] = [*permissions]
        if scopes is not None:
            claims["scope"] = " ".join(scopes)
        if tenant is not None:
            claims["tenant"] = str(tenant)
        return sign({"typ": "JWT"}, orjson.dumps(claims), self._key())

    def principal(self, credential: bytes) -> Principal:
        """The principal of an Authorization header.

        Raises:
            Problem: `INVALID_TOKEN` for anything but a valid, unexpired bearer token of ours.
        """
        known = self._verified.get(credential)
        if known is not None and known[0] > time.time():
            return known[1]
        expires, principal = self.verify(bearer_token(credential))
        if len(self._verified) >= TOKENS_MAX:
            self._verified.clear()
        self._verified[credential] = (expires, principal)
        return principal

    def verify(self, token: bytes) -> tuple[float, Principal]:
        """When a token expires, and whose it is.

        Raises:
            Problem: `INVALID_TOKEN`.
        """
        if not self._secret:
            raise refusal()
        try:
            claims = claims_of(token, self._key_of)
        except ForgedError:
            raise refusal() from None
        roles, permissions = claims.get("roles", []), claims.get("permissions", [])
        expires = _lifetime(claims)
        subject, tenant, scope = claims.get("sub"), claims.get("tenant"), claims.get("scope")
        if not _is_name(subject) or not _are_names(roles) or not _are_names(permissions):
            raise refusal()
        if not (tenant is None or _is_name(tenant)) or not (scope is None or isinstance(scope, str)):
            raise refusal()
        principal = Principal(
            PrincipalKind.USER,
            id=subject,
            roles=frozenset(roles),
            permissions=frozenset(permissions),
            scopes=None if scope is None else frozenset(scope.split()),
            tenant=tenant,
        )
        return expires, principal

    def _key_of(self, header: Mapping[str, Any]) -> SigningKey | None:
        return self._key() if "kid" not in header and header.get("typ", "JWT") == "JWT" else None

    def _key(self) -> SigningKey:
        if self._made is None:
            from joserfc.jwk import OctKey

            if not self._secret:
                raise OperatorError("No BACKSTAY_SECRET is set: tokens need one of at least 32 bytes.")
            self._made = SigningKey("", "HS256", OctKey.import_key(self._secret), {})
        return self._made


@dataclass(frozen=True, slots=True)
class AccessClaims:
    """What an access token of an account says, checked.

    Attributes:
        session: 0 for a service client's, which has none.
        scopes: what a client's is good for.
    """

    subject: str
    session: int
    expires: float
    scopes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class AccessTokens:
    """Issues and reads the access tokens of accounts (RFC 9068).

    Attributes:
        issuer, audience: who made it, and who it is for.
        ttl_s: how long one lasts.
    """

    issuer: str
    audience: str
    ttl_s: int

    def issue(
        self, key: SigningKey, *, subject: object, session: int, roles: Sequence[str] = (), tenant: object = None
    ) -> str:
        """A token of a session."""
        own = {"sid": str(session), "roles": sorted(roles)}
        return self._issue(key, str(subject), self.audience, own, tenant)

    def issue_client(self, key: SigningKey, *, client: str, scopes: Sequence[str], tenant: object = None) -> str:
        """A token of a service client, which is its own subject (RFC 9068 §2.2)."""
        return self._issue(key, client, client, {"scope": " ".join(scopes)}, tenant)

    def _issue(self, key: SigningKey, subject: str, client: str, own: Mapping[str, Any], tenant: object) -> str:
        now = int(time.time())
        claims: dict[str, Any] = {
            "iss": self.issuer,
            "aud": self.audience,
            "client_id": client,
            "sub": subject,
            "jti": secrets.token_urlsafe(12),
            "iat": now,
            "exp": now + self.ttl_s,
            **own,
        }
        if tenant is not None:
            claims["tenant"] = str(tenant)
        return sign({"typ": "at+jwt"}, orjson.dumps(claims), key)

    def read(self, token: bytes, key_of: KeyOf) -> AccessClaims:
        """The claims of a valid token.

        Raises:
            Problem: `INVALID_TOKEN` for anything else.
        """

        def key_for(header: Mapping[str, Any]) -> SigningKey | None:
            return key_of(header) if header.get("typ") == "at+jwt" else None

        try:
            claims = claims_of(token, key_for)
        except ForgedError:
            raise refusal() from None
        expires = _lifetime(claims)
        subject, session = claims.get("sub"), claims.get("sid")
        if claims.get("iss") != self.issuer or claims.get("aud") != self.audience:
            raise refusal()
        if not _is_name(subject):
            raise refusal()
        if "sid" not in claims and claims.get("client_id") == subject and isinstance(claims.get("scope"), str):
            return AccessClaims(subject, 0, expires, tuple(claims["scope"].split()))
        if not isinstance(session, str) or not _NUMBER.match(session):
            raise refusal()
        return AccessClaims(subject, int(session), expires)


def _lifetime(claims: Mapping[str, Any]) -> float:
    """When claims expire; they are valid now."""
    now = time.time()
    expires, starts, issued = claims.get("exp"), claims.get("nbf", 0), claims.get("iat", 0)
    if not _is_time(expires) or expires <= now:
        raise refusal()
    if not _is_time(starts) or starts > now + LEEWAY_S or not _is_time(issued) or issued > now + LEEWAY_S:
        raise refusal()
    return float(expires)


def _is_time(value: Any) -> TypeGuard[int | float]:
    """Whether a claim is a NumericDate (RFC 7519 §2) that a clock can show."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < _TIME_MAX


def _is_name(value: Any) -> TypeGuard[str]:
    return isinstance(value, str) and 0 < len(value) <= SUBJECT_CHARS_MAX


def _are_names(value: Any) -> TypeGuard[list[str]]:
    return isinstance(value, list) and all(isinstance(item, str) for item in cast("list[Any]", value))
