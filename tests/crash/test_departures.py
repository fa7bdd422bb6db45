"""Clients that go away: nothing of theirs is left on the server, in the pool or in the process."""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Container
from typing import Any

import pytest

from backstay import Backstay, Config, public, signed_in
from support.asgi import SECRET, bearer
from support.ledger import Account, Entry, Item
from support.postgres import ledger_database, rows
from support.server import LEDGER, Server, run

CREDENTIAL = bearer("writer")
CANCELLED = 8_000
DISCONNECTED = 2_000
POOL_SIZE = 10
#: A table some of whose rows take long to read; their shape is the others'.
NAPS = (
    "DROP TABLE items",
    """CREATE FUNCTION nap(seconds float8) RETURNS text LANGUAGE plpgsql VOLATILE AS
    $$ BEGIN PERFORM pg_sleep(seconds); RETURN 'slept'; END $$""",
    """CREATE VIEW items AS SELECT i::bigint AS id, CASE WHEN i = 2 THEN nap(30) WHEN i = 3 THEN nap(0.02)
    ELSE 'quick' END AS label, i AS number, now() AS created_at, now() AS updated_at, 1::bigint AS version
    FROM generate_series(1, 3) i""",
)
ACTIVE = """SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND application_name = 'backstay' AND state <> 'idle'"""
CONNECTED = """SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND application_name = 'backstay'"""
#: Three reads; one that held up others for a moment runs twice.
SOME = range(3, 7)
QUICK, SLOW, NAP = "/api/v1/items/1", "/api/v1/items/2", "/api/v1/items/3"


@pytest.fixture
def url() -> str:
    """A ledger with items that take long."""
    made = ledger_database()
    rows(made, *NAPS)
    return made


def number(url: str, count: str) -> int:
    """A count that the server says."""
    ((found,),) = rows(url, count)
    return int(str(found))


async def becomes(url: str, count: str, wanted: Container[int], seconds: float) -> None:
    """Return once a count is what it is to be."""
    deadline = time.monotonic() + seconds
    while (found := await asyncio.to_thread(number, url, count)) not in wanted:
        assert time.monotonic() < deadline, f"{found}, not {wanted}, after {seconds} s"
        await asyncio.sleep(0.02)


def ledger(url: str) -> Backstay:
    """The ledger in this process."""
    config = Config(database_url=url, secret=SECRET, log_level="error", rate_limit="off", pool_size=POOL_SIZE)
    app = Backstay("ledger", config=config)
    app.resource(Account, read=public, write=signed_in)
    app.resource(Entry, read=public, write=signed_in)
    app.resource(Item, read=public)
    return app


async def call(app: Backstay, method: str, path: str, body: bytes = b"", *, gone: asyncio.Event | None = None) -> int:
    """One request; its client goes away when it is said to."""
    status = 0
    messages = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Any:
        if messages:
            return messages.pop()
        await (gone or asyncio.Event()).wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        nonlocal status
        status = message.get("status", status)

    headers = [(b"host", b"test"), (b"authorization", CREDENTIAL.encode()), (b"content-type", b"application/json")]
    scope = {"type": "http", "method": method, "path": path, "query_string": b"", "headers": headers}
    await app(scope, receive, send)
    return status


async def settled(app: Backstay) -> None:
    """Return once the pool runs nothing and nobody waits for it."""
    database = app.start().database
    deadline = time.monotonic() + 5
    while (found := database.gauges()).reads_running or found.writes_waiting:
        assert time.monotonic() < deadline, found
        await asyncio.sleep(0.01)
    assert found.connections <= POOL_SIZE


