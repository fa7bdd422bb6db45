"""The load generator: keep-alive clients on raw sockets, in a process of its own.

`Generator` is the parent's handle. `python -m benchmarks.load` is the child: it reads jobs as JSON lines,
opens the connections and says so, waits for "go", sends until the time is over, and answers with the
figures. So the parent can read the server's CPU time when nothing but the load lies in between.
It never sleeps: a client that does makes the server pay for waking it, the more the slower the server is.
While it has nothing to read it yields its core, which in the PostgreSQL block it shares with PostgreSQL.
The loop is closed: each client has one request in flight and sends the next when the answer is complete.
"""

import array
import contextlib
import itertools
import json
import os
import select
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks import workload

KEY = workload.KEY.encode()
SILENCE_S_MAX = 15.0
RECEIVE_BYTES = 262_144
ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True, slots=True)
class Load:
    """What one stretch of load gave."""

    requests: int
    errors: int
    first_error: str
    seconds: float
    p50_us: float
    p99_us: float


class Client:
    """One keep-alive connection with at most one request in flight."""

    __slots__ = ("buffer", "sent_s", "socket")

    def __init__(self, port: int) -> None:
        """Connect at once."""
        self.socket = socket.create_connection(("127.0.0.1", port), 5)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = b""
        self.sent_s = 0.0


def complete(buffer: bytes) -> int | None:
    """Return the status of the answer in `buffer` once all of it has arrived, else None."""
    head_end = buffer.find(b"\r\n\r\n")
    if head_end < 0:
        return None
    head = buffer[:head_end].lower()
    at = head.find(b"\r\ncontent-length:")
    if at >= 0:
        line_end = head.find(b"\r\n", at + 2)
        length = int(head[at + 17 : line_end if line_end > 0 else head_end])
        if len(buffer) - head_end - 4 < length:
            return None
    elif b"\r\ntransfer-encoding: chunked" in head and not _chunks_complete(buffer, head_end + 4):
        return None
    return int(head[9:12])


def _chunks_complete(buffer: bytes, position: int) -> bool:
    while True:
        line_end = buffer.find(b"\r\n", position)
        if line_end < 0:
            return False
        size = int(buffer[position:line_end].split(b";")[0], 16)
        position = line_end + 2 + size + 2
        if size == 0:
            return len(buffer) >= position
        if len(buffer) < position:
            return False


def sender(requests: list[bytes]) -> Callable[[Client], None]:
    """Return what sends the next request, round the list; keys are replaced by new ones."""
    following = itertools.cycle(requests)
    if not any(KEY in request for request in requests):
        return lambda client: client.socket.sendall(next(following))
    numbers = itertools.count(time.time_ns() // 1_000 * 1_000)

    def send(client: Client) -> None:
        key = b"%b%0*d" % (KEY[:4], len(KEY) - 4, next(numbers) % 10 ** (len(KEY) - 4))
        client.socket.sendall(next(following).replace(KEY, key))

    return send


def drive(clients: dict[int, Client], requests: list[bytes], seconds: float) -> Load:
    """Send requests round the list for `seconds`, finish what is in flight, and return the figures."""
    send_to = sender(requests)
    poller = select.epoll()
    for descriptor in clients:
        poller.register(descriptor, select.EPOLLIN)
    clock, latencies = time.perf_counter, array.array("d")
    errors, first_error, in_flight = 0, "", len(clients)
    began_s = heard_s = clock()
    stop_s = began_s + seconds
    for client in clients.values():
        client.sent_s = clock()
        send_to(client)
    while in_flight:
        events = poller.poll(0)
        if not events:
            os.sched_yield()
            if clock() - heard_s > SILENCE_S_MAX:
                raise TimeoutError(f"no answer within {SILENCE_S_MAX:g} s, {in_flight} requests in flight")
            continue
        heard_s = clock()
        for descriptor, _ in events:
            client = clients[descriptor]
            chunk = client.socket.recv(RECEIVE_BYTES)
            if not chunk:
                raise ConnectionError(f"the server closed a connection; received so far: {client.buffer[:200]!r}")
            buffer = client.buffer + chunk if client.buffer else chunk
            status = complete(buffer)
            if status is None:
                client.buffer = buffer
                continue
            client.buffer = b""
            now_s = clock()
            latencies.append(now_s - client.sent_s)
            if not 200 <= status < 300:
                errors += 1
                first_error = first_error or buffer[:600].decode("latin-1")
            if now_s >= stop_s:
                in_flight -= 1
                continue
            client.sent_s = now_s
            send_to(client)
    ended_s = clock()
    poller.close()
    ordered = sorted(latencies)
    return Load(
        requests=len(ordered),
        errors=errors,
        first_error=first_error,
        seconds=ended_s - began_s,
        p50_us=1e6 * ordered[len(ordered) // 2],
        p99_us=1e6 * ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))],
    )


class Generator:
    """The parent's handle on the load process."""

    def __init__(self, cpus: set[int] | None) -> None:
        """Start the process, on the given cores."""
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.load"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        if cpus is not None:
            os.sched_setaffinity(self._process.pid, cpus)

    def connect(self, port: int, requests: list[bytes], *, seconds: float, clients: int) -> None:
        """Open the connections; returns when all are open."""
        texts = [request.decode("latin-1") for request in requests]
        self._say({"port": port, "requests": texts, "seconds": seconds, "clients": clients})
        self._hear()

    def go(self) -> Load:
        """Run the load and return its figures."""
        self._say({"go": True})
        return Load(**self._hear())

    def close(self) -> None:
        """End the process."""
        with contextlib.suppress(OSError, subprocess.TimeoutExpired):
            self._process.communicate(timeout=5)
        self._process.kill()
        self._process.wait()

    def _say(self, message: dict[str, object]) -> None:
        pipe = self._process.stdin
        assert pipe is not None, "the load process was started with a pipe"
        pipe.write(json.dumps(message) + "\n")
        pipe.flush()

    def _hear(self) -> dict[str, object]:
        pipe = self._process.stdout
        assert pipe is not None, "the load process was started with a pipe"
        line = pipe.readline()
        if not line:
            raise ConnectionError("the load process ended")
        message = json.loads(line)
        if "failure" in message:
            raise ConnectionError(message["failure"])
        return message


def serve() -> None:
    """Be the load process: answer each job read from standard input."""
    while line := sys.stdin.readline():
        job = json.loads(line)
        clients: dict[int, Client] = {}
        try:
            for _ in range(job["clients"]):
                client = Client(job["port"])
                clients[client.socket.fileno()] = client
            print(json.dumps({"ready": True}), flush=True)
            sys.stdin.readline()
            requests = [text.encode("latin-1") for text in job["requests"]]
            answer: dict[str, object] = asdict(drive(clients, requests, job["seconds"]))
        except OSError as failure:  # TimeoutError and ConnectionError are OSErrors
            answer = {"failure": f"{type(failure).__name__}: {failure}"}
        for client in clients.values():
            client.socket.close()
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    serve()
