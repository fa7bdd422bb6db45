"""New rows that share a transaction on PostgreSQL: each has its own outcome, as if it had been alone."""

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import psycopg
import pytest

from backstay import Config
from backstay.context import Context
from backstay.db.database import ConstraintViolationError, Row, Violation
from backstay.db.postgres_engine import PostgresDatabase
from backstay.errors import Problem
from backstay.sql.statement import Output, Statement
from support.postgres import fresh_database, rows, settled

pytestmark = pytest.mark.anyio
MANY = 200
TABLES = (
    "CREATE TABLE parents (id int PRIMARY KEY)",
    "INSERT INTO parents SELECT generate_series(1, 9)",
    "CREATE TABLE t (n int PRIMARY KEY, parent_id int REFERENCES parents, late_id int "
    "REFERENCES parents DEFERRABLE INITIALLY DEFERRED)",
)


@pytest.fixture
def anyio_backend() -> str:
    """asyncio, as everywhere."""
    return "asyncio"


def statement(text: str, action: str) -> Statement:
    """SQL that returns a text."""
    return Statement(text, "tests", action, (Output.DATA,), (), (), None)


VALUES = "($1::text)::int, ($2::text)::int, ($3::text)::int"
CREATE = statement(f"INSERT INTO t VALUES ({VALUES}) RETURNING n::text", "create")
UPDATE = statement("UPDATE t SET parent_id = 2 WHERE n = ($1::text)::int RETURNING n::text", "update")


@asynccontextmanager
async def opened(url: str, **settings: Any) -> AsyncGenerator[PostgresDatabase]:
    """A database that has seen enough new rows to let them share their commits."""
    rows(url, *TABLES)
    database = PostgresDatabase(Config(database_url=url, **settings))
    try:
        for number in range(1_000, 1_100):
            await create(database, number)
        rows(url, "DELETE FROM t")
        yield database
        await settled(database)
    finally:
        await database.close()


async def create(
    database: PostgresDatabase, number: int, parent: int | None = None, late: int | None = None, seconds: float = 20.0
) -> Row | None:
    """Make a row."""
    given = [None if value is None else b"%d" % value for value in (number, parent, late)]
    return await database.write(CREATE, given, Context("test", deadline=time.monotonic() + seconds))


async def outcomes(*writes: Any) -> list[Any]:
    """What became of writes that start in one turn of the loop."""
    return await asyncio.wait_for(asyncio.gather(*writes, return_exceptions=True), 30)


def made(outcome: Any) -> bool:
    """Whether it is a row."""
    return isinstance(outcome, tuple)


@pytest.mark.parametrize("late", [False, True])
async def test_a_refused_row_is_refused_alone(late: bool) -> None:
    """Every fifth of 200 refers to nothing, as is seen at once or at the commit: the others are made, each once."""
    url = fresh_database()
    async with opened(url) as database:
        name = "late" if late else "parent"
        found = await outcomes(*(create(database, n, **{name: 77 if n % 5 == 0 else 3}) for n in range(MANY)))
    for number, outcome in enumerate(found):
        if number % 5:
            assert outcome == (b"%d" % number,)
        else:
            assert isinstance(outcome, ConstraintViolationError)
            assert outcome.kind is Violation.FOREIGN_KEY
    assert rows(url, "SELECT count(*) FROM t") == [(MANY * 4 // 5,)]


async def test_of_equal_rows_one_is_made() -> None:
    """Four requests want each of 50 keys: one gets it, even if the first to ask was undone with its transaction."""
    url = fresh_database()
    async with opened(url) as database:
        numbers = [n % 50 for n in range(MANY)]
        found = await outcomes(*(create(database, n, 77 if i < 25 else None) for i, n in enumerate(numbers)))
    for number in range(50):
        mine = [outcome for n, outcome in zip(numbers, found, strict=True) if n == number]
        assert [made(outcome) for outcome in mine].count(True) == 1
        assert all(made(o) or isinstance(o, ConstraintViolationError) for o in mine)
    assert rows(url, "SELECT count(*) FROM t") == [(50,)]


async def test_a_row_that_waits_for_a_lock_holds_up_nobody() -> None:
    """Its neighbours are answered while it waits; it is made when the lock is gone."""
    url = fresh_database()
    async with opened(url) as database:
        with psycopg.connect(url) as other:
            other.execute("SELECT 1 FROM parents WHERE id = 5 FOR UPDATE")
            waits = asyncio.ensure_future(create(database, 5, 5))
            found = await outcomes(*(create(database, 10 + n, n % 4 + 1) for n in range(MANY)))
            assert all(made(outcome) for outcome in found)
            assert not waits.done()
        assert await asyncio.wait_for(waits, 5) == (b"5",)
    assert rows(url, "SELECT count(*) FROM t") == [(MANY + 1,)]


async def test_a_deadline_ends_its_own_row_alone() -> None:
    """One waits for a lock until its time is over and is not made; its neighbours are."""
    url = fresh_database()
    async with opened(url) as database:
        with psycopg.connect(url) as other:
            other.execute("SELECT 1 FROM parents WHERE id = 5 FOR UPDATE")
            late = [create(database, n, 5, seconds=0.4) for n in range(3)]
            found = await outcomes(*late, *(create(database, 10 + n, 4) for n in range(MANY)))
        assert all(made(outcome) for outcome in found[3:])
        assert [outcome.code for outcome in found[:3]] == ["QUERY_TIMEOUT"] * 3
    assert rows(url, "SELECT count(*) FROM t") == [(MANY,)]


async def test_what_was_answered_outlives_connections() -> None:
    """The server ends all connections again and again: an answered row is there, a refused one says so."""
    url = fresh_database()
    end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND datname = %s"
    async with opened(url) as database:
        found: list[Any] = []
        with psycopg.connect(url, autocommit=True) as other:
            for turn in range(5):
                asked = asyncio.ensure_future(outcomes(*(create(database, turn * 100 + n) for n in range(100))))
                await asyncio.sleep(0.004 * turn)
                await asyncio.to_thread(other.execute, end, (url.rpartition("/")[2].partition("?")[0],))
                found += await asked
        there = {number for (number,) in rows(url, "SELECT n FROM t")}
    assert {n for n, outcome in enumerate(found) if made(outcome)} <= there
    assert {o.code for o in found if isinstance(o, Problem)} <= {"UNAVAILABLE"}
    assert all(made(o) or isinstance(o, Problem) for o in found)


@pytest.mark.parametrize("mode", ["session", "transaction"])
async def test_rows_that_wait_share_transactions(mode: str) -> None:
    """Many at once need far fewer commits than there are rows, and each answer is its own row's."""
    url = fresh_database()
    async with opened(url, pool_mode=mode) as database:
        found = await outcomes(*(create(database, n, n % 9 + 1) for n in range(MANY)))
        assert found == [(b"%d" % n,) for n in range(MANY)]
    ((transactions,),) = rows(url, "SELECT count(DISTINCT xmin::text) FROM t")
    assert transactions <= MANY // 4


async def test_changes_of_rows_share_none() -> None:
    """They lock what others may want: each has a transaction of its own."""
    url = fresh_database()
    async with opened(url) as database:
        await outcomes(*(create(database, n) for n in range(MANY)))
        asked = (
            database.write(UPDATE, [b"%d" % n], Context("test", deadline=time.monotonic() + 20)) for n in range(50)
        )
        assert await outcomes(*asked) == [(b"%d" % n,) for n in range(50)]
    assert rows(url, "SELECT count(DISTINCT xmin::text) FROM t WHERE n < 50") == [(50,)]
