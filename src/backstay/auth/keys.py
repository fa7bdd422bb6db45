"""Signing keys of access tokens: made once, kept encrypted, known by their `kid` in every process."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import orjson
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from ..errors import OperatorError
from .tables import AuthTables
from .vault import Vault

PURPOSE = "signing key"
#: JWS algorithms (RFC 7518, RFC 9864) that access tokens may be signed with.
ALGORITHMS = ("Ed25519", "ES256", "HS256")


@dataclass(frozen=True, slots=True)
class SigningKey:
    """One key, with the only algorithm that it is good for."""

    kid: str
    algorithm: str
    key: Any
    public: Mapping[str, Any]


def make_key(algorithm: str) -> tuple[str, dict[str, Any], dict[str, Any]]:
    """A new key: its kid, its public half and the whole of it, as JSON Web Keys (RFC 7517).

    Raises:
        OperatorError: an algorithm that is not offered.
    """
    from joserfc.jwk import ECKey, OctKey, OKPKey

    if algorithm == "Ed25519":
        made: Any = OKPKey.generate_key("Ed25519")
    elif algorithm == "ES256":
        made = ECKey.generate_key("P-256")
    elif algorithm == "HS256":
        made = OctKey.generate_key(256)
    else:
        raise OperatorError(f"BACKSTAY_TOKEN_ALGORITHM={algorithm!r} is none of {', '.join(ALGORITHMS)}.")
    kid = secrets.token_hex(8)
    facts = {"kid": kid, "alg": algorithm, "use": "sig"}
    whole = cast("dict[str, Any]", dict(made.as_dict(private=True))) | facts
    public = {} if algorithm == "HS256" else cast("dict[str, Any]", dict(made.as_dict(private=False))) | facts
    return kid, public, whole


async def add_key(session: AsyncSession, tables: AuthTables, vault: Vault, algorithm: str) -> str:
    """Make a key and keep it; returns its kid."""
    kid, public, whole = make_key(algorithm)
    sealed = vault.encrypt(PURPOSE, kid, orjson.dumps(whole))
    row = {"kid": kid, "algorithm": algorithm, "public": public, "private": sealed}
    await session.execute(sa.insert(tables.signing_keys).values(row))
    return kid


def key_of(row: Mapping[str, Any], vault: Vault) -> SigningKey:
    """The key of a row.

    Raises:
        OperatorError: it was encrypted under another secret.
    """
    from joserfc.jwk import ECKey, OctKey, OKPKey

    kinds: Mapping[str, Any] = {"Ed25519": OKPKey, "ES256": ECKey, "HS256": OctKey}
    try:
        whole = orjson.loads(vault.decrypt(PURPOSE, row["kid"], row["private"]))
    except ValueError as error:
        hint = "set the secret that they were made with, or remove them: `backstay auth rotate-keys --forget`"
        raise OperatorError(f"The signing keys {error}: {hint}.") from None
    key = kinds[row["algorithm"]].import_key({k: v for k, v in whole.items() if k not in ("kid", "alg", "use")})
    return SigningKey(row["kid"], row["algorithm"], key, row["public"] or {})
