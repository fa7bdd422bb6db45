"""Chinook on PostgreSQL answers exactly as Chinook on SQLite: the same rows, totals and refusals.

The files name things differently (`InvoiceLine`, `invoice_line`): names are compared without case and underscores.
"""

import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest

from backstay import Config
from backstay.cli.target import existing_database
from support.asgi import Answer, Client
from support.postgres import fresh_database, rows
from support.sakila import CHINOOK_SQLITE, chinook, needs_chinook

TABLES = (
    *("Album", "Artist", "Customer", "Employee", "Genre", "Invoice"),
    *("InvoiceLine", "MediaType", "Playlist", "PlaylistTrack", "Track"),
)
Pair = tuple[Client, Client]

pytestmark = needs_chinook


def served(url: str) -> Client:
    """An app on one of them."""
    app = existing_database(url)
    app.config = Config(database_url=url, log_level="error", rate_limit="off", request_timeout_s=30)
    return Client(app)


@pytest.fixture(scope="module")
def both() -> Iterator[Pair]:
    """SQLite's, then PostgreSQL's; the samples differ in one blank, which is put back."""
    url = fresh_database(chinook())
    rows(
        url,
        "UPDATE customer SET city = 'Edinburgh ' WHERE city = 'Edinburgh'",
        "UPDATE invoice SET billing_city = 'Edinburgh ' WHERE billing_city = 'Edinburgh'",
    )
    with served(f"sqlite:///{CHINOOK_SQLITE}") as sqlite, served(url) as postgres:
        yield sqlite, postgres


def snake(name: str) -> str:
    """A name of the SQLite file as the PostgreSQL script has it."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()


def folded(value: Any) -> Any:
    """Members by names without case and underscores."""
    if isinstance(value, dict):
        items: dict[str, Any] = value  # pyright: ignore[reportUnknownVariableType]
        return {name.replace("_", "").lower(): folded(held) for name, held in items.items()}
    if isinstance(value, list):
        listed: list[Any] = value  # pyright: ignore[reportUnknownVariableType]
        return [folded(item) for item in listed]
    return value


def ask(both: Pair, table: str, query: str = "", path: str = "") -> tuple[Answer, Answer]:
    """The same request to both, with each one's names; `{Name}` in the query or path is a name."""
    found: list[Answer] = []
    for client, naming in ((both[0], str), (both[1], snake)):
        named = [re.sub(r"\{(\w+)\}", lambda m, n=naming: n(m[1]), text) for text in (path, query)]
        found.append(client.get(f"/{naming(table)}{named[0]}", named[1]))
    return found[0], found[1]


def same(both: Pair, table: str, query: str = "", path: str = "") -> Any:
    """The answer that both give."""
    one, two = ask(both, table, query, path)
    assert (one.status, two.status) == (200, 200), (query, one.body[:300], two.body[:300])
    assert folded(one.data) == folded(two.data), query
    if "meta" in one.json and "next_cursor" not in one.meta:
        assert one.meta == two.meta, query
    return one.data


def columns(both: Pair, table: str) -> list[str]:
    """The names in the SQLite file."""
    return list(both[0].app.schema.tables[table].columns)


def test_the_same_is_served(both: Pair) -> None:
    """Tables, columns in their order, keys, kinds and relations."""
    sqlite, postgres = (client.app.schema.tables for client in both)
    assert {snake(name) for name in sqlite} == set(postgres)
    for name, table in sqlite.items():
        other = postgres[snake(name)]
        assert [snake(c) for c in table.columns] == list(other.columns)
        assert tuple(snake(c) for c in table.key) == other.key
        assert [c.kind for c in table.columns.values()] == [c.kind for c in other.columns.values()]
        ways = {snake(way): (snake(r.target), r.many) for way, r in table.relationships.items()}
        assert ways == {way: (r.target, r.many) for way, r in other.relationships.items()}


