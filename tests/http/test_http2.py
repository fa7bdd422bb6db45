"""HTTP/2 without TLS, where a setting asks for it: hostile connections end, and the server goes on."""

import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.asgi import sync_engine
from support.frames import (
    CONTINUATION,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    RST_STREAM,
    Connection,
    asked,
    frame,
    request,
)
from support.ledger import Base
from support.raw import HOST, say
from support.server import LEDGER, Server

APP = """
from fastapi import Request

from support.ledger import app


@app.get("/cookies")
async def cookies(request: Request) -> dict[str, str]:
    return request.cookies
"""
LIVE = "/health/live"


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with the ledger's tables."""
    path = tmp_path_factory.mktemp("http2") / "ledger.db"
    engine = sync_engine(path)
    Base.metadata.create_all(engine)
    engine.dispose()
    return path


@pytest.fixture(scope="module")
def server(database: Path) -> Iterator[Server]:
    """One that speaks both."""
    with Server(LEDGER, database, http2="on") as running:
        yield running


@pytest.fixture(autouse=True)
def unharmed(server: Server) -> Iterator[None]:
    """Whatever was sent, others are answered, in both versions."""
    yield
    with Connection(server.port) as connection:
        assert connection.get(1, LIVE) == (True, b'{"status":"ok"}')
    assert say(server.port, b"GET /health/live HTTP/1.1\r\n" + HOST + b"\r\n").statuses == [200]


def test_it_is_off_unless_asked_for(database: Path) -> None:
    """By default such a connection is closed at once."""
    with Server(LEDGER, database) as running, Connection(running.port) as connection:
        assert connection.get(1, LIVE) == (False, b"")


def test_many_requests_on_one_connection(server: Server) -> None:
    """Streams are answered each by itself, and an unknown path is an answer like any other."""
    with Connection(server.port) as connection:
        for number in range(50):
            good, body = connection.get(2 * number + 1, LIVE if number % 2 else "/nothing")
            assert good == bool(number % 2)
            assert body


@pytest.mark.parametrize(
    "headers",
    [
        [(b"x", b"a" * 200_000)],
        [(b"x" * 100_000, b"a")],
        [(b"x%d" % number, b"y") for number in range(2_000)],
        [(b"x%d" % number, b"") for number in range(150)],
    ],
    ids=["one of 200 KB", "a name of 100 KB", "2,000", "150"],
)
def test_too_many_or_too_large_headers_are_refused(server: Server, headers: list[tuple[bytes, bytes]]) -> None:
    """No 200, and the next request on a new connection is answered."""
    with Connection(server.port) as connection:
        assert not connection.get(1, LIVE, *headers)[0]


def test_headers_without_end_are_cut_off(server: Server) -> None:
    """CONTINUATION frames that never say that they end (CVE-2024-27316) do not go on for ever."""
    with Connection(server.port) as connection:
        connection.send(frame(HEADERS, END_STREAM, 1, request(LIVE)))
        sent = 0
        while connection.send(frame(CONTINUATION, 0, 1, b"\0\1x\1y" * 3_000)) and sent < 10_000:
            sent += 1
        assert sent < 10_000


def test_requests_that_are_reset_at_once_are_stopped(server: Server) -> None:
    """Rapid reset (CVE-2023-44487): a client that takes back what it asks is told to go."""
    pair = asked(0, request(LIVE))
    with Connection(server.port) as connection:
        sent = 0
        for number in range(20_000):
            stream = struct.pack(">I", 2 * number + 1)
            if not connection.send(
                pair[:5] + stream + pair[9:] + frame(RST_STREAM, 0, 2 * number + 1, b"\0\0\0\x08")
            ):
                break
            sent += 1
        kinds = [kind for kind, *_ in connection.frames(1)]
        assert sent < 20_000 or GOAWAY in kinds


@pytest.mark.parametrize(
    "data",
    [
        frame(HEADERS, END_HEADERS, 0, request(LIVE)),
        frame(HEADERS, END_HEADERS | END_STREAM, 2, request(LIVE)),
        frame(0, 0, 1, b"data of no stream"),
        frame(HEADERS, END_HEADERS | END_STREAM, 1, b"\xff" * 100),
        frame(99, 255, 1, b"unknown"),
        b"\xff" * 1_000,
        frame(4, 0, 0, b"\0\4\xff\xff\xff\xff"),
        frame(8, 0, 0, b"\0\0\0\0"),
    ],
    ids=["stream 0", "even stream", "no stream", "no block", "unknown", "noise", "window", "no increment"],
)
def test_broken_frames_do_no_harm(server: Server, data: bytes) -> None:
    """The connection may end; no other does."""
    with Connection(server.port) as connection:
        connection.send(data)
        list(connection.frames(0.2))


def test_cookies_may_come_one_by_one(database: Path, tmp_path: Path) -> None:
    """HTTP/2 lets a client send each cookie in a header of its own; an endpoint sees all of them."""
    app = tmp_path / "cookies_app.py"
    app.write_text(APP)
    tests = str(Path(__file__).parents[1])
    app.write_text(f"import sys\n\nsys.path.insert(0, {tests!r})\n{APP}")
    with Server(app, database, http2="on") as running, Connection(running.port) as connection:
        cookies = [(b"cookie", b"a=1"), (b"cookie", b"b=2"), (b"cookie", b"c=3")]
        assert connection.get(1, "/cookies", *cookies) == (True, b'{"a":"1","b":"2","c":"3"}')
