"""Sakila on PostgreSQL over HTTP: every table × every column × every operator, against SQL of our own.

Enums, arrays, domains, views, inheritance and columns that nothing can compare. The sample is read where it is, in
../shared/data beside the repository; nothing of it is copied.
"""

from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import psycopg
import pytest
from psycopg import sql

from backstay import Config
from backstay.cli.target import existing_database
from backstay.schema.model import Column, Kind, Relationship, Table
from support.asgi import Answer, Client
from support.sakila import needs_sakila, sakila

_WORDS = (
    """x -1 0 1.5 1e5 1e999 NaN 2026-02-30 2009-01-01 2009-01-01T00:00:00Z true null ' " \\ % _ * [ é 𝄞 a,b "a (1)"""
)
HOSTILE = [*_WORDS.split(), "", " ", "\x00", "9" * 30, "x" * 300, "{", "}", "{a}", "infinity", "PG"]
#: The views run over the whole database for every request.
HOSTILE_TO_VIEWS = ["x", "'", "9" * 30, "\x00"]
OPERATORS = ("eq", "ne", "lt", "lte", "gt", "gte", "in", "nin", "like", "ilike", "contains", "is")
SIGNS = {"eq": "=", "ne": "<>", "lt": "<", "lte": "<=", "gt": ">", "gte": ">="}
TABLES = (
    *("actor", "address", "category", "city", "country", "customer", "film", "film_actor", "film_category"),
    *("inventory", "language", "payment", "rental", "staff", "store"),
)
VIEWS = (
    *("actor_info", "customer_list", "film_list", "nicer_but_slower_film_list"),
    *("sales_by_film_category", "sales_by_store", "staff_list"),
)

pytestmark = needs_sakila


