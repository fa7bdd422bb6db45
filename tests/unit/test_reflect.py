"""An existing SQLite file becomes a Schema: what cannot be served is said, and nothing crashes.

The Chinook test needs `../shared/data/chinook.sqlite` beside the repository, and is skipped without it.
"""

from collections.abc import Callable
from pathlib import Path

import apsw
import pytest

from backstay.config import Config
from backstay.context import ANONYMOUS, Context
from backstay.db.apsw_dialect import create_sync_engine
from backstay.db.sqlite_engine import SqliteDatabase
from backstay.engine import Engine
from backstay.errors import OperatorError
from backstay.observe import Observations
from backstay.query.ir import Compare, Include, KeysetPage, OffsetPage, Op, OrderKey, Select, Shape
from backstay.schema.model import Column, Kind, Relationship, Schema, Table
from backstay.schema.policy import Policy, public
from backstay.schema.reflect import mended_names, reflect
from backstay.schema.resource import Catalog, Resource
from backstay.schema.sqlite_types import type_of
from backstay.sql.sqlite import SqliteDialect

CHINOOK = Path(__file__).parents[3] / "shared" / "data" / "chinook.sqlite"

HOSTILE = """
CREATE TABLE "" (a);
CREATE TABLE nameless ("" INT, b TEXT);
CREATE TABLE "a.b/c" ("x.y" INT NOT NULL PRIMARY KEY, "50% off" TEXT, "sp ace" TEXT, "q""uote" TEXT,
    "select" TEXT, "[br]" TEXT, x_y INT, "-neg" INT, "ключ" TEXT, ":bind" TEXT, "?" TEXT, "it's" TEXT);
INSERT INTO "a.b/c" VALUES (1, 'a', 'b', 'c', 'd', 'e', 2, 3, 'f', 'g', 'h', 'i');
CREATE TABLE "group" ("order" INTEGER PRIMARY KEY, "table" INT REFERENCES "a.b/c", "表 名" BLOB);
INSERT INTO "group" VALUES (1, 1, x'ff00'), (2, NULL, 'text');
CREATE TABLE bad_utf8 (id INTEGER PRIMARY KEY, at DATETIME, name TEXT);
INSERT INTO bad_utf8 VALUES (1, CAST(x'fffe' AS TEXT), CAST(x'c3' AS TEXT));
CREATE TABLE collated (a TEXT COLLATE odd PRIMARY KEY NOT NULL);
CREATE TABLE called (id INTEGER PRIMARY KEY, d INT AS (odd_function(id)));
CREATE VIEW broken AS SELECT * FROM missing;
CREATE VIEW summed AS SELECT "table", count(*), "table" FROM "group" GROUP BY "table";
CREATE VIRTUAL TABLE searched USING fts5(body);
CREATE VIRTUAL TABLE boxes USING rtree(id, low, high);
CREATE TABLE sqlitely (a INTEGER PRIMARY KEY);
CREATE TABLE alembic_version (version_num TEXT);
CREATE TABLE dangling (id INTEGER PRIMARY KEY, a INT REFERENCES nowhere, b INT REFERENCES "group"("nothing"),
    c INT REFERENCES "group"("table"));
"""

Make = Callable[[str], Path]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Makes a database file of SQL."""

    def make(sql: str) -> Path:
        path = tmp_path / "made.db"
        connection = apsw.Connection(str(path))
        connection.create_collation("odd", lambda a, b: (a > b) - (a < b))
        connection.create_scalar_function("odd_function", lambda value: value, 1, deterministic=True)
        connection.execute(sql)
        connection.close()
        return path

    return make


def schema_of(path: Path) -> Schema:
    """The file's Schema."""
    return reflect(create_sync_engine(path))


def served(path: Path, schema: Schema) -> tuple[Engine, Catalog]:
    """An engine that shows everybody every table."""
    resources = {
        name: Resource(name, table, tuple(table.columns[k] for k in table.key), Policy(read=public))
        for name, table in schema.tables.items()
    }
    config = Config(database_url=f"sqlite:///{path}", include_depth_max=3)
    catalog = Catalog(schema, resources)
    database = SqliteDatabase(config, read_only=True)
    return Engine(catalog, SqliteDialect(), database, config, Observations()), catalog


def column(table: Table, name: str) -> Column:
    """A column by its name in the database."""
    return next(c for c in table.columns.values() if c.sql.name == name)


