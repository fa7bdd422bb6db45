"""Durability: what a server acknowledged is there after kill -9, and nothing is there by halves."""

import asyncio
import itertools
import json
import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apsw
import pytest

from support.asgi import bearer, sync_engine
from support.ledger import Base
from support.postgres import fill_ledger, own_server, rows
from support.server import LEDGER, Server, Wire, run

CLIENTS = 64
ROUNDS = 5
CREDENTIAL = bearer("writer")
GONE = (ConnectionError, asyncio.IncompleteReadError)


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """A file with the ledger's tables and one account."""
    path = tmp_path / "ledger.db"
    engine = sync_engine(path)
    Base.metadata.create_all(engine)
    with engine.begin() as connection:
        connection.exec_driver_sql("INSERT INTO accounts (id, name) VALUES (1, 'a')")
    engine.dispose()
    return path


@pytest.fixture(params=["sqlite", "postgresql"])
def either(request: pytest.FixtureRequest) -> Iterator[Path | str]:
    """A database with the ledger's tables and one account that keeps what it acknowledged, as in production."""
    if request.param == "sqlite":
        yield request.getfixturevalue("database")
        return
    with own_server(durable=True) as server:
        fill_ledger(server.url())
        yield server.url()


class Load:
    """Writers that note what they sent and what was acknowledged."""

    def __init__(self) -> None:
        self.sent: set[str] = set()
        self.acknowledged: dict[str, int] = {}
        self.statuses: Counter[int] = Counter()
        self.retry_after: set[str] = set()
        self._numbers = itertools.count()

    async def write_until_gone(self, wire: Wire, chance: random.Random, stop: asyncio.Event) -> None:
        """Create entries of various sizes one after another."""
        try:
            while not stop.is_set():
                code = f"{next(self._numbers)}-" + "x" * chance.choice([1, 50, 3_000])
                self.sent.add(code)
                body = {"code": code, "copy": code, "amount": 1, "account_id": 1}
                status, headers, content = await wire.request(
                    "POST", "/api/v1/entries", body=body, credential=CREDENTIAL
                )
                self.statuses[status] += 1
                if status == 201:
                    self.acknowledged[code] = json.loads(content)["data"]["id"]
                else:
                    self.retry_after.add(headers.get("retry-after", ""))
        except GONE:
            pass
        finally:
            await wire.close()

    async def grown(self, count: int) -> None:
        """Return once so many writes are acknowledged."""
        while len(self.acknowledged) < count:  # noqa: ASYNC110 - a test may poll
            await asyncio.sleep(0.005)


def entries(database: Path | str) -> list[tuple[Any, ...]]:
    """Every entry, of a database in which nothing else is wrong."""
    select = "SELECT id, code, copy, amount, account_id, version FROM entries"
    if isinstance(database, str):
        return rows(database, select)
    connection = apsw.Connection(str(database))
    try:
        assert list(connection.execute("PRAGMA integrity_check")) == [("ok",)]
        assert list(connection.execute("PRAGMA foreign_key_check")) == []
        return list(connection.execute(select))
    finally:
        connection.close()


def check(database: Path | str, load: Load) -> int:
    """No acknowledged row is missing, every row is whole and was sent, and SQLite finds nothing wrong."""
    there = entries(database)
    found = {code: key for key, code, *_ in there}
    missing = load.acknowledged.keys() - found.keys()
    assert not missing, f"{len(missing)} acknowledged rows are missing"
    assert all(found[code] == key for code, key in load.acknowledged.items())
    assert found.keys() <= load.sent
    assert all(row[1:] == (row[1], row[1], 1, 1, 1) for row in there)
    return len(there)


def test_acknowledged_writes_survive_kill_9(either: Path | str) -> None:
    """Five rounds of kill -9 at random moments under the writes of 64 clients, on one database."""
    chance = random.Random()
    load = Load()

    async def round_of_writes(server: Server) -> None:
        stop = asyncio.Event()
        wires = [await server.connect() for _ in range(CLIENTS)]
        before = len(load.acknowledged)
        writers = [asyncio.create_task(load.write_until_gone(wire, chance, stop)) for wire in wires]
        await load.grown(before + 1)
        await asyncio.sleep(chance.uniform(0.01, 0.6))
        server.kill()
        await asyncio.wait_for(asyncio.gather(*writers), 20)

    for _ in range(ROUNDS):
        with Server(LEDGER, either) as server:
            run(round_of_writes(server))
        check(either, load)
    assert set(load.statuses) == {201}
    assert len(load.acknowledged) > CLIENTS * ROUNDS


def test_two_processes_write_one_file(database: Path) -> None:
    """Both servers write at once: every acknowledged row is there, and a refusal is 503 with Retry-After."""
    loads = (Load(), Load())
    loads[1]._numbers = itertools.count(10_000_000)

    async def write(servers: tuple[Server, Server]) -> None:
        stop = asyncio.Event()
        chance = random.Random(1)
        tasks = []
        for server, load in zip(servers, loads, strict=True):
            wires = [await server.connect() for _ in range(CLIENTS // 4)]
            tasks += [asyncio.create_task(load.write_until_gone(wire, chance, stop)) for wire in wires]
        await asyncio.sleep(2.0)
        stop.set()
        await asyncio.wait_for(asyncio.gather(*tasks), 30)

    with Server(LEDGER, database) as first, Server(LEDGER, database) as second:
        run(write((first, second)))
    both = Load()
    for load in loads:
        both.sent |= load.sent
        both.acknowledged |= load.acknowledged
        assert set(load.statuses) <= {201, 503}
        assert load.retry_after <= {"1"}
        assert load.statuses[503] * 50 <= load.statuses[201], load.statuses
        assert len(load.acknowledged) >= 50, load.statuses
    assert check(database, both) == len(both.acknowledged)


def test_a_killed_process_does_not_stop_the_other(database: Path) -> None:
    """kill -9 of one of two writing servers leaves the other writing, and the acknowledged rows of both."""
    loads = (Load(), Load())
    loads[1]._numbers = itertools.count(10_000_000)

    async def write(victim: Server, survivor: Server) -> None:
        stop = asyncio.Event()
        chance = random.Random(2)
        tasks = []
        for server, load in zip((victim, survivor), loads, strict=True):
            wires = [await server.connect() for _ in range(8)]
            tasks += [asyncio.create_task(load.write_until_gone(wire, chance, stop)) for wire in wires]
        await asyncio.sleep(0.7)
        victim.kill()
        before = len(loads[1].acknowledged)
        await asyncio.wait_for(loads[1].grown(before + 20), 15)
        stop.set()
        await asyncio.wait_for(asyncio.gather(*tasks), 20)

    with Server(LEDGER, database) as victim, Server(LEDGER, database) as survivor:
        run(write(victim, survivor))
    both = Load()
    for load in loads:
        both.sent |= load.sent
        both.acknowledged |= load.acknowledged
    check(database, both)
