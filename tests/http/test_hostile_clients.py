"""Clients that send too much, too slowly, or what unpacks to too much: refused early, while others are served."""

import asyncio
import contextlib
import gzip
import itertools
import os
import socket
import statistics
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import DeclarativeBase, Mapped

from backstay import ModelBase
from support.asgi import sync_engine
from support.raw import HOST, say
from support.server import Server, run

APP = """
from fastapi import Request
from pydantic import BaseModel
from sqlalchemy.orm import Mapped

from backstay import Backstay, Model, public


class Page(Model):
    title: Mapped[str]


class Text(BaseModel):
    title: str


app = Backstay("pages")
app.resource(Page, read=public, create=public)


@app.post("/typed")
async def typed(text: Text) -> int:
    return len(text.title)


@app.post("/raw")
async def raw(request: Request) -> int:
    return len(await request.body())


@app.post("/parts")
async def parts(request: Request) -> int:
    return sum([len(part) async for part in request.stream()])


@app.post("/unread")
async def unread() -> int:
    return 0
"""
JSON = b"Content-Type: application/json\r\n"
END = b"\r\n\r\n"
MEGABYTE = 1 << 20
#: A generated endpoint, and custom ones that read their body in each way.
READERS = ("/api/v1/pages", "/typed", "/raw", "/parts")
CLOSED_S = 15.0


class Base(ModelBase, DeclarativeBase):
    """A registry of these tests' own."""

    metadata = sa.MetaData()


class Page(Base):
    """The app's."""

    title: Mapped[str]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """One that serves the pages."""
    path = tmp_path / "pages.db"
    engine = sync_engine(path)
    Base.metadata.create_all(engine)
    engine.dispose()
    app = tmp_path / "pages_app.py"
    app.write_text(APP)
    with Server(app, path, log_level="warning") as running:
        yield running


def post(path: str, headers: bytes) -> bytes:
    """The head of a POST of JSON."""
    return b"POST " + path.encode() + b" HTTP/1.1\r\n" + HOST + JSON + headers + END


