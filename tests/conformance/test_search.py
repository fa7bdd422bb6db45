"""Full text search on both databases: refusals first, then what is found, by a model in Python of what words mean."""

import sqlite3
import unicodedata
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote_plus

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from backstay import Backstay, Config, ModelBase, OperatorError, UuidKey, me, public
from backstay.testing import client
from support.api import Api, fields_of
from support.asgi import Client, sync_engine
from support.databases import Filled
from support.postgres import rows as postgres_rows
from support.world import SECRET

pytestmark = pytest.mark.anyio


class Base(ModelBase, DeclarativeBase):
    """A registry of these tests' own."""

    metadata = sa.MetaData()


class Shelf(Base):
    """Visible to its owner; not searched."""

    __tablename__ = "shelves"
    label: Mapped[str]
    owner_id: Mapped[int | None]
    books: Mapped[list["Book"]] = relationship(back_populates="shelf")


class Book(Base):
    """Searched by two columns; one sees the books that are nobody's, and one's own."""

    __search__ = ("title", "blurb")
    title: Mapped[str]
    text: Mapped[str | None] = mapped_column("blurb_text")
    blurb: Mapped[str | None]
    secret: Mapped[str | None]
    pages: Mapped[int]
    owner_id: Mapped[int | None]
    shelf_id: Mapped[int | None] = mapped_column(sa.ForeignKey("shelves.id"))
    shelf: Mapped[Shelf | None] = relationship(back_populates="books")


class Note(UuidKey, Base):
    """A key that is no number, a column of another name, and a name that SQL would not take bare."""

    __tablename__ = "order notes"
    __search__ = ("body", "group")
    body: Mapped[str] = mapped_column("the body")
    group: Mapped[str | None]


BOOKS: tuple[tuple[str, str | None, int | None], ...] = (
    ("Space Invaders", "A shooter of 1978, by Taito.", None),
    ("Big space", "Invaders of the Élysée: e-mail foo.bar@example.com!", None),
    ("Pong", None, None),
    ("space, invaders and more", "“quoted” words — don't panic", None),
    ("Hidden space", "of ada", 1),
    ("ÜBER straße", "日本語 の本, हिन्दी किताब, Москва", None),
    ("", "x_y a.b.c 3.14 -7 http://example.com/path?q=1&r=<b>bold</b>", None),
    ("O'Hara (1999)", "50% off; C++ & C# \\ | ! : *", None),
)


def app_of(url: str) -> Backstay:
    """Rules that hide some of the rows that have the words."""
    app = Backstay("shelves", config=Config(database_url=url, secret=SECRET, log_level="error", rate_limit="off"))
    app.resource(Shelf, read=public)
    mine = Book.owner_id.is_(None) | (Book.owner_id == me.id)
    app.resource(Book, read=mine, write=public, hidden=[Book.secret])
    app.resource(Note, name="notes", read=public, write=public)
    return app


def _fill(engine: sa.Engine) -> None:
    Base.metadata.create_all(engine)
    with engine.begin() as connection:
        connection.execute(sa.insert(Shelf), [{"id": 1, "label": "space"}, {"id": 2, "label": "other"}])
        for number, (title, blurb, owner) in enumerate(BOOKS, 1):
            row = {"id": number, "title": title, "blurb": blurb, "owner_id": owner, "pages": number * 10}
            more = {"secret": "hush", "text": "unsearched", "shelf_id": 1 + number % 2}
            connection.execute(sa.insert(Book).values(**row, **more))


STORE = Filled("search", _fill)


@pytest.fixture
async def books(database: str, tmp_path: Path, anyio_backend: str) -> AsyncIterator[Api]:
    """The app over rows of the test's own."""
    async with client(app_of(STORE.own(database, tmp_path))) as http:
        yield Api(http)


@pytest.mark.parametrize(
    ("query", "field", "hint"),
    [
        ("/shelves?q=space", "q", "label[ilike]=%word%"),
        ("/books?q=", "q", ""),
        ("/books?q=***", "q", ""),
        ("/books?q=-space", "q", ""),
        ('/books?q="%20-"', "q", ""),
        ("/books?q=" + "a+" * 33, "q", ""),
        ("/books?q=" + "a" * 256, "q", ""),
        ("/books?q=a&q=b", "q", ""),
        ("/books?q[like]=a", "q[like]", "Known fields"),
        ("/books?or=(q=space,pages=1)", "q", "Known fields"),
        ("/books?sort=-relevance", "sort", "Add q=words."),
        ("/shelves?sort=-relevance", "sort", "Sort by a field."),
        ("/shelves?include=books&sort[books]=-relevance", "sort[books]", "Sort by a field."),
        ("/books?q=space&sort=-relevance&cursor=", "cursor", "Use page and limit"),
        ("/books/1?q=space", "q", ""),
    ],
)
async def test_what_is_no_search_is_refused(books: Api, query: str, field: str, hint: str) -> None:
    """With the parameter's name, and with what to do instead."""
    path, _, rest = query.partition("?")
    problem = await books.refused(path, rest)
    assert fields_of(problem) == [field]
    assert hint in problem["hint"]


