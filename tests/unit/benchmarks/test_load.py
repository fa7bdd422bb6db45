"""The load generator must read every answer to its end and hide no failure."""

import contextlib
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from benchmarks import load, workload

PLAIN = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
CHUNKED_HEAD = b"HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n"
CHUNKED = CHUNKED_HEAD + b"5;x=y\r\nhello\r\n10\r\n0123456789abcdef\r\n0\r\n\r\n"
EMPTY = b"HTTP/1.1 204 No Content\r\nServer: x\r\n\r\n"


@pytest.mark.parametrize(("answer", "status"), [(PLAIN, 200), (CHUNKED, 201), (EMPTY, 204)])
def test_answer_is_complete_only_with_its_last_byte(answer: bytes, status: int) -> None:
    """No prefix of an answer counts as an answer."""
    assert status == load.complete(answer)
    for length in range(len(answer)):
        assert load.complete(answer[:length]) is None


def test_content_length_is_found_in_any_case_and_place() -> None:
    """Header names are case-insensitive, and the length may be the last header or not."""
    for head in (b"CONTENT-LENGTH: 2\r\nA: b", b"A: b\r\ncontent-length:2"):
        assert load.complete(b"HTTP/1.1 200 OK\r\n" + head + b"\r\n\r\nok") == 200
        assert load.complete(b"HTTP/1.1 200 OK\r\n" + head + b"\r\n\r\no") is None


@contextmanager
def answering(answer: bytes, *, close_after: int = 1_000_000) -> Iterator[int]:
    """Run a server that gives one fixed answer to each request, and yield its port."""

    def serve(connection: socket.socket) -> None:
        with connection, contextlib.suppress(ConnectionError):
            for _ in range(close_after):
                if not connection.recv(65_536):
                    return
                connection.sendall(answer[:10])
                connection.sendall(answer[10:])

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=(connection,), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=accept, daemon=True).start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)


def drive(port: int) -> load.Load:
    """Send requests from three clients for a moment."""
    clients = {}
    for _ in range(3):
        client = load.Client(port)
        clients[client.socket.fileno()] = client
    try:
        return load.drive(clients, [b"GET / HTTP/1.1\r\n\r\n"], 0.05)
    finally:
        for client in clients.values():
            client.socket.close()


def test_good_answers_are_counted_and_timed() -> None:
    """Every complete 2xx answer is one request with a latency."""
    with answering(CHUNKED) as port:
        measured = drive(port)
    assert measured.errors == 0
    assert measured.requests >= 3
    assert 0 < measured.p50_us <= measured.p99_us


def test_refusals_are_counted_and_the_first_is_kept() -> None:
    """An answer outside 2xx is an error, and the report can show it."""
    with answering(b"HTTP/1.1 429 Slow Down\r\nContent-Length: 4\r\n\r\nwait") as port:
        measured = drive(port)
    assert measured.requests == measured.errors > 0
    assert measured.first_error.endswith("wait")


def test_closed_connection_is_a_failure() -> None:
    """A server that hangs up on a keep-alive client is not measured as if it had answered."""
    with answering(PLAIN, close_after=1) as port, pytest.raises(ConnectionError):
        drive(port)


def test_each_request_with_a_key_has_one_of_its_own() -> None:
    """A key that came twice would be answered from its record; what else is sent stays as it is."""
    request = workload.Request("POST", "/x", body={"value": 1}, keyed=True).render()
    near, far = socket.socketpair()
    with near, far:
        client = load.Client.__new__(load.Client)
        client.socket = near
        send_to = load.sender([request])
        sent: list[bytes] = []
        for _ in range(3):
            send_to(client)
            sent.append(far.recv(4_096))
    keys = {one[one.index(b"key-") :][: len(workload.KEY)] for one in sent}
    assert len(keys) == 3
    assert workload.KEY.encode() not in keys
    for one, key in zip(sent, (one[one.index(b"key-") :][: len(workload.KEY)] for one in sent), strict=True):
        assert one.replace(key, workload.KEY.encode()) == request
