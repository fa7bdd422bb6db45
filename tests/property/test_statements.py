"""Statements: they depend on a request's structure and never on its values; every cache of them is bounded."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import apsw
import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from backstay import Backstay, ModelBase, Problem, has_role, me, public
from backstay import engine as engine_module
from backstay.auth import tokens
from backstay.db import sqlite_engine
from backstay.db.postgres_wire import Wire
from backstay.engine import STATEMENTS_MAX
from backstay.rest import lists, params
from backstay.schema.policy import Standing
from support.asgi import SECRET, Answer, Client, bearer, quiet
from support.databases import DATABASES, Filled
from support.render import quoted

steady = settings(max_examples=60, deadline=None)
Pairs = list[tuple[str, str]]


class Base(ModelBase, DeclarativeBase):
    """A registry of its own."""

    metadata = sa.MetaData()


class Shelf(Base):
    """What the to-one way leads to."""

    __tablename__ = "shelves"
    label: Mapped[str]
    books: Mapped[list["Book"]] = relationship(back_populates="shelf")


class Book(Base):
    """Columns of several kinds; some have the names of the grammar's own words."""

    __tablename__ = "books"
    title: Mapped[str]
    pages: Mapped[int]
    weight: Mapped[float | None]
    extra: Mapped[dict[str, Any] | None]
    sort: Mapped[int | None]
    limit: Mapped[int | None]
    page: Mapped[int | None]
    count: Mapped[int | None]
    fields: Mapped[int | None]
    group: Mapped[int | None]
    select: Mapped[int | None]
    cursor: Mapped[int | None]
    include: Mapped[int | None]
    owner: Mapped[str | None]
    shelf_id: Mapped[int | None] = mapped_column(sa.ForeignKey("shelves.id"))
    shelf: Mapped[Shelf | None] = relationship(back_populates="books")


WORDS = ("sort", "limit", "page", "count", "fields", "group", "select", "cursor", "include")


def app_of(url: str) -> Backstay:
    """Rules that compare with the principal, so that its id is a value too."""
    app = Backstay("books", config=quiet(url))
    app.resource(Shelf, read=public, write=has_role("librarian"))
    app.resource(Book, read=(Book.owner == me.id) | Book.owner.is_(None), write=public)
    return app


def fill(engine: sa.Engine) -> None:
    """A few rows."""
    Base.metadata.create_all(engine)
    with engine.begin() as connection:
        connection.execute(sa.insert(Shelf), [{"id": i, "label": f"shelf {i}"} for i in range(1, 4)])
        numbers = dict.fromkeys(WORDS, 5)
        rows = [{"title": f"book {i}", "pages": i, "shelf_id": i % 3 + 1, **numbers} for i in range(30)]
        connection.execute(sa.insert(Book), rows)


BOOKS = Filled("books", fill)


@dataclass(slots=True)
class Traced:
    """The client, and every statement text that the database ran with its bindings."""

    client: Client
    ran: list[tuple[str, Any]] = field(default_factory=list)


@contextmanager
def traced_sqlite(url: str) -> Iterator[Traced]:
    """All connections to the file report what they run."""
    found = Traced(Client(app_of(url)))

    def report(cursor: Any, sql: str, bindings: Any) -> bool:
        found.ran.append((sql, bindings))
        return True

    def watch(connection: apsw.Connection) -> None:
        connection.exec_trace = report

    apsw.connection_hooks.append(watch)
    try:
        found.client.app.start()
    finally:
        apsw.connection_hooks.remove(watch)
    with found.client:
        yield found


@contextmanager
def traced_postgresql(url: str) -> Iterator[Traced]:
    """Every job that goes to the server is reported; there is no other way to it."""
    found = Traced(Client(app_of(url)))
    send = Wire._send

    def reporting(self: Any, job: Any) -> None:
        found.ran.append((job.statement.text, [v and v.decode() for v in job.parameters]))
        send(self, job)

    with pytest.MonkeyPatch.context() as patch, found.client:
        patch.setattr(Wire, "_send", reporting)
        yield found


TRACED = {"sqlite": traced_sqlite, "postgresql": traced_postgresql}


@pytest.fixture(scope="module", params=DATABASES)
def traced(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Traced]:
    """An app over each database."""
    with TRACED[request.param](BOOKS.copied(request.param, tmp_path_factory.mktemp("statements"))) as found:
        yield found


