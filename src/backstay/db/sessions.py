"""ORM sessions for custom endpoints: read-only, on connections of their own, counted like every statement.

They read what the program asks for: a resource's rules are not applied to them. Writes go through the API until
changes made in a session are recorded.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from ..config import Config
from ..context import Context
from .engines import create_session_engine

_CONTEXT = "backstay_context"


class Sessions:
    """Opens sessions on one database; the first one opens its connections."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._engine: AsyncEngine | None = None

    def open(self, context: Context | None = None) -> AsyncSession:
        """A session to use in `async with`; `context` is the request that its statements count for."""
        if self._engine is None:
            self._engine = create_session_engine(self._config)
            event.listen(self._engine.sync_engine, "before_cursor_execute", _count)
        return AsyncSession(self._engine.execution_options(**{_CONTEXT: context}), expire_on_commit=False)

    async def close(self) -> None:
        """Let go of the connections."""
        if self._engine is not None:
            await self._engine.dispose()


def _count(connection: sa.Connection, *_: Any) -> None:
    context: Context | None = connection.get_execution_options()[_CONTEXT]
    if context is not None:
        context.statements += 1
