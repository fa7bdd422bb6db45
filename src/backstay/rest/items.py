"""One row: `GET`, `POST`, `PATCH`, `PUT` and `DELETE`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import orjson

from .. import hooks
from ..config import Config
from ..db.database import Row
from ..engine import Engine, Rows, StaleError
from ..errors import NotFoundError, Problem, ValidationError, invalid
from ..http.messages import Request, Response, pairs_of
from ..query.ir import Select, Shape
from ..query.payload import Action
from ..query.sight import Sight
from ..schema.model import Column
from ..schema.policy import Standing
from ..schema.resource import Resource
from ..sql.statement import Statement
from ..transactions import answered
from . import params
from .bodies import check_media_type, parse_object
from .contracts import Contracts
from .nested import Fields, Nested, Tree, branches, split
from .past import remembered
from .preconditions import create_only, unmet, versions_wanted
from .put_new import check_repeated, current_etag, key_members, makes_rows, unfit_key
from .replies import Envelope, conditional, etag_of, too_large
from .written import Written

Result = TypeVar("Result")


class Items:
    """Answers requests for one row of a resource.

    Args:
        parent: resource and relation of a nested route that creates.
    """

    def __init__(
        self,
        engine: Engine,
        config: Config,
        envelope: Envelope,
        resource: Resource,
        parent: tuple[Resource, str] | None = None,
    ) -> None:
        self._parent = parent
        self._engine = engine
        self._config = config
        self._envelope = envelope
        self._resource = resource
        self.written = Written(config, envelope, resource)
        self._branching = frozenset(name for name, way in resource.relationships.items() if way.many)
        self._contracts = Contracts(engine.catalog)
        self._nested = Nested(engine, self._contracts)
        self._plain: dict[Standing, Statement] = {}

    def get(self, request: Request) -> Response | Awaitable[Response]:
        """`GET /{resource}/{key}`."""
        raw: list[object] = [*request.key]
        standing = self._engine.standing(request.context.principal)
        statement = self._plain.get(standing) if not request.query else None
        if statement is None:
            statement = self._item_statement(request, standing, raw)
        try:
            values = self._engine.bind(statement, raw)
        except ValidationError as error:
            if any(fault.field == "as_of" for fault in error.errors):
                raise
            raise NotFoundError(self._resource.name, ",".join(request.key)) from None
        found = self._engine.read(statement, values, request.context)
        if len(raw) > len(request.key):
            found = remembered(self._engine, found, str(raw[-1]), request.context)
        if type(found) is list:
            return self._reply(request, found)
        return self._later(request, found)  # type: ignore[arg-type]

    async def _later(self, request: Request, found: Awaitable[Rows]) -> Response:
        try:
            return self._reply(request, await found)
        except ValidationError:
            # Only the database could tell that no row has such a key.
            raise NotFoundError(self._resource.name, ",".join(request.key)) from None

    def _item_statement(self, request: Request, standing: Standing, raw: list[object]) -> Statement:
        query = params.parse_item(self._resource.name, pairs_of(request.query), self._config, raw)
        statement = self._engine.prepare(query, standing)
        if not request.query:
            if len(self._plain) >= 64:
                self._plain.clear()
            self._plain[standing] = statement
        return statement

    def _reply(self, request: Request, rows: Rows) -> Response:
        if not rows:
            raise NotFoundError(self._resource.name, ",".join(request.key))
        row = rows[0]
        if len(row[0]) > self._config.result_bytes_max:
            raise too_large()
        body = self._envelope.item(row[0])
        return conditional(request, 200, body, [], etag_of(body, row[1] if len(row) > 1 else None))

    async def create(self, request: Request) -> Response:
        """`POST /{resource}`."""
        return await self._create(request, None)

    async def _create(self, request: Request, fixed: dict[str, Any] | None) -> Response:
        """`fixed` are the columns that a nested route sets."""
        return await self._insert(await self._fields(request, Action.CREATE, fixed), request)

    async def _insert(self, fields: Fields, request: Request) -> Response:
        async def create() -> Response:
            statement, row = await self._engine.insert(self._resource, fields, request.context)
            if fields.tree is None:
                return self.written.row(statement, row, 201)
            await self._nested.create(row, fields.tree, request.context)
            shown = await self._nested.shown(self._resource, statement, row, fields.tree, request.context)
            return self.written.rebuilt(201, *shown)

        return await self._whole(request, "create", create, nested=fields.tree is not None)

    async def create_below(self, request: Request) -> Response:
        """`POST /{parent}/{key}/{relation}`: the row belongs to a parent that the principal can see."""
        assert self._parent is not None, "only nested routes create below"
        parent, relation = self._parent
        key = request.key
        way = parent.relationships[relation]
        links = [
            (parent.table.column_of(local), self._resource.table.column_of(remote)) for local, remote in way.pairs
        ]
        if way.through is not None or any(local is None or remote is None for local, remote in links):
            raise Problem("METHOD_NOT_ALLOWED", f"Create {self._resource.name} on its own path.")
        columns = [(local, remote) for local, remote in links if local is not None and remote is not None]
        values = await self._parent_values(request, parent, key, [local for local, _ in columns])
        fixed = {remote.name: value for (_, remote), value in zip(columns, values, strict=True)}
        return await self._create(request, fixed)

    async def _parent_values(
        self, request: Request, parent: Resource, key: list[str], columns: list[Column]
    ) -> list[Any]:
        fields = tuple(column.name for column in columns)
        query = Select(parent.name, key=tuple(range(len(key))), shape=Shape(fields))
        statement = self._engine.prepare(query, self._engine.standing(request.context.principal))
        try:
            values = self._engine.bind(statement, key)
        except ValidationError:
            raise NotFoundError(parent.name, ",".join(key)) from None
        found = self._engine.read(statement, values, request.context)
        rows = found if isinstance(found, list) else await found
        if not rows:
            raise NotFoundError(parent.name, ",".join(key))
        parsed: dict[str, Any] = orjson.loads(rows[0][0])
        return [parsed[name] for name in fields]

    async def update(self, request: Request) -> Response:
        """`PATCH /{resource}/{key}`: absent fields stay, null is null."""
        return await self._change(request, await self._fields(request, Action.UPDATE))

    async def replace(self, request: Request) -> Response:
        """`PUT /{resource}/{key}`: absent fields take their default or null."""
        standing, resource = self._engine.standing(request.context.principal), self._resource
        if create_only(request) and makes_rows(resource, self._contracts.of(resource, Action.MAKE, standing).columns):
            return await self._put_new(request)
        defaults = self._contracts.of(resource, Action.REPLACE, standing).defaults()
        fields = await self._fields(request, Action.REPLACE)
        return await self._change(request, fields.over(defaults), whole=True)

    async def _put_new(self, request: Request) -> Response:
        """A row with the key of the path; one that is there already is left as it is.

        Where it is not seen, the answer is that of a create: the key is taken.
        """
        try:
            fields = await self._fields(request, Action.MAKE, key_members(self._resource, request.key))
        except ValidationError as error:
            raise unfit_key(error, self._resource) from None
        try:
            return await self._insert(fields, request)
        except Problem as problem:
            etag = await current_etag(self.get, request) if problem.code == "CONFLICT" else b""
            if not etag:
                raise
            raise unmet(request, self._resource, etag) from None

    async def _change(self, request: Request, fields: Fields, *, whole: bool = False) -> Response:
        tree, context, resource = fields.tree, request.context, self._resource

        async def change(version: int | None) -> tuple[Statement, Row]:
            touch = tree is not None
            return await self._engine.update(resource, request.key, fields, context, version=version, touch=touch)

        async def work() -> Response:
            statement, row = await self._matched(request, change)
            if tree is None:
                return self.written.row(statement, row, 200)
            await self._nested.change(resource, request.key, row, tree, context, whole=whole)
            return self.written.rebuilt(200, *await self._nested.shown(resource, statement, row, tree, context))

        return await self._whole(request, "update", work, nested=tree is not None)

    async def _whole(
        self,
        request: Request,
        action: hooks.Action,
        work: Callable[[], Awaitable[Response]],
        *,
        nested: bool = False,
    ) -> Response:
        """Answer a write; where hooks are called around it, or children written, it is a transaction with them."""
        if not nested and not self._engine.hooks.watch(self._resource, action):
            return await work()
        return await answered(self._engine.transactions, request.context, work)

    async def _matched(self, request: Request, write: Callable[[int | None], Awaitable[Result]]) -> Result:
        """Write the row in the version that the request names, if any; of several, in the one that it has."""
        wanted = versions_wanted(request, self._resource)
        try:
            return await write(None if wanted is None else wanted[0])
        except StaleError as stale:
            row = stale.row
        if wanted is not None and row[1] in wanted[1:]:
            try:
                return await write(row[1])
            except StaleError as stale:
                row = stale.row
        etag = etag_of(self._envelope.item(row[0]), row[1])
        raise unmet(request, self._resource, etag)

    async def delete(self, request: Request) -> Response:
        """`DELETE /{resource}/{key}`."""
        _refuse_parameters(request)

        async def delete(version: int | None) -> None:
            await self._engine.delete(self._resource, request.key, request.context, version=version)

        async def work() -> Response:
            await self._matched(request, delete)
            return Response(204, b"", [])

        return await self._whole(request, "delete", work)

    async def restore(self, request: Request) -> Response:
        """`POST /{resource}/{key}/restore`: a row that was deleted softly is there again."""
        _refuse_parameters(request)

        async def work() -> Response:
            statement, row = await self._engine.restore(self._resource, request.key, request.context)
            return self.written.row(statement, row, 200)

        return await self._whole(request, "restore", work)

    async def _fields(self, request: Request, action: Action, fixed: dict[str, Any] | None = None) -> Fields:
        """The fields of the body, and those that the path sets; only a row's own path may be repeated by its body."""
        _refuse_parameters(request)
        check_media_type(request.headers.get(b"content-type"))
        body = await request.body()
        standing = self._engine.standing(request.context.principal)
        contract = self._contracts.of(self._resource, action, standing)
        found = parse_object(body, ignored=contract.ignored)
        tree: Tree | None = None
        if not self._branching.isdisjoint(found):
            found, tree = split(found, branches(Sight(self._engine.catalog, standing), self._resource))
            body = orjson.dumps(found)
        if fixed:
            given = sorted(set(fixed) & set(found))
            if given and action is not Action.MAKE:
                raise invalid(given[0], "read_only", "is set by the path.")
            check_repeated(found, fixed)
            body = _joined(body, found, {name: value for name, value in fixed.items() if name not in given})
        fields = Fields(contract.validate(body))
        fields.tree = tree
        return fields


def _refuse_parameters(request: Request) -> None:
    if request.query:
        name = pairs_of(request.query)[:1]
        raise invalid(name[0][0][:80] if name else "query", "unknown_parameter", "writes take no parameters.")


def _joined(body: bytes, found: dict[str, Any], fixed: dict[str, Any]) -> bytes:
    """The object with more members; its own stay as they were written, because parsing may have rounded them."""
    if not found or not fixed:
        return orjson.dumps(fixed) if fixed else body
    return orjson.dumps(fixed)[:-1] + b"," + body.partition(b"{")[2]
