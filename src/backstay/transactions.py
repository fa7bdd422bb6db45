"""Several writes as one: a transaction around the engine's statements and the program's ORM code.

It is run again when PostgreSQL undid it for another's sake, so what it does has to be safe to begin anew.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol, TypeVar

import orjson
import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from .context import Context
from .db.recording import IDEMPOTENCY
from .db.sessions import Sessions
from .db.transaction import AgainError, Transaction, transaction_of
from .errors import Problem

Header = tuple[bytes, bytes]
Result = TypeVar("Result")
#: The first wait before a transaction is run again; it doubles each time.
PAUSE_S = 0.005


class Transactions:
    """Runs work in transactions of one database."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    async def run(self, context: Context, work: Callable[[Transaction], Awaitable[Result]]) -> Result:
        """Run `work`; all statements of its context are part of one transaction, which an error undoes.

        Within another one it is a part of that.

        Raises:
            Problem: `UNAVAILABLE` when it is still in others' way at the deadline.
        """
        if context.transaction is not None:
            return await work(context.transaction)
        pause = PAUSE_S
        while True:
            try:
                return await self._once(context, work)
            except AgainError:
                if time.monotonic() + pause > context.deadline:
                    detail = "Others kept writing the same rows."
                    raise Problem("UNAVAILABLE", detail, headers=(("retry-after", "1"),)) from None
            await asyncio.sleep(pause * (0.5 + random.random()))
            pause *= 2

    async def _once(self, context: Context, work: Callable[[Transaction], Awaitable[Result]]) -> Result:
        try:
            async with self._sessions.begin(context) as session:
                transaction = await transaction_of(session)
                context.transaction = transaction
                try:
                    result = await work(transaction)
                finally:
                    context.transaction = None
        except IntegrityError:
            # What a database checks only at the end says not which of the writes it was.
            detail = "The rows that it would leave break a constraint that is checked at the end."
            raise Problem("CONFLICT", detail) from None
        for committed in transaction.committed:
            await committed()
        return result


class Answer(Protocol):
    """A response, as far as it is kept."""

    status: int
    body: bytes
    headers: list[Header]


Answering = TypeVar("Answering", bound=Answer)


async def answered(
    transactions: Transactions, context: Context, work: Callable[[], Awaitable[Answering]]
) -> Answering:
    """Run work in a transaction with the record of its answer, if the request has an Idempotency-Key."""
    if context.transaction is not None:
        return await work()

    async def whole(_: Transaction) -> Answering:
        answer = await work()
        await keep_answer(context, answer.status, answer.body, answer.headers)
        return answer

    return await transactions.run(context, whole)


async def keep_answer(context: Context, status: int, body: bytes, headers: Sequence[Header]) -> None:
    """Record the answer of a request with an Idempotency-Key, in its transaction."""
    claim, transaction = context.claim, context.transaction
    if claim is None or transaction is None or claim.kept:
        return
    connection: Any = await transaction.session.connection()
    await connection.execute(_KEEP, {"b_key": claim.key} | answer_values(status, body, headers))
    claim.kept = True


def answer_values(status: int, body: bytes, headers: Sequence[Header]) -> dict[str, Any]:
    """An answer as the columns of a record."""
    pairs = [[name.decode("latin-1"), value.decode("latin-1")] for name, value in headers]
    return {"status": status, "data": body.decode(), "headers": orjson.dumps(pairs).decode()}


_KEEP = (
    sa.update(IDEMPOTENCY)
    .where(IDEMPOTENCY.c.key == sa.bindparam("b_key"))
    .values({name: sa.bindparam(name) for name in ("status", "data", "headers")})
)
