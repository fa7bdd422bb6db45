"""The DBAPI over apsw: what it refuses, what a transaction holds, what a cursor tells."""

import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apsw
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


def tables(connection: db.Connection) -> list[str]:
    """The names of the tables."""
    return [row[0] for row in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchall()]


def count(connection: db.Connection) -> int:
    """The number of games."""
    row = connection.execute("SELECT count(*) FROM games").fetchone()
    assert row is not None
    return row[0]


# Refused


@pytest.mark.parametrize(
    ("statement", "name", "message"),
    [
        (
            "INSERT INTO games (slug) VALUES ('chess')",
            "SQLITE_CONSTRAINT_UNIQUE",
            "UNIQUE constraint failed: games.slug",
        ),
        (
            "INSERT INTO games (slug) VALUES (NULL)",
            "SQLITE_CONSTRAINT_NOTNULL",
            "NOT NULL constraint failed: games.slug",
        ),
        (
            "INSERT INTO games VALUES (9, 'go', -1)",
            "SQLITE_CONSTRAINT_CHECK",
            "CHECK constraint failed: plays >= 0",
        ),
        (
            "INSERT INTO games VALUES (1, 'go', 1)",
            "SQLITE_CONSTRAINT_PRIMARYKEY",
            "UNIQUE constraint failed: games.id",
        ),
        ("INSERT INTO games (id, slug) VALUES ('x', 'go')", "SQLITE_MISMATCH", "datatype mismatch"),
    ],
)
def test_a_broken_constraint_is_an_integrity_error_with_sqlites_words(
    connection: db.Connection, statement: str, name: str, message: str
) -> None:
    """The class, SQLite's message and the extended result code all reach the caller."""
    with pytest.raises(db.IntegrityError) as caught:
        connection.execute(statement)
    assert (name, message) == (caught.value.sqlite_errorname, str(caught.value))
    assert getattr(apsw, name) == caught.value.sqlite_errorcode


def enforce(raw: Any) -> None:
    """Enforce foreign keys."""
    raw.pragma("foreign_keys", True)


def test_a_foreign_key_checked_at_commit_is_an_integrity_error(path: str) -> None:
    """A deferred constraint fails the commit, and the transaction stays open to be mended or rolled back."""
    connection = db.connect(path, on_connect=enforce)
    connection.execute("CREATE TABLE parents (id INTEGER PRIMARY KEY)")
    connection.execute("CREATE TABLE children (id INT REFERENCES parents DEFERRABLE INITIALLY DEFERRED)")
    connection.execute("INSERT INTO children VALUES (7)")
    with pytest.raises(db.IntegrityError) as caught:
        connection.commit()
    assert caught.value.sqlite_errorname == "SQLITE_CONSTRAINT_FOREIGNKEY"
    assert connection.in_transaction
    connection.execute("INSERT INTO parents VALUES (7)")
    connection.commit()
    connection.close()


@pytest.mark.parametrize(
    ("statement", "parameters", "kind"),
    [
        ("SELECT * FROM missing", (), db.OperationalError),
        ("SELEC 1", (), db.OperationalError),
        ("SELECT ?", (), db.ProgrammingError),
        ("SELECT ?", (1, 2), db.ProgrammingError),
        ("SELECT :a", {"b": 1}, db.ProgrammingError),
        ("SELECT ?", (object(),), db.ProgrammingError),
        ("SELECT 1\0", (), db.ProgrammingError),
        ("SELECT ?", (2**63,), db.DataError),
        ("SELECT ?", ("\ud800",), db.DataError),
    ],
)
def test_a_wrong_call_is_an_error_of_the_dbapi(
    connection: db.Connection, statement: str, parameters: db.Parameters, kind: type[db.Error]
) -> None:
    """Nothing of apsw's own exceptions, nor a bare TypeError, escapes."""
    with pytest.raises(kind) as caught:
        connection.execute(statement, parameters)
    assert kind is type(caught.value)
    assert isinstance(caught.value, db.DatabaseError)


@pytest.mark.parametrize(
    "script",
    [
        "INSERT INTO games (slug) VALUES ('go'); DELETE FROM games",
        "INSERT INTO games (slug) VALUES ('gö'); -- then\n /* and */ DELETE FROM games",
        "DELETE FROM games;;x",
    ],
)
def test_a_second_statement_is_refused_before_the_first_runs(connection: db.Connection, script: str) -> None:
    """Two statements in one text change nothing, however they are separated."""
    with pytest.raises(db.ProgrammingError, match="one statement at a time"):
        connection.execute(script)
    connection.commit()
    assert connection.execute("SELECT * FROM games").fetchall() == [(1, "chess", 1)]


@pytest.mark.parametrize("tail", [";", " ; -- done", "; /* done */ ;\n", "-- done", "; /* never closed"])
def test_what_follows_a_statement_without_being_one_is_allowed(connection: db.Connection, tail: str) -> None:
    """Semicolons and comments after the statement are no second statement."""
    assert connection.execute("/* ü */ SELECT 'ä'" + tail).fetchall() == [("ä",)]


