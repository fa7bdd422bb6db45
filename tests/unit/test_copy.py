"""`backstay db copy`: what it refuses and what a crash leaves first, then that both sides are equal."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.pool import NullPool

from backstay.db import copy
from backstay.db.copy import copy_database
from backstay.db.engines import create_sync_engine
from backstay.errors import OperatorError
from support import seed
from support.postgres import fresh_database, rows
from support.samples import ROWS, Sample
from support.world import Base

CHINOOK = Path("/work/shared/data/chinook.sqlite")


def silent(items: Any, description: str = "") -> Any:
    """No progress bar."""
    return iter(range(items) if isinstance(items, int) else items)


def run(url: str, *statements: str) -> list[tuple[Any, ...]]:
    """Run SQL on either database; returns the last statement's rows."""
    engine = create_sync_engine(url, write=True, poolclass=NullPool)
    found: list[tuple[Any, ...]] = []
    with engine.begin() as connection:
        for statement in statements:
            result = connection.exec_driver_sql(statement)
            found = [tuple(row) for row in result] if result.returns_rows else []
    engine.dispose()
    return found


def world(url: str) -> str:
    """A database with every kind of column, null and odd values, a self-reference and a cycle."""
    engine = create_sync_engine(url, write=True)
    seed.fill(engine, [(Sample.__table__, ROWS)])
    engine.dispose()
    return url


@pytest.fixture
def file(tmp_path: Path) -> Callable[[str], str]:
    """URLs of SQLite files."""
    return lambda name: f"sqlite:///{tmp_path / name}.db"


# ---- refused


def test_a_target_of_others_is_refused(file: Callable[[str], str]) -> None:
    """Nothing of it is changed until somebody says that it may go."""
    source, target = file("source"), fresh_database()
    run(source, "CREATE TABLE t (a INTEGER PRIMARY KEY)", "INSERT INTO t VALUES (1), (2)")
    rows(target, "CREATE TABLE theirs (a int)", "INSERT INTO theirs VALUES (1)")
    with pytest.raises(OperatorError, match=r"has tables already \('theirs' and 0 more\): add --replace"):
        copy_database(source, target, silent)
    with pytest.raises(OperatorError, match="has no table 't' to go on with"):
        copy_database(source, target, silent, resume=True)
    assert rows(target, "SELECT * FROM theirs") == [(1,)]
    assert copy_database(source, target, silent, replace=True).verified
    assert rows(target, "SELECT to_regclass('theirs')", "SELECT a FROM t ORDER BY a") == [(1,), (2,)]
    with pytest.raises(OperatorError, match="are one database"):
        copy_database(source, source, silent)
    with pytest.raises(OperatorError, match="There is no database file"):
        copy_database(file("nowhere"), target, silent)


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("INSERT INTO t VALUES (1, 'a' || char(0) || 'b', NULL)", "Cannot copy t: .*NUL"),
        ("INSERT INTO t VALUES (1, 'a', 7)", "Cannot end the copy: .*foreign key"),
    ],
)
def test_what_the_target_cannot_hold_is_one_line(file: Callable[[str], str], statement: str, message: str) -> None:
    """It names the table; the copy is not called complete."""
    source, target = file("source"), fresh_database()
    run(source, "CREATE TABLE t (a INTEGER PRIMARY KEY, b TEXT, c INTEGER REFERENCES t)", statement)
    with pytest.raises(OperatorError, match=message) as caught:
        copy_database(source, target, silent)
    assert "\n" not in str(caught.value)
    assert rows(target, "SELECT count(*) FROM backstay_copy") == [(1,)]


def test_a_difference_is_found(file: Callable[[str], str]) -> None:
    """One changed value, and one row too many, in a target that counts as complete."""
    source, target = file("source"), fresh_database()
    run(source, "CREATE TABLE t (a INTEGER PRIMARY KEY, b TEXT)", "INSERT INTO t VALUES (1, 'x'), (2, NULL)")
    assert copy_database(source, target, silent).verified
    rows(target, "UPDATE t SET b = '' WHERE a = 2")
    assert not copy_database(source, target, silent, resume=True).verified
    rows(target, "UPDATE t SET b = NULL WHERE a = 2")
    assert copy_database(source, target, silent, resume=True).verified
    rows(target, "INSERT INTO t VALUES (3, 'x')")
    assert not copy_database(source, target, silent, resume=True).verified


