"""`backstay serve`: how it starts and stops, what it refuses, and that several processes are one server."""

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import apsw
import pytest

from support.asgi import bearer, sync_engine
from support.ledger import Base
from support.postgres import fresh_database, own_server
from support.server import LEDGER, Server, environment, free_port, refusal, run, serve

CREDENTIAL = bearer("writer")
FOUNDATIONS = "import sqlalchemy.orm, pydantic"
RATIO_MAX = 2.5

#: An app file as a user has it: one model, one slow endpoint.
APP = """
import asyncio
import os

from sqlalchemy.orm import Mapped

from backstay import Backstay, Model, public, signed_in


class Page(Model):
    title: Mapped[str]


app = Backstay("pages")
app.resource(Page, read=public, write=signed_in)


@app.get("/wait/{seconds}")
async def wait(seconds: float) -> dict[str, int]:
    await asyncio.sleep(seconds)
    return {"pid": os.getpid()}
"""


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """A file with the ledger's tables."""
    path = tmp_path / "ledger.db"
    engine = sync_engine(path)
    Base.metadata.create_all(engine)
    engine.dispose()
    return path


@pytest.fixture
def pages(tmp_path: Path) -> tuple[Path, Path]:
    """The app file and its database."""
    path = tmp_path / "pages.db"
    connection = apsw.Connection(str(path))
    connection.execute(
        "CREATE TABLE pages (id INTEGER PRIMARY KEY, title TEXT NOT NULL, created_at TEXT, updated_at TEXT,"
        " version INTEGER NOT NULL DEFAULT 1)"
    )
    connection.close()
    app = tmp_path / "pages_app.py"
    app.write_text(APP)
    return app, path


def refuses(port: int) -> bool:
    """Whether nobody listens any more."""

    async def attempt() -> bool:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            return True
        writer.close()
        return False

    return asyncio.run(attempt())


def exit_code(server: Server, timeout_s: float = 10) -> int:
    """The exit code, once it stops by itself."""
    return server.process.wait(timeout_s)


def test_sigterm_finishes_what_is_in_flight(pages: tuple[Path, Path]) -> None:
    """A request under way is answered in full, readiness is 503 meanwhile, then nobody listens and the code is 0."""

    async def talk(server: Server) -> None:
        busy, probe = await server.connect(), await server.connect()
        assert (await probe.request("GET", "/health/ready"))[0] == 200
        busy.send("GET", "/wait/0.8")
        await asyncio.sleep(0.3)
        server.terminate()
        await asyncio.sleep(0.2)
        status, _, body = await probe.request("GET", "/health/ready")
        assert (status, json.loads(body)["status"]) == (503, "draining")
        assert (await probe.request("GET", "/health/live"))[0] == 200
        status, _, body = await busy.receive()
        assert (status, json.loads(body)) == (200, {"pid": server.process.pid})

    with Server(*pages) as server:
        run(talk(server))
        assert exit_code(server) == 0
        assert refuses(server.port)


def test_sigterm_under_writes_loses_no_acknowledged_one(database: Path) -> None:
    """Each of 64 writes at the moment of the signal is acknowledged and there, or its connection closed."""

    async def talk(server: Server) -> set[str]:
        wires = [await server.connect() for _ in range(64)]

        async def write(number: int) -> str | None:
            code = f"entry {number}"
            body = {"code": code, "copy": code, "amount": 1}
            try:
                answer = await wires[number].request("POST", "/api/v1/entries", body=body, credential=CREDENTIAL)
            except (ConnectionError, asyncio.IncompleteReadError):
                return None
            assert answer[0] in (201, 503), answer
            return code if answer[0] == 201 else None

        writes = [asyncio.create_task(write(i)) for i in range(64)]
        await asyncio.wait(writes, return_when=asyncio.FIRST_COMPLETED)
        server.terminate()
        return {code for code in await asyncio.gather(*writes) if code is not None}

    with Server(LEDGER, database) as server:
        acknowledged = run(talk(server))
        assert exit_code(server) == 0
    connection = apsw.Connection(str(database))
    assert acknowledged <= {code for (code,) in connection.execute("SELECT code FROM entries")}
    connection.close()
    assert acknowledged


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_idle_connection_does_not_hold_up_the_end(database: Path, number: signal.Signals) -> None:
    """Keep-alive connections without a request are dropped: the process ends at once."""

    async def talk(server: Server) -> None:
        wires = [await server.connect() for _ in range(3)]
        assert (await wires[0].request("GET", "/api/v1/entries"))[0] == 200
        server.process.send_signal(number)
        started = time.monotonic()
        while server.process.poll() is None and time.monotonic() < started + 5:  # noqa: ASYNC110 - a test may poll
            await asyncio.sleep(0.01)
        assert server.process.poll() == 0
        assert time.monotonic() - started < 2

    with Server(LEDGER, database) as server:
        run(talk(server))


