"""Limits that several processes share, in Valkey (or Redis): one script call for all requests that ask at once.

Requests of one turn of the event loop, and those that come while an answer is under way, travel together. The
script reads the server's clock, so that the processes' own clocks do not matter. While Valkey does not answer,
each process counts in its own memory: requests are let through rather than refused, and it is tried again.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable
from typing import Any

from ..errors import OperatorError
from ..observe import Log
from .limits import SLOTS, Rate, Verdict
from .memory import MemoryLimiter

#: Requests in one call of the script.
BATCH_MAX = 128
#: How long an answer may take before requests are let through without one.
ANSWER_S = 0.5
#: How long it is left alone after it did not answer.
REST_S = 1.0
#: One slot for all keys, so that a cluster takes one call for many.
PREFIX = "{backstay:limits}:"

# A window is packed as {total, slot, count, slot, count, …}, the oldest first; see `stores.limits`.
# What `memory.MemoryLimiter.hit` does, and a property test compares the two.
SCRIPT = f"""
local clock = redis.call('TIME')
local now = clock[1] * 1000 + clock[2] / 1000
local answers = {{}}
for i, key in ipairs(KEYS) do
  local most, window = tonumber(ARGV[2 * i - 1]), tonumber(ARGV[2 * i])
  local width = window / {SLOTS}
  local slot = math.floor(now / width)
  local packed = redis.call('GET', key)
  local kept = packed and cmsgpack.unpack(packed) or {{0}}
  local total, first = kept[1], 2
  while kept[first] and kept[first] < slot - {SLOTS} do
    total = total - kept[first + 1]
    first = first + 2
  end
  local oldest = kept[first] or slot
  answers[2 * i - 1] = -1
  if total < most then
    local following = {{total + 1}}
    for at = first, #kept do following[#following + 1] = kept[at] end
    if #following > 1 and following[#following - 1] == slot then
      following[#following] = following[#following] + 1
    else
      following[#following + 1] = slot
      following[#following + 1] = 1
    end
    redis.call('SET', key, cmsgpack.pack(following), 'PX', math.ceil(window + 2 * width))
    answers[2 * i - 1] = most - total - 1
  end
  answers[2 * i] = math.floor(((oldest + {SLOTS} + 1) * width - now) / 1000) + 1
end
return answers
"""


class ValkeyLimiter:
    """Counts in Valkey, under a name; in this process's memory while that is away."""

    def __init__(self, limits: ValkeyLimits, name: str, rate: Rate) -> None:
        self.rate = rate
        self.prefix = f"{PREFIX}{name}:{rate.count}/{rate.seconds}:"
        self.arguments = (rate.count, rate.seconds * 1000)
        self.alone = MemoryLimiter(rate)
        self._limits = limits

    def hit(self, caller: str) -> Verdict | Awaitable[Verdict]:
        """Count one request, unless it is refused."""
        return self._limits.ask(self, caller)


_Waiting = tuple[ValkeyLimiter, str, "asyncio.Future[Verdict]"]


class ValkeyLimits:
    """Limiters over one server.

    Args:
        url: `valkey://`, `redis://`, `rediss://` (TLS) or `unix://`.
        app: whose limits they are; apps that share a server count apart.
        log: is told when the server goes and comes back.

    Raises:
        OperatorError: the extra is not installed, or the URL is none.
    """

    def __init__(self, url: str, app: str, log: Log) -> None:
        self._client = _client(url)
        self._script: Any = self._client.register_script(SCRIPT)
        self._app = app
        self._log = log
        self._waiting: list[_Waiting] = []
        self._asking: asyncio.Task[None] | None = None
        self._knocking: asyncio.Task[None] | None = None
        self._knocks_at = 0.0
        self._away = False

    def limiter(self, name: str, rate: Rate) -> ValkeyLimiter:
        """The limiter of that name, the same in every process."""
        return ValkeyLimiter(self, f"{self._app}:{name}", rate)

    def ask(self, limiter: ValkeyLimiter, caller: str) -> Verdict | Awaitable[Verdict]:
        """The verdict on one request, awaitable unless the server is away."""
        if self._away:
            self._knock()
            return limiter.alone.hit(caller)
        loop = asyncio.get_running_loop()
        verdict: asyncio.Future[Verdict] = loop.create_future()
        self._waiting.append((limiter, caller, verdict))
        if self._asking is None:
            self._asking = loop.create_task(self._ask())
        return verdict

    async def close(self) -> None:
        """Close the connections."""
        for task in (self._asking, self._knocking):
            if task is not None:
                task.cancel()
        await self._client.aclose()

    async def _ask(self) -> None:
        """Ask for all who wait, until nobody does."""
        try:
            while self._waiting:
                batch, self._waiting = self._waiting[:BATCH_MAX], self._waiting[BATCH_MAX:]
                for (_, _, waiting), verdict in zip(batch, await self._verdicts(batch), strict=True):
                    if not waiting.done():
                        waiting.set_result(verdict)
        finally:
            self._asking = None

    async def _verdicts(self, batch: list[_Waiting]) -> list[Verdict]:
        if not self._away:
            keys = [limiter.prefix + caller for limiter, caller, _ in batch]
            arguments = [argument for limiter, _, _ in batch for argument in limiter.arguments]
            try:
                async with asyncio.timeout(ANSWER_S):
                    found: list[int] = await self._script(keys, arguments)
                return list(zip(found[::2], found[1::2], strict=True))
            except Exception as error:  # whatever is wrong with it, requests go on
                hint = "each process counts alone until Valkey answers"
                self._log.event("warning", "limits_not_shared", error=repr(error)[:200], hint=hint)
                self._away = True
                self._knocks_at = time.monotonic() + REST_S
        return [limiter.alone.hit(caller) for limiter, caller, _ in batch]

    def _knock(self) -> None:
        """Ask now and then whether the server is back; no request waits for that."""
        if self._knocking is None and time.monotonic() >= self._knocks_at:
            self._knocking = asyncio.get_running_loop().create_task(self._greet())

    async def _greet(self) -> None:
        try:
            async with asyncio.timeout(ANSWER_S):
                await self._client.ping()
            self._away = False
            self._log.event("info", "limits_shared_again")
        except Exception:
            self._knocks_at = time.monotonic() + REST_S
        finally:
            self._knocking = None


def _client(url: str) -> Any:
    try:
        from redis.asyncio import Redis
        from redis.asyncio.retry import Retry
        from redis.backoff import NoBackoff
    except ImportError:
        raise OperatorError("BACKSTAY_VALKEY_URL needs the valkey extra: pip install 'backstay[valkey]'") from None
    # One more try, because a connection that the server closed meanwhile is seen only when it is used.
    settings: dict[str, Any] = {
        "retry": Retry(NoBackoff(), 1),
        "socket_timeout": ANSWER_S,
        "socket_connect_timeout": ANSWER_S,
    }
    scheme, _, rest = url.partition("://")
    made: Any = Redis
    try:
        return made.from_url(f"{scheme.replace('valkey', 'redis')}://{rest}", **settings)
    except ValueError:
        raise OperatorError("BACKSTAY_VALKEY_URL is no URL: write valkey://127.0.0.1:6379/0.") from None
