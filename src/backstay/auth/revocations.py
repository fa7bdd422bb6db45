"""What every process must forget: rows that are appended in the transaction that ends a session or changes a user.

A process looks for new ones before it trusts what it remembers, `revocation_check_ms` after it last did.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from ..context import Context
from ..db.lookups import Lookups, Rows
from ..sql.lookup import given
from .tables import AuthTables

#: The advisory lock under which PostgreSQL numbers revocations.
_ORDER = 0x6261636B73746179
#: How many a process takes in at once; after more of them it forgets everything.
_NEWS_MAX = 500
#: In the `info` of a session that revoked something.
REVOKED = "backstay_revoked"
#: Of everybody and everything.
ALL = "all"
Forget = Callable[[str, str], None]


async def revoke(session: AsyncSession, tables: AuthTables, kind: str, subject: object) -> None:
    """Tell every process to forget what it knows of a subject, once the transaction commits.

    Args:
        kind: `session`, `user`, `key`, `client`, or `keys` for the signing keys.
        subject: the id of the session or the user; empty for keys.
    """
    session.info[REVOKED] = True
    for statement in revoking(session.get_bind().dialect.name, tables, kind, subject):
        await session.execute(statement)


def revoking(database: str, tables: AuthTables, kind: str, subject: object) -> list[Any]:
    """The statements of `revoke`.

    Readers ask for what is newer than the last row that they know, so rows must be numbered in the order of commits.
    SQLite has one writer; on PostgreSQL whoever numbers one waits for the others' commits.
    """
    insert = sa.insert(tables.revocations).values(kind=kind, subject=str(subject))
    in_order = sa.select(sa.func.pg_advisory_xact_lock(sa.literal(_ORDER, sa.BigInteger())))
    return [in_order, insert] if database == "postgresql" else [insert]


class Revocations:
    """What this process has seen of them.

    Attributes:
        until: `time.monotonic()` value up to which nobody needs to look again.
        seen: the number of the last one; it changes whenever something was forgotten.
    """

    def __init__(self, tables: AuthTables, lookups: Lookups, check_ms: int) -> None:
        rows = tables.revocations
        number = rows.c.id
        news = sa.select(number, rows.c.kind, rows.c.subject).where(number > given(0, sa.BigInteger()))
        self._news = lookups.prepare("revocations", news.order_by(number).limit(_NEWS_MAX))
        self._last = lookups.prepare("revocations", sa.select(sa.func.coalesce(sa.func.max(number), 0)))
        self._lookups = lookups
        self._check_s = check_ms / 1_000
        self._listeners: list[Forget] = []
        self._looking: asyncio.Task[None] | None = None
        self._epoch = 0
        self.until = 0.0
        self.seen = -1

    def listen(self, forget: Forget) -> None:
        """Call `forget(kind, subject)` for each; the kind `all` means everything."""
        self._listeners.append(forget)

    async def look(self, context: Context) -> None:
        """See what is new, unless somebody just did.

        Raises:
            Problem: the database does not answer.
        """
        if self.until > time.monotonic():
            return None
        if self._looking is None:
            # One for all who wait, on its own: whoever began it may go away.
            own = Context(context.request_id)
            started, epoch = time.monotonic(), self._epoch
            asked = self._ask(own)
            if isinstance(asked, list):
                return self._take(asked, started, epoch)
            self._looking = asyncio.ensure_future(self._look(asked, started, epoch))
            self._looking.add_done_callback(self._looked)
        await asyncio.shield(self._looking)
        return None

    def committed(self, info: Mapping[Any, Any]) -> None:
        """Look at once when this process itself has revoked something."""
        if info.get(REVOKED):
            self.expire()

    def expire(self) -> None:
        """Look again at the next occasion."""
        self.until = 0.0
        self._epoch += 1

    def _ask(self, context: Context) -> Rows | Awaitable[Rows]:
        if self.seen < 0:
            return self._lookups.find(self._last, (), context)
        return self._lookups.find(self._news, (self.seen,), context)

    async def _look(self, asked: Awaitable[Rows], started: float, epoch: int) -> None:
        self._take(await asked, started, epoch)

    def _looked(self, task: asyncio.Task[None]) -> None:
        self._looking = None
        if not task.cancelled():
            task.exception()  # those who wait for it raise it

    def _take(self, rows: Rows, started: float, epoch: int) -> None:
        if self.seen < 0:
            self.seen = rows[0][0]
            self._tell(ALL, "")  # what is known was learnt before anybody listened
        elif len(rows) < _NEWS_MAX:
            if rows and rows[0][0] != self.seen + 1:
                self._tell(ALL, "")  # some were deleted by now, or a transaction was undone
            for number, kind, subject in rows:
                self.seen = number
                self._tell(kind, subject)
        else:
            self.seen = -1  # there may be more: start anew, knowing nothing
            self._tell(ALL, "")
            return
        if epoch == self._epoch:
            self.until = started + self._check_s

    def _tell(self, kind: str, subject: str) -> None:
        for forget in self._listeners:
            forget(kind, subject)