def test_a_request_without_end_is_cut_off(pages: tuple[Path, Path]) -> None:
    """BACKSTAY_SHUTDOWN_TIMEOUT_S bounds the wait for requests in flight."""

    async def talk(server: Server) -> None:
        wire = await server.connect()
        wire.send("GET", "/wait/60")
        await asyncio.sleep(0.3)
        server.terminate()

    with Server(*pages, shutdown_timeout_s=0.5) as server:
        started = time.monotonic()
        run(talk(server))
        exit_code(server, 5)
        assert time.monotonic() - started < 4


def test_a_taken_port_is_one_line(database: Path) -> None:
    """The line names the address and the mend."""
    with Server(LEDGER, database) as server:
        line = refusal(str(LEDGER), "--port", str(server.port), "--database", f"sqlite:///{database}")
    assert f"127.0.0.1:{server.port}" in line
    assert "--port" in line


def test_a_taken_port_is_refused_with_workers_too(database: Path) -> None:
    """Two servers never share a port by accident: the second is refused although its workers would share one."""
    with Server(LEDGER, database, "--workers", "2") as server:
        time.sleep(0.5)
        arguments = ["--port", str(server.port), "--database", f"sqlite:///{database}"]
        assert "--port" in refusal(str(LEDGER), *arguments)
        done = serve(str(LEDGER), *arguments, "--workers", "2")
        assert done.returncode == 2
        assert done.stderr.count("error: ") == 1
        assert "--port" in done.stderr
        assert "Traceback" not in done.stderr


def test_targets_that_cannot_be_served_are_one_line(tmp_path: Path) -> None:
    """A missing file or module, a syntax error, a file without an app, a secret too short, a bad setting."""
    assert "nothing.py" in refusal(str(tmp_path / "nothing.py"))
    assert "no_such_module_here" in refusal("no_such_module_here:app")
    broken = tmp_path / "broken.py"
    broken.write_text("from backstay import Backstay\napp = Backstay('a'\n")
    assert re.search(r"broken\.py:2: ", refusal(str(broken)))
    empty = tmp_path / "empty.py"
    empty.write_text("x = 1\n")
    assert "Backstay(" in refusal(str(empty))
    good = tmp_path / "good.py"
    good.write_text(APP)
    database = f"sqlite:///{tmp_path}/new.db"
    port = str(free_port())
    assert "BACKSTAY_SECRET" in refusal(str(good), "--database", database, "--port", port, secret="short")
    assert "BACKSTAY_PORT" in refusal(str(good), "--database", database, port="many")
    assert "nowhere" in refusal(str(good), "--database", f"sqlite:///{tmp_path}/nowhere/a.db", "--port", port)


def both_listening(server: Server) -> set[int]:
    """The two workers, once both listen."""
    deadline = time.monotonic() + 10
    while len(found := listeners(server.port)) < 2:
        assert server.process.poll() is None, server.log
        assert time.monotonic() < deadline, (found, server.log)
        time.sleep(0.05)
    return found


def listeners(port: int) -> set[int]:
    """The processes that listen on a port, from /proc."""
    sockets = set()
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if fields[3] == "0A" and int(fields[1].rpartition(":")[2], 16) == port:
            sockets.add(f"socket:[{fields[9]}]")
    found = set()
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            try:
                if any(os.readlink(handle) in sockets for handle in (process / "fd").iterdir()):
                    found.add(int(process.name))
            except OSError:
                continue
    return found