def test_executemany_refuses_a_statement_that_returns_rows(connection: db.Connection) -> None:
    """Rows that nobody could fetch are not produced, and nothing is inserted."""
    with pytest.raises(db.ProgrammingError, match="returns no rows"):
        connection.cursor().executemany("INSERT INTO games (slug) VALUES (?) RETURNING id", [("go",)])
    assert count(connection) == 1


def test_fetching_where_no_rows_were_returned_is_refused(connection: db.Connection) -> None:
    """An UPDATE has no result set to fetch from."""
    cursor = connection.execute("UPDATE games SET plays = 2")
    for fetch in (cursor.fetchone, cursor.fetchall, cursor.fetchmany):
        with pytest.raises(db.ProgrammingError, match="no rows"):
            fetch()


def test_a_closed_connection_refuses_work_and_closes_twice(connection: db.Connection) -> None:
    """After close() each use is a ProgrammingError, and close() itself is not."""
    cursor = connection.execute("SELECT 1")
    connection.close()
    connection.close()
    cursor.close()
    for use in (connection.cursor, cursor.fetchall, connection.commit, lambda: cursor.execute("SELECT 1")):
        with pytest.raises(db.ProgrammingError, match=r"closed|no rows"):
            use()


def test_a_missing_file_is_not_created_for_reading(path: str) -> None:
    """Modes ro and rw fail on a missing file, and leave nothing behind."""
    for mode in ("ro", "rw"):
        with pytest.raises(db.OperationalError, match="unable to open"):
            db.connect(path, mode=mode)
    assert not Path(path).exists()


def test_a_failing_on_connect_closes_the_connection(path: str) -> None:
    """An error while preparing a connection reaches the caller unchanged, and the file is let go."""
    opened: list[apsw.Connection] = []

    def fail(raw: apsw.Connection) -> None:
        opened.append(raw)
        raise LookupError("no such extension")

    with pytest.raises(LookupError):
        db.connect(path, on_connect=fail)
    with pytest.raises(apsw.ConnectionClosedError):
        opened[0].cursor()


def test_a_second_writer_is_refused_at_begin_when_immediate(connection: db.Connection, path: str) -> None:
    """IMMEDIATE meets the lock at the first statement, as an OperationalError that names SQLITE_BUSY."""
    connection.execute("UPDATE games SET plays = 2")
    other = db.connect(path, timeout_s=0, begin_mode="IMMEDIATE")
    with pytest.raises(db.OperationalError) as caught:
        other.execute("SELECT 1")
    assert caught.value.sqlite_errorname == "SQLITE_BUSY"
    connection.rollback()
    assert other.execute("SELECT 1").fetchall() == [(1,)]
    other.close()


def test_a_transaction_that_sqlite_dropped_does_not_go_on_in_halves(connection: db.Connection) -> None:
    """After SQLite rolled back by itself, statements and commit are refused until rollback()."""
    connection.execute("INSERT INTO games (slug) VALUES ('go')")
    with pytest.raises(db.IntegrityError):
        connection.execute("INSERT OR ROLLBACK INTO games (slug) VALUES ('chess')")
    for use in (lambda: connection.execute("INSERT INTO games (slug) VALUES ('ludo')"), connection.commit):
        with pytest.raises(db.OperationalError, match="rolled this transaction back"):
            use()
    connection.rollback()
    assert count(connection) == 1


# Transactions


def test_ddl_rolls_back(connection: db.Connection) -> None:
    """CREATE, ALTER and DROP belong to the transaction like any other statement."""
    connection.execute("CREATE TABLE scores (id INTEGER PRIMARY KEY)")
    connection.execute("ALTER TABLE games ADD COLUMN genre TEXT")
    connection.execute("CREATE INDEX by_plays ON games (plays)")
    connection.execute("DROP TABLE scores")
    connection.execute("CREATE TABLE players (id INTEGER PRIMARY KEY)")
    connection.execute("PRAGMA user_version = 9")
    connection.rollback()
    assert tables(connection) == ["games"]
    assert [row[1] for row in connection.execute("PRAGMA table_info(games)")] == ["id", "slug", "plays"]
    assert connection.execute("PRAGMA user_version").fetchall() == [(0,)]


@pytest.mark.parametrize(
    "between",
    [
        "CREATE TABLE scores (id INT)",
        "SELECT 1",
        "SAVEPOINT s",
        "PRAGMA table_info(games)",
        "-- x\nDROP VIEW IF EXISTS v",
    ],
)
def test_no_statement_commits_what_came_before_it(connection: db.Connection, between: str) -> None:
    """The implicit commit of the old sqlite3 module before DDL and savepoints does not exist here."""
    connection.execute("INSERT INTO games (slug) VALUES ('go')")
    connection.execute(between)
    assert connection.in_transaction
    connection.rollback()
    assert count(connection) == 1


