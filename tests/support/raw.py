"""Bytes on a socket, for what no well-behaved client sends."""

import re
import socket
from dataclasses import dataclass

HOST = b"Host: a\r\n"
#: A request of its own where its bytes are read as one.
HIDDEN = b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"
_STATUS = re.compile(rb"HTTP/1\.[01] ([2-5]\d\d) ")


@dataclass(frozen=True, slots=True)
class Heard:
    """What a server said before it fell silent.

    Attributes:
        closed: whether it hung up.
    """

    data: bytes
    closed: bool

    @property
    def statuses(self) -> list[int]:
        """Of all its final answers."""
        return [int(status) for status in _STATUS.findall(self.data)]


def say(port: int, data: bytes, *, silence_s: float = 0.4) -> Heard:
    """Send bytes on a new connection and read until it is closed, or nothing more comes for a while."""
    with socket.create_connection(("127.0.0.1", port), timeout=silence_s) as connection:
        heard = b""
        try:
            connection.sendall(data)
            while chunk := connection.recv(65_536):
                heard += chunk
        except TimeoutError:
            return Heard(heard, closed=False)
        except OSError:
            pass
        return Heard(heard, closed=True)
