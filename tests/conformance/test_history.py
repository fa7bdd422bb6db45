"""The history of a row: what it was before each change and who made it, for who may see both."""

import json
import re
from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import ForeignKey, delete, insert, update
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from backstay import (
    Added,
    Backstay,
    Context,
    FieldRule,
    ModelBase,
    Renamed,
    SoftDelete,
    TenantScoped,
    Version,
    has_role,
    me,
    public,
    signed_in,
)
from backstay.auth.tokens import Tokens
from backstay.schema.declare import SECRET as SECRET_COLUMN
from support.asgi import SECRET, Answer, Client, quiet
from support.contract import Contract
from support.databases import DATABASES, empty_database


class Base(ModelBase, DeclarativeBase):
    """The models of this module."""


class Page(Base):
    """Its drafts are its author's; its margin is an editor's."""

    __tablename__ = "pages"

    slug: Mapped[str] = mapped_column(unique=True)
    title: Mapped[str]
    author_id: Mapped[int]
    draft: Mapped[bool] = mapped_column(default=False)
    margin: Mapped[str | None]
    pin: Mapped[str | None] = mapped_column(info={SECRET_COLUMN: True})
    kept: Mapped[str | None]


class Tenant(Base):
    """Has cases."""

    __tablename__ = "tenants"

    name: Mapped[str]


class Case(TenantScoped, Base):
    """A tenant's."""

    __tablename__ = "cases"

    name: Mapped[str]


class Note(SoftDelete, Base):
    """Stays when it is deleted."""

    __tablename__ = "notes"

    text: Mapped[str]


class Kinds(Base):
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


class Plain(Base):
    """Nobody sees its history."""

    __tablename__ = "plains"

    name: Mapped[str]


class Member(Base):
    """Has a key of two columns, and no other."""

    __tablename__ = "members"

    id: Mapped[str] = mapped_column(primary_key=True)
    page_id: Mapped[int] = mapped_column(ForeignKey("pages.id"), primary_key=True)
    role: Mapped[str]


class Past:
    """An app whose rows have a history."""

    def __init__(self, url: str) -> None:
        self.app = Backstay("past", config=quiet(url))
        margin = FieldRule(read=has_role("editor"))
        mine = ~Page.draft | (Page.author_id == me.id)
        self.app.resource(
            Page, read=mine, write=signed_in, history=signed_in, fields={Page.margin: margin}, hidden=[Page.kept]
        )
        self.app.resource(Page, name="sites", key=Page.slug, read=mine, history=Page.author_id == me.id)
        self.app.resource(Case, read=signed_in, write=signed_in, history=signed_in)
        self.app.resource(Note, read=public, write=signed_in, restore=has_role("editor"), history=public)
        self.app.resource(Kinds, read=public, write=public, history=public)
        self.app.resource(Plain, read=public, write=public)
        self.app.resource(Member, read=public, write=public, history=public)
        self.client = Client(self.app)

    def send(self, method: str, path: str, body: Any = None, **options: Any) -> Answer:
        """A request of user 7, unless it says."""
        credential = options.pop("by", who(7))
        return self.client.request(
            method, path, options.pop("query", ""), body=body, credential=credential, **options
        )

    def history(self, path: str, query: str = "", by: str | None = None) -> list[dict[str, Any]]:
        """The changes of a row, the newest first."""
        answer = self.send("GET", f"{path}/history", query=query, by=who(7) if by is None else by)
        assert answer.status == 200, answer.body
        return answer.data

    def run(self, *statements: Any) -> None:
        """Statements of the program, in one transaction."""

        async def write() -> None:
            async with self.app.transaction(Context("program")) as session:
                for statement in statements:
                    await session.execute(statement)

        self.client.loop.run_until_complete(write())


def who(subject: int, *roles: str, tenant: str | None = None) -> str:
    """A credential."""
    return "Bearer " + Tokens(SECRET).issue(subject, roles=list(roles), tenant=tenant, ttl_s=3_600)


