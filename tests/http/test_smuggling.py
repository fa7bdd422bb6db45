"""Requests that readers could end at different places: one answer at most, whatever is hidden in them.

Each is sent to a real server with a request hidden where one reader sees a body. A server that saw two would answer
twice: behind a proxy that saw one, the second answer would be somebody else's.
"""

from collections.abc import Iterator

import pytest

from support.asgi import sync_engine
from support.ledger import Base
from support.raw import HIDDEN, HOST, say
from support.server import LEDGER, Server

POST = b"POST /api/v1/entries HTTP/1.1\r\n" + HOST + b"Content-Type: application/json\r\n"
GET = b"GET /api/v1/entries HTTP/1.1\r\n" + HOST
ENDED = b"0\r\n\r\n"
END = b"\r\n\r\n"
CHUNKED = b"Transfer-Encoding: chunked"
LENGTH = b"%d" % len(HIDDEN)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server for all of them: none may harm it."""
    path = tmp_path_factory.mktemp("smuggling") / "ledger.db"
    engine = sync_engine(path)
    Base.metadata.create_all(engine)
    engine.dispose()
    with Server(LEDGER, path) as running:
        yield running


def lengths() -> dict[str, bytes]:
    """Content-Length that is there twice, or is no number."""
    values = [
        *(b"+" + LENGTH, b"-" + LENGTH, b"0x24", LENGTH + b";", LENGTH + b".0", b"", b"9" * 30, b"\xb2"),
        *(LENGTH + b"\x00", b"3_6", b"\x0b" + LENGTH, LENGTH + b", 0", b"0, " + LENGTH, LENGTH + b" 0", b"''"),
    ]
    found = {f"Content-Length {value!r}": POST + b"Content-Length: " + value + END + HIDDEN for value in values}
    for name, first, second in (("differ", b"0", LENGTH), ("differ, the longer first", LENGTH, b"0")):
        both = b"Content-Length: " + first + b"\r\nContent-Length: " + second
        found[f"two lengths {name}"] = POST + both + END + HIDDEN
    found["two equal lengths"] = POST + (b"Content-Length: " + LENGTH + b"\r\n") * 2 + b"\r\n" + HIDDEN
    return found


def transfers() -> dict[str, bytes]:
    """Transfer-Encoding that one reader knows and another does not, alone and beside a length."""
    values = [
        *(b"xchunked", b"chunked, identity", b"identity, chunked", b"identity", b'"chunked"', b"chunked;a=b"),
        *(
            b"\x0bchunked",
            b"chunked\x00",
            b"chun\tked",
            b"gzip, chunked",
            b"chunked,chunked",
            b"chunked ,",
            b"\xffchunked",
        ),
        *(
            b"chunked\r\nTransfer-Encoding: x",
            b"x\r\nTransfer-Encoding: chunked",
            b"chunked\r\n foo",
            b"\r\n chunked",
        ),
        *(b"chunked\r\nTransfer-Encoding: chunked", b",chunked", b"cow", b""),
    ]
    found = {f"Transfer-Encoding {v!r}": POST + b"Transfer-Encoding: " + v + END + ENDED + HIDDEN for v in values}
    for value in (*values, b"chunked", b"Chunked", b" chunked", b"chunked "):
        for length in (b"5", b"%d" % (5 + len(HIDDEN))):
            both = b"Transfer-Encoding: " + value + b"\r\nContent-Length: " + length
            turned = b"Content-Length: " + length + b"\r\nTransfer-Encoding: " + value
            for name, headers in (("before", both), ("behind", turned)):
                found[f"{value!r} {name} length {length!r}"] = POST + headers + END + ENDED + HIDDEN
    return found


def lines() -> dict[str, bytes]:
    """Names and lines that one reader takes for a header, and another does not."""
    chunked = b"\r\nContent-Length: 5\r\n\r\n" + ENDED + HIDDEN
    length = b"Content-Length: " + LENGTH
    return {
        "space before the colon": POST + b"Transfer-Encoding : chunked" + chunked,
        "tab before the colon": POST + b"Transfer-Encoding\t: chunked" + chunked,
        "space before the length's colon": POST + b"Content-Length : " + LENGTH + END + HIDDEN,
        "NUL in a name": POST + b"Transfer-Encoding\x00: chunked" + chunked,
        "underscore in a name": POST + b"Content_Length: 0\r\n" + length + END + HIDDEN,
        "space in front of a name": POST + b" Transfer-Encoding: chunked" + chunked,
        "first line folded": b"POST /api/v1/entries HTTP/1.1\r\n " + HOST + length + END + HIDDEN,
        "value folded": POST + b"Transfer-Encoding:\r\n chunked" + chunked,
        "length folded": POST + b"X: a\r\n " + length + END + HIDDEN,
        "length folded by tab": POST + b"X: a\r\n\t" + length + END + HIDDEN,
        "bare LF before a length": POST + b"X: a\n" + length + END + HIDDEN,
        "bare LF before an encoding": POST + b"X: a\nTransfer-Encoding: chunked" + chunked,
        "bare LF in a GET": GET + b"X: a\n" + length + END + HIDDEN,
        "bare CR before a length": POST + b"X: a\r" + length + END + HIDDEN,
        "bare CR before an encoding": POST + b"X: a\rTransfer-Encoding: chunked" + chunked,
        "NUL in a value": POST + b"X: a\x00\r\n" + length + END + HIDDEN,
        "no colon": POST + b"Transfer-Encoding chunked" + chunked,
        "no name": POST + b": chunked" + chunked,
        "HTTP/1.0 with chunks": b"POST / HTTP/1.0\r\n" + HOST + CHUNKED + END + ENDED + HIDDEN,
        "HTTP/1.0 kept alive": (
            b"POST / HTTP/1.0\r\nConnection: keep-alive\r\n" + HOST + b"Transfer-Encoding: chunked" + chunked
        ),
        "another version": POST.replace(b"1.1", b"1.2") + b"Transfer-Encoding: chunked" + chunked,
        "two hosts": b"POST / HTTP/1.1\r\nHost: a\r\nHost: b\r\n" + length + END + HIDDEN,
        "a GET with a length": GET + length + END + HIDDEN,
        "a GET with chunks": GET + b"Transfer-Encoding: chunked\r\n\r\n24\r\n" + HIDDEN + b"\r\n" + ENDED,
        "a HEAD with a length": GET.replace(b"GET", b"HEAD") + length + END + HIDDEN,
        "a length in a connection's headers": POST + b"Connection: Content-Length\r\n" + length + END + HIDDEN,
        "an upgrade with a length": (GET + b"Connection: Upgrade\r\nUpgrade: h2c\r\n" + length + END + HIDDEN),
        "a websocket with a length": (
            b"GET /x HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n" + HOST + length + END + HIDDEN
        ),
        "expecting 100": POST + b"Expect: 100-continue\r\n" + length + END + HIDDEN,
    }


def chunks() -> dict[str, bytes]:
    """Chunk sizes and ends that readers add up differently; the hidden request is inside of what they announce."""
    start = POST + CHUNKED + END
    sizes = [
        *(
            b"FFFFFFFFFFFFFFFFF",
            b"10000000000000000",
            b"FFFFFFFFFFFFFFFF",
            b"100000024",
            b"-24",
            b"0x24",
            b"+24",
            b"",
        ),
        *(
            b" 24",
            b"2_4",
            b"24;a\nb",
            b"24;a\rb",
            b"24;" + b"a" * 20_000,
            b"24\x00",
            b"24,0",
            b"24 0",
            b"\xb2",
            b"24;\n",
        ),
    ]
    body = b"\r\n" + HIDDEN + b"\r\n" + ENDED
    found = {f"chunk size {size[:24]!r}": start + size + body for size in sizes}
    found |= {
        "bare LF behind the size": start + b"24\n" + HIDDEN + b"\r\n" + ENDED,
        "bare LF behind the chunk": start + b"24\r\n" + HIDDEN + b"\n" + ENDED,
        "bare LF in the last": start + b"24\r\n" + HIDDEN + b"\r\n0\n\n",
        "too long a chunk": start + b"5\r\n{   }xx0\r\n\r\n" + HIDDEN,
        "too short a chunk": start + b"24\r\n{}\r\n" + ENDED + HIDDEN,
        "no end": start + b"24\r\n" + HIDDEN,
        "only zeros": start + b"0" * 400 + b"\r\n" + HIDDEN,
        "a trailer without end": start + b"0\r\nX: " + HIDDEN.replace(END, b"\r\n"),
    }
    return found


ATTACKS = lengths() | transfers() | lines() | chunks()


def test_the_probe_sees_two_answers(server: Server) -> None:
    """What is really two requests is answered twice, so that the tests below would see it."""
    for first in (
        GET + b"\r\n",
        POST + b"Content-Length: 2\r\n\r\n{}",
        POST + CHUNKED + END + ENDED,
    ):
        heard = say(server.port, first + HIDDEN)
        assert len(heard.statuses) == 2, heard
        assert heard.statuses[1] == 404


@pytest.mark.parametrize("attack", ATTACKS, ids=str)
def test_what_is_hidden_is_never_answered(server: Server, attack: str) -> None:
    """One answer: of the first request with its whole body, or a refusal, after which nothing more is read."""
    heard = say(server.port, ATTACKS[attack])
    assert len(heard.statuses) <= 1, heard.data
    assert b"/smuggled" not in heard.data
    if heard.statuses:
        assert heard.statuses[0] < 500
    assert server.process.poll() is None


def test_the_server_is_as_it_was(server: Server) -> None:
    """After all of them it answers, and has logged no failure."""
    assert say(server.port, GET + b"Connection: close\r\n\r\n").statuses == [200]
    assert "failure" not in server.log
