"""Passkeys (WebAuthn Level 3): registered by who is signed in, then enough to sign in, in one step, without a name.

A challenge is signed instead of kept, so that nobody fills a table by asking; it is written down once it was used.
"""

from __future__ import annotations

import base64
import hmac
import os
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, cast

import orjson
import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from ..errors import OperatorError, Problem, invalid
from ..schema.base import utc_now
from .accounts import Accounts
from .vault import hashed

#: How long somebody may take at their device.
TTL_S = 300
KEYS_MAX = 20
_RANDOM_BYTES, _TIME_BYTES, _MAC_BYTES = 16, 8, 32
_ID = re.compile(r"[\w-]{1,1400}\Z", re.ASCII)
_HINT = "pip install 'backstay[accounts]'"


@dataclass(frozen=True, slots=True)
class Site:
    """Where passkeys are good.

    Attributes:
        id: the relying party's id, a domain.
        origins: of pages that may use them.
    """

    id: str
    name: str
    origins: tuple[str, ...]


def refused() -> Problem:
    """What whoever sends anything but a good passkey is told."""
    return Problem("WRONG_CREDENTIALS", "The passkey is not good here.", hint="Ask for new options and try again.")


def make_challenge(accounts: Accounts, purpose: str) -> bytes:
    """A challenge that is good for a while; `purpose` says whose and for what."""
    told = os.urandom(_RANDOM_BYTES) + (int(time.time()) + TTL_S).to_bytes(_TIME_BYTES)
    return told + bytes.fromhex(accounts.vault.sign(f"passkey {purpose}", told.hex()))


def challenge_in(accounts: Accounts, purpose: str, credential: Mapping[str, Any]) -> bytes:
    """The challenge that a device signed, if it is one of ours.

    Raises:
        Problem: `WRONG_CREDENTIALS`.
    """
    try:
        client = orjson.loads(_decoded(credential["response"]["clientDataJSON"]))
        challenge = _decoded(client["challenge"])
    except (ValueError, TypeError, KeyError, AttributeError):
        raise refused() from None
    told, mac = challenge[:-_MAC_BYTES], challenge[-_MAC_BYTES:]
    right = accounts.vault.sign(f"passkey {purpose}", told.hex())
    if not hmac.compare_digest(mac.hex(), right) or int.from_bytes(told[_RANDOM_BYTES:]) < time.time():
        raise refused()
    return challenge


async def registration_options(accounts: Accounts, session: AsyncSession, user: Any, site: Site) -> dict[str, Any]:
    """What a browser's `navigator.credentials.create` is given."""
    library, structs = _library()
    user_id = accounts.id_of(user)
    rows = await passkeys_of(accounts, session, user_id)
    if len(rows) >= KEYS_MAX:
        raise invalid("passkeys", "too_many", f"are {KEYS_MAX} already: remove one.")
    name = user.email or user.username or str(user_id)
    options = library.generate_registration_options(
        rp_id=site.id,
        rp_name=site.name,
        user_name=name,
        user_id=_handle(accounts, user_id),
        challenge=make_challenge(accounts, f"registration {user_id}"),
        timeout=TTL_S * 1_000,
        authenticator_selection=structs.AuthenticatorSelectionCriteria(
            resident_key=structs.ResidentKeyRequirement.REQUIRED,
            user_verification=structs.UserVerificationRequirement.REQUIRED,
        ),
        exclude_credentials=[structs.PublicKeyCredentialDescriptor(id=_decoded(row.credential_id)) for row in rows],
    )
    return orjson.loads(library.options_to_json(options))


async def register(
    accounts: Accounts, session: AsyncSession, user: Any, site: Site, credential: dict[str, Any], name: str
) -> int:
    """Keep a new passkey; returns its number.

    Raises:
        Problem: `WRONG_CREDENTIALS` for one that is not good, `CONFLICT` for one that is known.
    """
    library, _ = _library()
    user_id = accounts.id_of(user)
    challenge = challenge_in(accounts, f"registration {user_id}", credential)
    try:
        made = library.verify_registration_response(
            credential=credential,
            expected_challenge=challenge,
            expected_rp_id=site.id,
            expected_origin=list(site.origins),
            require_user_verification=True,
        )
    except Exception:  # the library's own errors, and those of the parsers below it
        raise refused() from None
    passkeys = accounts.tables.passkeys
    await _spend(accounts, session, challenge)
    row: dict[str, Any] = {"user_id": user_id, "name": name, "credential_id": _encoded(made.credential_id)}
    row |= {"public_key": made.credential_public_key, "sign_count": made.sign_count, "transports": []}
    try:
        async with session.begin_nested():
            number = await session.scalar(sa.insert(passkeys).values(row).returning(passkeys.c.id))
    except IntegrityError:
        raise Problem("CONFLICT", "This passkey is known already.") from None
    assert number is not None, "INSERT … RETURNING returns its row"
    return number


