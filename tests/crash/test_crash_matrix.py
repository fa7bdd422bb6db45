"""kill -9 under writes of every kind: each is there whole, with its changes and its answer, or not at all; once."""

import asyncio
import itertools
import os
import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import apsw
import pytest

from support.asgi import bearer, sync_engine
from support.databases import number_on
from support.ledger import Base
from support.postgres import fill_ledger, own_server, rows
from support.server import LEDGER, Server, Wire, run

CLIENTS = 24
ROUNDS = int(os.environ.get("CRASH_ROUNDS", "20"))
CREDENTIAL = bearer(7)
GONE = (ConnectionError, asyncio.IncompleteReadError)


@dataclass(slots=True)
class Sent:
    """One request: what it says, how many accounts and entries come of it, and whether it was acknowledged."""

    tag: str
    path: str
    body: Any
    accounts: int
    entries: int
    acknowledged: bool = False

    @property
    def key(self) -> str:
        """Its Idempotency-Key."""
        return f"key-{self.tag}"


@dataclass(slots=True)
class Load:
    """Every request so far."""

    sent: list[Sent] = field(default_factory=list[Sent])
    statuses: Counter[int] = field(default_factory=Counter[int])
    numbers: Iterator[int] = field(default_factory=itertools.count)

    def next(self, chance: random.Random) -> Sent:
        """A request of a random kind."""
        tag = f"t{next(self.numbers)}"
        many = chance.randint(1, 4)
        entries = [{"code": f"{tag}-{i}", "copy": f"{tag}-{i}", "amount": 1} for i in range(many)]
        nested = {"name": tag, "entries": entries}
        match chance.choice(["create", "nested", "bulk", "batch"]):
            case "create":
                made = Sent(tag, "/entries", entries[0], 0, 1)
            case "nested":
                made = Sent(tag, "/accounts", nested, 1, many)
            case "bulk":
                made = Sent(tag, "/entries", entries, 0, many)
            case _:
                account = {"method": "POST", "path": "/accounts", "id": "a", "body": {"name": tag}}
                own = [entry | {"account_id": {"$ref": "a.id"}} for entry in entries]
                operations = [account, *({"method": "POST", "path": "/entries", "body": entry} for entry in own)]
                made = Sent(tag, "/batch", {"operations": operations}, 1, many)
        self.sent.append(made)
        return made

    async def one(self, wire: Wire, sent: Sent) -> None:
        """Send a request, perhaps again."""
        path = f"/api/v1{sent.path}"
        status, _, body = await wire.request("POST", path, body=sent.body, credential=CREDENTIAL, key=sent.key)
        self.statuses[status] += 1
        assert status in (200, 201, 503), body
        sent.acknowledged = sent.acknowledged or status < 300

    async def write_until_gone(self, wire: Wire, chance: random.Random) -> None:
        """One request after another; some are sent twice."""
        try:
            while True:
                sent = self.next(chance)
                await self.one(wire, sent)
                if chance.random() < 0.3:
                    await self.one(wire, sent)
        except GONE:
            pass
        finally:
            await wire.close()

    async def send_again(self, server: Server) -> None:
        """Everything that nobody acknowledged, with its key."""
        wire = await server.connect()
        for sent in [sent for sent in self.sent if not sent.acknowledged]:
            await self.one(wire, sent)
        await wire.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def either(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path | str]:
    """An empty ledger that keeps what it acknowledged, as in production."""
    if request.param == "sqlite":
        engine = sync_engine(tmp_path / "ledger.db")
        Base.metadata.create_all(engine)
        engine.dispose()
        yield tmp_path / "ledger.db"
        return
    with own_server(durable=True) as server:
        fill_ledger(server.url())
        number_on(server.url())
        yield server.url()


def read(database: Path | str, query: str) -> list[tuple[Any, ...]]:
    """Rows of a database that nothing else is wrong with."""
    if isinstance(database, str):
        return rows(database, query)
    connection = apsw.Connection(str(database))
    try:
        return list(connection.execute(query))
    finally:
        connection.close()


def counted(database: Path | str, query: str) -> Counter[str]:
    """How often each tag is there: what stands before the dash."""
    return Counter(str(row[0]).partition("-")[0] for row in read(database, query))


def check(database: Path | str, load: Load, *, whole: bool) -> None:
    """Rows and change entries are those of whole requests; with `whole` of every request, once.

    The number of records of answers is compared, because their keys are hashes.
    """
    entries = counted(database, "SELECT code FROM entries")
    accounts = counted(database, "SELECT name FROM accounts")
    path = "after->>'{}'" if isinstance(database, str) else "json_extract(after, '$.{}')"
    logged = "SELECT {} FROM backstay_changes WHERE table_name = '{}' AND operation = 'create'"
    entries_logged = counted(database, logged.format(path.format("code"), "entries"))
    accounts_logged = counted(database, logged.format(path.format("name"), "accounts"))
    assert entries == entries_logged
    # The one that the ledger may begin with is nobody's request.
    assert {**accounts, "a": 0} == {**accounts_logged, "a": 0}
    done = 0
    for sent in load.sent:
        found = (accounts[sent.tag], entries[sent.tag])
        there = found == (sent.accounts, sent.entries)
        assert there or (found == (0, 0) and not sent.acknowledged and not whole), (sent, found)
        done += there
    assert set(entries) | set(accounts_logged) <= {"a"} | {sent.tag for sent in load.sent}
    answers = "SELECT count(*), count(status) FROM backstay_idempotency"
    assert read(database, answers) == [(done, done)]


def test_a_crash_leaves_whole_writes_and_a_retry_never_doubles(either: Path | str) -> None:
    """Twenty kills at random moments; after each, what was not acknowledged is sent again with its key."""
    chance = random.Random()
    load = Load()

    async def round_of_writes(server: Server) -> None:
        if load.sent:
            await load.send_again(server)
            check(either, load, whole=True)
        before = len(load.sent)
        wires = [await server.connect() for _ in range(CLIENTS)]
        writers = [asyncio.create_task(load.write_until_gone(wire, chance)) for wire in wires]
        while not any(sent.acknowledged for sent in load.sent[before:]):  # noqa: ASYNC110 - a test may poll
            await asyncio.sleep(0.002)
        await asyncio.sleep(chance.uniform(0.0, 0.4))
        server.kill()
        await asyncio.wait_for(asyncio.gather(*writers), 20)

    for _ in range(ROUNDS):
        with Server(LEDGER, either) as server:
            run(round_of_writes(server))
        check(either, load, whole=False)
    with Server(LEDGER, either) as server:
        run(load.send_again(server))
    check(either, load, whole=True)
    assert len(load.sent) > CLIENTS * ROUNDS
    assert {200, 201} <= set(load.statuses)
