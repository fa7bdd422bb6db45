"""Rows of accounts that are of no more use are deleted, a few at a time, now and then after somebody signed in."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import Any

import sqlalchemy as sa

from ..schema.base import utc_now
from .accounts import Accounts
from .attempts import FORGET_S

INTERVAL_S = 3_600
ROWS_MAX = 5_000
#: Ended sessions stay as long as their user may want to know of them, and a spent token may come back.
SESSION_DAYS = 30
CODE_DAYS = 1
#: A process that did not look for so long has forgotten everything by itself.
REVOCATION_DAYS = 1


def prune_sometimes(accounts: Accounts) -> None:
    """Prune after the answer, unless this process did within the hour."""
    now = time.monotonic()
    if now - accounts.pruned_at > INTERVAL_S:
        accounts.pruned_at = now
        accounts.later.start(prune(accounts))


async def prune(accounts: Accounts) -> None:
    """Delete what is old; security events stay."""
    tables, now = accounts.tables, utc_now()
    sessions, codes, attempts, revocations = (
        tables.sessions,
        tables.one_time_codes,
        tables.attempts,
        tables.revocations,
    )
    tokens = tables.refresh_tokens
    newest = sa.select(sa.func.max(revocations.c.id)).scalar_subquery()
    old: list[tuple[Any, Any]] = [
        (tokens.c.id, tokens.c.expires_at < now - timedelta(days=SESSION_DAYS)),
        (sessions.c.id, sessions.c.expires_at < now - timedelta(days=SESSION_DAYS)),
        (codes.c.id, codes.c.expires_at < now - timedelta(days=CODE_DAYS)),
        (attempts.c.subject, attempts.c.failed_at < now - timedelta(seconds=FORGET_S)),
        # The newest stays: its number says how far the others had come.
        (
            revocations.c.id,
            sa.and_(revocations.c.created_at < now - timedelta(days=REVOCATION_DAYS), revocations.c.id < newest),
        ),
    ]
    for key, condition in old:
        some = sa.select(key).where(condition).limit(ROWS_MAX)
        async with accounts.sessions.begin() as session:
            await session.execute(sa.delete(key.table).where(key.in_(some)))
