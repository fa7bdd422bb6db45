"""`app.transaction`: refused and undone first, then what it promises beside other writers, on both databases."""

import asyncio
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from backstay import Backstay, Context, ModelBase, Problem, public, signed_in
from support.asgi import Client, bearer, quiet
from support.databases import DATABASES, empty_database

ROUNDS = 25


class Base(ModelBase, DeclarativeBase):
    """A registry of these tests' own."""

    metadata = sa.MetaData()


class Counter(Base):
    """What transactions count up."""

    name: Mapped[str] = mapped_column(unique=True)
    value: Mapped[int] = mapped_column(default=0)


@pytest.fixture(params=DATABASES)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A database with the table."""
    return empty_database(request.param, tmp_path, Base.metadata)


@pytest.fixture
def client(url: str) -> Iterator[Client]:
    """An app with endpoints that write."""
    app = Backstay("counters", config=quiet(url))
    app.resource(Counter, read=public, create=signed_in)

    @app.post("/api/v1/up")
    async def up(ctx: Context, name: str, fail: bool = False) -> int:
        async with app.transaction(ctx) as session:
            counter = await session.scalar(sa.select(Counter).where(Counter.name == name).with_for_update())
            if counter is None:
                raise Problem("NOT_FOUND")
            counter.value += 1
            await session.flush()
            if fail:
                raise Problem("CONFLICT", "Not today.")
        return counter.value

    with Client(app) as opened:
        assert opened.post("/counters", {"name": "a"}, credential=bearer(1)).status == 201
        yield opened


def value(client: Client) -> int:
    """What the counter says."""
    return client.get("/counters").data[0]["value"]


def test_what_fails_is_undone(client: Client) -> None:
    """An error in the block leaves nothing, and is answered as anywhere."""
    assert client.request("POST", "/up", "name=a&fail=true").status == 409
    assert client.request("POST", "/up", "name=b").status == 404
    assert value(client) == 0
    assert client.request("POST", "/up", "name=a").json == 1
    assert value(client) == 1


def test_constraint_is_the_programs_to_handle(client: Client) -> None:
    """A refused row raises SQLAlchemy's own error, and the next transaction is not harmed."""

    async def twice() -> None:
        with pytest.raises(IntegrityError):
            async with client.app.transaction() as session:
                session.add(Counter(name="a"))
        async with client.app.transaction() as session:
            session.add(Counter(name="c"))

    client.loop.run_until_complete(twice())
    assert client.get("/counters").meta["total"] == 2


def test_statements_count(client: Client) -> None:
    """What a transaction runs is counted in its request, as reads are."""
    answer = client.request("POST", "/up", "name=a")
    assert 'statements;desc="2"' in answer.headers["server-timing"]


def test_deadline_ends_the_block(client: Client) -> None:
    """A block that waits too long is undone, and says so; it does not keep others from writing."""

    async def stall() -> None:
        async with client.app.transaction(Context("", deadline=time.monotonic() + 0.2)) as session:
            session.add(Counter(name="late"))
            await session.flush()
            await asyncio.sleep(5)

    with pytest.raises(Problem) as caught:
        client.loop.run_until_complete(stall())
    assert caught.value.code == "UNAVAILABLE"
    assert client.request("POST", "/up", "name=a").status == 200
    assert client.get("/counters").meta["total"] == 1


def test_error_of_the_block_is_its_own(client: Client) -> None:
    """A TimeoutError that the block itself raises is not taken for the deadline's."""

    async def raises() -> None:
        with pytest.raises(TimeoutError):
            async with client.app.transaction():
                raise TimeoutError

    client.loop.run_until_complete(raises())


def test_transactions_and_writes_wait_for_each_other(client: Client) -> None:
    """Many at once, beside writes of the API: none fails for the other's sake, and no update is lost."""

    async def burst() -> None:
        ups = [client.send("POST", "/up", "name=a") for _ in range(40)]
        creates = [client.send("POST", "/counters", body={"name": f"n{i}"}, credential=bearer(1)) for i in range(200)]
        answers = await asyncio.gather(*[x for pair in zip(ups, creates, strict=False) for x in pair], *creates[40:])
        assert {answer.status for answer in answers} <= {200, 201}

    client.loop.run_until_complete(burst())
    assert client.get("/counters", "name=a").data[0]["value"] == 40
    assert client.get("/counters").meta["total"] == 201


#: One of several processes that write the same row.
COUNT_UP = """
import asyncio, sys
import sqlalchemy as sa
from backstay.config import Config
from backstay.db.sessions import Sessions

counters = sa.table("counters", sa.column("value"))

async def rounds():
    sessions = Sessions(Config(database_url=sys.argv[1]))
    for _ in range(int(sys.argv[2])):
        async with sessions.begin() as session:
            value = await session.scalar(sa.select(counters.c.value).with_for_update())
            await session.execute(sa.update(counters).values(value=value + 1))
    await sessions.close()

asyncio.run(rounds())
"""


def test_processes_wait_for_each_other(client: Client, url: str) -> None:
    """Several processes write one row through sessions: all succeed, and no update is lost."""
    writers = [subprocess.Popen([sys.executable, "-c", COUNT_UP, url, str(ROUNDS)]) for _ in range(3)]
    assert [writer.wait(60) for writer in writers] == [0, 0, 0]
    assert value(client) == 3 * ROUNDS
