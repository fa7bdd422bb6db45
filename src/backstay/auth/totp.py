"""Time-based one-time passwords (RFC 6238) as a second step, and recovery codes for who lost the device."""

from __future__ import annotations

import hmac
import re
import secrets
import time
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from ..errors import OperatorError, invalid
from ..schema.base import utc_now
from .accounts import Accounts

KIND = "totp"
RECOVERY_CODES = 10
#: A clock may be so many steps of 30 s off.
DRIFT = 1
STEP_S = 30
_RECOVERY_BYTES = 10
_DIGITS = re.compile(r"[0-9]{6}\Z", re.ASCII)
_HINT = "pip install 'backstay[accounts]'"


@dataclass(frozen=True, slots=True)
class Enrolment:
    """A seed that an authenticator app has to be given.

    Attributes:
        uri: the same as `otpauth://…`, to be shown as a QR code.
    """

    secret: str
    uri: str


def normal_code(code: str) -> str:
    """A code without what people put between its characters.

    Example:
        >>> normal_code("123 456"), normal_code("ABCD-efgh")
        ('123456', 'abcdefgh')
    """
    return code.replace(" ", "").replace("-", "").lower()


async def enrol(accounts: Accounts, session: AsyncSession, user: Any) -> Enrolment:
    """A new seed; it counts when its first code has come.

    Raises:
        ValidationError: there is one that counts already.
    """
    factors, user_id = accounts.tables.factors, accounts.id_of(user)
    if await has_totp(accounts, session, user_id):
        raise invalid("totp", "exists", "is on already.", hint="Turn it off first, with one of its codes.")
    await session.execute(sa.delete(factors).where(factors.c.user_id == user_id, factors.c.kind == KIND))
    secret: str = _pyotp().random_base32()
    sealed = accounts.vault.encrypt(KIND, str(user_id), secret.encode())
    row: dict[str, Any] = {"user_id": user_id, "kind": KIND, "name": "", "secret": sealed}
    await session.execute(sa.insert(factors).values(row))
    name = user.email or user.username or str(user_id)
    return Enrolment(secret, _pyotp().TOTP(secret).provisioning_uri(name=name, issuer_name=accounts.post.name))


async def confirm(accounts: Accounts, session: AsyncSession, user_id: Any, code: str) -> list[str] | None:
    """Let a seed count, by its first code; returns the recovery codes, or `None` for a wrong code."""
    factors = accounts.tables.factors
    if not await _spend_totp(accounts, session, user_id, code, confirmed=False):
        return None
    mine = sa.and_(factors.c.user_id == user_id, factors.c.kind == KIND)
    await session.execute(sa.update(factors).where(mine).values(confirmed_at=utc_now()))
    return await new_recovery_codes(accounts, session, user_id)


async def spend_second(accounts: Accounts, session: AsyncSession, user_id: Any, code: str) -> str | None:
    """Use a code up: `totp`, `recovery`, or `None` for a wrong or spent one."""
    if _DIGITS.match(normal_code(code)):
        return KIND if await _spend_totp(accounts, session, user_id, code, confirmed=True) else None
    codes = accounts.tables.recovery_codes
    kept = _kept(accounts, user_id, code)
    mine = sa.and_(codes.c.hash == kept, codes.c.user_id == user_id, codes.c.used_at.is_(None))
    spent = await session.execute(sa.update(codes).where(mine).values(used_at=utc_now()).returning(codes.c.id))
    return None if spent.first() is None else "recovery"


async def _spend_totp(accounts: Accounts, session: AsyncSession, user_id: Any, code: str, *, confirmed: bool) -> bool:
    """Whether a code is right, and later than the last one that was (RFC 6238 §5.2)."""
    factors = accounts.tables.factors
    state = factors.c.confirmed_at.is_not(None) if confirmed else factors.c.confirmed_at.is_(None)
    mine = sa.and_(factors.c.user_id == user_id, factors.c.kind == KIND, state)
    found = (await session.execute(sa.select(factors.c.id, factors.c.secret).where(mine))).one_or_none()
    if found is None:
        return False
    totp = _pyotp().TOTP(accounts.vault.decrypt(KIND, str(user_id), found.secret).decode())
    now, sent = int(time.time()) // STEP_S, normal_code(code).encode()
    steps = [
        s for s in range(now - DRIFT, now + DRIFT + 1) if hmac.compare_digest(totp.generate_otp(s).encode(), sent)
    ]
    if not steps:
        return False
    later = sa.or_(factors.c.last_step.is_(None), factors.c.last_step < steps[-1])
    spend = sa.update(factors).where(factors.c.id == found.id, later).values(last_step=steps[-1])
    return (await session.execute(spend.returning(factors.c.id))).first() is not None


async def new_recovery_codes(accounts: Accounts, session: AsyncSession, user_id: Any) -> list[str]:
    """New codes instead of all older ones; they are kept as keyed hashes, each is good once."""
    codes = accounts.tables.recovery_codes
    await session.execute(sa.delete(codes).where(codes.c.user_id == user_id))
    made = [secrets.token_hex(_RECOVERY_BYTES) for _ in range(RECOVERY_CODES)]
    rows = [{"user_id": user_id, "hash": _kept(accounts, user_id, code)} for code in made]
    await session.execute(sa.insert(codes), rows)
    return ["-".join(code[i : i + 5] for i in range(0, len(code), 5)) for code in made]


async def turn_off(accounts: Accounts, session: AsyncSession, user_id: Any) -> None:
    """Remove the seed and the recovery codes."""
    for table in (accounts.tables.factors, accounts.tables.recovery_codes):
        await session.execute(sa.delete(table).where(table.c.user_id == user_id))


async def has_totp(accounts: Accounts, session: AsyncSession, user_id: Any) -> bool:
    """Whether somebody signs in in two steps."""
    factors = accounts.tables.factors
    on = sa.and_(factors.c.user_id == user_id, factors.c.kind == KIND, factors.c.confirmed_at.is_not(None))
    return await session.scalar(sa.select(factors.c.id).where(on)) is not None


async def recovery_codes_left(accounts: Accounts, session: AsyncSession, user_id: Any) -> int:
    """How many recovery codes somebody has."""
    codes = accounts.tables.recovery_codes
    left = sa.and_(codes.c.user_id == user_id, codes.c.used_at.is_(None))
    return await session.scalar(sa.select(sa.func.count()).select_from(codes).where(left)) or 0


def _kept(accounts: Accounts, user_id: Any, code: str) -> str:
    return accounts.vault.sign("recovery code", f"{user_id}:{normal_code(code)}")


def _pyotp() -> Any:
    try:
        import pyotp
    except ImportError:
        raise OperatorError(f"One-time passwords need pyotp: {_HINT}.") from None
    return pyotp