# ---- crashes


SCRIPT = """
import os, signal, sys
from backstay.db import copy
copy.BATCH_ROWS = 100
left = int(sys.argv[3])

def progress(items, description=""):
    global left
    for item in items:
        if description == "t":
            left -= 1
            if left < 0:
                os.kill(os.getpid(), signal.SIGKILL)
        yield item

copy.copy_database(sys.argv[1], sys.argv[2], progress)
"""


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_a_killed_copy_goes_on(file: Callable[[str], str], kind: str) -> None:
    """Run again, it copies the rest and no row twice; the result is that of a copy that was not killed."""
    source, target = file("source"), fresh_database() if kind == "postgresql" else file("target")
    numbers = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000)"
    run(
        source,
        "CREATE TABLE t (a TEXT, b INTEGER, c TEXT, PRIMARY KEY (a, b))",
        f"{numbers} INSERT INTO t SELECT char(65 + i % 40), i * 2, 'x' || i FROM n",
        "CREATE TABLE u (x INTEGER)",
        f"{numbers} INSERT INTO u SELECT i % 7 FROM n",
    )
    done = subprocess.run([sys.executable, "-c", SCRIPT, source, target, "4"], check=False)
    assert done.returncode == -signal.SIGKILL
    assert 0 < run(target, "SELECT count(*) FROM t")[0][0] < 1_000
    report = copy_database(source, target, silent)
    assert (report.resumed, report.verified) == (True, True)
    assert {table.name: table.rows for table in report.tables} == {"t": 1_000, "u": 1_000}
    assert {table.name: table.new for table in report.tables}["t"] < 1_000
    assert run(target, "SELECT count(*), count(DISTINCT b) FROM t") == [(1_000, 1_000)]
    with pytest.raises(OperatorError, match="has tables already"):
        copy_database(source, target, silent)


# ---- equal


@pytest.mark.parametrize("models", [True, False])
def test_every_kind_goes_there_and_back(file: Callable[[str], str], models: bool) -> None:
    """SQLite to PostgreSQL and back, with an app's schema or the one found, keys and numbers included."""
    metadata = Base.metadata if models else None
    first, second, third = world(file("first")), fresh_database(), file("third")
    reports = [
        copy_database(first, second, silent, metadata=metadata),
        copy_database(second, third, silent, metadata=metadata),
    ]
    assert all(report.verified for report in reports)
    assert sum(table.rows for table in reports[0].tables) > 40
    assert [(t.name, t.rows) for t in reports[0].tables] == [(t.name, t.rows) for t in reports[1].tables]
    if models:
        # With the same types the sums are the same, too, and the file says what it said.
        assert [t.checksum for t in reports[0].tables] == [t.checksum for t in reports[1].tables]
        for table in Base.metadata.sorted_tables:
            names = ", ".join(f'"{column.name}"' for column in table.columns)
            query = f'SELECT {names} FROM "{table.name}" ORDER BY {names}'
            if not any(isinstance(column.type, sa.JSON) for column in table.columns):
                assert run(third, query) == run(first, query), table.name
    assert run(
        second, "INSERT INTO tags (label, created_at, updated_at, version) VALUES ('n', now(), now(), 1) RETURNING id"
    )
    with pytest.raises(sa.exc.IntegrityError):
        run(second, "INSERT INTO game_tags VALUES (999, 999)")


@pytest.mark.skipif(not CHINOOK.exists(), reason="the sample database is not here")
def test_chinook_goes_there_and_back(file: Callable[[str], str]) -> None:
    """A database that others made: 11 tables with a self-reference."""
    target = fresh_database()
    there = copy_database(f"sqlite:///{CHINOOK}", target, silent)
    back = copy_database(target, file("back"), silent)
    assert there.verified
    assert back.verified
    assert sum(table.rows for table in back.tables) == 15_607


