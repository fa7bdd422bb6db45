"""Hooks run for each row that the API writes, whichever way it is written, and commit or go with it."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import ForeignKey
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from backstay import Backstay, ModelBase, Problem, SoftDelete, Write, has_role, public, signed_in
from support.asgi import Answer, Client, bearer, quiet
from support.databases import DATABASES, empty_database

WHO = bearer(7, roles=["keeper"])


class Base(ModelBase, DeclarativeBase):
    """The models of this module."""


class Box(Base):
    """Things are in it."""

    __tablename__ = "boxes"

    name: Mapped[str]
    things: Mapped[list["Thing"]] = relationship(back_populates="box", passive_deletes=True)


class Thing(Base):
    """Has hooks; is gone when it is deleted."""

    __tablename__ = "things"

    id: Mapped[str] = mapped_column(primary_key=True)
    box_id: Mapped[int] = mapped_column(ForeignKey("boxes.id"))
    name: Mapped[str] = mapped_column(unique=True)
    box: Mapped[Box] = relationship(back_populates="things")


class Note(SoftDelete, Base):
    """Has hooks; is there again after a restore."""

    __tablename__ = "notes"

    name: Mapped[str]


class Seen(Base):
    """What hooks were told, written in the transaction that they were told in."""

    __tablename__ = "seen"

    text: Mapped[str]


class House:
    """An app whose hooks write down what they see."""

    def __init__(self, url: str) -> None:
        self.app = app = Backstay("house", config=quiet(url))
        app.resource(Box, read=public, write=signed_in, history=signed_in)
        app.resource(Thing, read=public, write=signed_in, history=signed_in)
        app.resource(Note, read=public, write=signed_in, history=signed_in, restore=has_role("keeper"))
        app.resource(Seen, read=public)
        self.committed: list[str] = []
        for model in (Thing, Note):
            for when in ("before", "after"):
                for action in ("create", "update", "delete", "restore"):
                    getattr(app, f"{when}_{action}")(model)(self.told(when))
            app.after_commit(model)(self.heard)
        self.client = Client(app)

    def told(self, when: str) -> Any:
        """A hook: names are in small letters, one is refused before and one after it is written."""

        async def hook(write: Write) -> None:
            assert write.session is not None
            write.session.add(Seen(text=f"{when} {write.action} {write.resource}"))
            name = write.values.get("name", "")
            if name == f"bad {when}":
                raise Problem("CONFLICT", "Not that.")
            if when == "before" and name:
                write.values["name"] = name.lower()
            if when == "after":
                assert (write.row is None) == (write.action == "delete")

        return hook

    async def heard(self, write: Write) -> None:
        """Behind the commit."""
        assert write.session is None
        self.committed.append(f"{write.action} {write.resource}")

    def send(
        self, method: str, path: str, body: Any = None, *headers: tuple[bytes, bytes], query: str = ""
    ) -> Answer:
        """A request."""
        given = [(b"content-type", b"application/json"), *headers]
        return self.client.request(method, path, query, body=body, credential=WHO, headers=given)

    def seen(self) -> list[str]:
        """What hooks have written since the last time, and what they heard behind commits."""
        found = [row["text"] for row in self.client.get("/seen", "sort=id&limit=100").data]

        async def forget() -> None:
            async with self.app.transaction() as session:
                await session.execute(sa.delete(Seen))

        self.client.loop.run_until_complete(forget())
        found += [f"committed {text}" for text in self.committed]
        self.committed.clear()
        return found

    def change(self, path: str, operation: str) -> int:
        """The newest change of a row of some sort."""
        rows = self.send("GET", f"{path}/history").data
        return next(int(row["id"]) for row in rows if row["operation"] == operation)

    def undo(self, path: str, operation: str) -> Answer:
        """Undo it."""
        return self.send("POST", f"{path}/undo", {"change": self.change(path, operation)})


@pytest.fixture(params=DATABASES)
def house(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[House]:
    """One box, with a thing `t` in it, and a note."""
    made = House(empty_database(request.param, tmp_path, Base.metadata))
    with made.client:
        assert made.send("POST", "/boxes", {"name": "b", "things": [{"id": "t", "name": "T"}]}).status == 201
        assert made.send("POST", "/notes", {"name": "N"}).status == 201
        assert len(made.seen()) == 6
        yield made


def batch(method: str, path: str, body: Any = None) -> dict[str, Any]:
    """A batch of one."""
    return {"operations": [{"method": method, "path": path} | ({} if body is None else {"body": body})]}


NEW = {"id": "n", "name": "Name", "box_id": 1}
NESTED = {"id": "n", "name": "Name"}
#: Ways to make the thing `n` in the box 1: method, path, body, status.
CREATES: dict[str, tuple[str, str, Any, int]] = {
    "plain": ("POST", "/things", NEW, 201),
    "below": ("POST", "/boxes/1/things", NESTED, 201),
    "at its path": ("PUT", "/things/n", {"name": "Name", "box_id": 1}, 201),
    "list": ("POST", "/things", [NEW], 201),
    "nested": ("POST", "/boxes", {"name": "c", "things": [NESTED]}, 201),
    "batch": ("POST", "/batch", batch("POST", "/things", NEW), 200),
    "import": ("POST", "/things/import", NEW, 200),
}


def of(action: str, resource: str = "things") -> list[str]:
    """What is seen of one write."""
    return [f"{when} {action} {resource}" for when in ("before", "after", "committed")]


def headers_of(way: str) -> list[tuple[bytes, bytes]]:
    """What a way has of its own."""
    if way == "at its path":
        return [(b"if-none-match", b"*")]
    return [(b"content-type", b"application/x-ndjson")] if way == "import" else []


def sent(house: House, way: str, request: tuple[str, str, Any, int], name: str = "Name") -> Answer:
    """One write, of a name."""
    method, path, body, _ = request
    body = json.loads(json.dumps(body).replace("Name", name))
    own = headers_of(way)
    given = [(b"content-type", b"application/json")] if len(own) == 0 or own[0][0] != b"content-type" else []
    return house.client.request(method, path, body=body, credential=WHO, headers=[*given, *own])


@pytest.mark.parametrize("way", CREATES)
def test_every_create_has_its_hooks(house: House, way: str) -> None:
    """They change what is written, and what they refuse leaves nothing, of themselves either."""
    for when in ("before", "after"):
        refused = sent(house, way, CREATES[way], f"bad {when}")
        assert refused.status == 409, refused.body
        assert house.seen() == []
        assert house.client.get("/things/n").status == 404
    made = sent(house, way, CREATES[way])
    assert made.status == CREATES[way][3], made.body
    assert house.seen() == of("create")
    assert house.client.get("/things/n").data["name"] == "name"


def test_an_undone_delete_is_a_create(house: House) -> None:
    """With its hooks."""
    assert house.send("DELETE", "/things/t").status == 204
    assert house.seen() == of("delete")
    assert house.undo("/things/t", "delete").status == 201
    assert house.seen() == of("create")


UPDATES: dict[str, tuple[str, str, Any, int]] = {
    "plain": ("PATCH", "/things/t", {"name": "Name"}, 200),
    "replacement": ("PUT", "/things/t", {"name": "Name", "box_id": 1}, 200),
    "nested": ("PATCH", "/boxes/1", {"things": [{"id": "t", "name": "Name"}]}, 200),
    "nested in a replacement": ("PUT", "/boxes/1", {"name": "b", "things": [{"id": "t", "name": "Name"}]}, 200),
    "batch": ("POST", "/batch", batch("PATCH", "/things/t", {"name": "Name"}), 200),
}


@pytest.mark.parametrize("way", UPDATES)
def test_every_update_has_its_hooks(house: House, way: str) -> None:
    """And the row is as it was where they refuse; an undo is one, too."""
    for when in ("before", "after"):
        assert sent(house, way, UPDATES[way], f"bad {when}").status == 409
        assert (house.seen(), house.client.get("/things/t").data["name"]) == ([], "t")
    changed = sent(house, way, UPDATES[way])
    assert changed.status == UPDATES[way][3], changed.body
    assert (house.seen(), house.client.get("/things/t").data["name"]) == (of("update"), "name")
    assert house.undo("/things/t", "update").status == 200
    assert (house.seen(), house.client.get("/things/t").data["name"]) == (of("update"), "t")


def test_an_update_by_a_filter_has_its_hooks(house: House) -> None:
    """For each of its rows."""
    assert house.send("PATCH", "/things", {"box_id": 1}, query="name=t").data == {"count": 1}
    assert house.seen() == of("update")


DELETES: dict[str, tuple[str, str, Any, int]] = {
    "plain": ("DELETE", "/things/t", None, 204),
    "nested": ("PATCH", "/boxes/1", {"things": [{"id": "t", "_delete": True}]}, 200),
    "replaced": ("PUT", "/boxes/1", {"name": "b", "things": []}, 200),
    "batch": ("POST", "/batch", batch("DELETE", "/things/t"), 200),
}


@pytest.mark.parametrize("way", DELETES)
def test_every_delete_has_its_hooks(house: House, way: str) -> None:
    """Before and after."""
    method, path, body, status = DELETES[way]
    assert house.send(method, path, body).status == status
    assert house.seen() == of("delete")
    assert house.client.get("/things/t").status == 404


def test_a_delete_by_a_filter_and_an_undone_create_have_their_hooks(house: House) -> None:
    """As the plain delete."""
    assert house.undo("/things/t", "create").status == 204
    assert house.seen() == of("delete")
    assert house.send("POST", "/things", NEW).status == 201
    house.seen()
    assert house.send("DELETE", "/things", query="name=name").data == {"count": 1}
    assert house.seen() == of("delete")


def test_restores_have_their_hooks(house: House) -> None:
    """By the path, in a batch, and where an undo restores."""
    ways: list[tuple[str, Any]] = [("/notes/1/restore", None), ("/batch", batch("POST", "/notes/1/restore"))]
    for path, body in ways:
        assert house.send("DELETE", "/notes/1").status == 204
        assert house.seen() == of("delete", "notes")
        assert house.send("POST", path, body).status == 200
        assert house.seen() == of("restore", "notes")
    assert house.send("DELETE", "/notes/1").status == 204
    house.seen()
    assert house.undo("/notes/1", "update").status == 200
    assert house.seen() == of("restore", "notes")
    assert house.undo("/notes/1", "update").status == 204
    assert house.seen() == of("delete", "notes")


def test_rows_of_a_file_that_are_refused_leave_nothing_of_their_hooks(house: House) -> None:
    """The others are made, with theirs."""
    lines = [NEW, NEW | {"id": "m"}, {"id": "k", "name": "Other", "box_id": 1}]
    body = b"\n".join(json.dumps(line).encode() for line in lines)
    answer = house.client.request(
        "POST", "/things/import", body=body, credential=WHO, headers=[(b"content-type", b"application/x-ndjson")]
    )
    assert (answer.data["rows"], answer.data["failed"]) == (2, 1), answer.body
    assert sorted(house.seen()) == sorted(of("create") * 2)
