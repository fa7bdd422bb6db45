"""Hooks: a program's functions that run in the transaction of a write of the API, before or after it.

What a hook raises undoes the write; a `Problem` is the answer then. Writes by ORM sessions are the program's own, and
call no hooks.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from sqlalchemy.ext.asyncio import AsyncSession

from .context import Context

When = Literal["before", "after", "committed"]
Action = Literal["create", "update", "delete", "restore"]
ACTIONS: tuple[Action, ...] = ("create", "update", "delete", "restore")


@dataclass(slots=True)
class Write:
    """A write that a hook is told of.

    Attributes:
        session: an ORM session in the write's own transaction; behind the commit there is none.
        key: of the row, as in its path; empty before it is created.
        values: what is to be set, by field; a hook that runs before a create or an update may change it.
        row: the row as the API answers it, once it is written; none where it was deleted.
    """

    action: Action
    resource: str
    context: Context
    session: AsyncSession | None
    key: tuple[str, ...]
    values: dict[str, Any] = field(default_factory=dict[str, Any])
    row: dict[str, Any] | None = None


Hook = Callable[[Write], Awaitable[object]]


class Hooks:
    """Those of one app, by the table's name."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, Action, When], list[Hook]] = defaultdict(list)
        self._tables: set[tuple[str, Action]] = set()

    def add(self, table: str, actions: Sequence[Action], when: When, hook: Hook) -> None:
        """Call a function when rows of a table are written."""
        for action in actions:
            self._found[table, action, when].append(hook)
            self._tables.add((table, action))

    def watch(self, table: str, action: Action) -> bool:
        """Whether any hook is called for such a write."""
        return (table, action) in self._tables

    def of(self, table: str, action: Action, when: When) -> Sequence[Hook]:
        """The functions, in the order of their declaration."""
        return self._found.get((table, action, when), ())


class Hooked:
    """The decorators of an app: `@app.before_create(Score)`."""

    hooks: Hooks

    def before_create(self, model: Any) -> Callable[[Hook], Hook]:
        """Call a function before a row is created; it may change `values`.

        Example:
            >>> @app.before_create(Score)
            ... async def only_while_open(write: Write) -> None:
            ...     if await write.session.scalar(select(Game.closed).where(Game.id == write.values["game_id"])):
            ...         raise Problem("CONFLICT", "The game is over.")
        """
        return self._hook(model, ("create",), "before")

    def before_update(self, model: Any) -> Callable[[Hook], Hook]:
        """Call a function before a row is updated; it may change `values`."""
        return self._hook(model, ("update",), "before")

    def before_delete(self, model: Any) -> Callable[[Hook], Hook]:
        """Call a function before a row is deleted."""
        return self._hook(model, ("delete",), "before")

    def before_restore(self, model: Any) -> Callable[[Hook], Hook]:
        """Call a function before a row that was deleted softly is there again."""
        return self._hook(model, ("restore",), "before")

    def after_create(self, model: Any) -> Callable[[Hook], Hook]:
        """Call a function with each new row, in its transaction."""
        return self._hook(model, ("create",), "after")

    def after_update(self, model: Any) -> Callable[[Hook], Hook]:
        """Call a function with each updated row, in its transaction."""
        return self._hook(model, ("update",), "after")

    def after_delete(self, model: Any) -> Callable[[Hook], Hook]:
        """Call a function when a row was deleted, in its transaction."""
        return self._hook(model, ("delete",), "after")

    def after_restore(self, model: Any) -> Callable[[Hook], Hook]:
        """Call a function with each row that is there again, in the transaction of its restore."""
        return self._hook(model, ("restore",), "after")

    def after_commit(self, model: Any) -> Callable[[Hook], Hook]:
        """Call a function behind the commit of any of these writes: what it does may be lost with the process.

        What it raises is logged, and changes nothing of the answer.
        """
        return self._hook(model, ACTIONS, "committed")

    def _hook(self, model: Any, actions: Sequence[Action], when: When) -> Callable[[Hook], Hook]:
        table = model if isinstance(model, str) else str(model.__table__.name)

        def register(hook: Hook) -> Hook:
            self.hooks.add(table, actions, when, hook)
            return hook

        return register
