"""Connections to PostgreSQL in every state: no read suffers from another's fate, and nothing is left hanging."""

import asyncio
import itertools
import time
from collections.abc import AsyncGenerator, Awaitable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from backstay import Config
from backstay.context import Context
from backstay.db.database import ConstraintViolationError, Row
from backstay.db.postgres_engine import PostgresDatabase
from backstay.db.postgres_errors import PostgresError
from backstay.db.postgres_prepared import PREPARED_MAX
from backstay.db.postgres_wire import LOST_S
from backstay.errors import OperatorError, Problem
from backstay.sql.statement import Output, Statement
from support.postgres import fresh_database, postgres_server, rows, settled
from support.proxy import Proxy

pytestmark = pytest.mark.anyio
READS_MANY = 10_000
#: What a server might say at a moment when nobody expects it: two errors for one statement.
_SAID = b"SFATAL\x00VFATAL\x00C58000\x00Mremote server is gone\x00\x00"
TWO_ERRORS = 2 * (b"E" + (len(_SAID) + 4).to_bytes(4, "big") + _SAID)


@pytest.fixture
def anyio_backend() -> str:
    """asyncio, as everywhere."""
    return "asyncio"


def statement(text: str) -> Statement:
    """SQL with one column of text."""
    return Statement(text, "tests", "read", (Output.DATA,), (), (), None)


QUICK = statement("SELECT $1::text")
SLEEP = statement("SELECT pg_sleep($1::float8)::text")


@asynccontextmanager
async def opened(url: str = "", **settings: Any) -> AsyncGenerator[PostgresDatabase]:
    """An open database, a fresh one by default; when it is left, nothing may run or wait."""
    database = PostgresDatabase(Config(database_url=url or fresh_database(), **settings))
    try:
        yield database
        await settled(database)
    finally:
        await database.close()


def context(seconds: float = 30.0) -> Context:
    """A request with a deadline."""
    return Context("test", deadline=time.monotonic() + seconds)


async def read(database: PostgresDatabase, what: Statement, *parameters: Any, seconds: float = 30.0) -> list[Row]:
    """The rows of a read."""
    given = [p.encode() if isinstance(p, str) else p for p in parameters]
    found = database.read(what, given, context(seconds))
    return await found if not isinstance(found, list) else found


async def outcomes(*reads: Awaitable[Any]) -> list[Any]:
    """What became of reads that start in one turn of the loop."""
    return await asyncio.wait_for(asyncio.gather(*reads, return_exceptions=True), 20)


async def test_an_error_in_a_batch_is_its_owners_alone() -> None:
    """Of 400 reads at once, every second fails by its own value: the others are answered, the failures named."""
    number = statement("SELECT ($1::text)::int::text")
    async with opened() as database:
        await read(database, number, "1")
        given = [str(i) if i % 2 else f"x{i}" for i in range(400)]
        found = await outcomes(*(read(database, number, value) for value in given))
    for value, outcome in zip(given, found, strict=True):
        if value.startswith("x"):
            assert isinstance(outcome, Problem)
            assert outcome.code == "VALIDATION_ERROR"
        else:
            assert outcome == [(value.encode(),)]


async def test_a_statement_that_cannot_be_prepared_fails_each_of_its_callers() -> None:
    """Each is told the server's reason, none that the server is away; reads beside them are answered."""
    wrong = statement("SELECT a FROM no_such_table")
    async with opened() as database:
        asked = [read(database, wrong) if i % 2 else read(database, QUICK, str(i)) for i in range(60)]
        found = await outcomes(*asked)
        for i, outcome in enumerate(found):
            if i % 2:
                assert isinstance(outcome, PostgresError)
                assert outcome.state == "42P01"
            else:
                assert outcome == [(str(i).encode(),)]


async def test_a_value_that_cannot_be_sent_fails_alone() -> None:
    """What the driver refuses costs nobody else the connection."""
    async with opened() as database:
        await read(database, QUICK, "warm")
        connections = database.gauges().connections
        found = await outcomes(*(read(database, QUICK, object() if i == 7 else str(i)) for i in range(20)))
        assert isinstance(found.pop(7), TypeError)
        assert all(isinstance(outcome, list) for outcome in found)
        assert database.gauges().connections == connections