def login_options(accounts: Accounts, site: Site) -> dict[str, Any]:
    """What a browser's `navigator.credentials.get` is given: it finds the passkey, whoever's it is."""
    library, structs = _library()
    options = library.generate_authentication_options(
        rp_id=site.id,
        challenge=make_challenge(accounts, "login"),
        timeout=TTL_S * 1_000,
        user_verification=structs.UserVerificationRequirement.REQUIRED,
    )
    return orjson.loads(library.options_to_json(options))


async def login(accounts: Accounts, session: AsyncSession, site: Site, credential: dict[str, Any]) -> Any:
    """The id of whoever's passkey signed.

    Raises:
        Problem: `WRONG_CREDENTIALS` for one that is unknown, not good, of a copied device or of a disabled user.
    """
    library, _ = _library()
    challenge = challenge_in(accounts, "login", credential)
    passkeys = accounts.tables.passkeys
    given = credential.get("id")
    if not isinstance(given, str) or not _ID.match(given):
        raise refused()
    found = (await session.execute(sa.select(passkeys).where(passkeys.c.credential_id == given))).one_or_none()
    user: Any = None if found is None else await session.get(accounts.user, found.user_id)
    if found is None or accounts.is_gone(user):
        raise refused()
    handle = cast("dict[str, Any]", credential["response"]).get("userHandle")
    if handle is not None and handle != _encoded(_handle(accounts, found.user_id)):
        raise refused()
    try:
        checked = library.verify_authentication_response(
            credential=credential,
            expected_challenge=challenge,
            expected_rp_id=site.id,
            expected_origin=list(site.origins),
            credential_public_key=found.public_key,
            credential_current_sign_count=found.sign_count,
            require_user_verification=True,
        )
    except Exception:
        raise refused() from None
    await _spend(accounts, session, challenge)
    # Of two that come at once with one count, one loses: the device was copied (WebAuthn §6.1.1).
    same = sa.and_(passkeys.c.id == found.id, passkeys.c.sign_count == found.sign_count)
    used = sa.update(passkeys).where(same).values(sign_count=checked.new_sign_count, used_at=utc_now())
    if (await session.execute(used.returning(passkeys.c.id))).first() is None:
        raise refused()
    return found.user_id


async def passkeys_of(accounts: Accounts, session: AsyncSession, user_id: Any) -> list[Any]:
    """Somebody's passkeys."""
    passkeys = accounts.tables.passkeys
    found = sa.select(passkeys).where(passkeys.c.user_id == user_id).order_by(passkeys.c.id)
    return list((await session.execute(found)).all())


async def remove(accounts: Accounts, session: AsyncSession, user: Any, number: int) -> bool:
    """Forget a passkey; whether there was one.

    Raises:
        Problem: `CONFLICT` when it is the only way to sign in.
    """
    tables, user_id = accounts.tables, accounts.id_of(user)
    mine = sa.and_(tables.passkeys.c.user_id == user_id, tables.passkeys.c.id == number)
    ended = await session.execute(sa.delete(tables.passkeys).where(mine).returning(tables.passkeys.c.id))
    if ended.first() is None:
        return False
    ways = [
        await session.scalar(sa.select(sa.func.count()).select_from(t).where(t.c.user_id == user_id))
        for t in (tables.identities, tables.passkeys)
    ]
    if user.password_hash is None and not any(ways):
        raise Problem("CONFLICT", "It is the only way to sign in.", hint="Choose a password first.")
    return True


async def _spend(accounts: Accounts, session: AsyncSession, challenge: bytes) -> None:
    """Write a challenge down as used, once."""
    expires = int.from_bytes(challenge[_RANDOM_BYTES : _RANDOM_BYTES + _TIME_BYTES])
    row: dict[str, Any] = {"purpose": "passkey", "hash": hashed(challenge.hex()), "details": {}, "used_at": utc_now()}
    row["expires_at"] = datetime.fromtimestamp(expires, UTC)
    try:
        async with session.begin_nested():
            await session.execute(sa.insert(accounts.tables.one_time_codes).values(row))
    except IntegrityError:
        raise refused() from None


def _handle(accounts: Accounts, user_id: Any) -> bytes:
    """A user's handle: nobody reads the id out of it (WebAuthn §14.6.1)."""
    return bytes.fromhex(accounts.vault.sign("passkey handle", str(user_id)))


def _encoded(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _decoded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _library() -> tuple[Any, Any]:
    try:
        import webauthn
        from webauthn.helpers import structs
    except ImportError:
        raise OperatorError(f"Passkeys need webauthn: {_HINT}.") from None
    return webauthn, structs
