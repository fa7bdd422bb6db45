"""Read-your-writes over real streaming replicas: one that is late, one that freezes, one that is killed."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from httpx2 import AsyncClient
from sqlalchemy.orm import DeclarativeBase, Mapped

from backstay import Backstay, Config, ModelBase, public, signed_in
from backstay.db.postgres_replicas import UNREACHED
from backstay.http.consistency import COOKIE, HEADER, PRIMARY, position_headers, read_after
from backstay.testing import SECRET, client, create_tables, token
from backstay.testing.postgres import PostgresServer

DELAY_S = 2.0
PATIENCE_S = 20.0
READ_AFTER = HEADER.decode()
SIGNED_IN = {"authorization": f"Bearer {token(1)}"}


class Base(ModelBase, DeclarativeBase):
    """A registry of its own."""

    metadata = sa.MetaData()


class Note(Base):
    """One line of text."""

    text: Mapped[str]


@dataclass(frozen=True, slots=True)
class Servers:
    """A primary with two replicas: one quick, one that applies changes two seconds late."""

    primary: PostgresServer
    quick: PostgresServer
    late: PostgresServer


@pytest.fixture(scope="module")
def servers() -> Iterator[Servers]:
    """Started once; what a test stops it starts again."""
    folder = Path("/tmp") / f"backstay-replicas-{os.getpid()}"
    with PostgresServer(folder) as primary:
        create_tables(notes(primary))
        quick = primary.replica(folder.with_name(folder.name + "-quick"))
        delay = {"recovery_min_apply_delay": f"{DELAY_S}s"}
        late = primary.replica(folder.with_name(folder.name + "-late"), settings=delay)
        yield Servers(primary, quick, late)


def notes(primary: PostgresServer, *replicas: PostgresServer) -> Backstay:
    """An app of one resource."""
    urls = ",".join(replica.url() for replica in replicas)
    app = Backstay(
        "notes",
        config=Config(database_url=primary.url(), replicas=urls, secret=SECRET, log_level="error", rate_limit="off"),
    )
    app.resource(Note, read=public, create=signed_in, update=signed_in)
    return app


@asynccontextmanager
async def opened(
    primary: PostgresServer, *replicas: PostgresServer
) -> AsyncGenerator[tuple[AsyncClient, Callable[[], int]]]:
    """A client, and how many reads replicas have answered; every replica is known to be there."""
    app = notes(primary, *replicas)
    async with client(app) as http:
        http.cookies.clear()
        database: Any = app.start().database
        await http.get("/api/v1/notes?limit=1")
        deadline = time.monotonic() + PATIENCE_S
        while not all(replica.alive for replica in database._replicas.members):
            assert time.monotonic() < deadline, "the replicas were never asked"
            await asyncio.sleep(0.02)
        yield http, lambda: database.gauges().replica_reads


async def create(http: AsyncClient, text: str) -> tuple[int, str]:
    """A new note's id, and the position that its creator has to bring back."""
    answer = await http.post("/api/v1/notes", json={"text": text}, headers=SIGNED_IN)
    assert answer.status_code == 201, answer.text
    http.cookies.clear()
    return answer.json()["data"]["id"], answer.headers[READ_AFTER]


async def caught_up(http: AsyncClient, number: int) -> None:
    """Return when replicas show a row without being asked for it by position."""
    deadline = time.monotonic() + PATIENCE_S
    while (await http.get(f"/api/v1/notes/{number}")).status_code != 200:
        assert time.monotonic() < deadline, "the replica never caught up"
        await asyncio.sleep(0.05)


@pytest.mark.anyio
async def test_a_late_replica_hides_nothing_from_who_wrote(servers: Servers) -> None:
    """With the header, and with the cookie alone, every read after a write shows it; without, it may be late."""
    async with opened(servers.primary, servers.late) as (http, replicated):
        for text in ("by header", "by cookie"):
            number, position = await create(http, text)
            given = (
                {READ_AFTER: position} if text == "by header" else {"cookie": f"a=b; {COOKIE.decode()}={position}"}
            )
            for _ in range(5):
                answer = await http.get(f"/api/v1/notes/{number}", headers=given)
                assert answer.status_code == 200
                assert answer.json()["data"]["text"] == text
            before = replicated()
            assert (await http.get(f"/api/v1/notes/{number}")).status_code == 404, "the replica was to be late"
            assert replicated() == before + 1
        await caught_up(http, number)
        # A replica that has caught up answers.
        await asyncio.wait_for(answering(http, number, replicated, {READ_AFTER: position}), PATIENCE_S)


