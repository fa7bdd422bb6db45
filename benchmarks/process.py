"""One server process tree: start it on its own core, read its CPU time and memory, stop it.

Linux only: the figures come from /proc.
"""

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks import cpu

PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
START_S_MAX = 30.0
STOP_S_MAX = 10.0


class ServerError(Exception):
    """A server did not start, or answered what it must not."""


@dataclass(frozen=True, slots=True)
class ColdStart:
    """Milliseconds from the start of the process to its first right answers."""

    health_ms: float
    first_read_ms: float


@dataclass(slots=True)
class Server:
    """A running server process tree."""

    name: str
    port: int
    process: subprocess.Popen[bytes]
    log: Path
    started_s: float

    def cpu_s(self) -> float:
        """Return user and system seconds used so far by the whole tree."""
        return cpu.tree_cpu_s(self.process.pid)

    def rss_bytes(self) -> int:
        """Return the resident bytes of the whole tree (shared pages count once per process)."""
        return sum(_rss_bytes(pid) for pid in cpu.tree(self.process.pid))

    def stop(self) -> None:
        """End the tree: politely first, then by force."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(STOP_S_MAX)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def log_tail(self, lines: int = 15) -> str:
        """Return the last lines the server wrote."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])


def _rss_bytes(pid: int) -> int:
    """Return the resident bytes of one process; zero when it has gone."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE_BYTES
    except OSError:
        return 0


def cores() -> tuple[set[int], set[int]] | None:
    """Return (server cores, client cores): one core each, or None on a single-core machine."""
    available = sorted(os.sched_getaffinity(0))
    return ({available[0]}, {available[1]}) if len(available) > 1 else None


def free_port() -> int:
    """Return a loopback port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def start(
    name: str,
    command: Sequence[str],
    *,
    port: int,
    env: Mapping[str, str],
    cwd: Path,
    log: Path,
    cpus: set[int] | None,
) -> Server:
    """Start a server in a process group of its own, on the given cores."""

    def pin() -> None:
        if cpus is not None:
            os.sched_setaffinity(0, cpus)

    with log.open("ab") as output:
        started_s = time.perf_counter()
        process = subprocess.Popen(
            command,
            env={**os.environ, **env},
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=pin,  # noqa: PLW1509  (no thread runs in the parent; a child must be pinned before it counts cores)
        )
    return Server(name, port, process, log, started_s)


def exchange(port: int, request: bytes, timeout_s: float = 10.0) -> tuple[int, bytes, bytes]:
    """Send one request on a connection of its own; return (status, head, body)."""
    closing = request.replace(b"\r\n", b"\r\nConnection: close\r\n", 1)
    with socket.create_connection(("127.0.0.1", port), timeout_s) as connection:
        connection.sendall(closing)
        received = bytearray()
        while chunk := connection.recv(65_536):
            received += chunk
    head, _, body = bytes(received).partition(b"\r\n\r\n")
    if b"transfer-encoding: chunked" in head.lower():
        body = _dechunk(body)
    if not head.startswith(b"HTTP/1.1 "):
        raise ServerError(f"not an HTTP answer: {head[:80]!r}")
    return int(head[9:12]), head, body


def _dechunk(body: bytes) -> bytes:
    joined, position = b"", 0
    while (line_end := body.find(b"\r\n", position)) >= 0:
        size = int(body[position:line_end].split(b";")[0], 16)
        if size == 0:
            break
        joined += body[line_end + 2 : line_end + 2 + size]
        position = line_end + 2 + size + 2
    return joined


def wait_until_answers(server: Server, health: bytes, first_read: bytes) -> ColdStart:
    """Ask until health and then the first read succeed; return the time each took."""
    health_s = _first_success(server, health)
    return ColdStart(1_000 * health_s, 1_000 * _first_success(server, first_read))


def _first_success(server: Server, request: bytes) -> float:
    while True:
        status = None
        with contextlib.suppress(OSError, ServerError):
            status, _, _ = exchange(server.port, request)
        elapsed_s = time.perf_counter() - server.started_s
        if status == 200:
            return elapsed_s
        if server.process.poll() is not None:
            raise ServerError(f"{server.name} ended with code {server.process.returncode}:\n{server.log_tail()}")
        if elapsed_s > START_S_MAX:
            raise ServerError(f"{server.name} gave no answer in {START_S_MAX:g} s ({status=}):\n{server.log_tail()}")
        time.sleep(0.002)