def test_a_read_and_a_later_read_see_one_snapshot(connection: db.Connection, path: str) -> None:
    """SELECT begins the transaction too, so that two reads agree whatever another connection commits."""
    connection.execute("PRAGMA journal_mode = WAL")
    other = db.connect(path)
    assert count(connection) == 1
    other.execute("INSERT INTO games (slug) VALUES ('go')")
    other.commit()
    assert count(connection) == 1
    connection.commit()
    assert count(connection) == 2
    other.close()


def test_savepoints_nest(connection: db.Connection) -> None:
    """Rolling back to an inner savepoint keeps the outer work; the whole still rolls back."""
    connection.execute("SAVEPOINT outer_one")
    connection.execute("INSERT INTO games (slug) VALUES ('go')")
    connection.execute("SAVEPOINT inner_one")
    connection.execute("INSERT INTO games (slug) VALUES ('ludo')")
    connection.execute("ROLLBACK TO inner_one")
    connection.execute("RELEASE inner_one")
    assert count(connection) == 2
    connection.execute("RELEASE outer_one")
    assert connection.in_transaction
    connection.rollback()
    assert count(connection) == 1


def test_pragmas_that_a_transaction_would_ignore_run_outside(connection: db.Connection) -> None:
    """PRAGMA foreign_keys and VACUUM as first statement work, and open no transaction."""
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("VACUUM")
    assert not connection.in_transaction
    assert connection.execute("PRAGMA foreign_keys").fetchall() == [(1,)]


def test_a_transaction_written_out_by_the_caller_is_followed(connection: db.Connection) -> None:
    """BEGIN, COMMIT and ROLLBACK as statements mean what they say, and leave no stale state."""
    connection.execute("BEGIN IMMEDIATE")
    connection.execute("INSERT INTO games (slug) VALUES ('go')")
    connection.execute("COMMIT")
    connection.execute("INSERT INTO games (slug) VALUES ('ludo')")
    connection.execute("ROLLBACK")
    assert count(connection) == 2
    connection.rollback()


def test_autocommit_keeps_each_statement_at_once(connection: db.Connection) -> None:
    """With autocommit there is no transaction to roll back; switching inside one is refused."""
    connection.execute("SELECT 1")
    with pytest.raises(db.ProgrammingError, match="before switching"):
        connection.autocommit = True
    connection.rollback()
    connection.autocommit = True
    connection.execute("INSERT INTO games (slug) VALUES ('go')")
    connection.rollback()
    assert count(connection) == 2
    assert not connection.in_transaction


def test_four_threads_writing_lose_nothing(connection: db.Connection, path: str) -> None:
    """Read-modify-write under BEGIN IMMEDIATE is serial: no update is lost and none fails."""
    failures: list[BaseException] = []

    def add() -> None:
        try:
            own = db.connect(path, begin_mode="IMMEDIATE", timeout_s=60)
            for _ in range(25):
                row = own.execute("SELECT plays FROM games WHERE id = 1").fetchone()
                assert row is not None
                own.execute("UPDATE games SET plays = ? WHERE id = 1", (row[0] + 1,))
                own.commit()
            own.close()
        except BaseException as error:
            failures.append(error)

    connection.execute("PRAGMA journal_mode = WAL")
    threads = [threading.Thread(target=add) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert connection.execute("SELECT plays FROM games").fetchall() == [(101,)]


# The module


def test_the_module_states_what_pep_249_asks_for() -> None:
    """Globals, constructors and the exception tree of PEP 249 are there."""
    assert (db.apilevel, db.paramstyle, db.threadsafety) == ("2.0", "qmark", 1)
    assert apsw.sqlite_lib_version() == ".".join(str(part) for part in db.sqlite_version_info)
    assert (str(db.DateFromTicks(86400)), str(db.TimeFromTicks(1))) == ("1970-01-02", "00:00:01")
    assert not issubclass(db.InterfaceError, db.DatabaseError)
    for name in ("Data", "Operational", "Integrity", "Internal", "Programming", "NotSupported"):
        assert issubclass(getattr(db, f"{name}Error"), db.DatabaseError)


def test_no_second_sqlite_library_is_loaded() -> None:
    """The dialects never import the standard library's sqlite3: two copies break each other's locks."""
    code = (
        "import sys, asyncio, sqlalchemy; from backstay.db import apsw_async, apsw_dialect\n"
        "engine = apsw_dialect.create_sync_engine(':memory:', write=True)\n"
        "sqlalchemy.inspect(engine).get_table_names()\n"
        "async def main():\n"
        "    e = apsw_async.create_apsw_async_engine(':memory:')\n"
        "    async with e.connect() as c: await c.exec_driver_sql('select 1')\n"
        "    await e.dispose()\n"
        "asyncio.run(main())\n"
        "assert not {'sqlite3', '_sqlite3', 'aiosqlite'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