@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="reads /proc to see who listens")
def test_workers_share_one_port_and_one_file(pages: tuple[Path, Path]) -> None:
    """--workers 2: two processes listen and answer, both write, and SIGTERM ends all of them with code 0."""
    app, database = pages

    async def talk(server: Server) -> set[int]:
        both_listening(server)
        deadline = time.monotonic() + 10
        found: dict[int, int] = {}
        while len(found) < 2 and time.monotonic() < deadline:
            wire = await server.connect()
            pid = json.loads((await wire.request("GET", "/wait/0"))[2])["pid"]
            found[pid] = found.get(pid, 0) + 1
            answer = await wire.request("POST", "/api/v1/pages", body={"title": str(pid)}, credential=CREDENTIAL)
            assert answer[0] == 201, answer
            await wire.close()
        assert len(found) == 2, (found, listeners(server.port), server.log)
        assert server.process.pid not in found
        assert set(found) == listeners(server.port)
        wire = await server.connect()
        _, _, body = await wire.request("GET", "/api/v1/pages/aggregate?group=title&select=count")
        assert {int(row["title"]): row["count"] for row in json.loads(body)["data"]} == found
        return set(found)

    with Server(app, database, "--workers", "2") as server:
        workers = run(talk(server))
        server.terminate()
        assert exit_code(server) == 0
        assert refuses(server.port)
        assert not any(Path(f"/proc/{pid}").exists() for pid in workers)


@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="reads /proc to see who listens")
def test_a_worker_that_dies_is_replaced(pages: tuple[Path, Path]) -> None:
    """After kill -9 of one of two workers there are two again, and the server answers all the time after."""
    with Server(*pages, "--workers", "2") as server:
        before = both_listening(server)
        time.sleep(2)  # a worker that dies in its first two seconds is a start that failed
        os.kill(min(before), signal.SIGKILL)
        deadline = time.monotonic() + 10
        after = before
        while (len(after) < 2 or min(before) in after) and time.monotonic() < deadline:
            time.sleep(0.05)
            after = listeners(server.port)
        assert len(after) == 2
        assert len(before & after) == 1
        server.wait_until_ready()


@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="reads /proc to see who listens")
@pytest.mark.parametrize("way", ["--workers", "--dev"])
def test_no_copy_outlives_who_started_it(pages: tuple[Path, Path], way: str) -> None:
    """After kill -9 of the process that starts workers, or restarts one, nobody holds the port any more.

    What is in flight is answered: a copy ends as on SIGTERM.
    """

    async def talk(server: Server) -> None:
        busy = await server.connect()
        busy.send("GET", "/wait/0.8")
        await asyncio.sleep(0.3)
        os.kill(server.process.pid, signal.SIGKILL)
        assert (await busy.receive())[0] == 200

    several = way == "--workers"
    with Server(*pages, *(["--workers", "2"] if several else ["--dev"])) as server:
        copies = both_listening(server) if several else listeners(server.port)
        assert copies
        assert server.process.pid not in copies
        run(talk(server))
        deadline = time.monotonic() + 10
        while any(Path(f"/proc/{pid}").exists() for pid in copies) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert listeners(server.port) == set()
        assert refuses(server.port)


def test_dev_restarts_when_a_file_changes(pages: tuple[Path, Path]) -> None:
    """--dev serves the changed app soon after it is saved, survives a file that does not parse, and stops."""
    app, database = pages

    async def name_of(server: Server) -> str | None:
        try:
            wire = await server.connect()
            _, _, body = await asyncio.wait_for(wire.request("GET", "/openapi.json"), 5)
            await wire.close()
        except (OSError, asyncio.IncompleteReadError, TimeoutError):
            return None
        return json.loads(body)["info"]["title"]

    async def becomes(server: Server, name: str) -> None:
        deadline = time.monotonic() + 15
        while await name_of(server) != name:
            assert time.monotonic() < deadline, f"never became {name}: {server.log}"
            assert server.process.poll() is None, server.log
            await asyncio.sleep(0.05)

    async def talk(server: Server) -> None:
        await becomes(server, "pages")
        await asyncio.sleep(0.5)
        app.write_text(APP.replace('Backstay("pages")', 'Backstay("leaves")'))
        await becomes(server, "leaves")
        app.write_text("app = (")
        await asyncio.sleep(1.0)
        app.write_text(APP.replace('Backstay("pages")', 'Backstay("mended")'))
        await becomes(server, "mended")

    with Server(app, database, "--dev", secret="") as server:
        run(talk(server))
        server.terminate()
        assert exit_code(server) == 0
        assert refuses(server.port)


def seconds_of_import() -> float:
    """Wall time of a Python that imports the foundations."""
    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", FOUNDATIONS], env=environment(), check=True)
    return time.perf_counter() - started


def seconds_to_first_answer(database: Path) -> float:
    """Wall time from the start of the process to its first answered list."""
    started = time.perf_counter()
    server = Server(LEDGER, database)
    try:
        server.wait_until_ready("/api/v1/entries?limit=1")
        return time.perf_counter() - started
    finally:
        server.kill()


