"""The deadline of a request that a custom endpoint answers; generated ones look at theirs in the database."""

from __future__ import annotations

import asyncio
import time
from collections.abc import MutableMapping
from typing import Any

from ..errors import Problem
from .messages import Application, Request, Send

_abandoned: set[asyncio.Future[None]] = set()


async def in_time(app: Application, request: Request, send: Send) -> None:
    """Let an ASGI app answer until the request's deadline; a response that has begun may take longer.

    It runs in a task of its own: one that waits for a thread cannot be cancelled, and its caller need not wait.

    Raises:
        Problem: `DEADLINE_EXCEEDED`; what the app sends from then on is dropped.
        Exception: whatever the app raises.
    """
    abandoned = False

    async def forward(message: MutableMapping[str, Any]) -> None:
        if not abandoned:
            await send(message)

    task = asyncio.ensure_future(app(request.scope, request.bounded(), forward))
    try:
        await asyncio.wait({task}, timeout=max(0.0, request.context.deadline - time.monotonic()))
        if not task.done() and request.sent:
            await asyncio.wait({task})
    finally:
        send = _nobody  # a framework may keep an error, and that its frames: from there nothing leads to the server
        if not task.done():
            abandoned = True
            task.cancel()
            _abandoned.add(task)
            task.add_done_callback(_forget)
    if abandoned:
        raise Problem("DEADLINE_EXCEEDED", "There was no answer before the deadline.")
    task.result()


async def _nobody(message: MutableMapping[str, Any]) -> None:
    """Where messages go that come too late."""


def _forget(task: asyncio.Future[None]) -> None:
    """What becomes of a task that nobody waits for is nobody's business."""
    _abandoned.discard(task)
    if not task.cancelled():
        task.exception()