async def test_nul_and_too_much_are_refused(books: Api) -> None:
    """Before any search."""
    assert (await books.send("GET", "/books", "q=a%00b")).status_code == 400
    assert (await books.send("GET", "/books", "q=" + "a+" * 5_000)).status_code == 414


async def test_only_declared_columns_and_visible_rows_are_found(books: Api) -> None:
    """Neither a hidden column nor another principal's row is told by a search, nor by its total."""
    assert await books.ids("/books", "q=hush") == []
    assert await books.ids("/books", "q=unsearched") == []
    page = await books.read("/books", "q=hidden")
    assert (page["data"], page["meta"]["total"]) == ([], 0)
    assert await books.ids("/books", "q=hidden", who="ada") == [5]
    assert await books.ids("/books", "q=hidden", who="bob") == []


def test_a_hidden_column_cannot_be_searched() -> None:
    """The app does not start."""
    app = Backstay("shelves")
    app.resource(Book, read=public, hidden=[Book.blurb])
    with pytest.raises(OperatorError, match=r"books\.blurb is hidden, and searched"):
        app.catalog()


@pytest.mark.parametrize(
    ("search", "found"),
    [
        ("space", [1, 2, 4]),
        ("SPACE Invaders", [1, 2, 4]),
        ('"space invaders"', [1, 4]),
        ('"space invaders', [1, 4]),
        ('"space and"', []),
        ("space -shooter", [2, 4]),
        ('invaders -"space invaders"', [2]),
        ("inva*", [1, 2, 4]),
        ("inva", []),
        ('"space inva"*', [1, 4]),
        ("élysée", [2]),
        ("elysee", []),
        ("ÉLYSÉE", [2]),
        ("e-mail", [2]),
        ("mail", [2]),
        ("foo.bar@example.com", [2]),
        ("example", [2, 7]),
        ("quoted", [4]),
        ("don't", [4]),
        ("über", [6]),
        ("straße", [6]),
        ("日本語", [6]),
        ("हिन्दी", [6]),
        ("москва", [6]),
        ("3.14", [7]),
        ("3", [7]),
        ("7", [7]),
        ("bold", [7]),
        ("x_y", [7]),
        ("o'hara", [8]),
        ("1999", [8]),
        ("C++", [7, 8]),
        ("taito pong", []),
        ("NOT OR AND NEAR(", []),
        ("title:space", []),
        ("{title}:space", []),
        ("^space", [1, 2, 4]),
        ("space & | ! <-> :* \\ '", [1, 2, 4]),
        ("' or 1=1 --", []),
        ("%", None),
    ],
)
async def test_words_find_rows(books: Api, search: str, found: list[int] | None) -> None:
    """All words, anywhere in the columns; operators of the databases are only text."""
    if found is None:
        await books.refused("/books", f"q={quote_plus(search)}")
    else:
        assert await books.ids("/books", f"q={quote_plus(search)}&sort=id") == found


async def test_a_phrase_ends_with_its_column(books: Api) -> None:
    """Words of two columns are not side by side."""
    assert await books.ids("/books", 'q="space+invaders"&id=2') == []
    assert await books.ids("/books", 'q="big+space"&id=2') == [2]


async def test_a_search_joins_all_other_parts_of_a_list(books: Api) -> None:
    """Filters, totals, pages of both kinds, includes, aggregates and nested routes; one statement each."""
    assert await books.ids("/books", "q=space&pages[gt]=10&sort=-pages") == [4, 2]
    page = await books.read("/books", "q=space&limit=1&page=2&fields=id&include=shelf&fields[shelf]=label")
    assert page["data"] == [{"id": 2, "shelf": {"label": "space"}}]
    assert page["meta"]["total"] == 3
    first = await books.read("/books", "q=space&limit=2&cursor=&fields=id")
    second = await books.read("/books", f"q=space&limit=2&fields=id&cursor={first['meta']['next_cursor']}")
    assert [row["id"] for row in first["data"] + second["data"]] == [1, 2, 4]
    groups = await books.data("/books/aggregate", "q=space&select=count,sum(pages)&group=shelf_id")
    assert groups == [{"shelf_id": 1, "count": 2, "sum_pages": 60}, {"shelf_id": 2, "count": 1, "sum_pages": 10}]
    assert await books.ids("/shelves/1/books", "q=space&count=false") == [2, 4]


