"""HTTP/2 frames (RFC 9113) and header blocks (RFC 7541, literals only) made by hand, for what no client sends."""

import socket
import struct
import time
from collections.abc import Iterable, Iterator

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, CONTINUATION = 0, 1, 3, 4, 6, 7, 9
END_STREAM, END_HEADERS, ACK = 1, 4, 1
#: One payload that every server takes.
PAYLOAD_MAX = 16_384
_STATUS_200 = 0x88

Pairs = Iterable[tuple[bytes, bytes]]


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """One frame."""
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def _length(value: int) -> bytes:
    """An integer with a prefix of seven bits."""
    if value < 127:
        return bytes([value])
    found, value = [127], value - 127
    while value >= 128:
        found.append(value % 128 + 128)
        value //= 128
    return bytes([*found, value])


def block(headers: Pairs) -> bytes:
    """A header block."""
    return b"".join(b"\0" + _length(len(n)) + n + _length(len(v)) + v for n, v in headers)


def request(path: str, *headers: tuple[bytes, bytes]) -> bytes:
    """The header block of a GET."""
    pseudo = [(b":method", b"GET"), (b":scheme", b"http"), (b":authority", b"a"), (b":path", path.encode())]
    return block([*pseudo, *headers])


def asked(stream: int, headers: bytes) -> bytes:
    """A request without body, in as many frames as its headers need."""
    parts = [headers[at : at + PAYLOAD_MAX] for at in range(0, len(headers), PAYLOAD_MAX)]
    last = len(parts) - 1
    return b"".join(
        frame(
            CONTINUATION if number else HEADERS,
            (END_HEADERS if number == last else 0) | (0 if number else END_STREAM),
            stream,
            part,
        )
        for number, part in enumerate(parts)
    )


class Connection:
    """One connection that has said hello."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=3)
        self.send(PREFACE + frame(SETTINGS, 0, 0))

    def __enter__(self) -> "Connection":
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, data: bytes) -> bool:
        """Send bytes; whether the server still takes them."""
        try:
            self.socket.sendall(data)
        except OSError:
            return False
        return True

    def frames(self, seconds: float = 3) -> Iterator[tuple[int, int, int, bytes]]:
        """(kind, flags, stream, payload) of what the server sends, until it hangs up or falls silent."""
        buffer, until = b"", time.monotonic() + seconds
        while time.monotonic() < until:
            self.socket.settimeout(max(0.01, until - time.monotonic()))
            try:
                chunk = self.socket.recv(65_536)
            except OSError:
                return
            if not chunk:
                return
            buffer += chunk
            while len(buffer) >= 9 and len(buffer) >= 9 + (size := int.from_bytes(buffer[:3])):
                yield buffer[3], buffer[4], int.from_bytes(buffer[5:9]), buffer[9 : 9 + size]
                buffer = buffer[9 + size :]

    def get(self, stream: int, path: str, *headers: tuple[bytes, bytes]) -> tuple[bool, bytes]:
        """(whether the answer is a 200, its body) of one request."""
        self.send(asked(stream, request(path, *headers)))
        good, body = False, b""
        for kind, flags, where, payload in self.frames():
            if where == stream and kind == HEADERS:
                good = payload[0] == _STATUS_200
            elif where == stream and kind == DATA:
                body += payload
            if where == stream and (kind == RST_STREAM or (kind in (DATA, HEADERS) and flags & END_STREAM)):
                break
        return good, body