class Sakila:
    """The served database, and the same database through plain SQL."""

    def __init__(self) -> None:
        url = sakila()
        self.app = existing_database(url)
        self.app.config = Config(database_url=url, log_level="error", rate_limit="off", request_timeout_s=30)
        self.client = Client(self.app)
        self.connection = psycopg.connect(url, autocommit=True)

    def close(self) -> None:
        """Let go of the database."""
        self.connection.close()

    def table(self, name: str) -> Table:
        """What reflection made of a table."""
        return self.app.schema.tables[name]

    def count(self, table: str, condition: str, column: str, *values: Any) -> int:
        """How many rows fulfil a condition on a column, `{c}` in it."""
        where = sql.SQL(condition).format(c=sql.Identifier(column))  # pyright: ignore[reportArgumentType]
        query = sql.SQL("SELECT count(*) FROM {t} WHERE {w}").format(t=sql.Identifier(table), w=where)
        row = self.connection.execute(query, values).fetchone()
        assert row is not None
        return int(row[0])

    def samples(self, table: str, column: str) -> list[str]:
        """The least, a middle and the greatest value, as text."""
        query = sql.SQL(
            "SELECT {c}::text FROM (SELECT DISTINCT {c} FROM {t} WHERE {c} IS NOT NULL ORDER BY 1) x"
        ).format(t=sql.Identifier(table), c=sql.Identifier(column))
        values = [row[0] for row in self.connection.execute(query)]
        return [values[0], values[len(values) // 2], values[-1]] if values else []

    def ask(self, path: str, query: str = "") -> Answer:
        """An answer that is data with one statement, or a refusal that names what it refuses."""
        answer = self.client.get(path, query)
        assert answer.status in (200, 400, 404), (path, query, answer.body[:500])
        if answer.status == 200:
            assert 'statements;desc="1"' in answer.headers["server-timing"], (path, query)
        elif answer.status == 400 and "%00" not in query:
            assert answer.json["errors"], (path, query, answer.json)
        return answer

    def data(self, path: str, query: str = "") -> Any:
        """The data of a read that succeeds."""
        answer = self.ask(path, query)
        assert answer.status == 200, (path, query, answer.body[:500])
        return answer.data

    def key_of(self, table: str, row: Any) -> str:
        """A row's key in a path."""
        return ",".join(str(row[name]) for name in self.table(table).key)


@pytest.fixture(scope="module")
def served() -> Iterator[Sakila]:
    """One app for all; it only reads."""
    opened = Sakila()
    with opened.client:
        yield opened
    opened.close()


def columns_of(served: Sakila, table: str) -> list[Column]:
    """The served columns of a table."""
    return list(served.table(table).columns.values())


def written(column: Column, value: str) -> str:
    """A value's text in PostgreSQL as the API takes it."""
    if column.kind is Kind.DATETIME:
        return value.replace(" ", "T") + "Z"
    if column.kind is Kind.BOOLEAN:
        return {"true": "true", "t": "true"}.get(value, "false")
    return value


@pytest.mark.parametrize("table", [*TABLES, *VIEWS])
def test_no_value_is_a_failure(served: Sakila, table: str) -> None:
    """Every column by every operator with text that is wrong for its kind: rows, or a refusal of that parameter."""
    values = HOSTILE if table in TABLES else HOSTILE_TO_VIEWS[: 1 if table == "actor_info" else None]
    for column in columns_of(served, table):
        name = quote(column.name)
        for op in OPERATORS:
            for value in values:
                answer = served.ask(f"/{table}", f"{name}[{op}]={quote(value, safe='')}&limit=1&count=false")
                if answer.status == 400 and "\x00" not in value:
                    expected = column.name if op == "eq" else f"{column.name}[{op}]"
                    assert answer.json["errors"][0]["field"] == expected


@pytest.mark.parametrize("table", TABLES)
def test_every_operator_agrees_with_sql(served: Sakila, table: str) -> None:
    """For values of the database, the total of each comparison is SQL's own count."""
    for column in columns_of(served, table):
        if column.kind in (Kind.BYTES, Kind.ARRAY):
            continue
        base = "{c}::text" if column.kind is Kind.ENUM else "{c}"
        collated = base + (' COLLATE "C"' if column.kind in (Kind.ENUM, Kind.TEXT) else "")
        values = served.samples(table, column.name)
        for op, sign in SIGNS.items():
            if column.kind is Kind.BOOLEAN and op not in ("eq", "ne"):
                continue
            for value in values:
                expected = served.count(table, f"{collated} {sign} %s", column.name, value)
                query = f"{column.name}[{op}]={quote(written(column, value), safe='')}&limit=1"
                assert served.ask(f"/{table}", query).meta["total"] == expected, query
        listed = ",".join('"' + written(column, v).replace("\\", "\\\\").replace('"', '\\"') + '"' for v in values)
        for op, word in (("in", "= ANY"), ("nin", "<> ALL")):
            typed = f"{base} {word} (%s::text[])" if column.kind in (Kind.ENUM, Kind.TEXT) else ""
            condition = typed or f"{base}::text {word} (%s::text[])"
            if values:
                expected = served.count(table, condition, column.name, values)
                query = f"{column.name}[{op}]={quote(listed, safe='')}&limit=1"
                assert served.ask(f"/{table}", query).meta["total"] == expected, query
        for test, word in (("null", "IS NULL"), ("notnull", "IS NOT NULL")):
            expected = served.count(table, f"{{c}} {word}", column.name)
            assert served.ask(f"/{table}", f"{column.name}[is]={test}&limit=1").meta["total"] == expected


def test_arrays_are_lists(served: Sakila) -> None:
    """`special_features` in answers and filters, as SQL has it."""
    first = served.data("/film/1")
    assert first["special_features"] == ["Deleted Scenes", "Behind the Scenes"]
    total = served.ask("/film", "special_features[contains]=Trailers&limit=1").meta["total"]
    assert total == served.count("film", "'Trailers' = ANY ({c})", "special_features")
    both = served.ask("/film", "special_features[contains]=Trailers,Commentaries&limit=1").meta["total"]
    assert both == served.count("film", "{c} @> %s::text[]", "special_features", ["Commentaries", "Trailers"])
    exact = served.ask("/film", 'special_features="Deleted Scenes",Behind the Scenes&limit=1').meta["total"]
    assert exact == served.count("film", "{c} = %s::text[]", "special_features", first["special_features"])
    for query in ("sort=special_features", "special_features[gt]=a", "special_features[in]=a"):
        assert served.ask("/film", query).status == 400


@pytest.mark.parametrize("table", [*TABLES, *VIEWS])
def test_every_column_sorts_groups_and_shows(served: Sakila, table: str) -> None:
    """Sort both ways by both kinds of page, fields, groups and every measure; what cannot is refused."""
    keyed = bool(served.table(table).key)
    for column in columns_of(served, table):
        name = quote(column.name)
        sortable = column.kind not in (Kind.BYTES, Kind.ARRAY)
        for sort in (name, f"-{name}"):
            answer = served.ask(f"/{table}", f"sort={sort}&limit=50")
            assert answer.status == (200 if sortable else 400)
            if sortable and keyed:
                assert served.data(f"/{table}", f"sort={sort}&limit=50&cursor=") == answer.data
        shown = served.data(f"/{table}", f"fields={name}&limit=3")
        assert all(list(row) == [column.name] for row in shown)
        groups = served.ask(f"/{table}/aggregate", f"group={name}&select=count&sort=-count&limit=100")
        assert groups.status == (200 if sortable else 400)
        if " " in column.name:
            continue  # `select` has no way to write it
        select = f"select=count({name}),n:count(distinct {name}),min({name}),max({name})".replace(" ", "%20")
        assert served.ask(f"/{table}/aggregate", select).status == (200 if sortable else 400)
        additive = column.kind in (Kind.INTEGER, Kind.NUMERIC, Kind.FLOAT)
        for function in ("sum", "avg"):
            answer = served.ask(f"/{table}/aggregate", f"select={function}({name})")
            assert answer.status == (200 if additive else 400)


@pytest.mark.parametrize("table", TABLES)
def test_pages_hold_every_row_once(served: Sakila, table: str) -> None:
    """By cursor forward, and by cursor backward from the end; the total is SQL's."""
    keys = served.table(table).key
    fields = f"fields={','.join(keys)}&limit=100"
    expected = served.count(table, "true OR {c} IS NULL", keys[0])
    assert served.ask(f"/{table}", "limit=1").meta["total"] == expected
    if expected > 2_000:
        fields += f"&{keys[0]}[lt]=2000"
        expected = served.count(table, "{c} < 2000", keys[0])
    seen: list[tuple[Any, ...]] = []
    cursor, back = "", ""
    while cursor is not None:
        answer = served.ask(f"/{table}", f"{fields}&cursor={cursor}")
        seen += [tuple(row.values()) for row in answer.data]
        cursor, back = answer.meta["next_cursor"], answer.meta["prev_cursor"]
    last = seen[-len(answer.data) :]
    assert (len(seen), sorted(set(seen))) == (expected, seen)
    while back is not None:
        answer = served.ask(f"/{table}", f"{fields}&cursor={back}")
        last = [tuple(row.values()) for row in answer.data] + last
        back = answer.meta["prev_cursor"]
    assert last == seen


@pytest.mark.parametrize("table", TABLES)
def test_items_are_the_rows_of_the_list(served: Sakila, table: str) -> None:
    """By key, composite ones too; keys that no row has are 404."""
    for row in served.data(f"/{table}", "limit=5"):
        assert served.data(f"/{table}/{served.key_of(table, row)}") == row
    for key in ("0", "x", "-1", "1.5", "9" * 30, "1,2,3", "%F0%9D%84%9E", "0,0", ""):
        assert served.client.get(f"/{table}/{key}").status == 404


@pytest.mark.parametrize("view", VIEWS)
def test_a_view_is_a_list(served: Sakila, view: str) -> None:
    """With pages and filters, without items and without writes."""
    assert served.data(f"/{view}", "limit=2&page=1")
    assert served.ask(f"/{view}/1").status == 404
    assert served.ask(f"/{view}", "cursor=").status == 400
    assert served.client.request("POST", f"/{view}", body={}).status == 405


def absent(way: Relationship, row: Any) -> bool:
    """Whether a row refers to nothing."""
    return any(row[local.name] is None for local, _ in way.pairs)


@pytest.mark.parametrize("table", TABLES)
def test_relations_go_both_ways(served: Sakila, table: str) -> None:
    """Included rows are those of the nested list or of the foreign key; a filter along each finds its rows."""
    facts = served.table(table)
    assert facts.relationships, "every table of this database is related"
    for name, way in facts.relationships.items():
        target = served.table(way.target)
        many = f"&limit[{name}]=100&fields[{name}]={next(iter(target.columns))}" if way.many else ""
        rows = served.data(f"/{table}", f"include={name}&limit=5{many}")
        for row in rows:
            if way.many:
                nested = f"/{table}/{served.key_of(table, row)}/{name}"
                shown = served.data(nested, f"limit=100&fields={next(iter(target.columns))}")
                assert row[name] == shown
            elif row[name] is not None:
                assert row[name] == served.data(f"/{way.target}/{served.key_of(way.target, row[name])}")
            else:
                assert absent(way, row) or name.startswith("store_by")
        first = next(iter(target.columns))
        total = served.ask(f"/{table}", f"{name}.{first}[gt]=0&limit=1").meta["total"]
        assert total == served.ask(f"/{table}", f"{name}.{first}[is]=notnull&limit=1").meta["total"]
        back = [n for n, w in target.relationships.items() if w.target == table]
        assert back, f"{way.target} does not lead back to {table}"


@pytest.mark.parametrize("table", TABLES)
def test_includes_and_sorting_go_deep(served: Sakila, table: str) -> None:
    """Every path of two relations that starts at the table, and every column of every to-one relation."""
    tables = served.app.schema.tables
    for first, way in tables[table].relationships.items():
        for second, further in tables[way.target].relationships.items():
            scopes = ((first, way), (f"{first}.{second}", further))
            limits = [f"limit[{scope}]=2" for scope, relation in scopes if relation.many]
            served.data(f"/{table}", "&".join([f"include={first}.{second}", "limit=2", "count=false", *limits]))
        for column in columns_of(served, way.target):
            if column.kind in (Kind.BYTES, Kind.ARRAY):
                continue
            answer = served.ask(f"/{table}", f"sort=-{first}.{column.name}&limit=3&cursor=")
            assert answer.status == (400 if way.many else 200)
            if answer.status == 200 and answer.meta["next_cursor"]:
                following = f"sort=-{first}.{column.name}&limit=3&cursor={answer.meta['next_cursor']}"
                assert len(served.data(f"/{table}", following)) > 0


def test_the_contract_is_made(served: Sakila) -> None:
    """OpenAPI knows arrays, enums and read-only views."""
    document = served.app.openapi()
    film = document["components"]["schemas"]["Film"]["properties"]
    assert film["special_features"]["type"] == ["array", "null"]
    assert film["rating"]["enum"] == ["G", "PG", "PG-13", "R", "NC-17", None]
    assert set(document["paths"]["/api/v1/film_list"]) == {"get"}