async def test_relevance_sorts_what_is_found(books: Api) -> None:
    """The best first; equal ones by their key, and no page has a row of another."""
    found = await books.ids("/books", "q=space&sort=-relevance")
    assert sorted(found) == [1, 2, 4]
    pages = [await books.ids("/books", f"q=space&sort=-relevance,id&limit=1&page={n}") for n in (1, 2, 3)]
    assert [key for page in pages for key in page] == await books.ids("/books", "q=space&sort=-relevance,id")
    body = {"title": "space space space", "blurb": "space", "pages": 1}
    made = await books.written("POST", "/books", body, status=201)
    assert (await books.ids("/books", "q=space&sort=-relevance"))[0] == made["id"]
    assert (await books.ids("/books", "q=space&sort=relevance"))[-1] == made["id"]


async def test_writes_are_found_at_once(books: Api) -> None:
    """And what is gone is not; also where the key is a UUID and names need quotes."""
    note = await books.written("POST", "/notes", {"body": "one two", "group": "three"}, status=201)
    other = await books.written("POST", "/notes", {"body": "other", "group": None}, status=201)
    assert await books.ids("/notes", "q=three+one") == [note["id"]]
    await books.written("PATCH", f"/notes/{note['id']}", {"body": "four"})
    assert await books.ids("/notes", "q=one") == []
    assert await books.ids("/notes", "q=four+three&sort=-relevance") == [note["id"]]
    await books.send("DELETE", f"/notes/{note['id']}")
    assert await books.ids("/notes", "q=four") == []
    assert await books.ids("/notes", "q=other") == [other["id"]]


async def test_a_long_text_can_be_written(books: Api) -> None:
    """PostgreSQL's index takes a megabyte of words a row; the beginning is searched on both."""
    text = "needle " + " ".join(chr(0x20000 + number) for number in range(42_000)) + " " + "x" * 400_000
    made = await books.written("POST", "/books", {"title": "long", "blurb": text, "pages": 1}, status=201)
    assert await books.ids("/books", "q=needle+long") == [made["id"]]


async def test_the_contract_has_the_parameter_where_it_works(books: Api) -> None:
    """Lists and aggregates of searched resources, and no others."""
    paths = (await books.http.get("/openapi.json")).json()["paths"]

    def searched(path: str) -> bool:
        return any(p.get("$ref", "").endswith(".q") for p in paths[f"/api/v1{path}"]["get"]["parameters"])

    assert searched("/books")
    assert searched("/books/aggregate")
    assert searched("/shelves/{key}/books")
    assert not searched("/shelves")
    assert not searched("/books/{key}")


def test_other_programs_keep_the_index_current(tmp_path: Path) -> None:
    """Triggers do, with whatever library writes; Python's own is an older one."""
    url = STORE.own("sqlite", tmp_path)
    other = sqlite3.connect(tmp_path / "search.db")
    other.execute("UPDATE books SET title = 'rewritten' WHERE id = 3")
    other.commit()
    other.execute("INSERT INTO books_search(books_search, rank) VALUES ('integrity-check', 1)")
    other.close()
    with Client(app_of(url)) as api:
        assert [row["id"] for row in api.get("/books", "q=rewritten").data] == [3]


def literal(value: bytes | None) -> str:
    """A driver's value as SQL."""
    return "NULL" if value is None else "'" + value.decode().replace("'", "''") + "'"


def test_postgresql_uses_its_index_among_many_rows(tmp_path: Path) -> None:
    """The statement as it is sent finds some of 50,000 rows by the GIN index."""
    url = STORE.copied("postgresql", tmp_path)
    many = """INSERT INTO books (title, blurb, pages)
        SELECT 'word' || n % 5000, 'common ' || md5(n::text), n FROM generate_series(1, 50000) n"""
    postgres_rows(url, many)
    postgres_rows(url, "ANALYZE books")
    with Client(app_of(url)) as api:
        engine = api.app.start().engine
        sent: list[tuple[str, list[str]]] = []
        run = engine.run

        def recording(statement: Any, parameters: Any, context: Any) -> Any:
            sent.append((statement.text, [literal(value) for value in parameters]))
            return run(statement, parameters, context)

        engine.run = recording  # type: ignore[method-assign]
        answer = api.get("/books", "q=word77+common")
        assert answer.status == 200, answer.body
        assert answer.meta["total"] == 10
    text, values = sent[0]
    plan = "\n".join(
        str(line) for (line,) in postgres_rows(url, f"PREPARE p AS {text}", f"EXPLAIN EXECUTE p({', '.join(values)})")
    )
    assert "ix_books_search" in plan
    assert "Seq Scan on books" not in plan