#: Values that no statement holds by chance.
MARK = "zq7x"
TEXTS = st.text("ab'\"%_-;", max_size=6).map(lambda text: f"{MARK}{text}")
NUMBERS = st.integers(7_731_000_000, 7_731_999_999)
NUMBER = st.builds(str, NUMBERS)
#: Filters of every operator: the value is drawn, the name is structure.
CONDITIONS: dict[str, st.SearchStrategy[str]] = {
    "pages": NUMBER,
    "pages[gt]": NUMBER,
    "pages[in]": st.lists(NUMBER, min_size=1, max_size=4).map(",".join),
    "title": TEXTS,
    "title[like]": TEXTS,
    "title[ilike]": TEXTS,
    "title[contains]": TEXTS,
    "weight[lte]": NUMBER,
    "extra[contains]": TEXTS.map(lambda value: '{"a":"' + value.replace('"', "") + '"}'),
    "shelf.label": TEXTS,
    "shelf.books.title[ne]": TEXTS,
    "or": st.tuples(NUMBER, TEXTS).map(lambda p: f"(pages={p[0]},and(title={quoted(p[1])},pages[is]=null))"),
    **{f"{word}[eq]": NUMBER for word in WORDS},
    **{f"{word}[gte]": NUMBER for word in WORDS},
}
LIST_WORDS = {
    "sort": ["pages", "-title", "-weight,pages", "shelf.label"],
    "page": ["1", "2", "7731"],
    "limit": ["3", "7"],
    "include": ["shelf", "shelf.books"],
    "fields": ["id", "title,count"],
    "count": ["false", "true"],
    # In a list these words are fields like any other.
    "group": ["5", "6"],
    "select": ["5", "6"],
}
AGGREGATE_WORDS = {
    "select": ["count", "max(pages),count", "t:sum(weight)"],
    "group": ["title", "shelf.label", "pages"],
    "page": ["1", "2"],
    "limit": ["3", "7"],
    # In an aggregate these words are fields like any other.
    **{name: ["5", "6"] for name in ("include", "fields", "count", "cursor")},
}


@st.composite
def requests(draw: st.DrawFn) -> tuple[str, list[str], Pairs]:
    """A path, the names of its filters, and the words that are structure."""
    filters = draw(st.lists(st.sampled_from(sorted(CONDITIONS)), max_size=4))
    path = draw(st.sampled_from(["/books", "/shelves/2/books", "/books/aggregate"]))
    words = AGGREGATE_WORDS if path.endswith("aggregate") else LIST_WORDS
    names = draw(st.lists(st.sampled_from(sorted(words)), max_size=3, unique=True))
    if words is AGGREGATE_WORDS and "select" not in names:
        names.append("select")
    return path, filters, [(name, draw(st.sampled_from(words[name]))) for name in names]


@steady
@given(data=st.data(), request=requests())
def test_no_value_of_a_caller_is_in_statement_text(traced: Traced, data: st.DataObject, request: Any) -> None:
    """Filters, keys, cursors, bodies and the principal's id reach the database as parameters, never as text."""
    client, who = traced.client, {"credential": bearer(f"{MARK}-me")}
    traced.ran.clear()
    path, filters, words = request
    pairs = [(name, data.draw(CONDITIONS[name])) for name in filters] + words
    assert client.get(path, pairs, **who).status == 200, pairs
    number, text = data.draw(NUMBERS), data.draw(TEXTS)
    made = client.post("/books", {"title": text, "pages": number, "owner": f"{MARK}-me", "extra": {"a": text}}, **who)
    assert made.status == 201, made.body
    key = made.data["id"]
    assert client.request("PATCH", f"/books/{key}", body={"title": MARK}, **who).status == 200
    query = "sort=-title,-pages&limit=1&cursor="
    first = client.get("/books", query, **who)
    assert client.get("/books", query + first.meta["next_cursor"], **who).status == 200
    assert client.request("GET", f"/books/{number}", **who).status == 404
    assert client.request("DELETE", f"/books/{key}", **who).status == 204
    assert any(MARK in repr(bindings) for _, bindings in traced.ran)
    for statement, _ in traced.ran:
        assert MARK not in statement
        assert "7731" not in statement


