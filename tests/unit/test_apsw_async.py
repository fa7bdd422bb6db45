"""The asyncio dialect over apsw: AsyncSession on SQLite as on any other database."""

import asyncio
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy import exc
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship, selectinload
from sqlalchemy.pool import AsyncAdaptedQueuePool, StaticPool

from backstay.db import apsw_dbapi
from backstay.db.apsw_async import ThreadedConnection, create_apsw_async_engine

pytestmark = pytest.mark.anyio
ENDLESS = sa.text("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n")


class Base(DeclarativeBase):
    """Models of these tests."""


class Game(Base):
    """A game."""

    __tablename__ = "games"
    id: Mapped[int] = mapped_column(primary_key=True)
    slug: Mapped[str] = mapped_column(unique=True)
    plays: Mapped[int] = mapped_column(server_default="0")
    scores: Mapped[list["Score"]] = relationship(back_populates="game")


class Score(Base):
    """A score of a game."""

    __tablename__ = "scores"
    id: Mapped[int] = mapped_column(primary_key=True)
    game_id: Mapped[int] = mapped_column(sa.ForeignKey("games.id"))
    game: Mapped[Game] = relationship(back_populates="scores")


@pytest.fixture
def anyio_backend() -> str:
    """SQLAlchemy's asyncio runs on asyncio only."""
    return "asyncio"


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[AsyncEngine]:
    """An engine for writing, its tables made."""
    made = create_apsw_async_engine(tmp_path / "test.db", write=True)
    async with made.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    yield made
    await made.dispose()
    assert threads() == []


def threads() -> list[str]:
    """The connections' threads that still run."""
    running = [thread for thread in threading.enumerate() if thread.name.startswith("backstay-sqlite")]
    for thread in running:
        thread.join(0.5)
    return [thread.name for thread in running if thread.is_alive()]


async def test_a_broken_constraint_is_an_integrity_error(engine: AsyncEngine) -> None:
    """The error, its code and the session after its rollback are those of the sync dialect."""
    async with AsyncSession(engine) as session:
        session.add_all([Game(slug="chess"), Game(slug="chess")])
        with pytest.raises(exc.IntegrityError) as caught:
            await session.commit()
        assert isinstance(caught.value.orig, apsw_dbapi.IntegrityError)
        assert caught.value.orig.sqlite_errorname == "SQLITE_CONSTRAINT_UNIQUE"
        await session.rollback()
        assert await session.scalar(sa.select(sa.func.count()).select_from(Game)) == 0


async def test_a_connection_that_cannot_open_leaves_no_thread(tmp_path: Path) -> None:
    """A missing file is an OperationalError, and the thread that tried has ended."""
    reader = create_apsw_async_engine(tmp_path / "missing.db")
    with pytest.raises(exc.OperationalError, match="unable to open"):
        await reader.connect()
    assert threads() == []


async def test_a_cancelled_statement_stops_in_sqlite(engine: AsyncEngine) -> None:
    """Cancelling the task interrupts its endless query, rolls back, and frees the connection's thread."""

    begun = asyncio.Event()

    async def forever() -> None:
        async with AsyncSession(engine) as session:
            session.add(Game(slug="undone"))
            await session.flush()
            begun.set()
            await session.execute(ENDLESS)

    for _ in range(3):
        begun.clear()
        task = asyncio.create_task(forever())
        await begun.wait()
        await asyncio.sleep(0.05)
        assert not task.done()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    async with AsyncSession(engine) as session:
        assert (await session.scalars(sa.select(Game.slug))).all() == []


