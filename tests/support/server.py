"""A real server process, and connections that speak HTTP/1.1 to it byte by byte."""

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, Self, TypeVar

from support.asgi import SECRET

SOURCE = Path(__file__).parents[2] / "src"
LEDGER = Path(__file__).with_name("ledger.py")
READY_S = 20.0


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def environment(**settings: Any) -> dict[str, str]:
    """This process's environment with the source tree, the tests' secret and some settings."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("BACKSTAY_")}
    given = {f"BACKSTAY_{name.upper()}": str(value) for name, value in settings.items()}
    usual = {"SECRET": SECRET, "LOG_LEVEL": "error", "RATE_LIMIT": "off"}
    return own | {"PYTHONPATH": str(SOURCE)} | {f"BACKSTAY_{name}": value for name, value in usual.items()} | given


class Server:
    """`backstay serve` as a child process in a group of its own; leaving it kills the group.

    Args:
        target: the app file.
        database: the SQLite file, or a URL.
        arguments: more of the command line.
        settings: environment, by setting name.
    """

    def __init__(self, target: Path, database: Path | str, *arguments: str, port: int = 0, **settings: Any) -> None:
        self.port = port or free_port()
        is_file = isinstance(database, Path)
        folder = database.parent if is_file else Path(tempfile.gettempdir())
        self.output = folder / f"{database.stem if is_file else 'backstay-serve'}.{self.port}.log"
        command = [sys.executable, "-m", "backstay", "serve", str(target), "--port", str(self.port)]
        command += ["--database", f"sqlite:///{database}" if is_file else database, *arguments]
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                command,
                env=environment(**settings),
                cwd=folder,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def __enter__(self) -> Self:
        try:
            self.wait_until_ready()
        except BaseException:
            self.kill()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def wait_until_ready(self, path: str = "/health/live") -> None:
        """Return once it answers; fail with its output when it stops before."""
        deadline = time.monotonic() + READY_S
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise AssertionError(f"the server stopped with {self.process.returncode}: {self.log}")
            try:
                with socket.create_connection(("127.0.0.1", self.port), timeout=2) as connection:
                    connection.sendall(f"GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode())
                    if connection.recv(12) == b"HTTP/1.1 200":
                        return
            except OSError:
                pass
            time.sleep(0.003)
        raise AssertionError(f"the server did not answer: {self.log}")

    @property
    def log(self) -> str:
        """What it has written."""
        return self.output.read_text()

    def kill(self) -> None:
        """SIGKILL to the whole group, as a crash would."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        if self.output.name.startswith("backstay-serve"):
            self.output.unlink(missing_ok=True)

    def terminate(self) -> None:
        """SIGTERM, as an orchestrator would."""
        self.process.send_signal(signal.SIGTERM)

    async def connect(self) -> "Wire":
        """A new connection."""
        wire = Wire(*await asyncio.open_connection("127.0.0.1", self.port))
        _OPEN.add(wire)
        return wire


def serve(*arguments: str, **settings: object) -> subprocess.CompletedProcess[str]:
    """Run `backstay serve` until it stops by itself; if it does not, end it with its workers."""
    command = [sys.executable, "-m", "backstay", "serve", *arguments]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    process = subprocess.Popen(command, env=environment(**settings), start_new_session=True, **pipes)
    try:
        out, error = process.communicate(timeout=30)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        raise
    return subprocess.CompletedProcess(command, process.returncode, out, error)


def refusal(*arguments: str, **settings: object) -> str:
    """The one line that a server writes which cannot start."""
    done = serve(*arguments, **settings)
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1, done.stderr
    assert done.stderr.startswith("error: ")
    return done.stderr.removeprefix("error: ").strip()


_OPEN: set["Wire"] = set()
Result = TypeVar("Result")


def run(conversation: Coroutine[Any, Any, Result]) -> Result:
    """Run a conversation with servers in a loop of its own; what it leaves open is closed, also when it fails."""

    async def closing() -> Result:
        try:
            return await conversation
        finally:
            for wire in list(_OPEN):
                await wire.close()

    return asyncio.run(closing())


class Wire:
    """One keep-alive connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def request(
        self, method: str, path: str, *, body: Any = None, credential: str = "", key: str = ""
    ) -> tuple[int, dict[str, str], bytes]:
        """Send a request and read its answer: status, headers by lower-case name, body.

        Raises:
            ConnectionError, asyncio.IncompleteReadError: the server went away.
        """
        self.send(method, path, body=body, credential=credential, key=key)
        return await self.receive()

    def send(self, method: str, path: str, *, body: Any = None, credential: str = "", key: str = "") -> None:
        """Send a request only; `key` is its Idempotency-Key."""
        content = b"" if body is None else json.dumps(body).encode()
        lines = [f"{method} {path} HTTP/1.1", "Host: test", f"Content-Length: {len(content)}"]
        if body is not None:
            lines.append("Content-Type: application/json")
        if credential:
            lines.append(f"Authorization: {credential}")
        if key:
            lines.append(f"Idempotency-Key: {key}")
        self.writer.write(("\r\n".join(lines) + "\r\n\r\n").encode() + content)

    async def receive(self) -> tuple[int, dict[str, str], bytes]:
        """Read one answer."""
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = {
            name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:] if line)
        }
        content = await self.reader.readexactly(int(headers.get("content-length", 0)))
        return int(head[0].split()[1]), headers, content

    async def close(self) -> None:
        """Hang up."""
        _OPEN.discard(self)
        self.writer.close()
        with contextlib.suppress(OSError):
            await self.writer.wait_closed()
