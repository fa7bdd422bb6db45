"""`/health/live` and `/health/ready`: whether the process runs, and whether it can serve."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import orjson

from ..http.messages import JSON_TYPE, Request, Response

Probe = Callable[[], Awaitable[None] | None]
_NO_STORE = (b"cache-control", b"no-store")


class Health:
    """Answers the two probes.

    Args:
        probes: a function for each dependency that raises when it does not answer.
    """

    def __init__(self, probes: Mapping[str, Probe]) -> None:
        self._probes = probes
        self.draining = False

    def live(self, request: Request) -> Response:
        """200 while the process can answer at all."""
        return Response(200, b'{"status":"ok"}', [JSON_TYPE, _NO_STORE])

    async def ready(self, request: Request) -> Response:
        """200 when every dependency answers and the process is not about to stop, else 503."""
        found: dict[str, Any] = {}
        for name, probe in self._probes.items():
            started = time.perf_counter()
            try:
                waiting = probe()
                if waiting is not None:
                    await waiting
                found[name] = {"status": "ok", "ms": round((time.perf_counter() - started) * 1000, 3)}
            except Exception:
                found[name] = {"status": "failing"}
        failing = self.draining or any(entry["status"] != "ok" for entry in found.values())
        status = "draining" if self.draining else ("failing" if failing else "ok")
        body = orjson.dumps({"status": status, "dependencies": found})
        return Response(503 if failing else 200, body, [JSON_TYPE, _NO_STORE])
