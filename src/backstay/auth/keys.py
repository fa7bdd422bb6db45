"""Signing keys of access tokens: made once, kept encrypted, known by their `kid` in every process."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, cast

import orjson
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from ..config import Config
from ..errors import OperatorError
from ..schema.base import utc_now
from .revocations import revoke
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


def still_good(tables: AuthTables, access_token_s: int) -> Any:
    """The keys whose tokens may not all have expired: the current one, and those retired lately."""
    keys = tables.signing_keys
    overlap = utc_now() - timedelta(seconds=access_token_s + 60)
    return sa.select(keys).where(sa.or_(keys.c.retired_at.is_(None), keys.c.retired_at > overlap))


class KeyRing:
    """The keys that this process knows; read again when somebody rotates them."""

    def __init__(self, tables: AuthTables, vault: Vault, config: Config) -> None:
        self._tables = tables
        self._vault = vault
        self._algorithm = config.token_algorithm
        self._access_token_s = config.access_token_s
        self._keys: dict[str, SigningKey] = {}
        self._current: SigningKey | None = None
        self.loaded = False

    def get(self, header: Mapping[str, Any]) -> SigningKey | None:
        """The key that a token's header names."""
        return self._keys.get(header.get("kid", ""))

    def forget(self) -> None:
        """Read them again when one is wanted."""
        self.loaded = False

    def public(self) -> list[Mapping[str, Any]]:
        """The public halves, for other services (RFC 7517)."""
        return [key.public for key in self._keys.values() if key.public]

    async def load(self, session: AsyncSession) -> None:
        """Read the keys."""
        rows = (await session.execute(still_good(self._tables, self._access_token_s))).mappings().all()
        self._keys = {row["kid"]: key_of(row, self._vault) for row in rows}
        newest = sorted((row["created_at"], row["kid"]) for row in rows if row["retired_at"] is None)
        self._current = self._keys[newest[-1][1]] if newest else None
        self.loaded = True

    async def current(self, session: AsyncSession) -> SigningKey:
        """The key that signs; the first caller makes it. `session` can write."""
        if not self.loaded or self._current is None:
            await self.load(session)
        if self._current is None:
            await add_key(session, self._tables, self._vault, self._algorithm)
            await revoke(session, self._tables, "keys", "")
            await self.load(session)
        assert self._current is not None, "a key was just made"
        return self._current
