"""Read replicas: which one may answer a request, by how far it has replayed the primary's log.

A write gives its caller a position in the primary's write-ahead log; a read that brings it back goes only where that
position has been replayed, else to the primary. What each replica has replayed is asked a few times a second, so a
replica that is behind, frozen or gone is left alone until it has caught up.
Source: PostgreSQL documentation, "Hot Standby" and "System Administration Functions" (pg_last_wal_replay_lsn).
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Sequence

from ..context import Context
from ..sql.statement import Output, Statement
from .database import Row
from .postgres_job import Job, unavailable
from .postgres_pool import Pool

POLL_S = 0.1
#: A replica that does not answer a poll in this time is left alone, and what it was asked goes to the primary.
SILENCE_S = 0.5
#: A replica further behind than this answers nobody, not even who wrote nothing.
LAG_S_MAX = 5.0

#: A position that no replica gets to.
UNREACHED = 2**63 - 1

#: The position that a caller has to bring back, right after its transaction.
POSITION = Statement(
    "SELECT (pg_current_wal_insert_lsn() - '0/0'::pg_lsn)::bigint",
    "database",
    "position",
    (Output.COUNT,),
    (),
    (),
    None,
)
_REPLAYED = Statement(
    "SELECT coalesce(pg_last_wal_replay_lsn() - '0/0'::pg_lsn, 0)::bigint",
    *("database", "replayed", (Output.COUNT,), (), (), None),
)


class Replica:
    """One replica and what is known of it.

    Attributes:
        replayed: the position up to which it shows the primary's changes.
        alive: whether it answered its last poll.
        lag_s: seconds that it is behind the primary.
    """

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self.replayed = 0
        self.alive = False
        self.lag_s = 0.0


class Replicas:
    """See the module."""

    def __init__(self, primary: Pool, pools: Sequence[Pool]) -> None:
        self._primary = primary
        self.members = [Replica(pool) for pool in pools]
        #: (when, the primary's position then), oldest first.
        self._positions: deque[tuple[float, int]] = deque(maxlen=int(2 * LAG_S_MAX / POLL_S))
        self._task: asyncio.Task[None] | None = None
        self._turn = 0

    def choose(self, context: Context) -> Pool | None:
        """The pool of a replica that may answer this request, if there is one."""
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._follow())
        members = self.members
        count = len(members)
        self._turn += 1
        for i in range(count):
            replica = members[(self._turn + i) % count]
            if replica.alive and replica.replayed >= context.read_after and replica.lag_s <= LAG_S_MAX:
                return replica.pool
        return None

    async def _follow(self) -> None:
        """Ask everybody where they are, for ever."""
        while True:
            await self._note_primary()
            await asyncio.gather(*[self._note(replica) for replica in self.members])
            await asyncio.sleep(POLL_S)

    async def _note_primary(self) -> None:
        asked = time.monotonic()
        with contextlib.suppress(Exception):
            self._positions.append((asked, await _ask(self._primary, POSITION)))

    async def _note(self, replica: Replica) -> None:
        try:
            replayed = await _ask(replica.pool, _REPLAYED)
        except Exception:
            if replica.alive:
                replica.alive = False
                replica.pool.give_up()
            return
        replica.replayed = replayed
        replica.lag_s = self._lag(replayed)
        replica.alive = True

    def _lag(self, replayed: int) -> float:
        """Seconds since the primary was where the replica is now."""
        now = time.monotonic()
        behind = [moment for moment, position in self._positions if position > replayed]
        return now - behind[0] if behind else 0.0

    async def close(self) -> None:
        """Stop asking, and close their connections."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        for replica in self.members:
            await replica.pool.close()


async def _ask(pool: Pool, statement: Statement) -> int:
    """A number from a server that has to answer soon.

    Raises:
        Problem, TimeoutError: it did not.
    """
    future: asyncio.Future[list[Row]] = asyncio.get_running_loop().create_future()
    context = Context("", deadline=time.monotonic() + SILENCE_S)
    pool.read(Job(statement, (), context, future))
    async with asyncio.timeout(SILENCE_S):
        rows = await future
    if not rows:
        raise unavailable()
    return int(rows[0][0])
