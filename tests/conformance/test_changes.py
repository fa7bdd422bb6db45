"""The change log: every committed change of a row is in it once, with whose it is; what did not commit is not."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import ForeignKey, text, update
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from backstay import Backstay, Config, Context, ModelBase, Problem, SoftDelete, public, signed_in
from backstay.events import sealing
from backstay.events.changes import Change
from backstay.schema.declare import SECRET as SECRET_COLUMN
from support.asgi import SECRET, Client, bearer
from support.databases import DATABASES, empty_database


class Base(ModelBase, DeclarativeBase):
    """The models of this module."""


class Shelf(Base):
    """What has boxes."""

    __tablename__ = "shelves"

    name: Mapped[str] = mapped_column(unique=True)
    pin: Mapped[str | None] = mapped_column(info={SECRET_COLUMN: True})
    weight: Mapped[float | None]
    seal: Mapped[bytes | None]


class Box(SoftDelete, Base):
    """What goes with its shelf."""

    __tablename__ = "boxes"

    shelf_id: Mapped[int] = mapped_column(ForeignKey("shelves.id", ondelete="CASCADE"))
    label: Mapped[str]


class Log:
    """An app and its change log."""

    def __init__(self, url: str) -> None:
        self.app = Backstay(
            "store", config=Config(database_url=url, secret=SECRET, log_level="error", rate_limit="off")
        )
        self.app.resource(Shelf, read=public, write=signed_in)
        self.app.resource(Box, read=public, write=signed_in)

        @self.app.post("/api/v1/stock")
        async def stock(name: str, ctx: Context, *, fail: bool = False) -> dict[str, int]:  # pyright: ignore
            """A custom endpoint that writes by the ORM."""
            async with self.app.transaction(ctx) as session:
                shelf = Shelf(name=name, pin="1234")
                session.add(shelf)
                await session.flush()
                session.add(Box(shelf_id=shelf.id, label="new"))
                await session.flush()
                await session.execute(update(Box).where(Box.shelf_id == shelf.id).values(label="counted"))
                if fail:
                    raise Problem("CONFLICT", "Not now.")
            return {"id": shelf.id}

        self.client = Client(self.app)

    def send(self, method: str, path: str, body: Any = None, **options: Any) -> Any:
        """A request of somebody who is signed in."""
        return self.client.request(method, path, options.pop("query", ""), body=body, credential=bearer(7), **options)

    def entries(self) -> list[Change]:
        """All of them, and the log is whole."""
        verdict = self.client.loop.run_until_complete(self.app.changes.verify())
        assert verdict.broken is None
        found = self.client.loop.run_until_complete(self.app.changes.after(0, 1_000))
        assert [change.position for change in found] == list(range(1, len(found) + 1))
        return found

    def told(self) -> list[tuple[str, str, str]]:
        """(operation, table, key) of each."""
        return [(change.operation, change.table, change.key) for change in self.entries()]


@pytest.fixture(params=DATABASES)
def log(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Log]:
    """An app without rows."""
    made = Log(empty_database(request.param, tmp_path, Base.metadata))
    with made.client:
        yield made


def images(change: Change) -> tuple[Any, Any]:
    """The row before and after."""
    before, after = (None if text is None else json.loads(text) for text in (change.before, change.after))
    return before, after


def test_what_was_refused_is_not_in_the_log(log: Log) -> None:
    """Neither an invalid body, nor a taken name, nor a row that is not there, nor who may not write."""
    assert log.send("POST", "/shelves", {"name": "a"}).status == 201
    before = log.told()
    assert log.send("POST", "/shelves", {"name": "a"}).status == 409
    assert log.send("POST", "/shelves", {"name": 3}).status == 400
    assert log.send("POST", "/boxes", {"shelf_id": 99, "label": "x"}).status == 409
    assert log.send("PATCH", "/shelves/99", {"name": "b"}).status == 404
    assert log.client.request("POST", "/shelves", body={"name": "c"}).status == 401
    assert log.told() == before == [("create", "shelves", "[1]")]


def test_a_rollback_leaves_no_entry(log: Log) -> None:
    """An endpoint that fails after it wrote by the ORM leaves neither rows nor entries."""
    assert log.send("POST", "/stock", query="name=a&fail=true").status == 409
    assert log.send("GET", "/shelves").data == []
    assert log.told() == []


def test_writes_of_the_orm_are_recorded_as_the_requests(log: Log) -> None:
    """Rows of a unit of work and of an UPDATE over many alike: with the actor and the request's id."""
    answer = log.send("POST", "/stock", query="name=a")
    assert answer.status == 200
    assert log.told() == [("create", "shelves", "[1]"), ("create", "boxes", "[1]"), ("update", "boxes", "[1]")]
    for change in log.entries():
        assert (change.actor, change.request_id) == ("user:7", answer.headers["x-request-id"])
    assert images(log.entries()[2])[1]["label"] == "counted"


