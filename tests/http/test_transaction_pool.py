"""`pool_mode=transaction`, for poolers that give each transaction another process of the server."""

import asyncio
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.util import greenlet_spawn

from backstay import Backstay
from backstay.context import Context
from backstay.db.postgres_job import Job
from backstay.sql.statement import Output, Statement
from support.asgi import Answer, Client, bearer
from support.postgres import rows
from support.samples import Sample
from support.world import Game, world
from support.worlds import WORLD

#: What a database's owner may set, and what nobody who asks this app should notice.
ODD = {
    "TimeZone": "'America/New_York'",
    "DateStyle": "'SQL, DMY'",
    "IntervalStyle": "sql_standard",
    "bytea_output": "escape",
    "default_transaction_isolation": "'repeatable read'",
}
LEFT = Statement(
    "SELECT (SELECT count(*) FROM pg_prepared_statements) || ' ' || coalesce(string_agg(name, ' '), '')"
    " FROM pg_settings WHERE source IN ('client', 'session') AND name NOT IN ('application_name', 'client_encoding')",
    *("tests", "left", (Output.DATA,), (), (), None),
)
ADMIN = bearer(900, roles=["admin"])


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The world, in a database with odd settings."""
    made = WORLD.copied("postgresql", tmp_path_factory.mktemp("odd"))
    name = made.rpartition("/")[2]
    rows(made, *(f'ALTER DATABASE "{name}" SET {setting} = {value}' for setting, value in ODD.items()))
    return made


def opened(url: str, mode: str) -> Client:
    """The world in one mode."""
    return Client(world(url, sample=Sample, pool_mode=mode))


def asked(client: Client) -> list[Answer]:
    """Every resource in some ways, as bytes."""
    names = client.app.catalog().resources
    found = [client.get(f"/{name}", query, credential=ADMIN) for name in names for query in ("", "limit=3&page=2")]
    found.append(client.get("/scores", "include=player,game&value[gte]=1&cursor=", credential=ADMIN))
    found.append(client.get("/scores/aggregate", "group=game_id&select=count,max(value),avg(value)"))
    found.append(client.get("/scores", "created_at[gte]=2020-01-02T03:04:05Z"))
    return found


def left_behind(client: Client) -> set[bytes]:
    """What each of the app's connections still holds on the server."""

    async def ask() -> set[bytes]:
        database: Any = client.app.start().database
        futures: list[asyncio.Future[Any]] = []
        for wire in database._primary.wires:
            futures.append(asyncio.get_running_loop().create_future())
            wire.submit([Job(LEFT, (), Context("left"), futures[-1])])
        return {found[0][0] for found in await asyncio.gather(*futures)}

    return client.loop.run_until_complete(ask())


def test_answers_are_those_of_session_mode(url: str) -> None:
    """Byte for byte, although the database has another time zone, date style and isolation by default."""
    with opened(url, "session") as session, opened(url, "transaction") as transaction:
        expected, found = asked(session), asked(transaction)
        assert left_behind(session) != {b"0 "}, "this would see nothing"
        assert left_behind(transaction) == {b"0 "}
    assert {answer.status for answer in expected} == {200}
    assert [answer.body for answer in found] == [answer.body for answer in expected]


def test_writes_leave_nothing_on_the_server(url: str) -> None:
    """Creates, changes, refusals and deletes: each is done, and no connection keeps a statement or a setting."""
    with opened(url, "transaction") as client:
        for i in range(8):
            body = {"slug": f"pooled-{i}", "name": "Pooled"}
            assert client.post("/games", body, credential=ADMIN).status == 201
            assert client.post("/games", body, credential=ADMIN).status == 409
            changed = client.request("PATCH", f"/games/pooled-{i}", body={"name": "Again"}, credential=ADMIN)
            assert (changed.status, changed.data["name"]) == (200, "Again")
            assert client.request("DELETE", f"/games/pooled-{i}", credential=ADMIN).status == 204
        assert left_behind(client) == {b"0 "}


def test_sessions_leave_nothing_on_the_server(url: str) -> None:
    """An ORM session has its time zone and timeout for its transaction only, and prepares nothing."""
    app: Backstay = world(url, pool_mode="transaction", request_timeout_s=7)

    async def use() -> tuple[set[Any], set[Any]]:
        inside: set[Any] = set()
        for _ in range(8):  # psycopg prepares a statement that is run five times
            async with app.session() as session:
                await session.scalars(sa.select(Game).limit(1))
                shown = "SELECT current_setting('TimeZone') || current_setting('statement_timeout')"
                inside.add(await session.scalar(sa.text(shown)))
        engine: Any = app.start().sessions._reading
        raw = await engine.raw_connection()
        driver = raw.driver_connection
        await driver.rollback()
        await driver.set_autocommit(True)
        after = await (await driver.execute(LEFT.text)).fetchone()
        await greenlet_spawn(raw.close)
        await app.stop()
        return inside, {after}

    inside, after = asyncio.run(use())
    assert inside == {"UTC7s"}
    assert after == {("0 ",)}
