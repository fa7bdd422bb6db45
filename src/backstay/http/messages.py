"""Request and Response: what front ends take and give. Mutable and slotted, because they are the hot path."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import unquote_to_bytes

from ..context import Context, Receive
from ..errors import Problem
from ..observe import Series
from .patience import CLOSE, Patience, body_until

Scope = MutableMapping[str, Any]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Header = tuple[bytes, bytes]
#: ASGI's.
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

JSON_TYPE = (b"content-type", b"application/json")
PROBLEM_TYPE = (b"content-type", b"application/problem+json")
_PLAIN = frozenset({b"", b"identity"})


class Request:
    """One request as the front ends see it.

    Attributes:
        path: the path as sent, still percent-encoded.
        query: the query string as sent.
        headers: the last value of each header, by lower-case name; the frame refuses two where one is meant.
        key: the parts of the key in the path, once it is routed.
        started: when it came, as `time.monotonic()`.
        series: of its route, once it is routed.
        quota: what its response says of the rate limit, once it is counted.
        notices: what its response says of the version of the API that it used, if that is an older one.
        sent: whether a custom endpoint has begun to answer.
    """

    __slots__ = (
        "_kept",
        "body_bytes_max",
        "context",
        "headers",
        "key",
        "method",
        "notices",
        "path",
        "patience",
        "query",
        "quota",
        "receive",
        "scope",
        "sent",
        "series",
        "started",
    )

    def __init__(
        self,
        scope: Scope,
        receive: Receive,
        context: Context,
        started: float,
        body_bytes_max: int,
        patience: Patience,
    ) -> None:
        self.scope = scope
        self.method: str = scope["method"]
        raw: bytes = scope.get("raw_path") or scope["path"].encode()
        self.path = raw.partition(b"?")[0] if b"?" in raw else raw
        self.query: bytes = scope["query_string"]
        self.headers: dict[bytes, bytes] = dict(scope["headers"])
        self.receive = receive
        self.context = context
        self.started = started
        self.body_bytes_max = body_bytes_max
        self.patience = patience
        self.key: list[str] = []
        self.series: Series | None = None
        self.quota: tuple[Header, ...] | None = None
        self.notices: tuple[Header, ...] | None = None
        self.sent = False
        self._kept: bytes | None = None

    def part(self, method: str, path: bytes, query: bytes, headers: dict[bytes, bytes], body: bytes) -> Request:
        """A request within this one: of the same context, with a path, headers and body of its own."""
        scope = dict(self.scope) | {"method": method, "raw_path": path, "path": "", "query_string": query}
        scope["headers"] = list(headers.items())
        made = Request(scope, self.receive, self.context, self.started, self.body_bytes_max, self.patience)
        made._kept = body
        return made

    async def kept_body(self) -> bytes:
        """The whole body, for who reads it before somebody else does."""
        self._kept = await self.body()
        return self._kept

    async def body(self) -> bytes:
        """The whole body.

        Raises:
            Problem: `PAYLOAD_TOO_LARGE` before more than the limit is held, `REQUEST_TIMEOUT`, and
                `UNSUPPORTED_MEDIA_TYPE` for a compressed one.
        """
        if self._kept is not None:
            return self._kept
        self.check_body()
        message = await self.message(0)
        chunk: bytes = message.get("body", b"")
        if len(chunk) > self.body_bytes_max:
            raise self._too_large()
        if not message.get("more_body"):
            self.context.receive = self.receive
            return chunk
        chunks, size = [chunk], len(chunk)
        while message.get("more_body"):
            message = await self.message(size)
            if message["type"] == "http.disconnect":
                raise Problem("MALFORMED_REQUEST", "The body ended early.")
            chunk = message.get("body", b"")
            size += len(chunk)
            if size > self.body_bytes_max:
                raise self._too_large()
            chunks.append(chunk)
        self.context.receive = self.receive
        return b"".join(chunks)

    def check_body(self) -> None:
        """Refuse a body by its headers, before any of it is read.

        Raises:
            Problem: `PAYLOAD_TOO_LARGE`, `UNSUPPORTED_MEDIA_TYPE`.
        """
        headers = self.headers
        declared = headers.get(b"content-length", b"")
        if declared.isdigit() and int(declared) > self.body_bytes_max:
            raise self._too_large()
        if b"content-encoding" in headers and headers[b"content-encoding"].strip().lower() not in _PLAIN:
            # Decoding would let a few bytes become gigabytes.
            coding = headers[b"content-encoding"].decode("latin-1")[:40]
            detail = f"A body with Content-Encoding {coding} is not read."
            hint = "Send the body as it is, without Content-Encoding."
            raise Problem("UNSUPPORTED_MEDIA_TYPE", detail, hint=hint, headers=(("accept-encoding", "identity"),))

    async def message(self, received: int) -> MutableMapping[str, Any]:
        """The next part of the body, of which so many bytes have come.

        Raises:
            Problem: `REQUEST_TIMEOUT`.
        """
        return await self.patience.wait(self.receive, body_until(self.started, received, self.context.deadline))

    def bounded(self) -> Receive:
        """ASGI's `receive` with the limits of `body`, for who reads the body in parts."""
        size, ended = 0, False

        async def receive() -> MutableMapping[str, Any]:
            nonlocal size, ended
            if ended:
                return await self.receive()
            message = await self.message(size)
            size += len(message.get("body", b""))
            ended = not message.get("more_body")
            if size > self.body_bytes_max:
                raise self._too_large()
            return message

        return receive

    def let_go(self) -> None:
        """Read no more of it: the server ends a connection whose body nobody can read any further."""
        self.receive = _gone
        self.context.receive = None

    def _too_large(self) -> Problem:
        return Problem("PAYLOAD_TOO_LARGE", f"A body may have {self.body_bytes_max} bytes.", headers=CLOSE)


async def _gone() -> MutableMapping[str, Any]:
    return {"type": "http.disconnect"}


class Response:
    """What a front end answers, as data; the frame adds its own headers."""

    __slots__ = ("body", "headers", "status")

    def __init__(self, status: int, body: bytes, headers: list[Header]) -> None:
        self.status = status
        self.body = body
        self.headers = headers


class Streamed(Response):
    """An answer in parts, of which `body` is the first: nobody knows its length before its end."""

    __slots__ = ("rest",)

    def __init__(self, status: int, body: bytes, headers: list[Header], rest: AsyncIterator[bytes]) -> None:
        super().__init__(status, body, headers)
        self.rest = rest


class Page(Response):
    """What a browser shows: it says itself what it may load, by its own Content-Security-Policy."""

    __slots__ = ()


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
