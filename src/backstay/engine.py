"""The one door: every read and write of every front end passes here.

It turns a Query into a Statement (cached by structure and standing), runs it, and names the fields that a
constraint refused. Front ends never see a database.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from copy import copy
from dataclasses import replace
from functools import lru_cache
from types import MappingProxyType
from typing import Any

from .config import Config
from .context import ANONYMOUS, Context, Principal
from .db.database import ConstraintViolationError, Database, RefusedError, Row
from .errors import FieldError, ForbiddenError, NotFoundError, Problem, ValidationError
from .hooked_writes import HookedWrites
from .hooks import Action
from .observe import Observations
from .query import values
from .query.ir import Delete, Insert, Query, Restore, Select, Shape, Update
from .query.payload import default_of
from .query.plan import Form
from .query.planner import Planner
from .query.search import parse_search
from .refusals import Refusals
from .schema.policy import NO_STANDING, PLAIN_STANDING, TENANT_STANDING, Standing, standing_of
from .schema.resource import Catalog, Resource
from .sql.compiler import compile_plan
from .sql.dialect import Dialect
from .sql.history import log_start
from .sql.statement import Output, Statement
from .transactions import Transactions

Rows = list[Row]
STATEMENTS_MAX = 1_024
NOTHING: Mapping[str, Any] = MappingProxyType({})
#: Before a write has one.
NO_STATEMENT = Statement("", "", "", (), (), (), None)


class Engine:
    """Reads and writes resources for principals.

    Example:
        >>> statement = engine.prepare(Select("games", key=(0,)), ANONYMOUS)
        >>> engine.read(statement, ["tetris"], context)
        (b'{"id":1,"slug":"tetris"}', 1)
    """

    def __init__(
        self,
        catalog: Catalog,
        dialect: Dialect,
        database: Database,
        config: Config,
        observations: Observations,
    ) -> None:
        self.catalog = catalog
        self.config = config
        self.database = database
        self._dialect = dialect
        #: Looks up how far back the change log goes.
        self.log_start = log_start(dialect)
        self._observations = observations
        self._planner = Planner(catalog, config)
        self._statement = lru_cache(maxsize=STATEMENTS_MAX)(self._compile)
        self._database_read = database.read
        #: Several writes as one, and what is called around a write; who wires the engine sets them.
        self.transactions: Transactions
        self.hooks: HookedWrites
        self._refusals = Refusals(catalog, dialect, database, self.standing)

    def under(self, catalog: Catalog) -> Engine:
        """The same engine under the names of another version of the API; it shares all but what knows names.

        Raises:
            OperatorError: a default that its column cannot hold.
        """
        for resource in catalog.declared.values():
            for name in resource.defaults:
                default_of(resource, name)
        other = copy(self)
        other.catalog = catalog
        other._planner = Planner(catalog, self.config)
        other._statement = lru_cache(maxsize=STATEMENTS_MAX)(other._compile)
        other._refusals = Refusals(catalog, self._dialect, self.database, self.standing)
        return other

    def standing(self, principal: Principal) -> Standing:
        """What of a principal decides plans; part of every key of a cached plan."""
        if principal is ANONYMOUS:
            return NO_STANDING
        if not principal.roles and not principal.permissions and principal.scopes is None:
            if principal.is_anonymous:
                return NO_STANDING if principal.tenant is None else NO_STANDING._replace(tenanted=True)
            return PLAIN_STANDING if principal.tenant is None else TENANT_STANDING
        return standing_of(principal, self.catalog.roles, self.catalog.permissions)

    def prepare(self, query: Query, standing: Standing) -> Statement:
        """The Statement of a Query for principals of a standing, from the cache when its structure is known.

        Raises:
            Problem: every refusal that needs no data; see `query.planner`.
        """
        return self._statement(query, standing)

    def _prepare_write(self, query: Query, context: Context) -> Statement:
        """A write alone records its answer itself; in a transaction, whoever runs that does."""
        claim = context.claim
        claimed = claim is not None and not claim.placed and context.transaction is None
        return self._statement(query, self.standing(context.principal), claimed)

    def _compile(self, query: Query, standing: Standing, claimed: bool = False) -> Statement:
        statement = compile_plan(self._planner.plan(query, standing), self._dialect, claimed=claimed)
        tally = self._observations.statement(statement.resource, statement.action)
        return replace(statement, tally=tally)

    def cached_statements(self) -> tuple[int, int, int]:
        """(hits, misses, size) of the statement cache."""
        info = self._statement.cache_info()
        return info.hits, info.misses, info.currsize

    def bind(self, statement: Statement, raw: Sequence[Any]) -> list[Any]:
        """The driver's values of a query's raw values (text of a URL, JSON of a cursor, Python of a body).

        Raises:
            ValidationError: with every value that its column cannot hold.
        """
        try:
            return [reader(value) for reader, value in zip(statement.readers, raw, strict=True)]
        except ValueError as error:
            if len(raw) != len(statement.readers):
                raise AssertionError("a query has a value for each of its slots") from error
        bound: list[Any] = []
        errors: list[FieldError] = []
        for reader, value, slot in zip(statement.readers, raw, statement.slots, strict=True):
            try:
                bound.append(reader(value))
            except ValueError as error:
                errors.append(FieldError(slot.label, "invalid_value", f"{error}."))
        if errors:
            # By name: slots are in the order of whichever request of this structure came first.
            raise ValidationError(sorted(errors, key=lambda error: error.field))
        return bound

    def check(self, query: Query, raw: Sequence[Any], standing: Standing) -> None:
        """Refuse what `prepare` and `bind` would, without compiling anything.

        Raises:
            Problem: see `query.planner`.
        """
        plan = self._planner.plan(query, standing)
        errors: list[FieldError] = []
        for slot, value in zip(plan.slots, raw, strict=True):
            if not isinstance(value, str) or slot.form is Form.PATTERN:
                continue
            try:
                if slot.form is Form.SEARCH:
                    parse_search(value)
                if slot.column is None:
                    continue
                (values.parse_list if slot.form is Form.LIST else values.parse)(slot.column, value)
            except ValueError as error:
                errors.append(FieldError(slot.label, "invalid_value", f"{error}."))
        if errors:
            # By name: slots are in the order of whichever request of this structure came first.
            raise ValidationError(sorted(errors, key=lambda error: error.field))

    def can_be(self, statement: Statement, raw: Sequence[Any]) -> bool:
        """Whether the first values can be what their slots are for."""
        try:
            for reader, value in zip(statement.readers, raw, strict=False):
                reader(value)
        except ValueError:
            return False
        return True

    def read(self, statement: Statement, values: Sequence[Any], context: Context) -> Rows | Awaitable[Rows]:
        """The statement's rows, at once when it is quick, else awaitable."""
        if context.transaction is not None:
            return context.transaction.read(statement, statement.parameters(values, context), context)
        return self._database_read(statement, statement.parameters(values, context), context)

    def run(self, statement: Statement, parameters: Sequence[Any], context: Context) -> Rows | Awaitable[Rows]:
        """As `read`, with parameters that `statement.parameters` made."""
        if context.transaction is not None:
            return context.transaction.read(statement, parameters, context)
        return self._database_read(statement, parameters, context)

    async def insert(
        self,
        resource: Resource,
        fields: dict[str, Any],
        context: Context,
        kept: Mapping[str, Any] = NOTHING,
        *,
        unseen: frozenset[str] = frozenset(),
    ) -> tuple[Statement, Row]:
        """Create a row from validated fields; returns the statement and its row.

        Args:
            kept: what no caller sets, of a row that was there before.
            unseen: the fields whose values the caller has not given, and may not find out.
        """

        async def write(fields: dict[str, Any]) -> Row | None:
            nonlocal statement
            statement = self._prepare_write(Insert(resource.name, tuple(fields), tuple(kept), unseen), context)
            values = self.bind(statement, [*fields.values(), *kept.values()])
            return await self._write(statement, values, resource, context)

        statement = NO_STATEMENT
        row = await self._hooked(resource, "create", context, (), fields, write)
        assert row is not None, "INSERT … RETURNING returns its row"
        return statement, row

    async def update(
        self,
        resource: Resource,
        key: Sequence[str],
        fields: dict[str, Any],
        context: Context,
        *,
        version: int | None = None,
        touch: bool = False,
        unseen: frozenset[str] = frozenset(),
    ) -> tuple[Statement, Row]:
        """Change some fields of the row with that key.

        Args:
            version: the one that the row must have.
            touch: it counts as changed, whatever its fields are.
            unseen: as in `insert`.

        Raises:
            StaleError: it has another one.
        """

        async def write(fields: dict[str, Any]) -> Row | None:
            nonlocal statement
            slots = tuple(range(len(fields), len(fields) + len(key)))
            expected = None if version is None else len(fields) + len(key)
            query = Update(resource.name, tuple(fields), slots, expected, touch, unseen)
            statement = self._prepare_write(query, context)
            values = self._bind_keyed(statement, [*fields.values(), *key, *_given(version)], resource, key)
            return await self._write(statement, values, resource, context, key)

        statement = NO_STATEMENT
        row = await self._hooked(resource, "update", context, key, fields, write)
        if row is None:
            await self._explain(resource, key, "update", context, version)
            raise NotFoundError(resource.name, ",".join(key))
        return statement, row

    async def delete(
        self, resource: Resource, key: Sequence[str], context: Context, *, version: int | None = None
    ) -> None:
        """Delete the row with that key; `version` as in `update`."""
        query = Delete(resource.name, tuple(range(len(key))), None if version is None else len(key))
        statement = self._prepare_write(query, context)
        values = self._bind_keyed(statement, [*key, *_given(version)], resource, key)

        async def write(_: dict[str, Any]) -> Row | None:
            return await self._write(statement, values, resource, context, key)

        if await self._hooked(resource, "delete", context, key, {}, write) is None:
            await self._explain(resource, key, "delete", context, version)
            raise NotFoundError(resource.name, ",".join(key))

    async def restore(self, resource: Resource, key: Sequence[str], context: Context) -> tuple[Statement, Row]:
        """Bring back the row with that key, which was deleted softly."""
        query = Restore(resource.name, tuple(range(len(key))))
        statement = self._prepare_write(query, context)
        values = self._bind_keyed(statement, key, resource, key)

        async def write(_: dict[str, Any]) -> Row | None:
            return await self._write(statement, values, resource, context, key)

        row = await self._hooked(resource, "restore", context, key, {}, write)
        if row is None:
            raise NotFoundError(resource.name, ",".join(key))
        return statement, row

    def _bind_keyed(
        self, statement: Statement, raw: Sequence[Any], resource: Resource, key: Sequence[str]
    ) -> list[Any]:
        """Bind; a key that its column cannot hold is a key that no row has."""
        try:
            return self.bind(statement, raw)
        except ValidationError as error:
            raise _unfound(error, resource, key) from None

    async def _explain(
        self, resource: Resource, key: Sequence[str], action: str, context: Context, version: int | None = None
    ) -> None:
        """Refuse with 403 what the principal may see but not change; what it may not see is not there.

        Raises:
            ForbiddenError: the row is seen, and has the version that was named.
            StaleError: it has another one.
        """
        shape = Shape((resource.key[0].name,)) if version is None else Shape()
        query = Select(resource.name, key=tuple(range(len(key))), shape=shape)
        try:
            statement = self.prepare(query, self.standing(context.principal))
        except Problem:
            return
        found = self.read(statement, self.bind(statement, key), context)
        rows = found if isinstance(found, list) else await found
        if rows:
            if version is not None and output(statement, rows[0], Output.VERSION) != version:
                raise StaleError(rows[0])
            raise ForbiddenError(action, f"this row of {resource.name}", anonymous=context.principal.is_anonymous)

    async def _hooked(
        self,
        resource: Resource,
        action: Action,
        context: Context,
        key: Sequence[str],
        fields: dict[str, Any],
        write: Callable[[dict[str, Any]], Awaitable[Row | None]],
    ) -> Row | None:
        """Write; where hooks are called around it, in a transaction."""
        if context.transaction is None or not self.hooks.watch(resource, action):
            return await write(fields)
        return await self.hooks.run(resource, action, context, key, fields, write)

    async def _write(
        self,
        statement: Statement,
        values: list[Any],
        resource: Resource,
        context: Context,
        key: Sequence[str] = (),
    ) -> Row | None:
        parameters = statement.parameters(values, context)
        claim = context.claim
        try:
            row = await (context.transaction or self.database).write(statement, parameters, context)
            if statement.claimed and claim is not None and row is not None:
                claim.placed = claim.kept = True
            return row
        except RefusedError:
            raise await self._refusals.refused(statement, values, resource, context) from None
        except ValidationError as error:
            raise _unfound(error, resource, key) from None
        except ConstraintViolationError as violation:
            raise await self._refusals.of(violation, statement, values, resource, context) from None


class StaleError(Exception):
    """A write that named another version than the row has; `row` is it now, as an item is read."""

    def __init__(self, row: Row) -> None:
        super().__init__("stale")
        self.row = row


def _given(version: int | None) -> tuple[str, ...]:
    return () if version is None else (str(version),)


def _unfound(error: ValidationError, resource: Resource, key: Sequence[str]) -> Problem:
    """That there is no such row, where nothing but its key was at fault."""
    names = {column.name for column in resource.key}
    if key and all(e.field in names for e in error.errors):
        return NotFoundError(resource.name, ",".join(key))
    return error


def output(statement: Statement, row: Row, wanted: Output) -> Any:
    """One output of a row; `None` where the statement has no such column."""
    return row[statement.position(wanted)] if wanted in statement.outputs else None
