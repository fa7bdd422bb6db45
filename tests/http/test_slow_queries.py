"""Slow queries: they hold up nobody, end at their deadline, and answers have a largest size."""

import asyncio
import json
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import pytest

from support.asgi import bearer, sync_engine
from support.ledger import Base
from support.server import LEDGER, Server, Wire, run

ROWS = 1_000_000
POINT = "/api/v1/items/77"
_NOWHERE = ",".join(f"label[ilike]=%25nowhere{i}%25" for i in range(30))
#: Scans of the whole table, for the rows and for their number, or for groups.
SLOW = {
    "filter": f"/api/v1/items?or=({_NOWHERE})",
    "distinct": "/api/v1/items/aggregate?select=count(distinct%20label),avg(number)",
    "group": "/api/v1/items/aggregate?group=label&select=count,max(number)&sort=-max_number",
}
FILL = """
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < %d)
INSERT INTO items (id, label, number) SELECT i, 'item ' || (i * 7919 %% 1000003), i * 31 %% 1009 FROM n
"""
ENOUGH_S = 0.5


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with a table that takes long to scan."""
    path = tmp_path_factory.mktemp("slow") / "items.db"
    engine = sync_engine(path)
    Base.metadata.create_all(engine)
    with engine.begin() as connection:
        connection.exec_driver_sql(FILL % ROWS)
    engine.dispose()
    return path


@pytest.fixture(scope="module")
def server(database: Path) -> Iterator[Server]:
    """A server on it, with the settings that everybody gets."""
    with Server(LEDGER, database) as running:
        yield running


@pytest.fixture(scope="module")
def strict(database: Path) -> Iterator[Server]:
    """A server with a short deadline, one thread for slow reads and a small largest answer."""
    with Server(LEDGER, database, request_timeout_s=0.3, reader_threads=1, result_bytes_max=1_500) as running:
        yield running


async def timed(wire: Wire, path: str) -> float:
    """Seconds of one GET that must succeed."""
    started = time.perf_counter()
    status, _, body = await wire.request("GET", path)
    assert status == 200, body
    return time.perf_counter() - started


class Loop:
    """Slow queries one after another on some connections, until it is left."""

    def __init__(self, server: Server, path: str, connections: int = 1) -> None:
        self.server = server
        self.path = path
        self.connections = connections
        self.times: list[float] = []

    async def __aenter__(self) -> "Loop":
        self.wires = [await self.server.connect() for _ in range(self.connections)]
        self.tasks = [asyncio.create_task(self._run(wire)) for wire in self.wires]
        await asyncio.sleep(0.05)
        return self

    async def _run(self, wire: Wire) -> None:
        while True:
            self.times.append(await timed(wire, self.path))

    async def __aexit__(self, *_: object) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        for wire in self.wires:
            await wire.close()


async def points(wire: Wire, count: int) -> list[float]:
    """Times of point reads one after another."""
    return [await timed(wire, POINT) for _ in range(count)]


@pytest.mark.alone
@pytest.mark.parametrize("kind", SLOW)
def test_a_slow_query_in_a_loop_leaves_point_reads_alone(server: Server, kind: str) -> None:
    """Next to a scan of half a second and more, the p50 of point reads stays within twice its p50 alone."""

    async def measure() -> tuple[list[float], list[float], list[float], list[float]]:
        wire = await server.connect()
        await points(wire, 50)
        alone: list[float] = []
        beside: list[float] = []
        every: list[float] = []
        slow: list[float] = []
        for _ in range(2):
            alone.append(median(await points(wire, 150)))
            async with Loop(server, SLOW[kind]) as loop:
                while not loop.times:
                    taken = await points(wire, 150)
                    beside.append(median(taken))
                    every += taken
                slow += loop.times
        await wire.close()
        return alone, beside, every, slow

    alone, beside, every, slow = run(measure())
    for _ in range(2):  # another program on the machine can spoil a measurement, and not make one better
        if min(beside) <= 2 * min(alone):
            break
        alone, beside, every, slow = run(measure())
    assert len(every) >= 200
    assert max(slow) >= ENOUGH_S, f"the query takes {max(slow):.2f} s: it has to be slower to show anything"
    # The least of several medians, because other tests share the machine.
    assert min(beside) <= 2 * min(alone), f"p50 {min(beside) * 1000:.3f} ms, alone {min(alone) * 1000:.3f} ms"
    assert max(every) < min(slow), f"a point read waited {max(every):.2f} s"


@pytest.mark.alone
def test_nothing_waits_behind_more_slow_queries_than_threads(server: Server) -> None:
    """With more scans at once than reader threads, point reads, page reads, writes and probes go on at once."""
    credential = bearer("writer")

    async def measure() -> tuple[list[float], list[float]]:
        found: list[float] = []
        wire = await server.connect()
        async with Loop(server, SLOW["group"], connections=8) as loop:
            while len(found) < 30 or not loop.times:
                started = time.perf_counter()
                await timed(wire, POINT)
                await timed(wire, "/api/v1/items?number[lt]=2000000&limit=5&count=false")
                await timed(wire, "/health/ready")
                body = {"name": f"while slow {time.time()}"}
                status, _, answer = await wire.request("POST", "/api/v1/accounts", body=body, credential=credential)
                assert status == 201, answer
                found.append(time.perf_counter() - started)
        return found, loop.times

    found, slow = run(measure())
    assert median(found) < min(slow) / 4
    assert max(found) < min(slow)


@pytest.mark.alone
@pytest.mark.parametrize("kind", SLOW)
def test_a_query_past_its_deadline_is_503_and_frees_its_thread(strict: Server, kind: str) -> None:
    """QUERY_TIMEOUT with Retry-After soon after the deadline; with one reader thread, the next query still runs."""

    async def measure(server: Server) -> None:
        wire = await server.connect()
        for _ in range(3):
            started = time.perf_counter()
            status, headers, body = await wire.request("GET", SLOW[kind])
            taken = time.perf_counter() - started
            assert (status, json.loads(body)["code"]) == (503, "QUERY_TIMEOUT")
            assert int(headers["retry-after"]) > 0
            assert 0.25 < taken < 1.0, taken
            # Slower than the event loop's budget, quicker than the deadline: it needs the one thread.
            await timed(wire, "/api/v1/items?id[lt]=40000&label[contains]=nowhere")
            await timed(wire, POINT)
        await wire.close()

    run(measure(strict))


@pytest.mark.alone
def test_queries_that_wait_for_a_thread_past_their_deadline_are_503(strict: Server) -> None:
    """A burst of scans on one thread: each is answered soon after its own deadline, none is forgotten."""

    async def measure(server: Server) -> None:
        wires = [await server.connect() for _ in range(6)]
        started = time.perf_counter()
        answers = await asyncio.gather(*(wire.request("GET", SLOW["filter"]) for wire in wires))
        taken = time.perf_counter() - started
        for status, headers, body in answers:
            assert (status, json.loads(body)["code"]) == (503, "QUERY_TIMEOUT")
            assert "retry-after" in headers
        assert taken < 1.5
        await timed(wires[0], "/api/v1/items?id[lt]=40000&label[contains]=nowhere")
        for wire in wires:
            await wire.close()

    run(measure(strict))


@pytest.mark.parametrize(
    "query",
    [
        "&id[lt]=500",
        "&count=false",
        "&cursor=",
        "&id[lt]=500&sort=label",
        "/aggregate?group=label&id[lt]=500&limit=100",
    ],
    ids=["counted", "uncounted", "keyset", "sorted", "aggregate"],
)
def test_an_answer_past_its_size_is_400(strict: Server, query: str) -> None:
    """RESULT_TOO_LARGE instead of a body larger than the setting; a smaller page of the same is answered."""

    async def measure(server: Server) -> None:
        wire = await server.connect()
        path = f"/api/v1/items{query}" if query.startswith("/") else f"/api/v1/items?limit=100{query}"
        status, _, body = await wire.request("GET", path)
        assert (status, json.loads(body)["code"]) == (400, "RESULT_TOO_LARGE"), len(body)
        status, _, body = await wire.request("GET", path.replace("limit=100", "limit=3"))
        assert (status, len(json.loads(body)["data"])) == (200, 3)
        await wire.close()

    run(measure(strict))
