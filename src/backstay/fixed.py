"""What every app serves whatever it declares: probes, metrics, its contract, and ASGI's lifespan."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import orjson

from .console.health import Health
from .console.metrics import Metrics
from .http.frame import Handler
from .http.messages import JSON_TYPE, Receive, Request, Response, Send
from .observe import Observations
from .rest.routes import Methods


def fixed_routes(
    contract: Callable[[], dict[str, Any]], health: Health, metrics: Metrics, observations: Observations
) -> dict[bytes, Methods]:
    """Their routes."""
    table: dict[bytes, Handler] = {
        b"/health/live": health.live,
        b"/health/ready": health.ready,
        b"/metrics": metrics.scrape,
        b"/openapi.json": described(contract),
    }
    return {path: {"GET": (handler, observations.request("GET", path.decode()))} for path, handler in table.items()}


def described(contract: Callable[[], dict[str, Any]]) -> Handler:
    """Answers a contract, which is made when somebody first asks for it."""
    cached: list[bytes] = []

    def answer(request: Request) -> Response:
        if not cached:
            cached.append(orjson.dumps(contract()))
        return Response(200, cached[0], [JSON_TYPE])

    return answer


async def lifespan(
    work: Callable[[], None], stop: Callable[[], Awaitable[None]], receive: Receive, send: Send
) -> None:
    """Answer a server that starts and stops the app."""
    while True:
        message = await receive()
        if message["type"] == "lifespan.startup":
            work()
            await send({"type": "lifespan.startup.complete"})
        elif message["type"] == "lifespan.shutdown":
            await stop()
            await send({"type": "lifespan.shutdown.complete"})
            return
