"""PostgreSQL goes away under load and comes back: refusals while it is away, nothing lost, nothing to mend."""

import asyncio
import itertools
import json
import signal
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from backstay.testing.postgres import PostgresServer
from support.asgi import bearer
from support.postgres import fill_ledger, own_server, rows
from support.server import LEDGER, Server, Wire, run

CLIENTS = 64
CREDENTIAL = bearer("writer")
#: No answer may take longer, whatever becomes of the database.
ANSWER_S_MAX = 8.0
DOWN_S = 1.0
RECOVERY_S_MAX = 10.0


@pytest.fixture
def postgres() -> Iterator[PostgresServer]:
    """A server that may be stopped, durable as in production."""
    with own_server(durable=True) as server:
        fill_ledger(server.url())
        yield server


class Load:
    """Clients that read and write without a pause, and note every answer with its time."""

    def __init__(self) -> None:
        self.answers: list[tuple[float, int]] = []
        self.codes: Counter[str] = Counter()
        self.acknowledged: set[str] = set()
        self.slowest = 0.0
        self.stop = asyncio.Event()
        self._numbers = itertools.count()

    async def _ask(self, wire: Wire, method: str, path: str, body: Any = None) -> int:
        started = time.monotonic()
        status, headers, content = await wire.request(method, path, body=body, credential=CREDENTIAL)
        ended = time.monotonic()
        self.slowest = max(self.slowest, ended - started)
        self.answers.append((ended, status))
        if status >= 400:
            self.codes[json.loads(content)["code"]] += 1
            assert headers["content-type"] == "application/problem+json"
            assert int(headers["retry-after"]) > 0
            await asyncio.sleep(0.01)
        return status

    async def write(self, wire: Wire) -> None:
        """Create entries one after another."""
        while not self.stop.is_set():
            code = str(next(self._numbers))
            body = {"code": code, "copy": code, "amount": 1, "account_id": 1}
            if await self._ask(wire, "POST", "/api/v1/entries", body) == 201:
                self.acknowledged.add(code)

    async def read(self, wire: Wire) -> None:
        """Read one row and a list, in turn."""
        while not self.stop.is_set():
            await self._ask(wire, "GET", "/api/v1/accounts/1")
            await self._ask(wire, "GET", "/api/v1/entries?limit=5&include=account")

    def refused(self, start: float, end: float) -> int:
        """How many were refused between two times."""
        return sum(status != 200 and status != 201 for moment, status in self.answers if start <= moment < end)


async def ready(wire: Wire) -> tuple[int, str]:
    """What the readiness probe says."""
    status, _, body = await wire.request("GET", "/health/ready")
    return status, json.loads(body)["status"]


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_requests_fail_only_while_the_database_is_away(postgres: PostgresServer, how: signal.Signals) -> None:
    """64 clients: before and after every answer is good; meanwhile 503 with Retry-After, quickly, and readiness says
    failing; no acknowledged write is missing, and Backstay was never restarted.
    """

    async def talk(server: Server) -> Load:
        load = Load()
        wires = [await server.connect() for _ in range(CLIENTS)]
        probe = await server.connect()
        clients = [asyncio.create_task((load.write if i % 2 else load.read)(w)) for i, w in enumerate(wires)]
        await asyncio.sleep(1.0)
        assert await ready(probe) == (200, "ok")
        stopped = time.monotonic()
        await asyncio.to_thread(postgres.stop, how=how)
        await asyncio.sleep(DOWN_S)
        assert await ready(probe) == (503, "failing")
        down = time.monotonic()
        assert not any(status < 400 for moment, status in load.answers if moment > down - DOWN_S / 2)
        await asyncio.to_thread(postgres.start)
        started = time.monotonic()
        while (await ready(probe))[0] != 200:
            assert time.monotonic() < started + RECOVERY_S_MAX
            await asyncio.sleep(0.02)
        await asyncio.sleep(0.5)  # an attempt to connect that failed holds for a moment
        good = time.monotonic()
        await asyncio.sleep(1.5)
        load.stop.set()
        await asyncio.wait_for(asyncio.gather(*clients), 2 * ANSWER_S_MAX)
        assert load.refused(0, stopped) == 0
        assert load.refused(stopped, good) > 0
        assert load.refused(good, time.monotonic()) == 0
        assert sum(moment > good for moment, _ in load.answers) > 100
        return load

    with Server(LEDGER, postgres.url()) as server:
        load = run(talk(server))
        assert "Traceback" not in server.log
    assert {status for _, status in load.answers} == {200, 201, 503}
    assert set(load.codes) == {"UNAVAILABLE"}
    assert load.slowest < ANSWER_S_MAX
    there = {code for (code,) in rows(postgres.url(), "SELECT code FROM entries WHERE copy = code")}
    assert load.acknowledged <= there
    assert len(load.acknowledged) > CLIENTS
