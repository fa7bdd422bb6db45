"""Custom endpoints with an Idempotency-Key: the key is written with their first transaction, the answer behind it.

A process that dies between the two leaves a key without an answer: the request is not done twice, it is refused.
"""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any

from ..context import Claim, Context
from ..db.database import ClaimedError
from ..http.custom import CONTEXT_KEY, CustomEndpoints
from ..http.messages import Receive, Response, Scope, Send, decoded
from .idempotency import NAME, Idempotency

Message = MutableMapping[str, Any]
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
#: Headers of an answer that are its own, and not of the connection or the moment.
_KEPT = frozenset(
    {b"content-type", b"location", b"etag", b"cache-control", b"content-disposition", b"content-language"}
)


class IdempotentEndpoints:
    """The ASGI app of the custom endpoints, whose unsafe requests may be sent again.

    Args:
        secret: path prefixes whose answers are never kept, because they hold credentials.
        bytes_max: a larger answer is not kept; a second request is refused then.
    """

    def __init__(
        self, app: CustomEndpoints, idempotency: Idempotency, *, secret: tuple[bytes, ...], bytes_max: int
    ) -> None:
        self._app, self._idempotency, self._secret, self._bytes_max = app, idempotency, secret, bytes_max

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        raw = None
        if scope["type"] == "http" and scope["method"] not in _SAFE:
            raw = next((value for name, value in scope["headers"] if name == NAME), None)
        path: bytes = scope.get("raw_path") or scope["path"].encode()
        known = raw is not None and self._app.declared(scope["method"], decoded(path.partition(b"?")[0], "path"))
        if raw is None or not known or path.startswith(self._secret):
            await self._app(scope, receive, send)
            return
        context: Context = scope[CONTEXT_KEY]
        body = await _read(receive)
        said = (scope["method"].encode(), path, scope["query_string"], body)
        claim = context.claim = self._idempotency.claim_of(context, raw, *said)
        answer = await self._idempotency.answer(claim)
        if answer is None:
            keeper = _Keeper(self._idempotency, claim, send, self._bytes_max)
            await self._app(scope, _again(body, receive), keeper)
            if not claim.taken:
                return
            answer = await self._idempotency.answer(claim)
        if answer is None:
            raise ClaimedError
        await _send(answer, send)


class _Keeper:
    """Passes an answer on, and keeps it before its end is sent."""

    def __init__(self, idempotency: Idempotency, claim: Claim, send: Send, bytes_max: int) -> None:
        self._idempotency, self._claim, self._send, self._bytes_max = idempotency, claim, send, bytes_max
        self._answer = Response(500, b"", [])
        self._size = 0
        self._parts: list[bytes] = []

    async def __call__(self, message: Message) -> None:
        """ASGI's `send`."""
        if self._claim.taken:
            return  # another request was first: its answer is the one
        answer = self._answer
        if message["type"] == "http.response.start":
            answer.status = message["status"]
            answer.headers = [(n, v) for n, v in message.get("headers", []) if n.lower() in _KEPT]
        elif message["type"] == "http.response.body":
            part: bytes = message.get("body", b"")
            self._size += len(part)
            if self._size <= self._bytes_max:
                self._parts.append(part)
            if not message.get("more_body"):
                await self._keep()
        await self._send(message)

    async def _keep(self) -> None:
        """An answer of what had an effect, or of success, is the answer for good."""
        done = self._claim.placed or self._answer.status < 400
        body = b"".join(self._parts)
        if done and self._answer.status < 500 and self._size <= self._bytes_max and _is_text(body):
            await self._idempotency.keep(self._claim, self._answer.status, body, self._answer.headers)


def _is_text(body: bytes) -> bool:
    try:
        body.decode()
    except UnicodeDecodeError:
        return False
    return True


async def _read(receive: Receive) -> bytes:
    parts: list[bytes] = []
    more = True
    while more:
        message = await receive()
        parts.append(message.get("body", b""))
        more = message.get("more_body", False)
    return b"".join(parts)


def _again(body: bytes, receive: Receive) -> Receive:
    """ASGI's `receive` of a body that was read."""
    given = False

    async def again() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again


async def _send(answer: Response, send: Send) -> None:
    headers = [*answer.headers, (b"content-length", b"%d" % len(answer.body))]
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.body})