@pytest.mark.parametrize("table", TABLES)
def test_every_row_is_the_same(both: Pair, table: str) -> None:
    """All pages by number, with their totals, and items."""
    number, more = 1, True
    while more:
        one, two = ask(both, table, f"limit=100&page={number}")
        assert folded(one.data) == folded(two.data)
        assert one.meta == two.meta
        number, more = number + 1, one.meta["has_next"]
    for row in one.data[:3]:
        key = ",".join(str(row[name]) for name in both[0].app.schema.tables[table].key)
        same(both, table, path=f"/{key}")


@pytest.mark.parametrize("table", TABLES)
def test_every_order_is_the_same(both: Pair, table: str) -> None:
    """By every column, up and down, by number and by cursor."""
    for column in columns(both, table):
        for sign in ("", "-"):
            same(both, table, f"sort={sign}{{{column}}}&limit=100")
            one, two = ask(both, table, f"sort={sign}{{{column}}}&limit=7&cursor=")
            for _ in range(3):
                assert folded(one.data) == folded(two.data)
                if not one.meta["next_cursor"]:
                    break
                one = both[0].get(f"/{table}", f"sort={sign}{column}&limit=7&cursor={one.meta['next_cursor']}")
                following = f"sort={sign}{snake(column)}&limit=7&cursor={two.meta['next_cursor']}"
                two = both[1].get(f"/{snake(table)}", following)


@pytest.mark.parametrize("table", TABLES)
def test_every_filter_is_the_same(both: Pair, table: str) -> None:
    """Every operator with values of the data, and with values that are wrong."""
    sample = both[0].get(f"/{table}", "limit=100").data
    for column in columns(both, table):
        values = [row[column] for row in (sample[0], sample[-1])]
        values = [str(v) for v in values if v is not None] + ["x", "", "%a_"]
        for value in values:
            for op in ("eq", "ne", "lt", "lte", "gt", "gte", "in", "nin", "like", "ilike", "contains"):
                one, two = ask(both, table, f"{{{column}}}[{op}]={quote(value, safe='')}&limit=5")
                assert one.status == two.status, (column, op, value, one.body[:300], two.body[:300])
                if one.status == 200:
                    assert (folded(one.data), one.meta) == (folded(two.data), two.meta), (column, op, value)
                else:
                    assert [e["code"] for e in one.json["errors"]] == [e["code"] for e in two.json["errors"]]


@pytest.mark.parametrize("table", TABLES)
def test_every_aggregate_is_the_same(both: Pair, table: str) -> None:
    """Groups, counts, extremes, sums and averages of every column."""
    for name, column in both[0].app.schema.tables[table].columns.items():
        select = f"n:count,a:count({{{name}}}),d:count(distinct%20{{{name}}}),x:min({{{name}}}),y:max({{{name}}})"
        same(both, table, f"select={select}", "/aggregate")
        same(both, table, f"group={{{name}}}&select=n:count&sort=-n&limit=100", "/aggregate")
        if column.kind.value in ("integer", "numeric"):
            one, two = ask(both, table, f"select=s:sum({{{name}}}),m:avg({{{name}}})", "/aggregate")
            assert one.data[0]["s"] == two.data[0]["s"]
            assert one.data[0]["m"] == pytest.approx(two.data[0]["m"], rel=1e-12)


@pytest.mark.parametrize("table", TABLES)
def test_every_relation_is_the_same(both: Pair, table: str) -> None:
    """Includes of each, filters and sorting along each."""
    for name, way in both[0].app.schema.tables[table].relationships.items():
        limit = f"&limit[{{{name}}}]=5" if way.many else ""
        same(both, table, f"include={{{name}}}&limit=30{limit}")
        target = columns(both, way.target)[0]
        same(both, table, f"{{{name}}}.{{{target}}}[gt]=3&limit=10")
        if not way.many:
            same(both, table, f"sort=-{{{name}}}.{{{columns(both, way.target)[-1]}}}&limit=30")