async def test_a_change_of_a_table_is_not_noticed() -> None:
    """Statements whose result type changed under them are prepared again; so are those that are gone."""
    url = fresh_database()
    rows(url, "CREATE TABLE t (a int)", "INSERT INTO t VALUES (1)")
    every = statement("SELECT row_to_json(t)::text FROM (SELECT * FROM t) t")
    star = statement("SELECT * FROM t")
    async with opened(url) as database:
        for _ in range(2):
            await outcomes(*(read(database, every) for _ in range(40)), *(read(database, star) for _ in range(40)))
            rows(url, "ALTER TABLE t ALTER a TYPE bigint", "ALTER TABLE t ADD b text")
            found = await outcomes(*(read(database, star) for _ in range(40)))
            assert found == [[(b"1",)]] * 40
            rows(url, "ALTER TABLE t DROP b")
        await outcomes(*(read(database, statement("DEALLOCATE ALL")) for _ in range(8)))
        assert await outcomes(*(read(database, star) for _ in range(40))) == [[(b"1",)]] * 40


async def test_an_unsupported_feature_is_no_stale_statement() -> None:
    """It has the same SQLSTATE, and is the server's answer."""
    async with opened() as database:
        with pytest.raises(PostgresError, match="0A000"):
            await read(database, statement("SELECT count(*)::text FROM pg_class FOR UPDATE"), seconds=3)


async def test_prepared_statements_are_bounded_and_none_is_left_over() -> None:
    """However many shapes are read, also with errors among them, the server keeps no more than the limit."""
    kept = statement("SELECT count(*)::text FROM pg_prepared_statements")
    async with opened(pool_size=2) as database:
        for i in range(0, 2 * PREPARED_MAX, 16):
            shapes = [statement(f"SELECT {i + j}::text || ($1::text)::int") for j in range(16)]
            asked = [read(database, shape, "x" if j == 3 else "1") for j, shape in enumerate(shapes)]
            await outcomes(*asked, *(read(database, shape, "2") for shape in shapes))
        ((count,),) = await read(database, kept)
        assert PREPARED_MAX - 20 <= int(count) <= PREPARED_MAX


async def test_a_late_constraint_refuses_its_write_alone() -> None:
    """A constraint that is checked at the commit fails the write that broke it, with its kind."""
    url = fresh_database()
    rows(
        url,
        "CREATE TABLE p (id int PRIMARY KEY)",
        "CREATE TABLE c (id int REFERENCES p DEFERRABLE INITIALLY DEFERRED)",
        "INSERT INTO p VALUES (1)",
    )
    insert = statement("INSERT INTO c VALUES (($1::text)::int) RETURNING id")
    async with opened(url) as database:
        asked = [database.write(insert, [b"1" if i % 2 else b"2"], context()) for i in range(40)]
        found = await outcomes(*asked)
    assert all(isinstance(outcome, ConstraintViolationError) for outcome in found[::2])
    assert found[1::2] == [(b"1",)] * 20
    assert rows(url, "SELECT count(*) FROM c") == [(20,)]