@pytest.mark.anyio
async def test_tasks_that_are_cancelled_leave_nothing(url: str) -> None:
    """Thousands of quick and slow reads and of writes, cancelled at any moment: connections are no more than before,
    nothing runs, every row is whole, and all the others were answered.
    """
    app = ledger(url)
    chance = random.Random(1)
    answered: Counter[int] = Counter()

    async def one(i: int) -> None:
        kind = i % 4
        if kind == 0:
            task = asyncio.ensure_future(call(app, "GET", SLOW if i % 400 == 0 else NAP if i % 8 else QUICK))
        elif kind == 1:
            body = b'{"code": "%d", "copy": "%d", "amount": 1}' % (i, i)
            task = asyncio.ensure_future(call(app, "POST", "/api/v1/entries", body))
        else:
            task = asyncio.ensure_future(call(app, "GET", QUICK if kind == 2 else "/api/v1/entries?limit=3"))
        for _ in range(chance.randrange(8)):
            await asyncio.sleep(0)
        if chance.random() < 0.3:
            await asyncio.sleep(chance.random() * 0.02)
        task.cancel()
        with_answer = await asyncio.gather(task, return_exceptions=True)
        if isinstance(with_answer[0], int):
            answered[with_answer[0]] += 1

    try:
        assert await call(app, "GET", QUICK) == 200
        for start in range(0, CANCELLED, 200):
            await asyncio.gather(*(one(i) for i in range(start, start + 200)))
        await becomes(url, ACTIVE, {0}, 6.0)
        await settled(app)
        assert number(url, CONNECTED) <= POOL_SIZE
        assert app.start().observations.in_flight == 0
        assert await asyncio.wait_for(call(app, "GET", QUICK), 2) == 200
    finally:
        await app.stop()
    assert set(answered) <= {200, 201, 503}, answered
    assert rows(url, "SELECT count(*) FROM entries WHERE copy <> code") == [(0,)]
    assert number(url, CONNECTED) == 0


@pytest.mark.anyio
async def test_a_slow_read_ends_soon_after_its_client_is_gone(url: str) -> None:
    """PostgreSQL is told to stop it, on a shared connection and on one of its own, within about a second; what the
    client shares with nobody is not answered, and a write that nobody waits for is finished all the same.
    """
    app = ledger(url)
    try:
        for _ in range(2):  # the second time it is known to be slow
            gone = asyncio.Event()
            asked = [asyncio.ensure_future(call(app, "GET", SLOW, gone=gone)) for _ in range(3)]
            await becomes(url, ACTIVE, SOME, 5.0)
            gone.set()
            assert await asyncio.wait_for(asyncio.gather(*asked), 1.0) == [0, 0, 0]
            await becomes(url, ACTIVE, {0}, 1.5)
        await settled(app)
        assert app.start().observations.in_flight == 0
    finally:
        await app.stop()


def test_sockets_that_are_closed_leave_nothing(url: str) -> None:
    """The same of a real server: thousands of clients that hang up mid-request, some in long reads."""

    async def talk(server: Server) -> None:
        chance = random.Random(2)
        watch = await server.connect()
        assert (await watch.request("GET", QUICK))[0] == 200

        async def one(i: int) -> None:
            wire = await server.connect()
            if i % 4 == 1:
                body = {"code": str(i), "copy": str(i), "amount": 1}
                wire.send("POST", "/api/v1/entries", body=body, credential=CREDENTIAL)
            else:
                wire.send("GET", SLOW if i % 200 == 0 else NAP if i % 8 == 0 else QUICK)
            await wire.writer.drain()
            await asyncio.sleep(chance.random() * 0.01)
            wire.writer.transport.abort()
            await wire.close()

        for start in range(0, DISCONNECTED, 50):
            await asyncio.gather(*(one(i) for i in range(start, start + 50)))
        await becomes(url, ACTIVE, {0}, 6.0)
        assert await asyncio.to_thread(number, url, CONNECTED) <= POOL_SIZE
        assert (await asyncio.wait_for(watch.request("GET", QUICK), 2))[0] == 200
        metrics = (await watch.request("GET", "/metrics"))[2].decode()
        assert "backstay_requests_in_flight 1.0" in metrics

    with Server(LEDGER, url, pool_size=POOL_SIZE) as server:
        run(talk(server))
        assert "Traceback" not in server.log


@pytest.mark.parametrize("mode", ["session", "transaction"])
def test_a_long_read_is_stopped_when_its_socket_is_closed(url: str, mode: str) -> None:
    """Within about a second PostgreSQL works for nobody."""

    async def talk(server: Server) -> None:
        wires = [await server.connect() for _ in range(3)]
        for wire in wires:
            wire.send("GET", SLOW)
        await becomes(url, ACTIVE, SOME, 5.0)
        for wire in wires:
            await wire.close()
        await becomes(url, ACTIVE, {0}, 1.5)

    with Server(LEDGER, url, pool_mode=mode) as server:
        run(talk(server))
        assert "Traceback" not in server.log
