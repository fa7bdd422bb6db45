"""What was sent on one connection to PostgreSQL and is not done yet."""

from __future__ import annotations

from collections import deque
from typing import Any

from .postgres_job import Job

#: A statement that is not answered so long holds up those around it.
STALL_S = 0.05
#: Stands for the end of a transaction.
SYNC = object()


class Flight:
    """See the module.

    Attributes:
        items: jobs, the preparing of their statements and the ends of their transactions, in order.
        committing: the writes of the first transaction that are answered.
        undoing: whether one that shares it has failed, so that it will have had no effect.
    """

    __slots__ = ("committing", "items", "undoing")

    def __init__(self) -> None:
        self.items: deque[Any] = deque()
        self.committing: list[Job] = []
        self.undoing = False

    def jobs(self) -> list[Job]:
        """The jobs in flight, the one that PostgreSQL works on or commits first."""
        return [*self.committing, *[item for item in self.items if isinstance(item, Job)]]

    def first_batch(self) -> list[Job]:
        """The jobs of the transaction that runs: what it has answered may wait on the server for its end."""
        found: list[Job] = []
        for item in self.items:
            if item is SYNC and found:
                break
            if isinstance(item, Job):
                found.append(item)
        return found

    @property
    def shared(self) -> bool:
        """Whether the write that was just answered shares its transaction."""
        return bool(self.committing) or self.items[0] is not SYNC

    def held_up(self, moved: float, now: float) -> bool:
        """Whether writes that share a transaction wait for one of them: undone, the others need not.

        Args:
            moved: when the last result came; like `now` of `time.perf_counter`.
        """
        running = self.items[0]
        if not isinstance(running, Job) or not running.write or now < max(moved, running.sent) + STALL_S:
            return False
        return bool(self.committing) or self.items[1] is not SYNC

    def clear(self) -> None:
        """Nothing of it will be answered any more."""
        self.items.clear()
        self.committing.clear()