@pytest.fixture(params=DATABASES)
def past(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Past]:
    """An app without rows."""
    made = Past(empty_database(request.param, tmp_path, Base.metadata))
    with made.client:
        yield made


def page(past: Past, **fields: Any) -> int:
    """A new page's id."""
    given = {"slug": "a", "title": "A", "author_id": 7} | fields
    answer = past.send("POST", "/pages", given)
    assert answer.status == 201, answer.body
    return answer.data["id"]


def test_the_contract_tells_what_is_answered(past: Past) -> None:
    """Every answer of this module's paths is one of the OpenAPI document; a resource without a history has none."""
    number = page(past)
    past.send("PATCH", f"/pages/{number}", {"title": "B"})
    contract = Contract(past.app.openapi())
    template = "/api/v1/pages/{key}/history"
    for query, by in (("", who(7)), ("limit=1&cursor=", who(7)), ("limit=x", who(7)), ("", "")):
        answer = past.send("GET", f"/pages/{number}/history", query=query, by=by)
        assert contract.faults("GET", template, answer) == []
    assert contract.faults("GET", template, past.send("GET", "/pages/99/history")) == []
    parameters = [contract.resolved(p)["name"] for p in contract.operation("GET", template)["parameters"]]
    assert parameters == ["limit", "cursor"]
    named = [contract.resolved(p)["name"] for p in contract.operation("GET", "/api/v1/pages/{key}")["parameters"]]
    assert "as_of" in named
    assert not [path for path in contract.document["paths"] if path.startswith("/api/v1/plains/{key}/")]
    assert "/api/v1/sites/{key}/undo" not in contract.document["paths"]


def test_who_may_not_see_a_history_is_refused(past: Past) -> None:
    """Without a rule there is no such path; who is not signed in is asked to; a row that is not seen is not there."""
    past.send("POST", "/plains", {"name": "a"})
    assert past.send("GET", "/plains/1").status == 200
    assert past.send("GET", "/plains/1/history").status == 404
    number = page(past, draft=True)
    assert past.send("GET", f"/pages/{number}/history", by="").status == 401
    assert past.send("GET", f"/pages/{number}/history", by=who(8)).status == 404
    assert past.send("GET", f"/pages/{number}/history").status == 200
    assert past.send("GET", "/pages/99/history").status == 404
    assert past.send("GET", "/pages/x/history").status == 404
    assert past.send("POST", f"/pages/{number}/history").status == 405


def test_bad_parameters_are_refused(past: Past) -> None:
    """A history has a limit and a cursor, and no filters."""
    number = page(past)
    for query in ("limit=0", "limit=x", "cursor=x", "title=a", "sort=id", "limit=1&limit=2", "page=2", "cursor=W10"):
        answer = past.send("GET", f"/pages/{number}/history", query=query)
        assert answer.status == 400, query
    listed = past.send("GET", "/pages", query="cursor=&limit=1")
    assert listed.status == 200


def test_a_history_tells_each_change(past: Past) -> None:
    """What the row was and is, when, by whom and by which request; the newest first."""
    number = page(past)
    changed = past.send("PATCH", f"/pages/{number}", {"title": "B"}, by=who(8))
    newest, oldest = past.history(f"/pages/{number}")
    assert list(newest) == ["id", "position", "at", "operation", "before", "after", "actor", "request_id"]
    assert (newest["operation"], oldest["operation"]) == ("update", "create")
    assert (newest["actor"], oldest["actor"]) == ("user:8", "user:7")
    assert newest["request_id"] == changed.headers["x-request-id"]
    assert oldest["before"] is None
    assert newest["before"] == oldest["after"]
    assert newest["after"] == changed.data == past.send("GET", f"/pages/{number}").data
    assert re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}\+00:00\Z", newest["at"])
    past.client.loop.run_until_complete(past.app.changes.seal())
    assert [change["position"] for change in past.history(f"/pages/{number}")] == [2, 1]