async def test_the_event_loop_goes_on_while_a_statement_runs(engine: AsyncEngine) -> None:
    """While one session is inside SQLite, another one on the same loop commits."""
    reading = engine.execution_options(isolation_level="SERIALIZABLE")

    async def slow() -> None:
        async with AsyncSession(reading) as session:
            await session.execute(ENDLESS)

    task = asyncio.create_task(slow())
    await asyncio.sleep(0.02)
    async with engine.connect() as connection:
        assert await connection.scalar(sa.text("SELECT 1")) == 1
    assert not task.done()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_objects_and_relationships_round_trip(engine: AsyncEngine) -> None:
    """Insert with keys, refresh, eager loading, savepoint and rollback work as on any AsyncSession."""
    async with AsyncSession(engine, expire_on_commit=False) as session:
        game = Game(slug="chess", scores=[Score(), Score()])
        session.add(game)
        await session.commit()
        await session.refresh(game)
        assert (game.id, game.plays) == (1, 0)
        async with session.begin_nested() as nested:
            session.add(Game(slug="undone"))
            await session.flush()
            await nested.rollback()
        await session.commit()
    async with AsyncSession(engine) as session:
        query = sa.select(Game).options(selectinload(Game.scores))
        (loaded,) = (await session.scalars(query)).all()
        assert (loaded.slug, [score.id for score in loaded.scores]) == ("chess", [1, 2])


async def test_tasks_that_read_and_write_lose_nothing(engine: AsyncEngine) -> None:
    """Twelve tasks over a pool of connections increment under BEGIN IMMEDIATE: every one counts."""
    async with AsyncSession(engine) as session:
        session.add(Game(slug="chess"))
        await session.commit()

    async def add() -> None:
        for _ in range(5):
            async with AsyncSession(engine) as session:
                game = await session.get_one(Game, 1)
                game.plays += 1
                await session.commit()

    await asyncio.gather(*(add() for _ in range(12)))
    async with AsyncSession(engine) as session:
        assert await session.scalar(sa.select(Game.plays)) == 60


async def test_a_stream_reads_in_parts(engine: AsyncEngine) -> None:
    """stream() takes rows as they are asked for: an endless query can be left after a few."""
    numbers = sa.text("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n")
    async with AsyncSession(engine) as session:
        result = await session.stream(numbers, execution_options={"yield_per": 10})
        seen: list[int] = []
        async for row in result:
            seen.append(row[0])
            if len(seen) == 25:
                break
        await result.close()
        assert seen == list(range(1, 26))


async def test_bulk_and_levels_and_functions(engine: AsyncEngine) -> None:
    """executemany, AUTOCOMMIT, REGEXP and the driver's connection are reached through the adaptation."""
    async with engine.connect() as plain:
        connection = await plain.execution_options(isolation_level="AUTOCOMMIT")
        await connection.execute(sa.insert(Game), [{"slug": f"game {number}"} for number in range(100)])
        await connection.rollback()
        assert await connection.scalar(sa.select(sa.func.count()).where(Game.slug.regexp_match("9$"))) == 10
        driver = (await connection.get_raw_connection()).driver_connection
        assert isinstance(driver, ThreadedConnection)
    async with engine.connect() as connection:
        assert await connection.get_isolation_level() == "IMMEDIATE"


async def test_pools_and_memory(engine: AsyncEngine) -> None:
    """A file has a queue of connections that waits without blocking; memory has one that all share."""
    assert isinstance(engine.pool, AsyncAdaptedQueuePool)
    memory = create_apsw_async_engine(":memory:", write=True)
    assert isinstance(memory.pool, StaticPool)
    async with memory.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    async with AsyncSession(memory) as session:
        assert (await session.scalars(sa.select(Game))).all() == []
    await memory.dispose()


async def test_a_connection_abandoned_without_a_loop_still_closes(tmp_path: Path) -> None:
    """What the garbage collector calls rolls back, closes and ends the thread; so does closing twice."""
    path = str(tmp_path / "test.db")
    connection = await ThreadedConnection.open(path)
    cursor = connection.cursor()
    await cursor.execute("CREATE TABLE undone (id INT)")
    connection.abandon()
    connection.abandon()
    await connection.close()
    assert threads() == []
    again = await ThreadedConnection.open(path)
    seen = again.cursor()
    await seen.execute("SELECT count(*) FROM sqlite_schema")
    assert await seen.fetchone() == (0,)
    await again.close()
    await again.close()
    assert threads() == []
