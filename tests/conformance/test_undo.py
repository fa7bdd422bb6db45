"""Undo: the opposite of one change, for who may see it and do that write; what was changed since stays as it is."""

from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import ForeignKey, select, update
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from backstay import Backstay, FieldRule, ModelBase, SoftDelete, UuidKey, has_role, me, nobody, public, signed_in
from backstay.auth.tokens import Tokens
from support.asgi import SECRET, Answer, Client, quiet
from support.contract import Contract
from support.databases import DATABASES, empty_database


class Base(ModelBase, DeclarativeBase):
    """The models of this module."""


class Page(Base):
    """Its author writes it; its slug is its key."""

    __tablename__ = "pages"

    slug: Mapped[str] = mapped_column(unique=True)
    title: Mapped[str]
    text: Mapped[str | None]
    author_id: Mapped[int]
    stars: Mapped[int | None]
    kept: Mapped[str | None]


class Note(SoftDelete, Base):
    """Stays when it is deleted."""

    __tablename__ = "notes"

    text: Mapped[str]
    page_id: Mapped[int | None] = mapped_column(ForeignKey("pages.id"))


class Kinds(UuidKey, Base):
    """A column of every kind."""

    __tablename__ = "kinds"

    word: Mapped[str | None]
    whole: Mapped[int | None]
    real: Mapped[float | None]
    price: Mapped[Decimal | None]
    truth: Mapped[bool | None]
    day: Mapped[date | None]
    raw: Mapped[bytes | None]
    words: Mapped[list[str] | None]
    data: Mapped[dict[str, Any] | None]


class Log(Base):
    """Everybody sees what changed; nobody but editors may write it."""

    __tablename__ = "logs"

    text: Mapped[str]


class Safe(Base):
    """Everybody sets its pin and what it holds, which nobody sees; its owner sees its note, which editors set."""

    __tablename__ = "safes"

    title: Mapped[str]
    owner_id: Mapped[int]
    pin: Mapped[str | None]
    note: Mapped[str | None]
    holds_id: Mapped[int | None] = mapped_column(ForeignKey("pages.id"))
    maker_id: Mapped[int | None] = mapped_column(ForeignKey("pages.id"))


class Undoing:
    """An app whose changes can be undone."""

    def __init__(self, url: str) -> None:
        self.app = Backstay("undoing", config=quiet(url))
        mine = Page.author_id == me.id
        self.app.resource(
            Page,
            key=Page.slug,
            read=public,
            create=signed_in,
            update=mine,
            delete=mine,
            history=signed_in,
            stamp={Page.author_id: me.id},
            fields={Page.stars: FieldRule(write=has_role("editor"))},
            hidden=[Page.kept],
        )
        self.app.resource(Note, read=public, write=signed_in, restore=signed_in, history=signed_in)
        self.app.resource(Kinds, read=public, write=public, history=public)
        self.app.resource(Log, read=public, write=has_role("editor"), history=public)
        self.app.resource(
            Safe,
            read=public,
            write=signed_in,
            check=Safe.title != "never",
            history=signed_in,
            hidden=[Safe.maker_id],
            fields={
                Safe.holds_id: FieldRule(read=nobody, write=signed_in),
                Safe.pin: FieldRule(read=nobody, write=signed_in),
                Safe.note: FieldRule(read=Safe.owner_id == me.id, write=has_role("editor")),
            },
        )
        self.client = Client(self.app)
        self.contract = Contract(self.app.openapi())

    def send(self, method: str, path: str, body: Any = None, by: str | None = None, **options: Any) -> Answer:
        """A request of user 7, unless it says."""
        return self.client.request(method, path, body=body, credential=who(7) if by is None else by, **options)

    def told(self, path: str, answer: Answer) -> Answer:
        """An answer, which is one of the OpenAPI document."""
        template = f"/api/v1/{path.split('/')[1]}/{{key}}/undo"
        assert self.contract.faults("POST", template, answer) == []
        return answer

    def history(self, path: str) -> list[dict[str, Any]]:
        """The changes of a row, the newest first."""
        answer = self.send("GET", f"{path}/history")
        assert answer.status == 200, answer.body
        return answer.data

    def undo(self, path: str, index: int = 0, by: str | None = None, **options: Any) -> Answer:
        """Undo a change of a row, by its place in the history."""
        change = {"change": self.history(path)[index]["id"]}
        return self.told(path, self.send("POST", f"{path}/undo", change, by, **options))

    def run(self, statement: Any) -> None:
        """A statement of the program."""

        async def write() -> None:
            async with self.app.transaction() as session:
                await session.execute(statement)

        self.client.loop.run_until_complete(write())


