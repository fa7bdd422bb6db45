"""ID tokens of providers, verified as OpenID Connect Core 1.0 §3.1.3.7 asks; what it leaves open is refused."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeGuard, cast

TOKEN_CHARS_MAX = 16_384
SUBJECT_CHARS_MAX = 255
LEEWAY_S = 60
#: What may sign an ID token: kind of key, curve, hash of `at_hash`. Never `none`, never a shared secret.
ALGORITHMS: Mapping[str, tuple[str, str | None, str]] = {
    "RS256": ("RSA", None, "sha256"),
    "RS384": ("RSA", None, "sha384"),
    "RS512": ("RSA", None, "sha512"),
    "PS256": ("RSA", None, "sha256"),
    "PS384": ("RSA", None, "sha384"),
    "PS512": ("RSA", None, "sha512"),
    "ES256": ("EC", "P-256", "sha256"),
    "ES384": ("EC", "P-384", "sha384"),
    "ES512": ("EC", "P-521", "sha512"),
    "EdDSA": ("OKP", "Ed25519", "sha512"),
    "Ed25519": ("OKP", "Ed25519", "sha512"),
}

Jwk = Mapping[str, Any]


class IdTokenError(ValueError):
    """Why an ID token is not believed."""


class UnknownKeyError(IdTokenError):
    """No known key is the one that it names; the provider may have a new one."""


@dataclass(frozen=True, slots=True)
class Expected:
    """What an ID token must say.

    Attributes:
        nonce: that of the request, which ties the token to one browser.
        access_token: the one that came with it, for `at_hash`.
        algorithms: those that the provider says it signs with; empty when it does not say.
    """

    issuer: str
    client_id: str
    nonce: str
    access_token: str
    algorithms: Sequence[str] = ()


def verified(token: str, keys: Sequence[Jwk], expected: Expected) -> dict[str, Any]:
    """The claims of an ID token.

    Args:
        keys: the provider's public keys (RFC 7517).

    Raises:
        UnknownKeyError: it is signed with a key that is not among them.
        IdTokenError: anything else that is not as expected.
    """
    from joserfc import jws
    from joserfc.errors import JoseError

    if len(token) > TOKEN_CHARS_MAX:
        raise IdTokenError("The ID token is too long.")
    header = _header(token)
    algorithm = header.get("alg")
    allowed = set(ALGORITHMS) & set(expected.algorithms) if expected.algorithms else set(ALGORITHMS)
    if not isinstance(algorithm, str) or algorithm not in allowed:
        raise IdTokenError("The ID token is not signed with an algorithm that is allowed.")
    payload: bytes | None = None
    for key in _candidates(keys, header, algorithm):
        try:
            payload = jws.deserialize_compact(token, _imported(key), algorithms=[algorithm]).payload
            break
        except (JoseError, ValueError, TypeError, KeyError):
            continue
    if payload is None:
        raise IdTokenError("The signature of the ID token is wrong.")
    claims = _object(payload)
    _check(claims, expected)
    _check_access_token(claims, expected.access_token, ALGORITHMS[algorithm][2])
    return claims


def _header(token: str) -> dict[str, Any]:
    part = token.partition(".")[0]
    try:
        return _object(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    except ValueError:
        raise IdTokenError("The ID token is malformed.") from None


def _object(raw: bytes) -> dict[str, Any]:
    try:
        found = json.loads(raw)
    except (ValueError, RecursionError):
        raise IdTokenError("The ID token is malformed.") from None
    if not isinstance(found, dict):
        raise IdTokenError("The ID token is malformed.")
    return cast("dict[str, Any]", found)


def _candidates(keys: Sequence[Jwk], header: Mapping[str, Any], algorithm: str) -> list[Jwk]:
    """The keys that may have signed: of the right kind, for signatures, and named by the header if it names one."""
    kind, curve, _ = ALGORITHMS[algorithm]
    kid = header.get("kid")
    found = [
        key
        for key in keys
        if (key.get("kty"), key.get("use", "sig"), key.get("alg", algorithm)) == (kind, "sig", algorithm)
        and (curve is None or key.get("crv") == curve)
        and "verify" in key.get("key_ops", ("verify",))
        and (kid is None or key.get("kid") == kid)
    ]
    if not found:
        raise UnknownKeyError("The ID token is signed with a key that its provider does not have.")
    return found


def _imported(key: Jwk) -> Any:
    from joserfc.jwk import ECKey, OKPKey, RSAKey

    kinds: Mapping[str, Any] = {"RSA": RSAKey, "EC": ECKey, "OKP": OKPKey}
    numbers = {name: key[name] for name in ("kty", "crv", "x", "y", "n", "e") if name in key}
    return kinds[key["kty"]].import_key(numbers)


def _check(claims: Mapping[str, Any], expected: Expected) -> None:
    """Its issuer, audience, time, nonce and subject."""
    now, audience = time.time(), claims.get("aud")
    if claims.get("iss") != expected.issuer:
        raise IdTokenError("The ID token is of another issuer.")
    if audience != expected.client_id and audience != [expected.client_id]:
        raise IdTokenError("The ID token is for another audience.")
    if claims.get("azp", expected.client_id) != expected.client_id:
        raise IdTokenError("The ID token was made for another client.")
    expires, issued, starts = claims.get("exp"), claims.get("iat"), claims.get("nbf", 0)
    if not _is_time(expires) or expires <= now - LEEWAY_S:
        raise IdTokenError("The ID token has expired.")
    if not _is_time(issued) or not _is_time(starts) or max(issued, starts) > now + LEEWAY_S:
        raise IdTokenError("The ID token is of the future.")
    nonce = claims.get("nonce")
    if not isinstance(nonce, str) or not hmac.compare_digest(nonce.encode(), expected.nonce.encode()):
        raise IdTokenError("The ID token has another nonce.")
    subject = claims.get("sub")
    if not isinstance(subject, str) or not 0 < len(subject) <= SUBJECT_CHARS_MAX or "\0" in subject:
        raise IdTokenError("The ID token is of nobody.")


def _is_time(value: Any) -> TypeGuard[int | float]:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < 2**53


def _check_access_token(claims: Mapping[str, Any], access_token: str, algorithm: str) -> None:
    """That the access token came with it (OpenID Connect Core 1.0 §3.1.3.8)."""
    told = claims.get("at_hash")
    if told is None:
        return
    digest = hashlib.new(algorithm, access_token.encode()).digest()
    half = base64.urlsafe_b64encode(digest[: len(digest) // 2]).rstrip(b"=").decode()
    if not isinstance(told, str) or not hmac.compare_digest(told.encode(), half.encode()):
        raise IdTokenError("The ID token belongs to another access token.")