def test_images_are_as_rows_are_read(past: Past) -> None:
    """A column of every kind has the JSON that an item has, also when it is null."""
    full = {
        "word": 'ä "quoted"',
        "whole": -3,
        "real": 0.1,
        "price": "12.5000",
        "truth": True,
        "day": "2026-11-21",
        "raw": "AP8=",
        "words": ["a", "ü"],
        "data": {"a": [1, None]},
    }
    made = past.send("POST", "/kinds", full)
    assert made.status == 201, made.body
    emptied = past.send("PATCH", "/kinds/1", dict.fromkeys(full))
    assert emptied.status == 200
    newest, oldest = past.history("/kinds/1")
    assert oldest["after"] == newest["before"] == made.data
    assert newest["after"] == emptied.data


def test_hidden_and_secret_columns_and_fields_of_others_are_not_told(past: Past) -> None:
    """Nor are they there for who may see them in a row and not in its fields."""
    number = page(past)
    past.send("PATCH", f"/pages/{number}", {"margin": "m"}, by=who(1, "editor"))
    past.run(update(Page).values(pin="1234", kept="k"))
    for change in past.history(f"/pages/{number}"):
        assert {"pin", "kept", "margin"}.isdisjoint(change["after"])
    told = json.dumps(past.history(f"/pages/{number}", by=who(1, "editor")))
    assert '"margin": "m"' in told
    assert "1234" not in told
    assert "kept" not in told


def test_an_image_that_could_not_have_been_read_is_null(past: Past) -> None:
    """A draft of somebody else stays theirs when the page is published; a change between drafts is not told."""
    number = page(past, draft=True)
    past.send("PATCH", f"/pages/{number}", {"title": "secret"})
    past.send("PATCH", f"/pages/{number}", {"draft": False, "title": "told"})
    assert len(past.history(f"/pages/{number}")) == 3
    (only,) = past.history(f"/pages/{number}", by=who(8))
    assert only["before"] is None
    assert only["after"]["title"] == "told"


def test_a_row_of_another_tenant_has_no_history(past: Past) -> None:
    """Neither now, nor of the time before it was theirs, nor after it is gone."""
    ours, theirs = who(7, tenant="1"), who(8, tenant="2")
    past.run(insert(Tenant).values([{"name": "a"}, {"name": "b"}]))
    assert past.send("POST", "/cases", {"name": "x"}, by=ours).status == 201
    assert past.send("GET", "/cases/1/history", by=theirs).status == 404
    assert past.send("GET", "/cases/1/history", by=who(7)).status == 403
    past.run(update(Case).values(tenant_id=2))
    assert past.send("GET", "/cases/1/history", by=ours).status == 404
    (only,) = past.history("/cases/1", by=theirs)
    assert (only["operation"], only["before"], only["after"]["name"]) == ("update", None, "x")
    past.run(delete(Case))
    assert past.send("GET", "/cases/1/history", by=ours).status == 404
    assert [change["operation"] for change in past.history("/cases/1", by=theirs)] == ["delete", "update"]


def test_a_deleted_row_has_its_history(past: Past) -> None:
    """By its primary key, for who could read what it last was, and by the rule of the history."""
    number = page(past, draft=True)
    assert past.send("DELETE", f"/pages/{number}").status == 204
    assert past.send("GET", f"/pages/{number}").status == 404
    newest, oldest = past.history(f"/pages/{number}")
    assert (newest["operation"], newest["after"], newest["before"]) == ("delete", None, oldest["after"])
    assert past.send("GET", f"/pages/{number}/history", by=who(8)).status == 404
    assert [c["operation"] for c in past.history(f"/sites/{number}")] == ["delete", "create"]
    assert past.send("GET", "/sites/a/history").status == 404


def test_a_row_is_found_by_the_key_of_its_resource(past: Past) -> None:
    """By a natural key, whose value of now counts; and by a key of two columns."""
    number = page(past)
    past.send("PATCH", f"/pages/{number}", {"slug": "b"})
    assert past.send("GET", "/sites/a/history").status == 404
    assert len(past.history("/sites/b")) == 2
    assert past.send("GET", "/sites/b/history", by=who(8)).status == 404
    assert past.send("POST", "/members", {"id": "x", "page_id": number, "role": "r"}).status == 201
    past.send("DELETE", f"/members/x,{number}")
    assert [change["operation"] for change in past.history(f"/members/x,{number}")] == ["delete", "create"]
    assert past.send("GET", "/members/x/history").status == 404