@pytest.mark.anyio
async def test_updates_are_read_too(servers: Servers) -> None:
    """A version is never seen to go back by who brings its position."""
    async with opened(servers.primary, servers.late, servers.quick) as (http, _):
        number, position = await create(http, "0")
        for i in range(1, 6):
            answer = await http.patch(
                f"/api/v1/notes/{number}", json={"text": str(i)}, headers={**SIGNED_IN, READ_AFTER: position}
            )
            position = answer.headers[READ_AFTER]
            http.cookies.clear()
            read = await http.get(f"/api/v1/notes?id={number}", headers={READ_AFTER: position})
            assert read.json()["data"][0]["text"] == str(i)


@pytest.mark.anyio
async def test_a_frozen_replica_fails_nobody(servers: Servers) -> None:
    """Reads that it holds go to the primary, and the next ones at once; thawed, it answers again."""
    async with opened(servers.primary, servers.quick) as (http, replicated):
        number, _ = await create(http, "seen by all")
        await caught_up(http, number)
        group = os.getpgid(servers.quick.pid)
        os.killpg(group, signal.SIGSTOP)
        try:
            answers = await asyncio.gather(*[http.get(f"/api/v1/notes/{number}") for _ in range(50)])
            assert {answer.status_code for answer in answers} == {200}
            await asyncio.sleep(1.0)
            started = time.monotonic()
            assert (await http.get(f"/api/v1/notes/{number}")).status_code == 200
            assert time.monotonic() - started < 1.0
        finally:
            os.killpg(group, signal.SIGCONT)
        await asyncio.wait_for(answering(http, number, replicated), PATIENCE_S)


async def answering(
    http: AsyncClient, number: int, replicated: Callable[[], int], headers: dict[str, str] | None = None
) -> None:
    """Return when a replica answers."""
    before = replicated()
    while replicated() == before:
        assert (await http.get(f"/api/v1/notes/{number}", headers=headers)).status_code == 200
        await asyncio.sleep(0.05)


@pytest.mark.anyio
async def test_a_killed_replica_fails_no_request(servers: Servers) -> None:
    """Under load it dies and comes back; every request is answered."""
    async with opened(servers.primary, servers.quick) as (http, replicated):
        number, _ = await create(http, "always there")
        await caught_up(http, number)
        stop = asyncio.Event()
        statuses: list[int] = []

        async def load() -> None:
            while not stop.is_set():
                statuses.append((await http.get(f"/api/v1/notes/{number}")).status_code)

        clients = [asyncio.create_task(load()) for _ in range(8)]
        await asyncio.sleep(0.3)
        await asyncio.to_thread(servers.quick.stop, how=signal.SIGQUIT)
        await asyncio.sleep(1.0)
        await asyncio.to_thread(servers.quick.start)
        await asyncio.wait_for(answering(http, number, replicated), PATIENCE_S)
        stop.set()
        await asyncio.gather(*clients)
        assert len(statuses) > 100
        assert set(statuses) == {200}


@pytest.mark.anyio
async def test_without_replicas_nothing_is_said(servers: Servers) -> None:
    """A single server has no positions to speak of."""
    async with client(notes(servers.primary)) as http:
        answer = await http.post("/api/v1/notes", json={"text": "alone"}, headers=SIGNED_IN)
        assert answer.status_code == 201
        assert READ_AFTER not in answer.headers
        assert "set-cookie" not in answer.headers


def test_positions_that_are_none_mean_the_primary() -> None:
    """Whoever sends rubbish sees everything."""
    for rubbish in (b"", b"1", b"x/y", b"1/2/3", b"/", b"-"):
        assert read_after({HEADER: rubbish}) == PRIMARY, rubbish
    assert read_after({}) == 0
    assert read_after({b"cookie": b"session=1"}) == 0


def test_a_position_comes_back_as_it_went() -> None:
    """As a header and as a cookie."""
    for position in (1, 0x16_B374_D848, UNREACHED):
        header, cookie = position_headers(position)
        assert read_after(dict([header])) == position
        assert read_after({b"cookie": b"x=1; " + cookie[1].partition(b";")[0]}) == position