def resident_mb(server: Server) -> float:
    """Resident memory of the server."""
    return (
        int(Path(f"/proc/{server.process.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / MEGABYTE
    )


def test_too_large_a_body_is_refused_by_its_announcement(server: Server) -> None:
    """413 to a declared 50 MB before a byte of it is sent, also when the client asks first; the connection closes."""
    for path in (*READERS, "/unread"):
        for more in (b"", b"\r\nExpect: 100-continue"):
            heard = say(server.port, post(path, b"Content-Length: 52428800" + more))
            assert heard.statuses == [413], (path, heard)
            assert heard.closed
            assert b"PAYLOAD_TOO_LARGE" in heard.data
            assert b" 100 " not in heard.data


def flood(port: int, path: str) -> tuple[int, bytes]:
    """Send 50 MB in chunks; returns how many bytes went away before the server hung up, and what it said."""
    chunk = b"%x\r\n" % 65_536 + b" " * 65_536 + b"\r\n"
    sent, heard = 0, b""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(post(path, b"Transfer-Encoding: chunked"))
        with contextlib.suppress(ConnectionError):
            while sent < 50 * MEGABYTE:
                connection.sendall(chunk)
                sent += len(chunk)
        with contextlib.suppress(ConnectionError):
            heard = connection.recv(65_536)
    return sent, heard


def test_a_body_without_end_is_cut_off(server: Server) -> None:
    """Of 50 MB in chunks little more than the limit is taken, and none of it stays in memory."""
    before = resident_mb(server)
    with ThreadPoolExecutor(8) as pool:
        for path in READERS:
            for sent, heard in pool.map(flood, [server.port] * 16, [path] * 16):
                assert sent < 20 * MEGABYTE, "what was sent beyond the limit filled the buffers between the two"
                assert heard == b"" or b" 413 " in heard
    assert resident_mb(server) - before < 60


def test_bombs_are_not_unpacked(server: Server) -> None:
    """A compressed body is 415, whatever the coding, with the codings that are taken; memory stays as it was."""
    bomb = gzip.compress(b" " * (100 * MEGABYTE))
    assert len(bomb) < MEGABYTE // 4
    before = resident_mb(server)
    for path, coding in itertools.product(
        (*READERS, "/unread"), (b"gzip", b"GZip", b"br", b"deflate", b"gzip, gzip")
    ):
        length = b"Content-Length: %d\r\nContent-Encoding: %b" % (len(bomb), coding)
        heard = say(server.port, post(path, length) + bomb)
        assert heard.statuses == [415], (path, coding, heard)
        assert b"accept-encoding: identity" in heard.data
    assert resident_mb(server) - before < 30
    body = b'{"title": "x"}'
    for coding in (b"identity", b""):
        head = post("/typed", b"Content-Length: %d\r\nContent-Encoding: %b" % (len(body), coding))
        assert say(server.port, head + body).statuses == [200]


def test_too_many_or_too_large_headers_are_refused(server: Server) -> None:
    """431 to 2,000 headers and to one of 200 KB, 414 to a long URL; the largest that are taken are answered."""
    get = b"GET /health/live HTTP/1.1\r\n" + HOST
    many = b"".join(b"X-%d: y\r\n" % number for number in range(2_000))
    assert say(server.port, get + many + b"\r\n").statuses == [431]
    assert say(server.port, get + b"X: " + b"a" * 200_000 + END).statuses == [431]
    assert say(server.port, get + b"X" * 200_000 + b": a" + END).statuses == [431]
    assert say(server.port, get + b"Cookie: " + b"a=b; " * 40_000 + END).statuses == [431]
    for length in (9_000, 60_000):
        url = b"GET /" + b"a" * length + b" HTTP/1.1\r\n" + HOST + b"\r\n"
        assert say(server.port, url).statuses == [414]
    assert say(server.port, b"GET /" + b"a" * 300_000 + b" HTTP/1.1\r\n" + HOST + b"\r\n").statuses in ([414], [431])
    for headers in (b"X: " + b"a" * 30_000, b"\r\n".join(b"X-%d: y" % number for number in range(90))):
        assert say(server.port, get + headers + END).statuses == [200]


#: What is sent at once, and what then comes byte by byte.
DRIPS: list[tuple[bytes, bytes]] = [
    (b"", b""),
    (b"", b"GET /health/live HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 100),
    (b"", b"PRI * HTTP/2.0" + END + b"SM" + END),
    (b"GET /health/live HTTP/1.1\r\n" + HOST, b"X-Y: " + b"z" * 100),
    (b"GET /health/live HTTP/1.1\r\n" + HOST + b"\r\n", b"GET / HTTP/1.1\r\n" + HOST + b"X: " + b"a" * 100),
    *((post(path, b"Content-Length: 5000"), b'{"title": "' + b"a" * 100) for path in READERS),
    *((post(path, b"Transfer-Encoding: chunked"), b"1\r\n \r\n" * 20) for path in READERS),
    *((post(path, b"Content-Length: 5000"), b"") for path in READERS),
]


@pytest.mark.alone
def test_three_hundred_slow_clients_are_closed_and_harm_nobody(server: Server) -> None:
    """Headers or bodies byte by byte: all closed within 15 s; p50 of others is at most twice what it was."""

    async def drip(first: bytes, rest: bytes) -> float:
        began = time.monotonic()
        wire = await server.connect()
        wire.writer.write(first)

        async def until_closed() -> None:
            while await wire.reader.read(65_536):
                pass

        closed = asyncio.ensure_future(until_closed())
        try:
            for byte in (*rest, *[None] * 1_000):
                if byte is not None:
                    wire.writer.write(bytes([byte]))
                await asyncio.wait({closed}, timeout=0.5)
                if closed.done() or time.monotonic() - began > 2 * CLOSED_S:
                    break
        finally:
            closed.cancel()
            await asyncio.gather(closed, return_exceptions=True)
            await wire.close()
        return time.monotonic() - began

    async def p50(seconds: float) -> float:
        wire = await server.connect()
        times: list[float] = []
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            began = time.perf_counter()
            status, _, _ = await wire.request("GET", "/api/v1/pages?limit=1")
            assert status == 200
            times.append(time.perf_counter() - began)
            await asyncio.sleep(0.002)
        return statistics.median(times)

    async def talk() -> tuple[float, float, list[float]]:
        await p50(0.5)
        alone = await p50(3)
        slow = [asyncio.ensure_future(drip(*DRIPS[number % len(DRIPS)])) for number in range(300)]
        await asyncio.sleep(2)
        beside = await p50(6)
        return alone, beside, await asyncio.gather(*slow)

    alone, beside, closed = run(talk())
    assert len(closed) == 300
    late = [(DRIPS[number % len(DRIPS)], seconds) for number, seconds in enumerate(closed) if seconds >= CLOSED_S]
    assert not late
    assert beside <= 2 * alone, f"{beside * 1e3:.2f} ms, alone {alone * 1e3:.2f} ms"
    assert "failure" not in server.log


@pytest.mark.alone
def test_a_slow_but_steady_body_arrives(server: Server) -> None:
    """Who sends on at a few kilobytes a second is waited for, longer than a body that stands still would be."""

    async def talk() -> int:
        wire = await server.connect()
        wire.writer.write(post("/typed", b"Content-Length: 52000"))
        wire.writer.write(b'{"title": "')
        for _ in range(26):
            await asyncio.sleep(0.5)
            wire.writer.write(b"a" * 1_999)
        wire.writer.write(b"a" * (52_000 - 26 * 1_999 - 13) + b'"}')
        return (await wire.receive())[0]

    assert run(talk()) == 200
