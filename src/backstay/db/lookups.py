"""Runs lookups of the product's own: at once on SQLite, awaited on PostgreSQL, always on the primary."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from typing import Any

import orjson
import sqlalchemy as sa

from ..context import Context
from ..sql.dialect import Dialect
from ..sql.lookup import lookup
from ..sql.statement import Statement
from .database import Database, Row
from .postgres_replicas import UNREACHED

Rows = list[list[Any]]


class Lookups:
    """The lookups of one database."""

    def __init__(self, database: Database, dialect: Dialect) -> None:
        self._database = database
        self._dialect = dialect

    def prepare(self, name: str, query: sa.Select[*tuple[Any, ...]]) -> Statement:
        """The Statement of a lookup; see `sql.lookup`."""
        return lookup(name, query, self._dialect)

    def find(self, statement: Statement, values: Sequence[Any], context: Context) -> Rows | Awaitable[Rows]:
        """The rows, each a list of its columns' JSON values.

        They do not count as statements of the request: it is not the request that asks.
        """
        own = Context(context.request_id, deadline=context.deadline)
        own.read_after = UNREACHED
        found = self._database.read(statement, statement.parameters(values, own), own)
        return _decoded(found) if isinstance(found, list) else _awaited(found)

    async def rows(self, statement: Statement, values: Sequence[Any], context: Context) -> Rows:
        """As `find`, always awaited."""
        found = self.find(statement, values, context)
        return found if isinstance(found, list) else await found


async def _awaited(found: Awaitable[list[Row]]) -> Rows:
    return _decoded(await found)


def _decoded(rows: list[Row]) -> Rows:
    return [orjson.loads(row[0]) for row in rows]