def ways(table: Table) -> dict[str, tuple[str, bool]]:
    """The relationships of a table: target and whether there are many."""
    return {r.name: (r.target, r.many) for r in table.relationships.values()}


@pytest.mark.parametrize("content", [b"x" * 5_000, b"SQLite format 3\0" + b"y" * 5_000, b"SQLite format 3\0"])
def test_a_file_that_is_no_database_is_one_line(tmp_path: Path, content: bytes) -> None:
    """No traceback, and the line names the file."""
    path = tmp_path / "junk.db"
    path.write_bytes(content)
    with pytest.raises(OperatorError, match=r"junk\.db \(file is not a database\)"):
        schema_of(path)


def test_a_damaged_schema_is_one_line(make: Make) -> None:
    """A schema that SQLite cannot parse refuses every statement."""
    path = make("CREATE TABLE t (a); PRAGMA writable_schema = ON; UPDATE sqlite_schema SET sql = 'CREATE TABLE t (';")
    with pytest.raises(OperatorError, match="malformed"):
        schema_of(path)


def test_a_truncated_file_never_crashes(make: Make) -> None:
    """Whatever page is missing, there is a Schema or one line."""
    path = make("".join(f"CREATE TABLE t{n} (a INTEGER PRIMARY KEY, b TEXT UNIQUE);" for n in range(60)))
    whole = path.read_bytes()
    said: list[str] = []
    for size in range(0, len(whole), len(whole) // 23):
        path.write_bytes(whole[:size] + b"\xff" * ((len(whole) - size) // 2))
        try:
            schema_of(path)
        except OperatorError as error:
            said.append(str(error))
    assert said
    assert not any("\n" in line for line in said)


def test_a_missing_file_is_one_line_and_stays_missing(tmp_path: Path) -> None:
    """Reading creates nothing."""
    with pytest.raises(OperatorError, match="unable to open"):
        schema_of(tmp_path / "missing.db")
    assert list(tmp_path.iterdir()) == []


def test_an_empty_file_has_no_tables(tmp_path: Path) -> None:
    """Zero bytes are a valid SQLite database."""
    (tmp_path / "empty.db").touch()
    assert dict(schema_of(tmp_path / "empty.db").tables) == {}


def test_a_connection_works_too(make: Make) -> None:
    """As within a transaction of the caller's own."""
    with create_sync_engine(make("CREATE TABLE t (a)")).connect() as connection:
        assert list(reflect(connection).tables) == ["t"]


def test_what_cannot_be_served_is_left_out_with_a_note(make: Make) -> None:
    """Nothing disappears without a word, except the machinery of SQLite, its modules and Alembic."""
    schema = schema_of(make(HOSTILE))
    assert set(schema.tables) == {
        *("a_b_c", "bad_utf8", "dangling", "group", "nameless", "sqlitely", "summed"),
    }
    notes = "\n".join(schema.notes)
    for note in (
        "A table without a name was left out.",
        "nameless: a column without a name was left out.",
        "collated: left out, SQLite cannot read it (no such collation sequence: odd).",
        "called: left out, SQLite cannot read it (unknown function: odd_function()).",
        "broken: left out, SQLite cannot read it (no such table: main.missing).",
        "searched: left out, it is a virtual table.",
        "boxes: left out, it is a virtual table.",
        "dangling: no relationship by a, because nowhere does not exist or is left out.",
        "dangling: no relationship by b, because the columns of group that it names do not exist.",
        "dangling: no relationship by c, because table of group is not unique.",
        "'a.b/c': served as 'a_b_c'.",
        "a.b/c: its column 'x.y' is served as 'x_y_2'.",
        "bad_utf8.at: declared DATETIME, but some values are written otherwise: served and compared as they are.",
        "summed: read-only, it is a view: write to its tables.",
    ):
        assert note in notes
    assert "searched_content" not in notes
    assert "boxes_node" not in notes


def test_every_name_that_a_url_can_carry_is_kept(make: Make) -> None:
    """Spaces, quotes, reserved words, percent and other scripts are names like others."""
    schema = schema_of(make(HOSTILE))
    assert list(schema.tables["a_b_c"].columns) == [
        *("x_y_2", "50% off", "sp ace", 'q"uote', "select", "_br_", "x_y", "_neg", "ключ", ":bind", "?", "it's"),
    ]
    assert ways(schema.tables["group"]) == {"a_b_c": ("a_b_c", False)}
    assert schema.tables["group"].key == ("order",)


def test_mended_names_stay_apart() -> None:
    """A name that needs no mending never changes for one that does."""
    assert mended_names(["a.b", "a,b", "a_b"]) == {"a_b": "a_b", "a.b": "a_b_2", "a,b": "a_b_3"}
    assert list(mended_names(["-x", " x", "x ", "\n"]).values()) == ["_x", "_x_2", "x_", "_"]


@pytest.mark.parametrize(
    ("ddl", "key", "note"),
    [
        ("CREATE TABLE t (a INT, b TEXT)", (), "no primary key"),
        ("CREATE TABLE t (a INT UNIQUE, b TEXT)", (), "no primary key"),
        ("CREATE TABLE t (a INT, b INT NOT NULL); CREATE UNIQUE INDEX i ON t (b) WHERE a > 0", (), "no primary key"),
        ("CREATE TABLE t (a INT NOT NULL); CREATE UNIQUE INDEX i ON t (abs(a))", (), "no primary key"),
        ("CREATE TABLE t (a TEXT PRIMARY KEY); INSERT INTO t VALUES (NULL)", (), "may be NULL"),
        ("CREATE TABLE t (a TEXT PRIMARY KEY)", ("a",), "may be NULL"),
        ("CREATE TABLE t (a INTEGER PRIMARY KEY DESC)", ("a",), "may be NULL"),
        ("CREATE VIEW t AS SELECT 1 AS a", (), "a view"),
        ("CREATE TABLE t (a TEXT PRIMARY KEY, b INT NOT NULL UNIQUE)", ("b",), ""),
        ("CREATE TABLE t (a INT NOT NULL, b INT NOT NULL, UNIQUE (a, b))", ("a", "b"), ""),
        ("CREATE TABLE t (a INTEGER PRIMARY KEY)", ("a",), ""),
        ("CREATE TABLE t (a TEXT PRIMARY KEY) WITHOUT ROWID", ("a",), ""),
        ("CREATE TABLE t (a TEXT PRIMARY KEY) STRICT", ("a",), ""),
        ("CREATE TABLE t (a INT, b INT, PRIMARY KEY (b, a)) WITHOUT ROWID", ("b", "a"), ""),
    ],
)
def test_a_table_is_writable_only_by_a_key_that_is_never_null(
    make: Make, ddl: str, key: tuple[str, ...], note: str
) -> None:
    """A row that no key names could be neither found nor changed."""
    table = schema_of(make(ddl)).tables["t"]
    assert table.key == key
    assert table.read_only is bool(note)
    assert note in table.note


def test_what_the_database_sets_is_not_for_callers(make: Make) -> None:
    """The rowid and generated columns; a key that is also a foreign key is the caller's."""
    schema = schema_of(
        make(
            "CREATE TABLE t (a INTEGER PRIMARY KEY, n INT DEFAULT 7, v INT AS (n * 2), s INT AS (n * 3) STORED);"
            "CREATE TABLE one (t_id INTEGER PRIMARY KEY REFERENCES t)"
        )
    )
    columns = schema.tables["t"].columns
    assert {name for name, c in columns.items() if c.server_set} == {"a", "v", "s"}
    assert {name for name, c in columns.items() if c.has_default} == {"a", "n", "v", "s"}
    assert not schema.tables["one"].columns["t_id"].server_set
    assert all(c.loose for c in columns.values())


@pytest.mark.parametrize(
    ("declared", "values", "kind", "layout"),
    [
        ("DATETIME", "'2020-01-01 00:00:00'", Kind.DATETIME, " |0|"),
        ("DATETIME", "NULL), ('2020-01-01 00:00:00.123'", Kind.DATETIME, " |3|"),
        ("TIMESTAMP", "'2020-01-01T00:00:00.123456Z'", Kind.DATETIME, "T|6|Z"),
        ("DATETIME", "'2020-01-01 00:00:00.5'", Kind.ANY, ""),
        ("DATETIME", "'2020-01-01 00:00:00.123456'), ('2020-01-01 00:00:00'", Kind.DATETIME, " |0|"),
        ("DATETIME", "'2020-01-01T00:00:00'), ('2020-01-01 00:00:00'", Kind.ANY, ""),
        ("DATETIME", "'2020-01-01T00:00:00+02:00'", Kind.ANY, ""),
        ("DATETIME", "'2020-01-01'", Kind.DATETIME, "date"),
        ("DATETIME", "1600000000", Kind.INTEGER, ""),
        ("DATETIME", "2459000.5", Kind.FLOAT, ""),
        ("DATETIME", "1600000000), ('2020-01-01'", Kind.ANY, ""),
        ("DATETIME", "NULL", Kind.DATETIME, " |6|"),
        ("DATE", "'2020-01-01'", Kind.DATE, ""),
        ("DATE", "'01/02/2020'", Kind.ANY, ""),
        ("DATE", "'2020-01-01 00:00:00'", Kind.DATETIME, " |0|"),
        ("TIME", "'10:00:00.000000'", Kind.TIME, ""),
        ("TIME", "'10:00'", Kind.ANY, ""),
        ("BOOLEAN", "0), (1), (NULL", Kind.BOOLEAN, ""),
        ("BOOLEAN", "'t'", Kind.ANY, ""),
        ("", "1", Kind.ANY, ""),
        ("MONEY", "1", Kind.ANY, ""),
        ("DECIMAL(10,2)", "1", Kind.NUMERIC, ""),
        ("UNSIGNED BIG INT", "1", Kind.INTEGER, ""),
        ("JSON", "'{}'", Kind.JSON, ""),
        ("BLOB", "x'00'", Kind.BYTES, ""),
    ],
)
def test_a_kind_is_what_the_values_are(make: Make, declared: str, values: str, kind: Kind, layout: str) -> None:
    """SQLite has no dates and no booleans: a program's way of writing them is learned."""
    table = schema_of(make(f"CREATE TABLE t (c {declared}); INSERT INTO t VALUES ({values})")).tables["t"]
    assert (table.columns["c"].kind, table.columns["c"].layout) == (kind, layout)


def test_sizes_come_from_the_declared_type() -> None:
    """Also absurd ones."""
    assert repr(type_of("nvarchar ( 40 )")) == "NVARCHAR(length=40)"
    assert repr(type_of("DECIMAL(10, 2)")) == "DECIMAL(precision=10, scale=2)"
    assert repr(type_of("DATETIME(6)")) == "DATETIME()"
    assert repr(type_of("VARCHAR(99999999999)")) == f"VARCHAR(length={2**31})"
    assert repr(type_of("(((")) == repr(type_of("")) == "NullType()"


def test_a_view_has_the_dates_of_its_tables(make: Make) -> None:
    """It is never run to learn them."""
    schema = schema_of(
        make(
            "CREATE TABLE t (id INTEGER PRIMARY KEY, at DATETIME); INSERT INTO t VALUES (1, '2020-01-01');"
            "CREATE VIEW v AS SELECT at, at AS other FROM t"
        )
    )
    columns = schema.tables["v"].columns
    assert (columns["at"].kind, columns["at"].layout) == (Kind.DATETIME, "date")
    assert columns["other"].kind is Kind.ANY


SOCIAL = """
CREATE TABLE users (id INTEGER PRIMARY KEY, name TEXT UNIQUE, boss INT REFERENCES users);
CREATE TABLE profiles (user_id INT NOT NULL UNIQUE REFERENCES USERS (ID), "user" TEXT);
CREATE TABLE follows (follower_id INT REFERENCES users, followee_id INT REFERENCES users,
    PRIMARY KEY (follower_id, followee_id)) WITHOUT ROWID;
CREATE TABLE orders (id INTEGER PRIMARY KEY, buyer_id INT REFERENCES users, sellerId INT REFERENCES users);
CREATE TABLE lines (a INT NOT NULL, b INT NOT NULL, order_id INT REFERENCES orders, PRIMARY KEY (a, b));
CREATE TABLE notes (id INTEGER PRIMARY KEY, x INT, y INT, lines INT, FOREIGN KEY (x, y) REFERENCES lines);
CREATE TABLE orders_notes (order_id INT REFERENCES orders, note_id INT REFERENCES notes);
"""


def test_ways_have_names_that_collide_with_nothing(make: Make) -> None:
    """The rules of `schema.ways`, with keys to its own table, composite keys, several keys, one-to-one."""
    tables = schema_of(make(SOCIAL)).tables
    assert ways(tables["users"]) == {
        "users_boss": ("users", False),
        "users": ("users", True),
        "profiles": ("profiles", False),
        "follows_by_follower_id": ("follows", True),
        "follows_by_followee_id": ("follows", True),
        "orders_by_buyer_id": ("orders", True),
        "orders_by_sellerId": ("orders", True),
        "users_by_follower_id": ("users", True),
        "users_by_followee_id": ("users", True),
    }
    assert ways(tables["profiles"]) == {"users": ("users", False)}
    assert ways(tables["orders"]) == {
        "buyer": ("users", False),
        "seller": ("users", False),
        "lines": ("lines", True),
        "orders_notes": ("orders_notes", True),
        "notes": ("notes", True),
    }
    assert ways(tables["notes"]) == {
        "lines_x_y": ("lines", False),
        "orders_notes": ("orders_notes", True),
        "orders": ("orders", True),
    }
    for table in tables.values():
        assert not table.relationships.keys() & table.columns.keys()


def test_a_way_has_the_pairs_of_its_key(make: Make) -> None:
    """Composite keys pair column by column; an association has both sides."""
    tables = schema_of(make(SOCIAL)).tables

    def pairs(way: Relationship) -> list[tuple[str, str]]:
        return [(f"{a.table.name}.{a.name}", f"{b.table.name}.{b.name}") for a, b in (*way.pairs, *way.far_pairs)]

    assert pairs(tables["notes"].relationships["lines_x_y"]) == [("notes.x", "lines.a"), ("notes.y", "lines.b")]
    assert pairs(tables["orders"].relationships["notes"]) == [
        ("orders.id", "orders_notes.order_id"),
        ("orders_notes.note_id", "notes.id"),
    ]


@pytest.mark.parametrize("sql", [HOSTILE, SOCIAL])
def test_every_table_column_and_way_can_be_read(make: Make, sql: str) -> None:
    """The engine lists, pages, sorts, filters and includes whatever reflection lets through."""
    path = make(sql)
    read_everything(path, schema_of(path))


def read_everything(path: Path, schema: Schema) -> int:
    """Read every table by every column and way; returns the number of rows listed."""
    engine, catalog = served(path, schema)
    standing = engine.standing(ANONYMOUS)
    context = Context("test")
    rows = 0
    for name, resource in catalog.resources.items():
        queries = [(Select(name, page=OffsetPage(20, 0)), [0])]
        if resource.key:
            queries.append((Select(name, page=KeysetPage(20)), []))
        for column in resource.columns.values():
            if column.kind not in (Kind.JSON, Kind.BYTES):
                queries.append((Select(name, order=(OrderKey((column.name,), True),), page=OffsetPage(5, 0)), [0]))
                value = {Kind.DATETIME: "2020-01-01T00:00:00", Kind.DATE: "2020-01-01"}.get(column.kind, "1")
                queries.append((Select(name, Compare((column.name,), Op.NE, 0), page=OffsetPage(5, 1)), [value, 0]))
        for way in resource.relationships:
            queries.append((Select(name, page=OffsetPage(5, 0), shape=Shape(None, (Include(way),))), [0]))
        for query, values in queries:
            statement = engine.prepare(query, standing)
            row = engine.read(statement, engine.bind(statement, values), context)
            assert isinstance(row, list), (query, row)
            rows += 1
    return rows


@pytest.mark.skipif(not CHINOOK.exists(), reason="../shared/data/chinook.sqlite is absent")
def test_chinook_is_served_whole() -> None:
    """Eleven tables, their relations both ways, keys and dates, without a note."""
    schema = schema_of(CHINOOK)
    assert schema.notes == ()
    assert len(schema.tables) == 11
    assert ways(schema.tables["Track"]) == {
        "Album": ("Album", False),
        "MediaType": ("MediaType", False),
        "Genre": ("Genre", False),
        "InvoiceLine": ("InvoiceLine", True),
        "PlaylistTrack": ("PlaylistTrack", True),
        "Playlist": ("Playlist", True),
    }
    assert ways(schema.tables["Employee"]) == {
        "Employee_ReportsTo": ("Employee", False),
        "Employee": ("Employee", True),
        "Customer": ("Customer", True),
    }
    assert schema.tables["PlaylistTrack"].key == ("PlaylistId", "TrackId")
    assert column(schema.tables["Invoice"], "InvoiceDate").layout == " |0|"
    assert column(schema.tables["Invoice"], "Total").scale == 2
    read_everything(CHINOOK, schema)