@pytest.mark.alone
def test_the_first_answer_comes_soon(database: Path) -> None:
    """From process start to the first answer costs at most 2.5 times the import of SQLAlchemy and pydantic."""
    seconds_to_first_answer(database)  # compiles bytecode
    pairs = [(seconds_of_import(), seconds_to_first_answer(database)) for _ in range(6)]
    imported, answered = min(pair[0] for pair in pairs), min(pair[1] for pair in pairs)
    assert answered <= RATIO_MAX * imported, f"{answered:.3f} s, import {imported:.3f} s: {answered / imported:.2f}"


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_a_database_without_its_tables_names_the_command(kind: str, tmp_path: Path) -> None:
    """A database that was never migrated is one line, with the missing table and the command that makes it."""
    url = f"sqlite:///{tmp_path}/empty.db" if kind == "sqlite" else fresh_database()
    line = refusal(str(LEDGER), "--database", url, "--port", str(free_port()))
    assert "'accounts'" in line
    assert "`backstay db migrate`" in line


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_migrations_that_are_not_applied_are_told(kind: str, pages: tuple[Path, Path], tmp_path: Path) -> None:
    """One line, of one worker, names the first file and the command; none when they are applied."""
    app, _ = pages
    url = f"sqlite:///{tmp_path}/told.db" if kind == "sqlite" else fresh_database()
    database = tmp_path / "told.db" if kind == "sqlite" else url

    def backstay(*words: str) -> None:
        command = [sys.executable, "-m", "backstay", *words, str(app), "--database", url]
        subprocess.run(command, env=environment(), cwd=tmp_path, check=True, capture_output=True)

    def told(*arguments: str) -> list[str]:
        with Server(app, database, *arguments) as server:
            deadline = time.monotonic() + 5
            while "reference" not in server.log and time.monotonic() < deadline:
                time.sleep(0.05)
            time.sleep(0.5)
            return [line for line in server.log.splitlines() if "db migrate" in line]

    backstay("db", "new", "pages")
    backstay("db", "migrate")
    assert told() == []
    for title in ("--empty first", "--empty second"):
        backstay("db", "new", *title.split())
    first = next((tmp_path / "migrations").glob("*_first.py")).name
    line = f"  warning: migrations/{first} and 1 more not applied: run `backstay db migrate`"
    assert told("--workers", "2") == [line]
    backstay("db", "migrate")
    assert told() == []


def test_a_postgresql_that_cannot_be_used_is_one_line() -> None:
    """No server, no such database or user, a wrong password: the line names what to mend, and no password."""

    def refused(url: str) -> str:
        return refusal(str(LEDGER), "--database", url, "--port", str(free_port()))

    nobody = free_port()
    line = refused(f"postgresql://ada:s3cret@127.0.0.1:{nobody}/shop")
    assert f"ada@127.0.0.1:{nobody}/shop" in line
    assert "start it" in line
    assert "s3cret" not in line
    url = fresh_database()
    assert "createdb no_such" in refused(url.rpartition("/")[0] + "/no_such")
    assert "'nobody_here'" in refused(url.replace("postgres@", "nobody_here:s3cret@"))
    with own_server(password_encryption="scram-sha-256") as server:
        server.execute("ALTER USER postgres PASSWORD 'right'")
        rules = server.folder / "data" / "pg_hba.conf"
        rules.write_text(rules.read_text().replace("trust", "scram-sha-256"))
        os.kill(server.pid, signal.SIGHUP)
        deadline = time.monotonic() + 5
        while "password" not in (line := refused(server.url().replace("postgres@", "postgres:s3cret@"))):
            assert time.monotonic() < deadline, line
        assert "s3cret" not in line
        assert "BACKSTAY_DATABASE_URL" in line


def test_a_missing_driver_is_one_line(tmp_path: Path) -> None:
    """PostgreSQL without psycopg names the extra to install."""
    (tmp_path / "psycopg.py").write_text("raise ImportError('no psycopg here')\n")
    command = [sys.executable, "-m", "backstay", "serve", str(LEDGER), "--database", "postgresql://127.0.0.1/shop"]
    own = environment()
    own["PYTHONPATH"] = f"{tmp_path}:{own['PYTHONPATH']}"
    done = subprocess.run(command, env=own, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 2, done.stderr
    assert done.stderr == "error: PostgreSQL needs its driver: pip install 'backstay[postgres]'.\n"
