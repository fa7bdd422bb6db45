"""Learns that a client went away, which an ASGI server tells only to who asks for the next message of a request.

Nobody asks for a request that is answered soon: the watch begins when a statement of its has run for a while.
"""

from __future__ import annotations

import asyncio
import contextlib

from ..context import Context, Receive


class Departures:
    """See the module."""

    def __init__(self) -> None:
        self._watches: set[asyncio.Task[None]] = set()

    def watch(self, context: Context) -> None:
        """Note in `context.gone` when its client goes away; once for each request."""
        receive, context.receive = context.receive, None
        if receive is not None:
            task = asyncio.get_running_loop().create_task(_wait(receive, context))
            self._watches.add(task)
            task.add_done_callback(self._watches.discard)

    def close(self) -> None:
        """Watch nobody any more."""
        for task in self._watches:
            task.cancel()


async def _wait(receive: Receive, context: Context) -> None:
    with contextlib.suppress(Exception):
        message = await receive()
        while message["type"] == "http.request" and message.get("more_body"):
            message = await receive()
        if message["type"] == "http.request":  # the body, which nobody wanted
            message = await receive()
        context.gone = message["type"] == "http.disconnect"
