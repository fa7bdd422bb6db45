"""The change log is pruned while it is followed, verified and written: nobody sees an entry twice or out of order.

What a follower does not see was pruned before it read on; what is left is whole at every moment.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.orm import DeclarativeBase, Mapped

from backstay import Backstay, Context, ModelBase, public, signed_in
from backstay.events import changes as log
from backstay.events.changes import Change
from support.asgi import quiet
from support.databases import DATABASES, empty_database

WRITERS = 6
TURNS = 24
#: Entries of one transaction, so that a page and a step of pruning end in the middle of some.
ROWS = 5
KEPT_S = 0.1


class Base(ModelBase, DeclarativeBase):
    """The models of this module."""


class Cell(Base):
    """A row for each write."""

    __tablename__ = "cells"

    mark: Mapped[str]


@dataclass
class Race:
    """What happened, and when by the monotonic clock.

    Attributes:
        pruned: (when a prune began, the position of the anchor that it left).
    """

    pruned: list[tuple[float, int]] = field(default_factory=list[tuple[float, int]])
    dropped: int = 0
    verified: int = 0
    over: bool = False


@asynccontextmanager
async def apps(url: str, number: int) -> AsyncIterator[list[Backstay]]:
    """Apps over one database, as processes have it."""
    async with AsyncExitStack() as stack:
        made: list[Backstay] = []
        for _ in range(number):
            app = Backstay("cells", config=quiet(url))
            app.resource(Cell, read=public, write=signed_in)
            app.start().work()
            stack.push_async_callback(app.stop)
            made.append(app)
        yield made


async def write(app: Backstay, number: int) -> None:
    """Transactions of some rows each, one after the other."""
    for turn in range(TURNS):
        async with app.transaction(Context(f"{number}.{turn}")) as session:
            session.add_all(Cell(mark=f"{number}.{turn}.{row}") for row in range(ROWS))
            await session.flush()
            await asyncio.sleep(0.001)
        await asyncio.sleep(0.02)


async def prune(app: Backstay, race: Race) -> None:
    """Drop what is older than a moment, again and again."""
    while not race.over:
        began = time.monotonic()
        race.dropped += await app.changes.prune(datetime.now(UTC) - timedelta(seconds=KEPT_S))
        race.pruned.append((began, (await app.changes.bounds())[0]))
        await asyncio.sleep(0.02)


async def verify(app: Backstay, race: Race) -> None:
    """The log is whole, whenever one looks."""
    while not race.over:
        verdict = await app.changes.verify()
        assert verdict.broken is None, (verdict, race.pruned[-3:])
        race.verified += 1
        await asyncio.sleep(0)


async def follow(app: Backstay, seen: list[tuple[float, Change]], pause_s: float) -> None:
    """Read on and on; a slow reader is overtaken."""
    async for change in app.changes.follow():
        seen.append((time.monotonic(), change))
        await asyncio.sleep(pause_s)


def at_the_end(seen: list[tuple[float, Change]]) -> bool:
    """Whether the last entry was read."""
    return bool(seen) and seen[-1][1].position == WRITERS * TURNS * ROWS


def check_seen(seen: list[tuple[float, Change]], race: Race) -> int:
    """In order, none twice, and whatever is missing was pruned before it was read; returns how much that is."""
    missing, before = 0, 0
    for when, change in seen:
        assert change.position > before, "an entry twice, or out of order"
        assert change.operation == "create", "what pruning leaves is no change"
        if change.position > before + 1:
            reached = max((anchor for began, anchor in race.pruned if began < when), default=0)
            assert change.position <= reached + 1, (before, change.position, reached)
            missing += change.position - before - 1
        before = change.position
    return missing


@pytest.mark.alone
@pytest.mark.parametrize("database", DATABASES)
def test_pruning_takes_nothing_from_who_reads_in_time(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pages and steps are small, so that they meet; the last entries are the same for everybody."""
    monkeypatch.setattr(log, "PRUNED_MAX", 17)
    url = empty_database(database, tmp_path, Base.metadata)
    race = Race()
    quick: list[tuple[float, Change]] = []
    slow: list[tuple[float, Change]] = []

    async def run() -> list[Change]:
        async with apps(url, 3) as (writer, pruner, reader):
            async with asyncio.timeout(90):
                others = [asyncio.create_task(prune(pruner, race)), asyncio.create_task(verify(reader, race))]
                readers: list[asyncio.Task[Any]] = [
                    asyncio.create_task(follow(reader, quick, 0)),
                    asyncio.create_task(follow(writer, slow, 0.02)),
                ]
                await asyncio.gather(*(write(writer, number) for number in range(WRITERS)))
                race.over = True
                await asyncio.gather(*others)
                left = await reader.changes.after(0, 10_000)
                while not (at_the_end(quick) and at_the_end(slow)):  # noqa: ASYNC110 - a test may poll
                    await asyncio.sleep(0.01)
                for task in readers:
                    assert not task.done()
                    task.cancel()
            assert (await reader.changes.verify()).broken is None
            return left

    left = asyncio.run(run())
    made = WRITERS * TURNS * ROWS
    assert race.dropped > made // 10
    assert race.verified > 3
    assert left == [change for _, change in quick[-len(left) :]] if left else True
    assert len(quick) + check_seen(quick, race) == made
    assert len(slow) + check_seen(slow, race) == made
    assert len({change.after for _, change in quick}) == len(quick)
    assert len(slow) < made, "the slow one was overtaken"
