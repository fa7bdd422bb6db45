"""Rates, and what counts requests against one: the protocol that memory and Valkey implement.

The window slides: it is cut into `SLOTS` slots, and a request counts until the last instant of its slot is a whole
window ago. So no window of that length ever holds more requests than the rate allows, and a place comes free at
most one slot late, 1 % of the window.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Protocol

from ..errors import OperatorError

#: The parts of a window; what a caller costs in memory is bounded by them.
SLOTS = 100
#: What no caller ever reaches, and both stores can still count.
COUNT_MAX = 10**12
OFF = "off"
_UNITS = {"second": 1, "minute": 60, "hour": 3_600, "day": 86_400}
_RATE = re.compile(r"(\d+)/(\d*) *(second|minute|hour|day)s?", re.ASCII)

#: (requests that may still come, or -1 when this one is refused; whole seconds until a place comes free)
Verdict = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Rate:
    """So many requests in so many seconds.

    Example:
        >>> parse_rate("10/minute")
        Rate(count=10, seconds=60)
    """

    count: int
    seconds: int

    def __str__(self) -> str:
        unit, seconds = next((u, s) for u, s in reversed(_UNITS.items()) if self.seconds % s == 0)
        number = self.seconds // seconds
        return f"{self.count} requests in {number} {unit}s" if number > 1 else f"{self.count} requests a {unit}"


def parse_rate(text: str, name: str = "limit") -> Rate | None:
    """The rate that a text names, such as `100/minute`, `5/10 seconds`; `None` for `off`.

    Raises:
        OperatorError: it is no rate; `name` is where it was written.
    """
    if text.strip().lower() == OFF:
        return None
    found = _RATE.fullmatch(text.strip().lower())
    count = int(found[1]) if found is not None else 0
    seconds = int(found[2] or 1) * _UNITS[found[3]] if found is not None else 0
    if not 0 < count <= COUNT_MAX or not 0 < seconds <= 31 * 86_400:
        raise OperatorError(f"{name}={text!r} is no rate: write 100/minute, 5/10 seconds, 1000/day or {OFF}.")
    return Rate(count, seconds)


class Limiter(Protocol):
    """Counts each caller's requests against one rate."""

    rate: Rate

    def hit(self, caller: str) -> Verdict | Awaitable[Verdict]:
        """Count one request, unless it is refused; at once where that needs no round trip."""
        ...


class Limits(Protocol):
    """Makes limiters over one store."""

    def limiter(self, name: str, rate: Rate) -> Limiter:
        """The limiter of that name: each name counts by itself."""
        ...

    async def close(self) -> None:
        """Let go of the store."""
        ...
