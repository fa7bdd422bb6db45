"""Limits of one process: each caller's window is a few numbers in a dictionary.

What nobody asked for during a whole window is forgotten, and at most `CALLERS_MAX` callers are remembered since the
last forgetting; a flood of more makes it forget sooner, so that no caller can fill the memory.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

from .limits import SLOTS, Rate, Verdict

CALLERS_MAX = 65_536


class Window:
    """One caller's requests: the slots that have some, the oldest first, how many each, and all together."""

    __slots__ = ("counts", "frees_at", "last", "slots", "total")

    def __init__(self) -> None:
        self.slots: deque[int] = deque()
        self.counts: deque[int] = deque()
        self.total = 0
        self.last = -1
        #: When the oldest slot is a window ago.
        self.frees_at = 0.0


class MemoryLimiter:
    """Counts in this process.

    Args:
        clock: seconds that never go back.

    Example:
        >>> limiter = MemoryLimiter(Rate(2, 60), clock=lambda: 0.0)
        >>> [limiter.hit("ada")[0] for _ in range(3)]
        [1, 0, -1]
    """

    def __init__(self, rate: Rate, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.rate = rate
        self._clock = clock
        self._count = rate.count
        self._slot_s = rate.seconds / SLOTS
        self._recent: dict[str, Window] = {}
        self._before: dict[str, Window] = {}
        self._turns_at = clock() + rate.seconds + 2 * self._slot_s

    def hit(self, caller: str) -> Verdict:
        """Count one request, unless it is refused."""
        now = self._clock()
        window = self._recent.get(caller)
        if window is None or now >= self._turns_at:
            window = self._found(caller, now)
        if now >= window.frees_at:
            self._slide(window, now)
        if window.total >= self._count:
            return -1, int(window.frees_at - now) + 1
        window.total = total = window.total + 1
        slot = int(now / self._slot_s)
        if slot == window.last:
            window.counts[-1] += 1
        else:
            if not window.slots:
                window.frees_at = (slot + SLOTS + 1) * self._slot_s
            window.last = slot
            window.slots.append(slot)
            window.counts.append(1)
        return self._count - total, int(window.frees_at - now) + 1

    def _slide(self, window: Window, now: float) -> None:
        """Forget the slots that are a whole window ago."""
        slots = window.slots
        while slots and (slots[0] + SLOTS + 1) * self._slot_s <= now:
            slots.popleft()
            window.total -= window.counts.popleft()
        if slots:
            window.frees_at = (slots[0] + SLOTS + 1) * self._slot_s
        else:
            window.last = -1

    def __len__(self) -> int:
        """How many callers are remembered."""
        return len(self._recent) + len(self._before)

    def _found(self, caller: str, now: float) -> Window:
        """The caller's window, new or from before; forget what is older than a window, or too much."""
        if now >= self._turns_at or len(self._recent) >= CALLERS_MAX:
            self._before, self._recent = self._recent, {}
            self._turns_at = now + self.rate.seconds + 2 * self._slot_s
        window = self._recent.get(caller) or self._before.pop(caller, None) or Window()
        self._recent[caller] = window
        return window


class MemoryLimits:
    """Limiters that share nothing with other processes."""

    def limiter(self, name: str, rate: Rate) -> MemoryLimiter:
        """A limiter of its own."""
        return MemoryLimiter(rate)

    async def close(self) -> None:
        """Nothing is held."""