async def test_connections_that_the_server_ends_fail_no_read() -> None:
    """pg_terminate_backend() of all of them, again and again, under reads and writes: reads are answered, and a write
    that was refused with the word that nobody knows is there once or not at all.
    """
    url = fresh_database()
    rows(url, "CREATE TABLE t (a text UNIQUE)")
    insert = statement("INSERT INTO t VALUES ($1::text) RETURNING a")
    numbers = itertools.count()
    stop = asyncio.Event()
    acknowledged: list[str] = []
    refused: list[Exception] = []

    async def reads(database: PostgresDatabase) -> None:
        while not stop.is_set():
            assert await read(database, QUICK, "1") == [(b"1",)]

    async def writes(database: PostgresDatabase) -> None:
        while not stop.is_set():
            name = str(next(numbers))
            try:
                await database.write(insert, [name.encode()], context())
                acknowledged.append(name)
            except Problem as problem:
                refused.append(problem)

    async with opened(url) as database:
        tasks = [asyncio.create_task(reads(database)) for _ in range(24)]
        tasks += [asyncio.create_task(writes(database)) for _ in range(8)]
        end = (
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        for _ in range(8):
            await asyncio.sleep(0.1)
            await asyncio.to_thread(rows, url, end)
        await asyncio.sleep(0.2)
        stop.set()
        for outcome in await outcomes(*tasks):
            assert outcome is None
    assert {problem.code for problem in refused if isinstance(problem, Problem)} <= {"UNAVAILABLE"}
    there = [str(name) for (name,) in rows(url, "SELECT a FROM t")]
    assert set(acknowledged) <= set(there)
    assert len(acknowledged) > 100


async def test_a_slow_read_holds_up_nobody_in_its_batch() -> None:
    """Neither those sent behind it nor those sent before, whose answers the server keeps until the batch ends."""
    async with opened() as database:
        await outcomes(
            *(read(database, SLEEP, "0") for _ in range(40)), *(read(database, QUICK, "w") for _ in range(40))
        )
        started = time.monotonic()
        slow = [asyncio.ensure_future(read(database, SLEEP, "1.5" if i == 5 else "0")) for i in range(8)]
        quick = [asyncio.ensure_future(read(database, QUICK, str(i))) for i in range(40)]
        await outcomes(*quick, *slow[:5], *slow[6:])
        assert time.monotonic() - started < 0.7
        assert await slow[5] == [(b"",)]
        assert time.monotonic() - started < 2.5


async def test_more_slow_reads_than_connections_hold_up_no_quick_one() -> None:
    """With every shared connection busy for seconds, a quick read finds another; the slow ones are answered too."""
    async with opened() as database:
        await outcomes(*(read(database, QUICK, "w") for _ in range(80)))
        slow = [
            asyncio.ensure_future(read(database, statement(f"SELECT {i}::text || pg_sleep(1.0)"))) for i in range(4)
        ]
        await asyncio.sleep(0.2)
        for _ in range(5):
            started = time.monotonic()
            await asyncio.wait_for(read(database, QUICK, "1"), 5)
            assert time.monotonic() - started < 0.4
        assert await outcomes(*slow) == [[(f"{i}".encode(),)] for i in range(4)]


async def test_slow_reads_leave_lanes_to_writes() -> None:
    """With more reads of a slow shape than connections, a write is done at once."""
    url = fresh_database()
    rows(url, "CREATE TABLE t (a text)")
    insert = statement("INSERT INTO t VALUES ($1::text) RETURNING a")
    async with opened(url) as database:
        await read(database, SLEEP, "0.1")
        slow = [asyncio.ensure_future(read(database, SLEEP, "0.4")) for _ in range(12)]
        await asyncio.sleep(0.1)
        for _ in range(5):
            started = time.monotonic()
            await database.write(insert, [b"x"], context())
            assert time.monotonic() - started < 0.3
        assert all(isinstance(outcome, list) for outcome in await outcomes(*slow))


async def test_megabytes_go_both_ways() -> None:
    """Batches larger than any socket's buffer, with answers as large, arrive whole and in order."""
    async with opened() as database:
        values = [str(i) * (400_000 if i % 3 else 10) for i in range(100)]
        found = await outcomes(*(read(database, QUICK, value) for value in values))
        assert found == [[(value.encode(),)] for value in values]
        (one,) = await read(database, statement("SELECT repeat('0123456789', 3000000)"))
        assert len(one[0]) == 30_000_000


@pytest.mark.parametrize("mode", ["session", "transaction"])
async def test_ten_thousand_reads_at_once_are_answered(mode: str) -> None:
    """Each with its own answer, over no more connections than allowed."""
    async with opened(pool_mode=mode) as database:
        found = await outcomes(*(read(database, QUICK, str(i)) for i in range(READS_MANY)))
        assert found == [[(str(i).encode(),)] for i in range(READS_MANY)]
        assert database.gauges().connections <= 10


async def test_frozen_connections_are_replaced() -> None:
    """A network that forwards nothing: each read is refused at its deadline, then new connections take over."""
    server = postgres_server()
    with Proxy(server.port) as proxy:
        url = fresh_database().replace(str(server.port), str(proxy.port))
        async with opened(url) as database:
            await outcomes(*(read(database, QUICK, "w") for _ in range(40)))
            proxy.freeze()
            started = time.monotonic()
            found = await outcomes(*(read(database, QUICK, "1", seconds=0.5) for _ in range(40)))
            assert {outcome.code for outcome in found if isinstance(outcome, Problem)} <= {"QUERY_TIMEOUT"}
            assert time.monotonic() - started < 1.5
            while time.monotonic() < started + 10:
                if await outcomes(read(database, QUICK, "1", seconds=0.3)) == [[(b"1",)]]:
                    break
            assert await read(database, QUICK, "1", seconds=1.0) == [(b"1",)]
            await asyncio.sleep(6.0)  # until all of them are let go


async def test_connections_that_are_cut_are_replaced() -> None:
    """Reads in flight are answered over new ones."""
    server = postgres_server()
    with Proxy(server.port) as proxy:
        url = fresh_database().replace(str(server.port), str(proxy.port))
        async with opened(url) as database:
            for _ in range(5):
                asked = [asyncio.ensure_future(read(database, QUICK, str(i))) for i in range(200)]
                await asyncio.sleep(0)
                proxy.cut()
                assert await outcomes(*asked) == [[(str(i).encode(),)] for i in range(200)]


async def test_a_connection_that_is_cut_while_it_opens_is_opened_again() -> None:
    """A restart that strikes a slow handshake refuses nobody."""
    server = postgres_server()
    with Proxy(server.port) as proxy:
        url = fresh_database().replace(str(server.port), str(proxy.port))
        async with opened(url) as database:
            proxy.held = True
            proxy.cut()
            asked = asyncio.ensure_future(read(database, QUICK, "answered"))
            await asyncio.sleep(0.3)
            proxy.held = False
            proxy.cut()
            assert await asked == [(b"answered",)]


async def test_a_read_waits_longer_the_more_connections_it_has_lost() -> None:
    """A server that ends its connections within a moment costs a read that moment, not its four tries."""
    async with opened() as database:
        asked = asyncio.ensure_future(read(database, SLEEP, "0.5"))
        lost: list[float] = []
        while len(lost) < 3 and not asked.done():
            await asyncio.sleep(0.001)
            for wire in database._primary.wires:
                if wire.jobs:
                    lost.append(time.monotonic())
                    wire.lose()
        assert await asked == [(b"",)]
    assert lost[2] - lost[1] >= LOST_S


async def test_a_server_that_talks_nonsense_loses_its_connection() -> None:
    """Two errors for one statement, as a pooler sent them: the loop goes on, and reads run elsewhere."""
    server = postgres_server()
    with Proxy(server.port) as proxy:
        url = fresh_database().replace(str(server.port), str(proxy.port))
        async with opened(url, pool_size=2) as database:
            await read(database, QUICK, "w")
            slow = asyncio.ensure_future(read(database, SLEEP, "0.2"))
            await asyncio.sleep(0.1)
            proxy.say(TWO_ERRORS)
            await outcomes(slow)
            assert await asyncio.wait_for(read(database, QUICK, "1"), 5) == [(b"1",)]


async def test_closing_answers_what_runs() -> None:
    """Nobody waits for ever for a statement that was under way."""
    async with opened() as database:
        slow = asyncio.ensure_future(read(database, SLEEP, "30"))
        await asyncio.sleep(0.1)
        await database.close()
        with pytest.raises(Problem, match="does not answer"):
            await asyncio.wait_for(slow, 1)


@pytest.mark.parametrize(
    ("url", "settings", "named"),
    [
        ("postgresql://ada:s3cret@host:not-a-port/shop", {}, "postgresql://user@host/database"),
        ("postgresql://ada:s3cret@[::1/shop", {}, "postgresql://user@host/database"),
        ("postgresql://ada:s3cret@127.0.0.1/shop?no_such_option=1", {}, "postgresql://user@host/database"),
        ("postgresql://ada:s3cret@no.such.host.invalid/shop", {}, "no.such.host.invalid"),
        ("postgresql://ada:s3cret@127.0.0.1/shop", {"pool_size": 1}, "BACKSTAY_POOL_SIZE"),
        ("postgresql://ada:s3cret@127.0.0.1/shop", {"pool_mode": "statement"}, "BACKSTAY_POOL_MODE"),
    ],
)
async def test_what_cannot_be_opened_says_why(url: str, settings: dict[str, Any], named: str) -> None:
    """With what to mend, on one line, and without the password."""
    with pytest.raises(OperatorError) as found:
        PostgresDatabase(Config(database_url=url, **settings))
    assert named in str(found.value)
    assert "s3cret" not in str(found.value)
    assert "\n" not in str(found.value)