def who(subject: int, *roles: str) -> str:
    """A credential."""
    return "Bearer " + Tokens(SECRET).issue(subject, roles=list(roles), ttl_s=3_600)


@pytest.fixture(params=DATABASES)
def undoing(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Undoing]:
    """An app without rows."""
    made = Undoing(empty_database(request.param, tmp_path, Base.metadata))
    with made.client:
        yield made


def page(undoing: Undoing, **fields: Any) -> dict[str, Any]:
    """A new page."""
    answer = undoing.send("POST", "/pages", {"slug": "a", "title": "A"} | fields)
    assert answer.status == 201, answer.body
    return answer.data


def test_bad_requests_change_nothing(undoing: Undoing) -> None:
    """A body that names no change, a change of another row, a row that is not there."""
    page(undoing)
    page(undoing, slug="b", title="B")
    (change,), (other,) = undoing.history("/pages/a"), undoing.history("/pages/b")
    for body in ({}, {"change": "1"}, {"change": 0}, {"change": 2**63}, {"change": 1.5}, {"change": 1, "x": 1}):
        assert undoing.send("POST", "/pages/a/undo", body).status == 400, body
    assert undoing.send("POST", "/pages/a/undo", []).status == 400
    assert undoing.send("POST", "/pages/a/undo", {"change": other["id"]}).status == 400
    assert undoing.send("POST", "/pages/a/undo", {"change": 999}).status == 400
    assert undoing.send("POST", "/pages/z/undo", {"change": change["id"]}).status == 404
    assert undoing.client.request("POST", "/pages/a/undo", "x=1", body={"change": 1}, credential=who(7)).status == 400
    assert undoing.send("GET", "/pages/a/undo").status == 405
    assert len(undoing.history("/pages/a")) == len(undoing.history("/pages/b")) == 1


def test_who_may_not_do_the_write_may_not_undo(undoing: Undoing) -> None:
    """Not signed in, not the author, without the right to a field; nor what nobody sets."""
    editor = who(7, "editor")
    page(undoing)
    undoing.send("PATCH", "/pages/a", {"title": "B"})
    assert undoing.undo("/pages/a", by="").status == 401
    assert undoing.undo("/pages/a", by=who(8)).status == 403
    assert undoing.undo("/pages/a", 1, by=who(8)).status == 409
    undoing.send("PATCH", "/pages/a", {"stars": 5}, by=editor)
    assert undoing.undo("/pages/a").status == 403
    undoing.run(update(Page).values(kept="k"))
    assert undoing.undo("/pages/a", by=editor).status == 403
    assert undoing.undo("/pages/a", 1, by=editor).data["stars"] is None
    made = undoing.send("POST", "/logs", {"text": "x"}, by=editor).data["id"]
    undoing.send("DELETE", f"/logs/{made}", by=editor)
    assert undoing.undo(f"/logs/{made}").status == 403
    assert undoing.send("GET", f"/logs/{made}").status == 404
    assert undoing.undo(f"/logs/{made}", by=editor).status == 201


def test_an_update_is_undone(undoing: Undoing) -> None:
    """The fields that it touched have their values again, the others those of now; it is a change like any other."""
    page(undoing, text="t")
    undoing.send("PATCH", "/pages/a", {"title": "B"})
    undoing.send("PATCH", "/pages/a", {"text": None})
    undone = undoing.undo("/pages/a", 1, by=who(7))
    assert undone.status == 200, undone.body
    assert (undone.data["title"], undone.data["text"], undone.data["version"]) == ("A", None, 4)
    assert undone.data == undoing.send("GET", "/pages/a").data
    assert undone.headers["etag"] == undoing.send("GET", "/pages/a").headers["etag"]
    newest = undoing.history("/pages/a")[0]
    assert (newest["operation"], newest["actor"]) == ("update", "user:7")
    assert newest["request_id"] == undone.headers["x-request-id"]
    again = undoing.undo("/pages/a")
    assert again.data["title"] == "B"


def test_what_was_changed_since_stays(undoing: Undoing) -> None:
    """409 names the fields; what the row has again may be undone."""
    page(undoing)
    undoing.send("PATCH", "/pages/a", {"title": "B"})
    undoing.send("PATCH", "/pages/a", {"title": "C"})
    refused = undoing.undo("/pages/a", 1)
    assert (refused.status, [e["field"] for e in refused.json["errors"]]) == (409, ["title"])
    assert undoing.send("GET", "/pages/a").data["title"] == "C"
    undoing.send("PATCH", "/pages/a", {"title": "B"})
    assert undoing.undo("/pages/a", 2).data["title"] == "A"
    change = undoing.history("/pages/a")[0]["id"]
    number = undoing.send("GET", "/pages/a").data["id"]
    undoing.send("DELETE", "/pages/a")
    assert undoing.send("POST", f"/pages/{number}/undo", {"change": change}).status == 409


