"""The order of the change log: who follows it misses nothing and sees no effect before its cause.

Every write says what it depends on: the version of another row that its transaction read before. Where the log has
the write, it has that version already.
"""

import asyncio
import json
import random
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert, select
from sqlalchemy.orm import DeclarativeBase, Mapped

from backstay import Backstay, Context, ModelBase, public, signed_in
from backstay.events.changes import Change
from support.asgi import Client, bearer, quiet
from support.databases import DATABASES, empty_database

WRITERS = 64
TURNS = 4
CELLS = 24
#: Processes that write; each keeps few connections for transactions. SQLite has one writer at a time.
APPS = {"sqlite": 1, "postgresql": 5}
#: The longest pause of a transaction; on SQLite, everybody waits for it.
PAUSE_S = {"sqlite": 0.004, "postgresql": 0.12}
CREDENTIAL = bearer("writer")


class Base(ModelBase, DeclarativeBase):
    """The models of this module."""


class Cell(Base):
    """Its writer says what it saw: the version of another cell."""

    __tablename__ = "cells"

    mark: Mapped[str]
    saw_cell: Mapped[int | None]
    saw_version: Mapped[int | None]


class GivenUpError(Exception):
    """A transaction that was rolled back by its own will."""


def app_of(url: str) -> Backstay:
    """One process's app."""
    app = Backstay("cells", config=quiet(url))
    app.resource(Cell, read=public, write=signed_in)
    return app


class Writers:
    """What writes at the same time, and the marks of what was committed."""

    def __init__(self, clients: Sequence[Client], pause_s: float) -> None:
        self.clients = clients
        self.pause_s = pause_s
        self.committed: list[str] = []

    async def write(self, number: int) -> None:
        """One writer's turns; each is a transaction of the ORM or a request."""
        draw = random.Random(number)
        client = self.clients[number % len(self.clients)]
        for turn in range(TURNS):
            marks = [f"{number}.{turn}.{i}" for i in range(draw.randint(1, 3))]
            if draw.random() < 0.4:
                self.committed += await self._ask(client, draw, marks[0])
                continue
            try:
                await self._transact(client.app, draw, marks)
            except GivenUpError:
                continue
            self.committed += marks

    async def _transact(self, app: Backstay, draw: random.Random, marks: list[str]) -> None:
        """Cells are locked in the order of their keys, so that nobody waits for each other."""
        targets = sorted(draw.sample(range(1, CELLS + 1), len(marks)))
        async with app.transaction(Context(f"r{marks[0]}")) as session:
            for mark, target in zip(marks, targets, strict=True):
                seen = select(Cell.id, Cell.version).where(Cell.id == draw.randint(1, CELLS))
                source = (await session.execute(seen)).one()
                cell = await session.get(Cell, target, with_for_update=True)
                assert cell is not None
                cell.mark, cell.saw_cell, cell.saw_version = mark, source.id, source.version
                await session.flush()
                await asyncio.sleep(draw.random() * self.pause_s)
            if draw.random() < 0.25:
                raise GivenUpError

    async def _ask(self, client: Client, draw: random.Random, mark: str) -> list[str]:
        """A request that writes what an earlier one read."""
        seen = (await client.send("GET", f"/cells/{draw.randint(1, CELLS)}")).data
        body = {"mark": mark, "saw_cell": seen["id"], "saw_version": seen["version"]}
        answer = await client.send("PATCH", f"/cells/{draw.randint(1, CELLS)}", body=body, credential=CREDENTIAL)
        assert answer.status == 200, answer.body
        return [mark]


async def follow(app: Backstay, *, wanted: asyncio.Event, count: list[str]) -> list[Change]:
    """What a reader sees from before the first write until it has seen as many as were committed."""
    seen: list[Change] = []

    async def read() -> None:
        async for change in app.changes.follow():
            seen.append(change)

    reading = asyncio.create_task(read())
    await wanted.wait()
    for _ in range(200):
        if len(seen) >= CELLS + len(count):
            break
        await asyncio.sleep(0.02)
    await asyncio.sleep(0.15)  # what comes twice, or was rolled back, would come now
    reading.cancel()
    return seen


