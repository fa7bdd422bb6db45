"""Compact JWS (RFC 7515), read as strictly as one can: what has two spellings, or two meanings, is refused.

The signature itself is checked by joserfc. Before that, this module refuses what a library lets pass: base64url that
is not canonical, members that occur twice, headers that name a key of the caller's own, extensions nobody knows.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Mapping
from typing import Any, cast

from .keys import SigningKey

TOKEN_BYTES_MAX = 4_096
#: Header parameters that bring a key along, or change how a token is read (RFC 7515 §4.1, RFC 7797).
_REFUSED = frozenset({"jku", "jwk", "x5u", "x5c", "x5t", "x5t#S256", "crit", "b64", "zip", "enc", "cty"})
#: Half the order of P-256: the `s` of the signatures that we make is never larger, as (r, n - s) is valid too.
_P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
_HALF = 32

KeyOf = Callable[[Mapping[str, Any]], SigningKey | None]


class ForgedError(ValueError):
    """It is no token of ours; why is nobody's business."""


def sign(header: Mapping[str, Any], claims: bytes, key: SigningKey) -> str:
    """A compact JWS of some claims."""
    from joserfc import jws

    full = {"alg": key.algorithm, "kid": key.kid, **header} if key.kid else {"alg": key.algorithm, **header}
    token = jws.serialize_compact(full, claims, key.key, algorithms=[key.algorithm])
    return _with_low_s(token) if key.algorithm == "ES256" else token


def header_of(token: bytes) -> dict[str, Any]:
    """The header of what may be a token; nothing of it is proven.

    Raises:
        ForgedError: it has none.
    """
    if len(token) > TOKEN_BYTES_MAX:
        raise ForgedError
    return _object(_decoded(token.partition(b".")[0]))


def claims_of(token: bytes, key_of: KeyOf) -> dict[str, Any]:
    """The claims of a token that one of our keys signed.

    Args:
        key_of: the key for a header, by its `kid`; its algorithm is the only one that is tried.

    Raises:
        ForgedError: anything else.
    """
    from joserfc import jws
    from joserfc.errors import JoseError

    parts = token.split(b".")
    if len(token) > TOKEN_BYTES_MAX or len(parts) != 3:
        raise ForgedError
    header = _object(_decoded(parts[0]))
    claims = _object(_decoded(parts[1]))
    signature = _decoded(parts[2])
    if not _REFUSED.isdisjoint(header) or not isinstance(header.get("kid", ""), str):
        raise ForgedError
    key = key_of(header)
    if key is None or header.get("alg") != key.algorithm:
        raise ForgedError
    if key.algorithm == "ES256" and not _is_low_s(signature):
        raise ForgedError
    try:
        jws.deserialize_compact(token, key.key, algorithms=[key.algorithm])
    except (JoseError, ValueError, TypeError, KeyError) as error:
        raise ForgedError from error
    return claims


def _decoded(part: bytes) -> bytes:
    """base64url without padding, in its only spelling (RFC 7515 §2, RFC 4648 §3.5)."""
    try:
        raw = base64.b64decode(part + b"=" * (-len(part) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise ForgedError from None
    if base64.urlsafe_b64encode(raw).rstrip(b"=") != part:
        raise ForgedError
    return raw


def _object(raw: bytes) -> dict[str, Any]:
    """A JSON object whose members all have names of their own."""
    try:
        found = json.loads(raw.decode("utf-8"), object_pairs_hook=_once, parse_constant=_refuse)
    except (ValueError, RecursionError):
        raise ForgedError from None
    if not isinstance(found, dict):
        raise ForgedError
    return cast("dict[str, Any]", found)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ForgedError
    return found


def _refuse(constant: str) -> Any:
    raise ForgedError(constant)


def _is_low_s(signature: bytes) -> bool:
    return len(signature) == 2 * _HALF and int.from_bytes(signature[_HALF:], "big") <= _P256_ORDER // 2


def _with_low_s(token: str) -> str:
    """The same token with the smaller of its two valid signatures."""
    head, _, encoded = token.rpartition(".")
    raw = _decoded(encoded.encode())
    if _is_low_s(raw):
        return token
    lower = _P256_ORDER - int.from_bytes(raw[_HALF:], "big")
    signature = raw[:_HALF] + lower.to_bytes(_HALF, "big")
    return f"{head}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"