def test_images_of_deleted_rows_are_for_who_restores(past: Past) -> None:
    """To others the row is gone; what it was is told again when it is there."""
    editor = who(1, "editor")
    past.send("POST", "/notes", {"text": "a"})
    past.send("DELETE", "/notes/1")
    assert past.send("GET", "/notes/1/history").status == 404
    newest, _ = past.history("/notes/1", by=editor)
    assert newest["after"]["deleted_at"] is not None
    assert past.send("POST", "/notes/1/restore", by=editor).status == 200
    restored, marked, made = past.history("/notes/1")
    assert (restored["before"], marked["after"]) == (None, None)
    assert marked["before"] == made["after"]


def test_pages_of_a_history_follow_each_other(past: Past) -> None:
    """Forward and back, each change once; the last page says so."""
    number = page(past)
    for title in "bcdef":
        past.send("PATCH", f"/pages/{number}", {"title": title})
    whole = past.history(f"/pages/{number}")
    assert [change["after"]["title"] for change in whole] == ["f", "e", "d", "c", "b", "A"]
    path, found, cursor = f"/pages/{number}/history", [], ""
    while cursor is not None:
        answer = past.send("GET", path, query=f"limit=4&cursor={cursor}")
        assert set(answer.meta) == {"limit", "next_cursor", "prev_cursor"}
        found += answer.data
        before, cursor = answer.meta["prev_cursor"], answer.meta["next_cursor"]
    assert found == whole
    assert past.send("GET", path, query=f"limit=4&cursor={before}").data == whole[:4]
    assert 'rel="next"' in past.send("GET", path, query="limit=1").headers["link"]


def test_a_row_from_before_recording_has_an_empty_history(past: Past) -> None:
    """It is there, and nothing is known of it."""
    number = page(past)
    past.client.loop.run_until_complete(past.app.changes.seal())
    from backstay.db.recording import CHANGES

    past.run(delete(CHANGES))
    answer = past.send("GET", f"/pages/{number}/history")
    assert (answer.status, answer.data) == (200, [])


class Book(Base):
    """Its title was its name before."""

    __tablename__ = "books"

    title: Mapped[str]
    pages: Mapped[int | None]


@pytest.mark.parametrize("database", DATABASES)
def test_an_older_version_tells_it_under_its_own_names(database: str, tmp_path: Path) -> None:
    """Of the same changes, in histories, as they were, and to undo them."""
    app = Backstay("books", config=quiet(empty_database(database, tmp_path, Base.metadata)))
    app.versions("v2", Version("v1", [Renamed(Book.title, was="name"), Added(Book.pages)]))
    app.resource(Book, read=public, write=signed_in, history=public)
    with Client(app) as client:

        def send(method: str, path: str, body: Any = None, query: str = "") -> Answer:
            return client.request(method, path, query, body=body, credential=who(7), base="/api/v1")

        assert send("POST", "/books", {"name": "a"}).status == 201
        then = send("GET", "/books/1/history").data[0]["at"].replace("+00:00", "Z")
        assert send("PATCH", "/books/1", {"name": "b"}).status == 200
        newest, _ = send("GET", "/books/1/history").data
        assert (newest["before"]["name"], newest["after"]["name"]) == ("a", "b")
        assert {"title", "pages"}.isdisjoint(newest["before"])
        assert send("GET", "/books", query=f"name=a&fields=name&as_of={then}").data == [{"name": "a"}]
        assert send("POST", "/books/1/undo", {"change": newest["id"]}).data["name"] == "a"
        assert send("DELETE", "/books/1").status == 204
        newest = send("GET", "/books/1/history").data[0]
        assert send("POST", "/books/1/undo", {"change": newest["id"]}).data["name"] == "a"
        assert client.get("/books/1", base="/api/v2").data["title"] == "a"
