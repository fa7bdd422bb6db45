"""A database that nobody here made: every table × every column × every operator, against SQL of our own.

The Chinook sample is read where it is, in ../shared/data beside the repository; nothing of it is copied.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import apsw
import pytest

from backstay import Config
from backstay.cli.target import existing_database
from support.asgi import Answer, Client

PATH = Path(__file__).parents[3] / "shared" / "data" / "chinook.sqlite"
TABLES = {
    "Album": 347,
    "Artist": 275,
    "Customer": 59,
    "Employee": 8,
    "Genre": 25,
    "Invoice": 412,
    "InvoiceLine": 2240,
    "MediaType": 5,
    "Playlist": 18,
    "PlaylistTrack": 8715,
    "Track": 3503,
}
#: Text that is a value of some kinds and wrong for others; none of it may be a failure.
_WORDS = (
    """x -1 0 1.5 1e5 1e999 NaN 2026-02-30 2009-01-01 2009-01-01T00:00:00Z true null ' " \\ % _ * [ é 𝄞 a,b "a (1)"""
)
HOSTILE = [*_WORDS.split(), "", " ", "\x00", "9" * 30, "x" * 300]
OPERATORS = ("eq", "ne", "lt", "lte", "gt", "gte", "in", "nin", "like", "ilike", "contains", "is")
SQL = {"eq": "=", "ne": "<>", "lt": "<", "lte": "<=", "gt": ">", "gte": ">="}

pytestmark = pytest.mark.skipif(not PATH.is_file(), reason=f"the sample database is not at {PATH}")


