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
Action = Literal["create", "update", "delete"]
ACTIONS: tuple[Action, ...] = ("create", "update", "delete")


@dataclass(slots=True)
class Write:
    """A write that a hook is told of.

    Attributes:
        session: an ORM session in the write's own transaction; behind the commit there is none.
        key: of the row, as in its path; empty before it is created.
        values: what is to be set, by field; a hook that runs before may change it.
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