@steady
@given(data=st.data(), request=requests())
def test_equal_structure_is_the_identical_statement(traced: Traced, data: st.DataObject, request: Any) -> None:
    """Two requests that differ in values only share one Statement object; `in` lists may differ in length."""
    path, filters, words = request
    parse = params.parse_aggregate if path.endswith("aggregate") else params.parse_list
    engine = traced.client.app.start().engine
    numbers = [("page", data.draw(NUMBER.map(lambda n: str(2 + int(n[-3:])))))]
    kept = [pair for pair in words if pair[0] != "page"]
    kept = [pair for pair in kept if parse is params.parse_list or pair[0] not in ("include", "fields", "cursor")]
    found = []
    for page in (numbers, [("page", "2")]):
        pairs = [(name, data.draw(CONDITIONS[name])) for name in filters] + kept + page
        found.append(engine.prepare(parse("books", pairs, traced.client.app.config).query, Standing()))
    assert found[0] is found[1]


def outcome(answer: Answer) -> tuple[int, Any]:
    """What of an answer must not depend on a cache: everything but the ids and times of problems."""
    found = answer.json
    return answer.status, found if answer.status == 200 else (found["code"], found["errors"])


@settings(max_examples=30, deadline=None)
@given(data=st.data(), request=requests())
def test_a_cache_never_changes_an_answer(traced: Traced, data: st.DataObject, request: Any) -> None:
    """A warm app answers every request as an app does that never saw one, also for fields named as words are."""
    path, filters, words = request
    asked: list[Pairs] = []
    for _ in range(3):
        pairs = [(name, data.draw(CONDITIONS[name] | st.sampled_from(["5", "nonsense"]))) for name in filters]
        asked.append(pairs + [(name, data.draw(st.sampled_from([value, "5", "2"]))) for name, value in words])
    with Client(app_of(traced.client.app.config.database_url)) as cold:
        for pairs in asked:
            first, again = (outcome(traced.client.get(path, pairs)) for _ in range(2))
            assert first == again == outcome(cold.get(path, pairs))
            assert first[0] in (200, 400)


def test_caches_stay_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """More structures, queries, tokens and slow shapes than a cache holds leave it at its bound, and it works."""
    assert STATEMENTS_MAX <= 2_048
    assert lists.RECIPES_MAX <= 2_048
    assert lists.MEMO_MAX <= 2_048
    assert tokens.TOKENS_MAX <= 20_000
    bound = 20
    for module, name in (
        (engine_module, "STATEMENTS_MAX"),
        (lists, "RECIPES_MAX"),
        (lists, "MEMO_MAX"),
        (tokens, "TOKENS_MAX"),
        (sqlite_engine, "SLOW_SHAPES_MAX"),
    ):
        monkeypatch.setattr(module, name, bound)
    with Client(app_of(BOOKS.own("sqlite", tmp_path))) as client:
        runtime = client.app.start()
        handler: Any = runtime.routes._endpoints[b"books"].collection["GET"][0]
        series = len(runtime.observations.requests), len(runtime.observations.statements)
        for i in range(100):
            fields = ",".join(name for bit, name in enumerate([*WORDS, "title", "pages"]) if i >> bit & 1)
            answer = client.get("/books", f"fields={fields}&pages={i}", credential=bearer(f"user {i}"))
            assert answer.status == 200
            runtime.database._remember(object())  # type: ignore[attr-defined,arg-type]
            client.request(f"METHOD{i}", f"/nothing{i}")
        assert runtime.engine.cached_statements()[2] <= bound
        assert 0 < len(handler.__self__._recipes) <= bound
        assert 0 < len(handler.__self__._memo) <= bound
        assert len(runtime.database._slow) <= bound  # type: ignore[attr-defined]
        after = len(runtime.observations.requests), len(runtime.observations.statements)
        assert after[0] <= series[0] + 1
        assert after[1] <= series[1] + 1


def test_the_token_cache_stays_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Thousands of valid tokens, and tokens that fail, do not grow the cache of verified ones."""
    monkeypatch.setattr(tokens, "TOKENS_MAX", 50)
    store = tokens.Tokens(SECRET)
    for i in range(300):
        assert store.principal(f"Bearer {store.issue(i)}".encode()).id == str(i)
        with pytest.raises(Problem):
            store.principal(b"Bearer x%d" % i)
        assert len(store._verified) <= 50
