"""The cursors of the DBAPI over apsw: columns, counts, keys, streaming and many rows at once."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from backstay.db import apsw_dbapi as db


@pytest.fixture
def path(tmp_path: Path) -> str:
    """A database file of the test's own."""
    return str(tmp_path / "test.db")


@pytest.fixture
def connection(path: str) -> Iterator[db.Connection]:
    """A connection with one committed table of one row."""
    opened = db.connect(path)
    opened.execute(
        "CREATE TABLE games (id INTEGER PRIMARY KEY, slug TEXT UNIQUE NOT NULL, plays INT CHECK (plays >= 0))"
    )
    opened.execute("INSERT INTO games (slug, plays) VALUES ('chess', 1)")
    opened.commit()
    yield opened
    opened.close()


def count(connection: db.Connection) -> int:
    """The number of games."""
    row = connection.execute("SELECT count(*) FROM games").fetchone()
    assert row is not None
    return row[0]


def test_the_columns_are_known_even_without_rows(connection: db.Connection) -> None:
    """An empty SELECT has a description, by which callers tell it from a statement without result."""
    cursor = connection.execute('SELECT id, slug AS "the slug" FROM games WHERE 0')
    assert cursor.description is not None
    assert [column[0] for column in cursor.description] == ["id", "the slug"]
    assert {7} == {len(column) for column in cursor.description}
    assert (cursor.rowcount, cursor.fetchone(), cursor.fetchall()) == (-1, None, [])
    assert cursor.execute("DELETE FROM games WHERE 0").description is None


@pytest.mark.parametrize(
    ("statement", "rowcount"),
    [
        ("UPDATE games SET plays = 5", 1),
        ("UPDATE games SET plays = 5 WHERE id = 99", 0),
        ("INSERT INTO games (slug) VALUES ('a'), ('b') RETURNING id", 2),
        ("INSERT OR IGNORE INTO games (slug) VALUES ('chess')", 0),
        ("CREATE TABLE scores (id INT)", 0),
        ("SELECT * FROM games", -1),
    ],
)
def test_rowcount_is_of_the_last_statement(connection: db.Connection, statement: str, rowcount: int) -> None:
    """Rows changed, 0 for none, -1 for a query: never the number of an earlier statement."""
    cursor = connection.cursor()
    cursor.executemany("INSERT INTO games (slug) VALUES (?)", [("x",), ("y",), ("z",)])
    assert cursor.rowcount == 3
    connection.rollback()
    assert rowcount == cursor.execute(statement).rowcount


def test_lastrowid_is_the_row_inserted(connection: db.Connection) -> None:
    """An INSERT tells the key SQLite gave it."""
    cursor = connection.execute("INSERT INTO games (id, slug) VALUES (40, 'go')")
    assert cursor.lastrowid == 40
    assert cursor.execute("INSERT INTO games (slug) VALUES ('ludo')").lastrowid == 41


ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n"


def test_a_streaming_cursor_takes_rows_as_they_are_fetched(connection: db.Connection) -> None:
    """A SELECT without end can be read row by row, in parts, and dropped."""
    cursor = connection.cursor(streaming=True).execute(ENDLESS)
    assert cursor.fetchone() == (1,)
    assert cursor.fetchmany() == [(2,)]
    assert cursor.fetchmany(3) == [(3,), (4,), (5,)]
    assert next(iter(cursor)) == (6,)
    cursor.close()
    cursor.close()


@pytest.mark.parametrize("end", ["commit", "rollback"])
def test_a_streaming_cursor_lasts_as_long_as_the_transaction(connection: db.Connection, path: str, end: str) -> None:
    """It cannot hold a snapshot over the end of the transaction: the next one reads new rows."""
    connection.execute("PRAGMA journal_mode = WAL")
    cursor = connection.cursor(streaming=True).execute("SELECT 1 FROM games UNION ALL SELECT 2")
    assert cursor.fetchone() == (1,)
    other = db.connect(path)
    other.execute("INSERT INTO games (slug) VALUES ('go')")
    other.commit()
    other.close()
    getattr(connection, end)()
    assert count(connection) == 2
    with pytest.raises(db.ProgrammingError, match="no rows"):
        cursor.fetchone()


def test_rows_of_an_ordinary_cursor_outlive_the_transaction(connection: db.Connection) -> None:
    """They were all taken when the statement ran, as other databases' drivers do."""
    cursor = connection.execute("SELECT 1 UNION ALL SELECT 2")
    connection.rollback()
    assert cursor.fetchall() == [(1,), (2,)]


def test_an_error_while_fetching_is_an_error_of_the_dbapi(connection: db.Connection) -> None:
    """An interrupted SELECT raises OperationalError from fetch, with its code."""
    cursor = connection.cursor(streaming=True).execute(ENDLESS)
    connection.raw.interrupt()
    with pytest.raises(db.OperationalError) as caught:
        cursor.fetchall()
    assert caught.value.sqlite_errorname == "SQLITE_INTERRUPT"


def test_executemany_prepares_once_and_asks_for_one_row_at_a_time(connection: db.Connection) -> None:
    """Ten thousand rows are one prepared statement, never held together; triggers' rows do not count."""
    connection.execute("CREATE TABLE log (id INTEGER PRIMARY KEY)")
    connection.execute("CREATE TRIGGER logged AFTER INSERT ON games BEGIN INSERT INTO log VALUES (NULL); END")
    connection.commit()
    waiting = widest = 0

    def rows() -> Iterator[tuple[str]]:
        nonlocal waiting, widest
        for number in range(10_000):
            waiting += 1
            widest = max(widest, waiting)
            yield (f"game-{number}",)
            waiting -= 1

    before = connection.raw.cache_stats()
    cursor = connection.cursor()
    cursor.executemany("INSERT INTO games (slug) VALUES (?)", rows())
    after = connection.raw.cache_stats()
    assert (cursor.rowcount, count(connection), widest) == (10_000, 10_001, 1)
    assert after["misses"] - before["misses"] <= 2


def test_values_of_every_kind_return_as_they_were(connection: db.Connection) -> None:
    """NULL, the widest integers, doubles, text with a zero, bytes: as bound; booleans as integers."""
    values = (None, -(2**63), 2**63 - 1, 0.1, "a\0b", "ß", b"\x00\xff", True)
    marks = ", ".join("?" for _ in values)
    assert [values] == connection.execute(f"SELECT {marks}", values).fetchall()
