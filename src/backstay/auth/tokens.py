"""Signed tokens (JWT, RFC 7519, HS256) to Principals, with a cache of verified ones.

The minimal identity of the core: a token names the principal's id (`sub`) and roles. Accounts, refresh tokens
and key rotation come with the identity work and replace this module, not the Principal.
"""

from __future__ import annotations

import time
from typing import Any

from ..context import Principal, PrincipalKind
from ..errors import OperatorError, Problem

SECRET_BYTES_MIN = 32
TOKENS_MAX = 10_000
TOKEN_BYTES_MAX = 4_096
_CHALLENGE = (("www-authenticate", 'Bearer error="invalid_token"'),)


class Tokens:
    """Issues and verifies tokens with one secret.

    Raises:
        OperatorError: the secret is too short to be safe.

    Example:
        >>> tokens = Tokens("a secret of at least thirty-two bytes")
        >>> tokens.principal(b"Bearer " + tokens.issue(7, roles=["admin"]).encode()).id
        '7'
    """

    def __init__(self, secret: str) -> None:
        if secret and len(secret.encode()) < SECRET_BYTES_MIN:
            raise OperatorError(f"BACKSTAY_SECRET is shorter than {SECRET_BYTES_MIN} bytes: choose a longer one.")
        self._secret = secret
        self._verified: dict[bytes, tuple[float, Principal]] = {}

    def issue(self, subject: object, *, roles: list[str] | None = None, ttl_s: int = 900) -> str:
        """A token for a principal.

        Args:
            subject: its id.
            roles: names that `has_role` knows.
            ttl_s: seconds until it expires.
        """
        from joserfc import jwt

        claims = {"sub": str(subject), "roles": roles or [], "exp": int(time.time()) + ttl_s}
        return jwt.encode({"alg": "HS256"}, claims, self._key())

    def principal(self, credential: bytes) -> Principal:
        """The principal of an Authorization header.

        Raises:
            Problem: `INVALID_TOKEN` for anything but a valid, unexpired bearer token of ours.
        """
        known = self._verified.get(credential)
        if known is not None and known[0] > time.time():
            return known[1]
        scheme, _, token = credential.partition(b" ")
        if scheme.lower() != b"bearer" or not token or len(token) > TOKEN_BYTES_MAX:
            raise Problem("INVALID_TOKEN", "Send `Authorization: Bearer <token>`.", headers=_CHALLENGE)
        expires, principal = self._verify(token)
        if len(self._verified) >= TOKENS_MAX:
            self._verified.clear()
        self._verified[credential] = (expires, principal)
        return principal

    def _verify(self, token: bytes) -> tuple[float, Principal]:
        from joserfc import jwt
        from joserfc.errors import JoseError

        refusal = Problem("INVALID_TOKEN", headers=_CHALLENGE)
        if not self._secret:
            raise refusal
        try:
            decoded = jwt.decode(token.decode("ascii"), self._key(), algorithms=["HS256"])
            claims: dict[str, Any] = decoded.claims
        except (JoseError, ValueError, TypeError, KeyError, UnicodeDecodeError, RecursionError):
            raise refusal from None
        expires, subject, roles = claims.get("exp"), claims.get("sub"), claims.get("roles", [])
        if isinstance(expires, bool) or not isinstance(expires, (int, float)) or expires <= time.time():
            raise refusal
        if not isinstance(subject, str) or not subject:
            raise refusal
        if not isinstance(roles, list) or not all(isinstance(role, str) for role in roles):  # type: ignore[reportUnknownVariableType]
            raise refusal
        principal = Principal(PrincipalKind.USER, id=subject, roles=frozenset[str](roles))  # type: ignore[reportUnknownArgumentType]
        return float(expires), principal

    def _key(self) -> Any:
        from joserfc.jwk import OctKey

        if not self._secret:
            raise OperatorError("No BACKSTAY_SECRET is set: tokens need one of at least 32 bytes.")
        return OctKey.import_key(self._secret)