#: Not `e`: 1e5abc is a number and a word to PostgreSQL's parser.
LETTERS = "abcdxyzABZéÉßñçøЖжωΩ日本0179"
BETWEEN = " .,;:!?-_+*/\\|'\"()[]{}<>@#$%&=~^`“”—«»¿…、。\t\n"
WORDS = st.text(LETTERS, min_size=1, max_size=3)
TEXTS = st.lists(WORDS | st.text(BETWEEN, min_size=1, max_size=3), max_size=12).map("".join)


def words_in(text: str) -> list[str]:
    """What a word is, written anew."""
    kept = (c if unicodedata.category(c)[0] in "LNM" else " " for c in text.lower())
    return "".join(kept).split()


@st.composite
def searches(draw: st.DrawFn) -> tuple[str, list[tuple[list[str], bool]], list[tuple[list[str], bool]]]:
    """A search as text, and what it wants and does not want: words side by side, the last perhaps a prefix."""
    parts: list[str] = []
    wanted: list[tuple[list[str], bool]] = []
    unwanted: list[tuple[list[str], bool]] = []
    for _ in range(draw(st.integers(1, 4))):
        words = draw(st.lists(WORDS, min_size=1, max_size=2))
        prefix, minus = draw(st.booleans()), draw(st.booleans()) and bool(wanted)
        text = f'"{" ".join(words)}"' if len(words) > 1 or draw(st.booleans()) else words[0]
        parts.append(("-" if minus else "") + text + ("*" if prefix else ""))
        (unwanted if minus else wanted).append(([word.lower() for word in words], prefix))
    return " ".join(parts), wanted, unwanted


def has(columns: list[list[str]], words: list[str], prefix: bool) -> bool:
    """Whether one of the columns has these words side by side."""

    def at(column: list[str], start: int) -> bool:
        found = column[start : start + len(words)]
        if len(found) < len(words) or found[:-1] != words[:-1]:
            return False
        return found[-1].startswith(words[-1]) if prefix else found[-1] == words[-1]

    return any(at(column, start) for column in columns for start in range(len(column)))


@pytest.fixture(scope="module")
def emptied(database: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Client, sa.Engine]]:
    """The app, and an engine to fill its tables anew for each example."""
    url = STORE.copied(database, tmp_path_factory.mktemp("search"))
    engine = sync_engine(url)
    with Client(app_of(url)) as api:
        yield api, engine
    engine.dispose()


relaxed = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))


@relaxed
@given(texts=st.lists(st.tuples(TEXTS, st.none() | TEXTS), min_size=1, max_size=5), search=searches())
def test_rows_found_are_those_that_have_the_words(
    emptied: tuple[Client, sa.Engine], texts: list[tuple[str, str | None]], search: Any
) -> None:
    """On either database exactly the rows that a plain reading of the same words finds."""
    api, engine = emptied
    text, wanted, unwanted = search
    with engine.begin() as connection:
        connection.execute(sa.delete(Book))
        for number, (title, blurb) in enumerate(texts, 1):
            row = {"id": number, "title": title, "blurb": blurb, "pages": 1}
            connection.execute(sa.insert(Book).values(**row))
    columns = [[words_in(title), words_in(blurb or "")] for title, blurb in texts]
    expected = [
        number
        for number, row in enumerate(columns, 1)
        if all(has(row, *phrase) for phrase in wanted) and not any(has(row, *phrase) for phrase in unwanted)
    ]
    answer = api.get("/books", [("q", text), ("sort", "id"), ("fields", "id")])
    assert answer.status == 200, answer.body
    assert [row["id"] for row in answer.data] == expected
    assert answer.meta["total"] == len(expected)


@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(text=st.text(max_size=60) | st.text("ab\"*-() :&|!<>\\'^{}+~@,.", max_size=30), sort=st.booleans())
def test_no_text_breaks_a_search(emptied: tuple[Client, sa.Engine], text: str, sort: bool) -> None:
    """Any text is a search or is refused by name, never a failure of ours."""
    query = [("q", text.encode("utf-8", "replace").decode()), *([("sort", "-relevance")] if sort else [])]
    answer = emptied[0].get("/books", query)
    assert answer.status in (200, 400), answer.body
    if answer.status == 400 and "\x00" not in text:
        assert "q" in [error["field"] for error in answer.json["errors"]]