class Chinook:
    """The served file, and the same file through plain SQL."""

    def __init__(self) -> None:
        self.app = existing_database(f"sqlite:///{PATH}")
        self.app.config = Config(database_url=f"sqlite:///{PATH}", log_level="error", rate_limit="off")
        self.client = Client(self.app)
        self.connection = apsw.Connection(str(PATH), flags=apsw.SQLITE_OPEN_READONLY)

    def sql(self, text: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """Rows of a statement of our own."""
        return list(self.connection.execute(text, parameters))

    def ask(self, path: str, query: str = "") -> Answer:
        """An answer that is data with one statement, or a refusal that names what it refuses."""
        answer = self.client.get(path, query)
        assert answer.status in (200, 400, 404), (path, query, answer.body[:500])
        if answer.status == 200:
            assert 'statements;desc="1"' in answer.headers["server-timing"], (path, query)
        elif answer.status == 400 and "%00" not in query:
            assert answer.json["errors"], (path, query, answer.json)
            assert answer.json["hint"]
        return answer

    def data(self, path: str, query: str = "") -> Any:
        """The data of a read that succeeds."""
        answer = self.ask(path, query)
        assert answer.status == 200, (path, query, answer.body[:500])
        return answer.data

    def columns(self, table: str) -> list[str]:
        """The table's columns, from the file."""
        return [name for _, name, *_ in self.sql(f'PRAGMA table_info("{table}")')]

    def key(self, table: str) -> list[str]:
        """The table's key, from the file."""
        keyed = [(place, name) for _, name, *_, place in self.sql(f'PRAGMA table_info("{table}")') if place]
        return [name for _, name in sorted(keyed)]

    def samples(self, table: str, column: str) -> list[Any]:
        """The least, the greatest and a middle value."""
        text = f'SELECT DISTINCT "{column}" FROM "{table}" WHERE "{column}" IS NOT NULL ORDER BY 1'
        values = [value for (value,) in self.sql(text)]
        return [values[0], values[len(values) // 2], values[-1]] if values else []

    def key_of(self, table: str, row: Any) -> str:
        """A row's key in a path."""
        return ",".join(str(row[name]) for name in self.key(table))


@pytest.fixture(scope="module")
def chinook() -> Iterator[Chinook]:
    """One app for all; it only reads."""
    opened = Chinook()
    with opened.client:
        yield opened
    opened.connection.close()


def cases(kind: str = "") -> list[Any]:
    """(table, column) of the whole file, or of one declared type; read without the code under test."""
    if not PATH.is_file():
        return [pytest.param("", "", marks=pytest.mark.skip(reason=f"the sample database is not at {PATH}"))]
    connection = apsw.Connection(str(PATH), flags=apsw.SQLITE_OPEN_READONLY)
    facts = [(t, row) for t in TABLES for row in connection.execute(f'PRAGMA table_info("{t}")')]
    found = [(table, row[1]) for table, row in facts if row[2].startswith(kind)]
    connection.close()
    return found


def test_every_table_is_served(chinook: Chinook) -> None:
    """With the file's columns and keys, read-only."""
    assert set(chinook.app.schema.tables) == set(TABLES)
    for table in TABLES:
        facts = chinook.app.schema.tables[table]
        assert list(facts.columns) == chinook.columns(table)
        assert list(facts.key) == chinook.key(table)
        for method in ("POST", "PATCH", "PUT", "DELETE"):
            assert chinook.client.request(method, f"/{table}", body={}).status == 405


@pytest.mark.parametrize(("table", "column"), cases())
def test_every_operator_agrees_with_sql(chinook: Chinook, table: str, column: str) -> None:
    """For values of the file, the total of each comparison is SQL's own count."""
    datetimes = chinook.app.schema.tables[table].columns[column].kind.value == "datetime"
    count = f'SELECT count(*) FROM "{table}" WHERE "{column}"'
    values = chinook.samples(table, column)
    for op, sign in SQL.items():
        for value in values:
            shown = value.replace(" ", "T") + "Z" if datetimes else str(value)
            expected = chinook.sql(f"{count} {sign} ?", value)[0][0]
            query = f"{column}[{op}]={quote(shown, safe='')}&limit=1"
            assert chinook.ask(f"/{table}", query).meta["total"] == expected, query
    quoted = ",".join('"' + str(v).replace("\\", "\\\\").replace('"', '\\"') + '"' for v in values)
    for op, word in (("in", "IN"), ("nin", "NOT IN")):
        places = ",".join("?" * len(values))
        expected = chinook.sql(f"{count} {word} ({places})", *values)[0][0]
        answer = chinook.ask(f"/{table}", f"{column}[{op}]={quote(quoted, safe='')}&limit=1")
        assert answer.meta["total"] == expected
    for test, word in (("null", "IS NULL"), ("notnull", "IS NOT NULL")):
        expected = chinook.sql(f"{count} {word}")[0][0]
        assert chinook.ask(f"/{table}", f"{column}[is]={test}&limit=1").meta["total"] == expected


@pytest.mark.parametrize(("table", "column"), cases("NVARCHAR"))
def test_text_is_matched_as_sql_does(chinook: Chinook, table: str, column: str) -> None:
    """Patterns and substrings of the file's own text."""
    assert chinook.app.schema.tables[table].columns[column].kind.value == "text"
    for value in chinook.samples(table, column):
        part = value[1:4]
        plain = part.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
        for op, pattern, condition, parameter in (
            ("contains", part, 'instr("{}", ?) > 0', part),
            ("like", f"%{plain}%", 'instr("{}", ?) > 0', part),
            ("ilike", f"%{plain}%", "\"{}\" LIKE ? ESCAPE '\\'", f"%{plain}%"),
        ):
            expected = chinook.sql(f'SELECT count(*) FROM "{table}" WHERE {condition.format(column)}', parameter)[0][
                0
            ]
            query = f"{column}[{op}]={quote(pattern, safe='')}&limit=1"
            assert chinook.ask(f"/{table}", query).meta["total"] == expected, query


@pytest.mark.parametrize(("table", "column"), cases())
def test_no_value_is_a_failure(chinook: Chinook, table: str, column: str) -> None:
    """Every operator with text that is wrong for the kind: rows, or a refusal that names the parameter."""
    for op in OPERATORS:
        for value in HOSTILE:
            answer = chinook.ask(f"/{table}", f"{column}[{op}]={quote(value, safe='')}&limit=1&count=false")
            if answer.status == 400 and "\x00" not in value:
                assert answer.json["errors"][0]["field"] == (column if op == "eq" else f"{column}[{op}]")


@pytest.mark.parametrize(("table", "column"), cases())
def test_every_column_sorts_groups_and_shows(chinook: Chinook, table: str, column: str) -> None:
    """Sort both ways by both kinds of page, fields, groups and every measure; counts agree with SQL."""
    for sort in (column, f"-{column}"):
        by_number = chinook.data(f"/{table}", f"sort={sort}&limit=50")
        by_cursor = chinook.data(f"/{table}", f"sort={sort}&limit=50&cursor=")
        assert by_number == by_cursor
        assert [row[column] for row in chinook.data(f"/{table}", f"sort={sort}&limit=50&fields={column}")] == [
            row[column] for row in by_number
        ]
    query = f"select=count({column}),n:count(distinct {column}),min({column}),max({column})".replace(" ", "%20")
    row = chinook.data(f"/{table}/aggregate", query)[0]
    expected = chinook.sql(f'SELECT count("{column}"), count(DISTINCT "{column}") FROM "{table}"')[0]
    assert (row[f"count_{column}"], row["n"]) == expected
    groups = chinook.ask(f"/{table}/aggregate", f"group={column}&select=count&sort=-count&limit=100")
    assert (
        groups.meta["total"] == chinook.sql(f'SELECT count(*) FROM (SELECT DISTINCT "{column}" FROM "{table}")')[0][0]
    )
    numeric = chinook.app.schema.tables[table].columns[column].kind.value in ("integer", "numeric", "number")
    for function in ("sum", "avg"):
        assert chinook.ask(f"/{table}/aggregate", f"select={function}({column})").status == (200 if numeric else 400)


@pytest.mark.parametrize("table", TABLES)
def test_pages_hold_every_row_once(chinook: Chinook, table: str) -> None:
    """By number, by cursor forward, and by cursor backward from the end."""
    keys = chinook.key(table)
    order = ", ".join(f'"{key}"' for key in keys)
    expected = chinook.sql(f'SELECT {order} FROM "{table}" ORDER BY {order}')
    assert len(expected) == TABLES[table]
    fields = f"fields={','.join(keys)}&limit=100"

    def found(rows: Sequence[Any]) -> list[tuple[Any, ...]]:
        return [tuple(row[key] for key in keys) for row in rows]

    seen: list[tuple[Any, ...]] = []
    number, more = 1, True
    while more:
        answer = chinook.ask(f"/{table}", f"{fields}&page={number}")
        assert answer.meta["total"] == TABLES[table]
        seen += found(answer.data)
        number, more = number + 1, answer.meta["has_next"]
    assert seen == expected
    seen, cursor, back = [], "", ""
    while cursor is not None:
        answer = chinook.ask(f"/{table}", f"{fields}&cursor={cursor}")
        seen += found(answer.data)
        cursor, back = answer.meta["next_cursor"], answer.meta["prev_cursor"]
    assert seen == expected
    seen = found(answer.data)
    while back is not None:
        answer = chinook.ask(f"/{table}", f"{fields}&cursor={back}")
        seen = found(answer.data) + seen
        back = answer.meta["prev_cursor"]
    assert seen == expected


@pytest.mark.parametrize("table", TABLES)
def test_items_are_the_rows_of_the_list(chinook: Chinook, table: str) -> None:
    """By key, composite ones too; keys that no row has are 404."""
    for row in chinook.data(f"/{table}", "limit=5"):
        assert chinook.data(f"/{table}/{chinook.key_of(table, row)}") == row
    for key in ("0", "x", "-1", "1.5", "9" * 30, "1,2,3", "%F0%9D%84%9E", "0,0", ""):
        assert chinook.client.get(f"/{table}/{key}").status == 404
    assert chinook.client.get(f"/{table}/%00").status == 400


@pytest.mark.parametrize("table", TABLES)
def test_relations_go_both_ways(chinook: Chinook, table: str) -> None:
    """Included rows are those of the nested list or of the foreign key; a filter along each finds its rows."""
    facts = chinook.app.schema.tables[table]
    assert facts.relationships, "every table of this file is related"
    for name, way in facts.relationships.items():
        rows = chinook.data(
            f"/{table}", f"include={name}&limit=10&limit[{name}]=100" if way.many else f"include={name}&limit=10"
        )
        for row in rows:
            if way.many:
                nested = chinook.data(f"/{table}/{chinook.key_of(table, row)}/{quote(name)}", "limit=100")
                assert row[name] == nested
            elif row[name] is not None:
                assert row[name] == chinook.data(f"/{way.target}/{chinook.key_of(way.target, row[name])}")
            else:
                assert any(row[local.name] is None for local, _ in way.pairs)
        target_key = chinook.key(way.target)[0]
        total = chinook.ask(f"/{table}", f"{name}.{target_key}[gt]=0&limit=1").meta["total"]
        bare = chinook.ask(f"/{table}", f"{name}.{target_key}[is]=notnull&limit=1").meta["total"]
        assert total == bare
        back = [n for n, w in chinook.app.schema.tables[way.target].relationships.items() if w.target == table]
        assert back, f"{way.target} does not lead back to {table}"


def below(rows: list[Any], name: str) -> list[Any]:
    """The rows that some rows hold under a relation, which each of them must have."""
    held = [row[name] for row in rows]
    return [inner for value in held for inner in (value if isinstance(value, list) else [value] if value else [])]


@pytest.mark.parametrize("table", TABLES)
def test_includes_go_three_deep(chinook: Chinook, table: str) -> None:
    """Every path of three relations that starts at the table, in one statement each, small pages."""
    tables = chinook.app.schema.tables
    for first, way in tables[table].relationships.items():
        for second, further in tables[way.target].relationships.items():
            for third, last in tables[further.target].relationships.items():
                path = f"{first}.{second}.{third}"
                scopes = ((first, way), (f"{first}.{second}", further), (path, last))
                limits = [f"limit[{scope}]=2" for scope, relation in scopes if relation.many]
                rows = chinook.data(f"/{table}", "&".join([f"include={path}", "limit=2", "count=false", *limits]))
                assert len(rows) == 2
                deepest = below(below(below(rows, first), second), third)
                assert all(list(row) == chinook.columns(last.target) for row in deepest)


@pytest.mark.parametrize("table", TABLES)
def test_sorting_along_relations(chinook: Chinook, table: str) -> None:
    """By every column of every to-one relation; to-many ones are refused."""
    for name, way in chinook.app.schema.tables[table].relationships.items():
        for column in chinook.columns(way.target):
            answer = chinook.ask(f"/{table}", f"sort=-{name}.{column}&limit=3&cursor=")
            assert answer.status == (400 if way.many else 200)
            if answer.status == 200 and answer.meta["next_cursor"]:
                following = f"sort=-{name}.{column}&limit=3&cursor={answer.meta['next_cursor']}"
                assert len(chinook.data(f"/{table}", following)) > 0
