"""The signing keys that a process knows, and the one that signs now."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, cast

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from ..config import Config
from ..context import Context
from ..db.sessions import Sessions
from ..schema.base import utc_now
from .keys import SigningKey, add_key, key_of
from .revocations import ALL, Revocations, revoke
from .tables import AuthTables
from .tokens import LEEWAY_S
from .vault import Vault


class KeyRing:
    """Keys by their `kid`; read again when somebody rotates them."""

    def __init__(
        self, tables: AuthTables, vault: Vault, config: Config, sessions: Sessions, revocations: Revocations
    ) -> None:
        self._tables = tables
        self._vault = vault
        self._config = config
        self._sessions = sessions
        self._keys: dict[str, SigningKey] = {}
        self._loaded = False
        revocations.listen(self._forget)

    def get(self, header: Mapping[str, Any]) -> SigningKey | None:
        """The key that a token's header names."""
        return self._keys.get(header.get("kid", ""))

    def _forget(self, kind: str, subject: str) -> None:
        if kind in ("keys", ALL):
            self._loaded = False

    async def load_once(self) -> None:
        """Read the keys, unless they are known."""
        if not self._loaded:
            async with self._sessions.open() as session:
                await self._load(session)

    async def public(self, context: Context) -> list[Mapping[str, Any]]:
        """The public halves, for other services (RFC 7517)."""
        await self.load_once()
        if not self._keys:
            async with self._sessions.begin(context) as session:
                await self.current(session)
        return [key.public for key in self._keys.values() if key.public]

    async def current(self, session: AsyncSession) -> SigningKey:
        """The key that signs, as the database has it now; the first caller makes it. `session` can write."""
        kid = await self._current(session)
        if kid is None:
            kid = await add_key(session, self._tables, self._vault, self._config.token_algorithm)
            await revoke(session, self._tables, "keys", "")
        if kid not in self._keys:
            await self._load(session)
        return self._keys[kid]

    async def rotate(self, session: AsyncSession, *, forget: bool = False) -> str:
        """Make a new key; the others are good until the tokens that they signed have expired. Returns its kid.

        Args:
            forget: they are not good from now on, as when one was stolen.
        """
        keys = self._tables.signing_keys
        if forget:
            await session.execute(sa.delete(keys))
        else:
            await session.execute(sa.update(keys).where(keys.c.retired_at.is_(None)).values(retired_at=utc_now()))
            await session.execute(sa.delete(keys).where(keys.c.retired_at < self._expired()))
        await revoke(session, self._tables, "keys", "")
        return await add_key(session, self._tables, self._vault, self._config.token_algorithm)

    async def _current(self, session: AsyncSession) -> str | None:
        keys = self._tables.signing_keys
        newest = (
            sa.select(keys.c.kid).where(keys.c.retired_at.is_(None)).order_by(keys.c.created_at.desc(), keys.c.kid)
        )
        return await session.scalar(newest.limit(1))

    async def _load(self, session: AsyncSession) -> None:
        keys = self._tables.signing_keys
        good = sa.or_(keys.c.retired_at.is_(None), keys.c.retired_at > self._expired())
        rows = (await session.execute(sa.select(keys).where(good))).mappings().all()
        found = [key_of(cast("Mapping[str, Any]", row), self._vault) for row in rows]
        self._keys = {key.kid: key for key in found}
        self._loaded = True

    def _expired(self) -> Any:
        """Before then was signed what has expired now."""
        return utc_now() - timedelta(seconds=self._config.access_token_s + LEEWAY_S)