def test_json_keeps_what_json_says(file: Callable[[str], str]) -> None:
    """A JSON null is not an SQL NULL; numbers beyond 64 bits keep their digits; the order of keys means nothing."""
    source, target = file("source"), fresh_database()
    values = ["null", '{"b": 1, "a": 1.50}', "123456789012345678901234567890", "1e400", '"x"', "[1.0, 100]", None]
    engine = create_sync_engine(source, write=True)
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE t (a INTEGER PRIMARY KEY, b JSON_TEXT)")
        for number, value in enumerate(values):
            connection.exec_driver_sql("INSERT INTO t VALUES (?, ?)", (number, value))
    engine.dispose()
    assert copy_database(source, target, silent).verified
    assert rows(target, "SELECT b IS NULL, jsonb_typeof(b) FROM t ORDER BY a")[0] == (False, "null")
    assert rows(target, "SELECT b IS NULL FROM t ORDER BY a DESC")[0] == (True,)
    assert rows(target, "SELECT b::text FROM t WHERE a = 2") == [("123456789012345678901234567890",)]


def test_a_copy_is_of_one_moment(file: Callable[[str], str]) -> None:
    """What is written to the source meanwhile is not in the copy, and does not make it differ."""
    source, target = fresh_database(), file("target")
    run(source, "CREATE TABLE t (a bigint PRIMARY KEY)", "INSERT INTO t SELECT generate_series(1, 10)")

    def writing(items: Iterable[Any], description: str = "") -> Any:
        run(source, "INSERT INTO t SELECT max(a) + 1 FROM t")
        return iter(items)

    report = copy_database(source, target, writing)
    assert report.verified
    assert report.tables[0].rows == 10


def test_the_command_reports(file: Callable[[str], str], tmp_path: Path) -> None:
    """JSON for a machine; exit code 1 when the sides differ, 2 for a mistake."""
    source, target = file("source"), fresh_database()
    run(source, "CREATE TABLE t (a INTEGER PRIMARY KEY)", "INSERT INTO t VALUES (1)")

    def command(*options: str) -> subprocess.CompletedProcess[str]:
        whole = [sys.executable, "-m", "backstay", "db", "copy", source, target, *options]
        return subprocess.run(whole, cwd=tmp_path, capture_output=True, text=True, check=False, env=os.environ)

    done = command("--json")
    report = json.loads(done.stdout)
    assert (done.returncode, report["verified"], report["tables"][0]["rows"]) == (0, True, 1)
    assert report["changes_left"] == 0
    again = command()
    assert (again.returncode, again.stdout, again.stderr.count("\n")) == (2, "", 1)
    rows(target, "UPDATE t SET a = 2")
    differs = command("--resume")
    assert differs.returncode == 1
    assert "t: 1 rows (0 in this run)  DIFFERS" in differs.stdout
    assert "change log" not in differs.stdout
    run(source, "CREATE TABLE backstay_changes (id INTEGER PRIMARY KEY)", "INSERT INTO backstay_changes VALUES (1)")
    replaced = command("--replace")
    assert replaced.returncode == 0
    assert "the change log stays behind (1 entries): keep the source for its history" in replaced.stdout
    assert rows(target, "SELECT to_regclass('backstay_changes')") == [(None,)]


def test_the_arcade_is_copied_quickly(file: Callable[[str], str]) -> None:
    """Batches, not rows: 20,000 rows within seconds."""
    source, target = file("source"), fresh_database()
    numbers = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000)"
    run(source, "CREATE TABLE t (a INTEGER PRIMARY KEY, b TEXT)", f"{numbers} INSERT INTO t SELECT i, 'x' FROM n")
    assert copy.BATCH_ROWS == 5_000
    started = time.monotonic()
    assert copy_database(source, target, silent).verified
    assert time.monotonic() - started < 30