def test_each_write_of_the_api_is_one_entry(log: Log) -> None:
    """Create, update, soft delete, restore and delete: before and after are the row, whose it is is told."""
    log.send("POST", "/shelves", {"name": "a", "weight": 0.1, "seal": "AP8="})
    log.send("PATCH", "/shelves/1", {"weight": 2.5})
    log.send("POST", "/boxes", {"shelf_id": 1, "label": "b"})
    assert log.send("DELETE", "/boxes/1").status == 204
    last = log.send("DELETE", "/shelves/1")
    assert last.status == 204
    made, changed, boxed, marked, *gone = log.entries()
    assert [change.operation for change in (made, changed, boxed, marked)] == ["create", "update", "create", "update"]
    assert images(made)[0] is None
    row = images(made)[1]
    assert (row["name"], row["weight"], row["seal"].lower().removeprefix("\\x")) == ("a", 0.1, "00ff")
    assert images(changed) == (
        row,
        row | {"weight": 2.5, "version": 2, "updated_at": images(changed)[1]["updated_at"]},
    )
    assert images(marked)[1]["deleted_at"] is not None
    assert {(change.operation, change.table) for change in gone} == {("delete", "shelves"), ("delete", "boxes")}
    assert {change.request_id for change in gone} == {last.headers["x-request-id"]}
    assert [images(change)[1] for change in gone] == [None, None]


def test_a_cascade_is_recorded(log: Log) -> None:
    """A row that goes with its parent has an entry of its own, of the same request."""
    log.send("POST", "/shelves", {"name": "a"})
    log.send("POST", "/boxes", {"shelf_id": 1, "label": "b"})
    log.send("DELETE", "/shelves/1")
    assert set(log.told()[2:]) == {("delete", "shelves", "[1]"), ("delete", "boxes", "[1]")}


def test_a_secret_is_in_no_entry(log: Log) -> None:
    """A column that nobody is ever shown is not kept in the log either; its change is."""
    log.send("POST", "/stock", query="name=a")

    async def change_pin() -> None:
        async with log.app.transaction(Context("r-1")) as session:
            shelf = await session.get(Shelf, 1)
            assert shelf is not None
            shelf.pin = "9876"

    log.client.loop.run_until_complete(change_pin())
    found = log.entries()
    assert [change.table for change in found] == ["shelves", "boxes", "boxes", "shelves"]
    assert not any("1234" in str(change) or "9876" in str(change) or "pin" in str(change) for change in found)
    assert (found[-1].actor, found[-1].request_id) == (None, "r-1")


def test_a_write_that_changes_nothing_is_no_change(log: Log) -> None:
    """An UPDATE by the ORM that sets what is there already leaves no entry."""
    log.send("POST", "/stock", query="name=a")

    async def rename() -> None:
        async with log.app.transaction() as session:
            await session.execute(update(Box).values(label="counted", updated_at=Box.updated_at))

    log.client.loop.run_until_complete(rename())
    assert len(log.told()) == 3


def test_a_follower_gets_what_comes(log: Log) -> None:
    """Following from a position gives every change behind it, and waits for the next."""
    log.send("POST", "/shelves", {"name": "a"})
    log.send("POST", "/shelves", {"name": "b"})

    async def follow() -> list[str]:
        keys: list[str] = []
        async for change in log.app.changes.follow(1):
            keys.append(change.key)
            if len(keys) == 1:
                async with log.app.transaction() as session:
                    session.add(Shelf(name="c"))
            if len(keys) == 2:
                break
        return keys

    assert log.client.loop.run_until_complete(asyncio.wait_for(follow(), 5)) == ["[2]", "[3]"]


def test_sealing_looks_only_at_what_waits(log: Log) -> None:
    """Neither the look for entries without a position, nor their sealing, reads or sorts what is sealed already."""
    assert log.send("POST", "/shelves", {"name": "a"}).status == 201

    async def explained() -> str:
        lines: list[str] = []
        async with log.app.transaction() as session:
            connection = await session.connection()
            dialect = connection.dialect
            postgres = dialect.name == "postgresql"
            if postgres:  # which would read a page or two as they are
                await session.execute(text("SET LOCAL enable_seqscan = off"))
            core = [sealing.WAITING, sealing.LAST, sealing.UNSEALED]
            asked = [str(q.compile(dialect=dialect, compile_kwargs={"literal_binds": True})) for q in core]
            for query in [*asked[:2], sealing.SEAL_POSTGRES] if postgres else asked:
                rows = await connection.exec_driver_sql(f"EXPLAIN {'' if postgres else 'QUERY PLAN'} {query}")
                lines += [str(row[-1]) for row in rows]
        return "\n".join(lines)

    plan = log.client.loop.run_until_complete(explained())
    assert plan.count("backstay_changes_waiting") >= 2
    assert "backstay_changes_position" in plan
    for word in ("SCAN backstay_changes", "Seq Scan on backstay_changes", "TEMP B-TREE", "Sort"):
        assert word not in plan
