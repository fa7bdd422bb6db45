"""Request and Response: what front ends take and give. Mutable and slotted, because they are the hot path."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import unquote_to_bytes

from ..context import Context, Receive
from ..errors import Problem

Scope = MutableMapping[str, Any]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Header = tuple[bytes, bytes]

JSON_TYPE = (b"content-type", b"application/json")
PROBLEM_TYPE = (b"content-type", b"application/problem+json")


class Request:
    """One request as the front ends see it.

    Attributes:
        path: the path as sent, still percent-encoded.
        query: the query string as sent.
        headers: the last value of each header, by lower-case name.
        key: the parts of the key in the path, once it is routed.
    """

    __slots__ = ("body_bytes_max", "context", "headers", "key", "method", "path", "query", "receive", "scope")

    def __init__(self, scope: Scope, receive: Receive, context: Context, body_bytes_max: int) -> None:
        self.scope = scope
        self.method: str = scope["method"]
        raw: bytes = scope.get("raw_path") or scope["path"].encode()
        self.path = raw.partition(b"?")[0] if b"?" in raw else raw
        self.query: bytes = scope["query_string"]
        self.headers: dict[bytes, bytes] = dict(scope["headers"])
        self.receive = receive
        self.context = context
        self.body_bytes_max = body_bytes_max
        self.key: list[str] = []

    async def body(self) -> bytes:
        """The whole body.

        Raises:
            Problem: `PAYLOAD_TOO_LARGE` before more than the limit is held.
        """
        declared = self.headers.get(b"content-length", b"")
        if declared.isdigit() and int(declared) > self.body_bytes_max:
            raise _too_large(self.body_bytes_max)
        message = await self.receive()
        chunk: bytes = message.get("body", b"")
        if len(chunk) > self.body_bytes_max:
            raise _too_large(self.body_bytes_max)
        if not message.get("more_body"):
            self.context.receive = self.receive
            return chunk
        chunks, size = [chunk], len(chunk)
        while message.get("more_body"):
            message = await self.receive()
            if message["type"] == "http.disconnect":
                raise Problem("MALFORMED_REQUEST", "The body ended early.")
            chunk = message.get("body", b"")
            size += len(chunk)
            if size > self.body_bytes_max:
                raise _too_large(self.body_bytes_max)
            chunks.append(chunk)
        self.context.receive = self.receive
        return b"".join(chunks)


def _too_large(limit: int) -> Problem:
    return Problem("PAYLOAD_TOO_LARGE", f"A body may have {limit} bytes.")


class Response:
    """What a front end answers; the frame adds its own headers."""

    __slots__ = ("body", "headers", "status")

    def __init__(self, status: int, body: bytes, headers: list[Header]) -> None:
        self.status = status
        self.body = body
        self.headers = headers


def decoded(raw: bytes, what: str) -> str:
    """Percent-encoded bytes as text.

    Raises:
        Problem: `MALFORMED_REQUEST` when it is no UTF-8 or holds NUL.
    """
    try:
        text = unquote_to_bytes(raw).decode() if b"%" in raw else raw.decode()
    except UnicodeDecodeError:
        raise Problem("MALFORMED_REQUEST", f"The {what} is not valid UTF-8.") from None
    if "\x00" in text:
        raise Problem("MALFORMED_REQUEST", f"The {what} holds a NUL byte.")
    return text


def pairs_of(query: bytes) -> list[tuple[str, str]]:
    """The parameters of a query string, in order.

    Raises:
        Problem: `MALFORMED_REQUEST` for text that is not UTF-8.
    """
    if b"+" in query:
        query = query.replace(b"+", b" ")
    pairs: list[tuple[str, str]] = []
    plain = b"%" not in query and query.isascii() and b"\x00" not in query
    for part in query.decode().split("&") if plain else []:
        if part:
            name, _, value = part.partition("=")
            pairs.append((name, value))
    if plain:
        return pairs
    for raw in query.split(b"&"):
        if raw:
            name_bytes, _, value_bytes = raw.partition(b"=")
            pairs.append((decoded(name_bytes, "query string"), decoded(value_bytes, "query string")))
    return pairs