@asynccontextmanager
async def running(url: str, number: int) -> AsyncIterator[list[Client]]:
    """Apps over one database, each sealing from time to time as a server does; the last only reads."""
    async with AsyncExitStack() as stack:
        made: list[Client] = []
        for _ in range(number + 1):
            client = object.__new__(Client)
            client.app = app_of(url)
            client.app.start().work()
            stack.push_async_callback(client.app.stop)
            made.append(client)
        yield made


def rows_of(change: Change) -> dict[str, Any]:
    """The row after a change."""
    assert change.after is not None
    return json.loads(change.after)


def check_order(changes: Sequence[Change]) -> None:
    """Positions have no gap, versions of a row come one by one, and nothing before what it depends on."""
    assert [change.position for change in changes] == list(range(1, len(changes) + 1))
    versions: dict[int, int] = {}
    for change in changes:
        row = rows_of(change)
        assert row["version"] == versions.get(row["id"], 0) + 1, change
        if row["saw_cell"] is not None:
            # A transaction may have seen what it wrote itself: that is before it, too.
            assert versions.get(row["saw_cell"], 0) >= row["saw_version"], change
        versions[row["id"]] = row["version"]


@pytest.mark.alone
@pytest.mark.parametrize("database", DATABASES)
def test_who_follows_sees_every_change_once_and_after_its_cause(database: str, tmp_path: Path) -> None:
    """64 writers with long transactions, some rolled back, and requests between; several processes seal."""
    url = empty_database(database, tmp_path, Base.metadata)

    async def run() -> tuple[list[Change], list[str], list[Change]]:
        async with running(url, APPS[database]) as clients:
            *writing, reader = clients
            async with writing[0].app.transaction() as session:
                cells = [{"id": i, "mark": f"new.{i}"} for i in range(1, CELLS + 1)]
                await session.execute(insert(Cell), cells)
            writers, done = Writers(writing, PAUSE_S[database]), asyncio.Event()
            following = asyncio.create_task(follow(reader.app, wanted=done, count=writers.committed))
            async with asyncio.timeout(60):
                await asyncio.gather(*(writers.write(number) for number in range(WRITERS)))
            done.set()
            seen = await following
            verdict = await reader.app.changes.verify()
            assert (verdict.broken, verdict.entries) == (None, len(seen))
            return seen, writers.committed, await reader.app.changes.after(0, 10_000)

    seen, committed, again = asyncio.run(run())
    assert len(committed) > WRITERS
    check_order(seen)
    assert again == seen
    marks = Counter(rows_of(change)["mark"] for change in seen[CELLS:])
    assert marks == Counter(committed)


def test_a_reader_goes_on_while_a_transaction_is_long(tmp_path: Path) -> None:
    """PostgreSQL: what commits meanwhile is seen at once; the long one's changes come when they are committed."""
    url = empty_database("postgresql", tmp_path, Base.metadata)

    async def run() -> list[str]:
        async with running(url, 1) as (first, reader):
            told: list[str] = []
            async with first.app.transaction() as slow:
                slow.add(Cell(id=1, mark="long"))
                await slow.flush()
                async with first.app.transaction() as quick:
                    quick.add(Cell(id=2, mark="quick"))
                told += [rows_of(change)["mark"] for change in await reader.app.changes.after(0)]
            told += [rows_of(change)["mark"] for change in await reader.app.changes.after(1)]
            assert (await reader.app.changes.verify()).broken is None
            return told

    assert asyncio.run(run()) == ["quick", "long"]


def change_of(position: int, cell: int, version: int, saw: tuple[int, int] | None = None) -> Change:
    """An entry as the log has it."""
    row = {"id": cell, "version": version, "saw_cell": saw and saw[0], "saw_version": saw and saw[1]}
    return Change(
        position, datetime.now(UTC), "cells", f"[{cell}]", "update", None, json.dumps(row), None, None, None, ""
    )


def test_the_check_of_the_order_sees_what_is_wrong() -> None:
    """A gap, a change twice, one too few, and an effect before its cause."""
    check_order([change_of(1, 1, 1), change_of(2, 2, 1, (1, 1)), change_of(3, 1, 2)])
    for wrong in (
        [change_of(2, 1, 1)],
        [change_of(1, 1, 1), change_of(1, 1, 1)],
        [change_of(1, 1, 1), change_of(2, 1, 3)],
        [change_of(1, 2, 1, (1, 1)), change_of(2, 1, 1)],
        [change_of(1, 1, 2), change_of(2, 1, 1)],
    ):
        with pytest.raises(AssertionError):
            check_order(wrong)
