"""`Idempotency-Key`: a request that is sent again has its effect once, and gets the answer of the first time.

A write alone records its answer in its own statement; several writes in their transaction; a custom endpoint writes
its key with its first transaction, and its answer behind it. Source: draft-ietf-httpapi-idempotency-key-header.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import orjson
import sqlalchemy as sa

from ..context import Claim, Context
from ..db.database import ClaimedError
from ..db.recording import IDEMPOTENCY
from ..db.sessions import Sessions
from ..errors import Problem, invalid
from ..http.frame import Handler
from ..http.messages import Header, Request, Response
from ..http.quotas import address_of
from ..periodic import Periodic
from ..schema.base import utc_now
from ..transactions import answer_values

NAME = b"idempotency-key"
REPLAYED: Header = (b"idempotency-replayed", b"true")
KEY_CHARS_MAX = 255
#: How long an answer is kept.
KEPT = timedelta(hours=24)
#: Records that one transaction drops.
DROPPED_MAX = 1_000
#: Those that are too old are looked for so often.
DROP_S = 60.0
_KEY = re.compile(rb'"?([\x21\x23-\x5b\x5d-\x7e]{1,%d})"?\Z' % KEY_CHARS_MAX)
#: From the recorded row, with its status, version and key, to the answer that it was.
Rebuild = Callable[[int, bytes, int | None, list[Any]], Response]


def refusing(handler: Handler) -> Handler:
    """A handler where no answers are kept: to be sent again and do a thing twice is worse than to be refused."""

    def handle(request: Request) -> Response | Awaitable[Response]:
        if NAME in request.headers:
            raise invalid("Idempotency-Key", "unsupported", "is not kept here: this server records no answers.")
        return handler(request)

    return handle


class Idempotency:
    """Finds and keeps the answers of one database."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions
        self.dropping = Periodic(self._drop_all, DROP_S)

    def wrap(self, handler: Handler, rebuild: Rebuild) -> Handler:
        """A handler whose requests may be sent again."""

        def handle(request: Request) -> Response | Awaitable[Response]:
            raw = request.headers.get(NAME)
            return handler(request) if raw is None else self._once(handler, rebuild, request, raw)

        return handle

    async def _once(self, handler: Handler, rebuild: Rebuild, request: Request, raw: bytes) -> Response:
        claim = await self.claim(request, raw)
        for _ in range(2):
            try:
                found = handler(request)
                response = found if isinstance(found, Response) else await found
            except Problem:
                # Refused, perhaps for what the first one left: a taken name, a version that has changed.
                record = await self._found(claim)
                if record is None:
                    raise
                if record == EXPIRED:
                    claim.taken = claim.placed = False
                    continue
                return replayed(record, claim, rebuild)
            if not claim.kept:
                await self.keep(claim, response.status, response.body, response.headers)
            return response
        raise ClaimedError

    async def claim(self, request: Request, raw: bytes) -> Claim:
        """What the header stands for; the request's context has it from then on.

        Raises:
            ValidationError: it is no key.
        """
        body = await request.kept_body()
        said = (request.method.encode(), request.path, request.query, body)
        request.context.claim = self.claim_of(request.context, raw, *said)
        return request.context.claim

    def claim_of(self, context: Context, raw: bytes, *said: bytes) -> Claim:
        """The claim of a key, of who sent it, and of what the request says.

        Raises:
            ValidationError: it is no key.
        """
        match = _KEY.match(raw)
        if match is None:
            message = f"is 1 to {KEY_CHARS_MAX} visible ASCII characters."
            raise invalid("Idempotency-Key", "invalid_value", message)
        who = context.principal.counted or address_of(context.ip)
        return Claim(_digest(who.encode(), str(context.principal.tenant).encode(), match[1]), _digest(*said))

    async def keep(self, claim: Claim, status: int, body: bytes, headers: list[Header]) -> None:
        """Record an answer whose writes are done; another's record stays."""
        values = answer_values(status, body, headers)
        async with self._sessions.begin() as session:
            connection: Any = await session.connection()
            if claim.placed:
                await connection.execute(sa.update(IDEMPOTENCY).where(IDEMPOTENCY.c.key == claim.key).values(values))
                return
            there = await session.scalar(sa.select(IDEMPOTENCY.c.key).where(IDEMPOTENCY.c.key == claim.key))
            if there is None:
                own = {"key": claim.key, "fingerprint": claim.fingerprint, "at": utc_now()}
                await connection.execute(sa.insert(IDEMPOTENCY).values(own | values))
        claim.kept = True

    async def answer(self, claim: Claim) -> Response | None:
        """The recorded answer of a request; `None` when it is the first.

        Raises:
            Problem: `IDEMPOTENCY_KEY_REUSED`, `IDEMPOTENCY_IN_PROGRESS`.
        """
        record = await self._found(claim)
        return None if record is None or record == EXPIRED else replayed(record, claim, no_row)

    async def _found(self, claim: Claim) -> Any:
        """The record of a key; `EXPIRED` when there was one, which is gone now."""
        async with self._sessions.open() as session:
            query = sa.select(IDEMPOTENCY).where(IDEMPOTENCY.c.key == claim.key)
            record: Any = (await session.execute(query)).one_or_none()
        if record is None or record.at > utc_now() - KEPT:
            return record
        await self.drop_expired()
        return EXPIRED

    async def _drop_all(self) -> None:
        while await self.drop_expired() == DROPPED_MAX:
            pass

    async def drop_expired(self) -> int:
        """Drop what is too old to be answered, the oldest first; returns how many records that were."""
        old = sa.select(IDEMPOTENCY.c.key).where(IDEMPOTENCY.c.at <= utc_now() - KEPT).order_by(IDEMPOTENCY.c.at)
        async with self._sessions.begin() as session:
            drop = sa.delete(IDEMPOTENCY).where(IDEMPOTENCY.c.key.in_(old.limit(DROPPED_MAX)))
            done: Any = await session.execute(drop)
        return int(done.rowcount)


#: There was a record, and it is too old.
EXPIRED = "expired"


def replayed(record: Any, claim: Claim, rebuild: Rebuild) -> Response:
    """The answer of the first time.

    Raises:
        Problem: `IDEMPOTENCY_KEY_REUSED`, `IDEMPOTENCY_IN_PROGRESS`.
    """
    if record.fingerprint != claim.fingerprint:
        raise Problem("IDEMPOTENCY_KEY_REUSED", "This Idempotency-Key came with another request before.")
    if record.status is None:
        raise ClaimedError
    body: bytes = (record.data or "").encode()
    if record.headers is None:
        response = rebuild(record.status, body, record.version, orjson.loads(record.row or "[]"))
    else:
        pairs: list[tuple[str, str]] = orjson.loads(record.headers)
        response = Response(record.status, body, [(n.encode("latin-1"), v.encode("latin-1")) for n, v in pairs])
    response.headers.append(REPLAYED)
    return response


def no_row(status: int, data: bytes, version: int | None, key: list[Any]) -> Response:
    """Where no rows are recorded, but whole answers."""
    raise AssertionError("only generated routes record rows")


def _digest(*parts: bytes) -> str:
    """A hash of parts, whose lengths count."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8) + part)
    return digest.hexdigest()
