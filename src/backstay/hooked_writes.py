"""Calls hooks around a write, with the names that the current version of the API has for its fields."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any

import orjson

from .context import Context
from .db.database import Row
from .db.transaction import Transaction
from .hooks import Action, Hook, Hooks, Write
from .observe import Log
from .schema.resource import Resource

Listener = Callable[[Context], Awaitable[None]]


class HookedWrites:
    """Runs the hooks of one app.

    Args:
        log: told what a hook behind the commit raised.
    """

    def __init__(self, hooks: Hooks, log: Log) -> None:
        self._hooks, self._log = hooks, log
        self._told: dict[tuple[str, Action], Listener] = {}

    def tell(self, table: str, actions: Sequence[Action], listener: Listener) -> None:
        """Call a function of the product's own behind the hooks of such writes of a table, in their transaction."""
        self._told |= {(table, action): listener for action in actions}

    def watch(self, resource: Resource, action: Action) -> bool:
        """Whether a write of a resource has hooks, or somebody is told of it, and so needs a transaction."""
        name = resource.table.name
        return (name, action) in self._told or self._hooks.watch(name, action)

    async def run(
        self,
        resource: Resource,
        action: Action,
        context: Context,
        key: Sequence[str],
        fields: dict[str, Any],
        write: Callable[[dict[str, Any]], Awaitable[Row | None]],
    ) -> Row | None:
        """Write, with what hooks do before and after; in the context's transaction."""
        transaction: Transaction = context.transaction
        table = resource.table.name
        names = _current_names(resource)
        values = {names.get(name, name): value for name, value in fields.items()}
        told = Write(action, resource.origin.name, context, transaction.session, tuple(key), values)
        for hook in self._hooks.of(table, action, "before"):
            await hook(told)
        own = {current: name for name, current in names.items()}
        row = await write({own.get(name, name): value for name, value in told.values.items()})
        if row is None:
            return None
        if action != "delete":
            shown: dict[str, Any] = orjson.loads(row[0])
            told.row = {names.get(name, name): value for name, value in shown.items()}
        for hook in self._hooks.of(table, action, "after"):
            await hook(told)
        if (table, action) in self._told:
            await self._told[table, action](context)
        later = Write(action, told.resource, context, None, told.key, dict(told.values), told.row)
        for hook in self._hooks.of(table, action, "committed"):
            transaction.committed.append(partial(self._behind, hook, later))
        return row

    async def _behind(self, hook: Hook, told: Write) -> None:
        try:
            await hook(told)
        except Exception as error:
            name = getattr(hook, "__name__", "hook")
            self._log.event("error", "hook_failed", hook=name, resource=told.resource, error=repr(error))


def _current_names(resource: Resource) -> Mapping[str, str]:
    """The current version's names of a resource's fields, where they differ."""
    if resource.origin is resource:
        return {}
    current = {column.sql: name for name, column in resource.origin.columns.items()}
    pairs = ((name, current.get(column.sql, name)) for name, column in resource.columns.items())
    return {name: known for name, known in pairs if known != name}