def test_a_create_is_undone_by_a_delete(undoing: Undoing) -> None:
    """Unless the row was changed since."""
    page(undoing)
    undoing.send("PATCH", "/pages/a", {"title": "B"})
    assert undoing.undo("/pages/a", 1).status == 409
    undoing.send("PATCH", "/pages/a", {"title": "A"})
    assert undoing.undo("/pages/a", 2).status == 204
    assert undoing.send("GET", "/pages/a").status == 404


def test_a_delete_is_undone_by_a_create(undoing: Undoing) -> None:
    """With the same key, and what nobody sets; not while another row is there, nor for who could not create it."""
    made = page(undoing, text="t")
    undoing.run(update(Page).values(kept="k"))
    undoing.send("DELETE", "/pages/a")
    path = f"/pages/{made['id']}"
    undone = undoing.undo(path, by=who(8))
    assert undone.status == 201, undone.body
    assert undone.headers["location"].endswith("/pages/a")
    assert undone.data | {"updated_at": 0} == made | {"version": 3 - 1, "updated_at": 0}
    assert [change["operation"] for change in undoing.history("/pages/a")] == ["create", "delete", "update", "create"]
    assert undoing.undo("/pages/a", 1).status == 409
    undoing.send("DELETE", "/pages/a")
    change = {"change": undoing.history(path)[0]["id"]}
    page(undoing)
    assert undoing.send("POST", f"{path}/undo", change).status == 409
    assert undoing.send("POST", "/pages", {"slug": "b", "title": "B"}).status == 201


def test_soft_deletes_and_restores_are_undone(undoing: Undoing) -> None:
    """By a restore, and by a delete."""
    made = undoing.send("POST", "/notes", {"text": "x"}).data["id"]
    path = f"/notes/{made}"
    undoing.send("DELETE", path)
    assert undoing.undo(path).status == 200
    assert undoing.send("GET", path).data["text"] == "x"
    assert undoing.undo(path).status == 204
    assert undoing.send("GET", path).status == 404


def stored(undoing: Undoing) -> list[Any]:
    """The safes as they are."""
    rows: list[Any] = []

    async def read() -> None:
        async with undoing.app.transaction() as session:
            rows.extend(await session.execute(select(Safe.title, Safe.pin, Safe.note).order_by(Safe.id)))

    undoing.client.loop.run_until_complete(read())
    return [tuple(row) for row in rows]


def both(undoing: Undoing, index: int = 0) -> Answer:
    """The answer to an undo in both of two safes, which has to be the same."""
    first, second = (undoing.undo(f"/safes/{number}", index) for number in (1, 2))
    assert first.status == second.status
    if first.status == 200:
        own = {"id": 0, "created_at": 0, "updated_at": 0}
        assert first.data | own == second.data | own
    if first.status >= 400:
        assert first.json["errors"] == second.json["errors"]
    return first


def safes(undoing: Undoing, *rows: dict[str, Any]) -> None:
    """Two safes of somebody else's that look the same."""
    for row in rows:
        assert undoing.send("POST", "/safes", {"title": "A", "owner_id": 9} | row, by=who(7, "editor")).status == 201


def test_what_is_only_set_is_not_guessed(undoing: Undoing) -> None:
    """To set the very value that a field had is undone as any other, which goes back."""
    safes(undoing, {"pin": "1111"}, {"pin": "2222"})
    for number in (1, 2):
        assert undoing.send("PATCH", f"/safes/{number}", {"pin": "1111"}).status == 200
    assert stored(undoing) == [("A", "1111", None), ("A", "1111", None)]
    assert both(undoing).status == 200
    assert stored(undoing) == [("A", "1111", None), ("A", "2222", None)]


def test_what_is_not_shown_does_not_decide(undoing: Undoing) -> None:
    """Whether a change, or one since, was also one of fields out of sight; newer values of those stay."""
    safes(undoing, {"pin": "1"}, {"pin": "1"})
    rows = {1: {"title": "B"}, 2: {"title": "B", "pin": "2", "note": "n"}}
    for number, values in rows.items():
        undoing.run(update(Safe).where(Safe.id == number).values(version=2, **values))
    assert both(undoing).data["title"] == "A"
    assert stored(undoing) == [("A", "1", None), ("A", "1", "n")]
    undoing.run(update(Safe).where(Safe.id == 1).values(version=4))
    undoing.run(update(Safe).where(Safe.id == 2).values(version=4, pin="3", note="m"))
    assert both(undoing, 1).data["title"] == "B"
    assert stored(undoing) == [("B", "1", None), ("B", "3", "m")]
    assert both(undoing, 4).status == 409
    assert {change["before"] and change["before"]["note"] for change in undoing.history("/safes/2")} == {None}


