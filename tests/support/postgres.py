"""One throwaway PostgreSQL per pytest process, started by the first test that needs it.

Databases are copies of a template, which takes some hundredths of a second. A reaper ends the server when this
process is gone, however it went.
"""

import asyncio
import atexit
import itertools
import os
import secrets
import subprocess
import tempfile
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import psycopg

from backstay import Config
from backstay.db.engines import create_sync_engine
from backstay.db.opened import prepare_recording
from backstay.db.postgres_engine import PostgresDatabase
from backstay.db.recording import recorded_tables
from backstay.testing.postgres import PostgresServer
from support.ledger import Base

_NUMBERS = itertools.count(1)
_TEMPLATES: dict[str, str] = {}
#: Waits until its standard input closes, which is when this process ends; then stops the server and cleans up.
_REAPER = """
cat > /dev/null
kill -QUIT "$(head -n 1 "$1/data/postmaster.pid")"
rm -rf "$1"
sleep 0.2
rm -rf "$1"
"""


@cache
def postgres_server() -> PostgresServer:
    """The server of this process; under xdist each worker has its own."""
    folder = Path(tempfile.gettempdir()) / f"backstay-pg-{os.getpid()}-{secrets.token_hex(3)}"
    server = PostgresServer(folder, settings={"shared_buffers": "64MB", "autovacuum": "off"})
    reaper = subprocess.Popen(
        ["sh", "-c", _REAPER, "reaper", str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )

    def end() -> None:
        server.destroy()
        assert reaper.stdin is not None
        reaper.stdin.close()
        reaper.wait(10)

    atexit.register(end)
    server.create()
    server.start()
    return server


def fresh_database(template: str | None = None) -> str:
    """The URL of a database of the caller's own.

    Args:
        template: the URL of a database to copy, to which nobody is connected; an empty one by default.
    """
    server = postgres_server()
    name = f"test_{next(_NUMBERS)}"
    source = "template0" if template is None else template.rpartition("/")[2]
    with psycopg.connect(server.url(), autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{source}" STRATEGY WAL_LOG'.encode())
    return server.url(name)


def template_database(key: str, fill: Callable[[str], object]) -> str:
    """The URL of a database to copy, made once in this process: `fill` gets its URL and lets go of it."""
    if key not in _TEMPLATES:
        url = fresh_database()
        fill(url)
        _TEMPLATES[key] = url
    return _TEMPLATES[key]


@contextmanager
def own_server(*, durable: bool = False, **settings: str) -> Generator[PostgresServer]:
    """A server that a test may stop and start."""
    folder = Path(tempfile.gettempdir()) / f"backstay-pg-{os.getpid()}-{secrets.token_hex(3)}"
    with PostgresServer(folder, durable=durable, settings={"shared_buffers": "64MB", **settings}) as server:
        yield server


def fill_ledger(url: str) -> None:
    """Make the ledger's tables and one account."""
    engine = create_sync_engine(url, write=True)
    Base.metadata.create_all(engine)
    engine.dispose()
    # As `backstay db migrate` does: a server that starts need not wait for somebody's lock then.
    prepare_recording(Config(database_url=url), recorded_tables(Base.metadata.sorted_tables))
    rows(url, "INSERT INTO accounts (id, name) VALUES (1, 'a')")


async def settled(database: PostgresDatabase) -> None:
    """Return when nothing runs or waits."""
    deadline = time.monotonic() + 5
    while (found := database.gauges()).reads_running or found.writes_waiting:
        assert time.monotonic() < deadline, found
        await asyncio.sleep(0.01)


def ledger_database() -> str:
    """The URL of a ledger of the caller's own."""
    return fresh_database(template_database("ledger", fill_ledger))


def rows(url: str, *statements: str) -> list[tuple[object, ...]]:
    """Run SQL, all in one transaction; returns the last statement's rows."""
    found: list[tuple[object, ...]] = []
    with psycopg.connect(url) as connection:
        for statement in statements:
            cursor = connection.execute(statement.encode())
            found = cursor.fetchall() if cursor.description else []
    return found
