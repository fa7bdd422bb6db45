"""The tests' own PostgreSQL: databases are apart, and nothing of it outlives the process."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from support.postgres import fresh_database, postgres_server, rows, template_database

KILLED = """
import os, signal
from support.postgres import postgres_server
print(postgres_server().folder, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_databases_are_apart() -> None:
    """A copy has what its template had, and changes nothing of it."""

    def fill(url: str) -> None:
        rows(url, "CREATE TABLE t (a int)", "INSERT INTO t VALUES (1)")

    template = template_database("test_databases_are_apart", fill)
    assert template_database("test_databases_are_apart", fill) == template
    copy = fresh_database(template)
    rows(copy, "DELETE FROM t")
    assert rows(copy, "SELECT * FROM t") == []
    assert rows(template, "SELECT * FROM t") == [(1,)]
    assert rows(fresh_database(), "SELECT to_regclass('t')") == [(None,)]


def test_there_is_one_server_a_process() -> None:
    """Starting one takes a second."""
    assert postgres_server() is postgres_server()


def test_nothing_is_left_by_a_process_that_was_killed() -> None:
    """Neither the server nor its folder."""
    here = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}
    done = subprocess.run([sys.executable, "-c", KILLED], capture_output=True, text=True, check=False, env=here)
    folder = Path(done.stdout.strip())
    assert folder.name.startswith("backstay-pg-"), done.stderr
    deadline = time.monotonic() + 10
    while folder.exists():
        if time.monotonic() > deadline:
            pytest.fail(f"{folder} is still there")
        time.sleep(0.05)