@pytest.mark.parametrize("way", ["holds_id", "maker_id"])
def test_a_reference_out_of_sight_is_not_told(undoing: Undoing, way: str) -> None:
    """One that leads nowhere keeps a row from coming back as a rule does: in its words, after as many statements."""
    page(undoing)
    safes(undoing, {}, {}, {})
    for number, values in {2: {way: 1}, 3: {"title": "never"}}.items():
        undoing.run(update(Safe).where(Safe.id == number).values(version=2, **values))
    for number in (1, 2, 3):
        assert undoing.send("DELETE", f"/safes/{number}").status == 204
    assert undoing.send("DELETE", "/pages/a").status == 204
    fine, astray, refused = (undoing.undo(f"/safes/{number}") for number in (1, 2, 3))
    assert [fine.status, astray.status, refused.status] == [201, 403, 403]
    assert astray.json["detail"] == refused.json["detail"] == "You may not create this row of safes."
    assert astray.json["errors"] == refused.json["errors"] == []
    counted = 'statements;desc="2"'
    assert counted in astray.headers["server-timing"]
    assert counted in refused.headers["server-timing"]
    assert stored(undoing) == [("A", None, None)]


@pytest.mark.parametrize("way", ["holds_id", "maker_id"])
def test_a_former_reference_out_of_sight_is_not_told(undoing: Undoing, way: str) -> None:
    """As above, where a change is undone that took it away; what nobody sets stays away."""
    page(undoing)
    safes(undoing, {}, {})
    undoing.run(update(Safe).where(Safe.id == 1).values(version=2, **{way: 1}))
    for number, title in {1: "B", 2: "B"}.items():
        undoing.run(update(Safe).where(Safe.id == number).values(version=3, title=title, **{way: None}))
    assert undoing.send("DELETE", "/pages/a").status == 204
    undone = [undoing.undo(f"/safes/{number}") for number in (1, 2)]
    assert [answer.status for answer in undone] == [403 if way == "holds_id" else 200, 200]
    if way == "holds_id":
        assert undone[0].json["detail"] == "You may not update this row of safes."
        assert "page" not in undone[0].body.decode()


def test_a_deleted_row_comes_back_whole(undoing: Undoing) -> None:
    """Also what is not shown of it, whoever may set that; it decides nothing."""
    safes(undoing, {}, {"pin": "1", "note": "n"})
    assert both(undoing).status == 204
    assert stored(undoing) == []
    assert both(undoing).status == 201
    assert stored(undoing) == [("A", None, None), ("A", "1", "n")]


def test_values_of_every_kind_come_back(undoing: Undoing) -> None:
    """After an update to null, and after a delete, as they were."""
    full = {
        "word": 'ä "quoted"',
        "whole": 2**62,
        "real": 0.1,
        "price": "12.5000",
        "truth": True,
        "day": "2026-11-21",
        "raw": "AP8=",
        "words": ["a", "ü"],
        "data": {"a": [1, None, 2.5, True]},
    }
    made = undoing.send("POST", "/kinds", full).data
    path = f"/kinds/{made['id']}"
    undoing.send("PATCH", path, dict.fromkeys(full))
    undone = undoing.undo(path)
    assert undone.status == 200, undone.body
    assert {name: undone.data[name] for name in full} == full
    undoing.send("DELETE", path)
    undone = undoing.undo(path)
    assert undone.status == 201, undone.body
    assert undone.data | {"updated_at": 0} == made | {"version": 4, "updated_at": 0}


def test_an_undo_is_sent_again_with_its_key(undoing: Undoing) -> None:
    """An Idempotency-Key has its effect once."""
    page(undoing)
    undoing.send("PATCH", "/pages/a", {"title": "B"})
    change = {"change": undoing.history("/pages/a")[0]["id"]}
    first, second = (
        undoing.send("POST", "/pages/a/undo", change, more=[(b"idempotency-key", b"k-1")]) for _ in range(2)
    )
    assert (first.status, second.status) == (200, 200)
    assert first.body == second.body
    assert len(undoing.history("/pages/a")) == 3
