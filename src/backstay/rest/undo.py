"""`POST /{resource}/{key}/undo`: the opposite of one change, as an ordinary write of who asks for it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Any, cast

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter
from pydantic import ValidationError as PydanticError

from ..engine import Engine, StaleError, output
from ..errors import FieldError, ForbiddenError, NotFoundError, Problem, ValidationError, invalid
from ..http.messages import Request, Response, pairs_of
from ..query.history import kept_columns
from ..query.ir import History, KeysetPage
from ..query.payload import Action, Contract, type_of, writable_columns
from ..query.sight import Sight
from ..schema.model import Column
from ..schema.policy import Standing
from ..schema.resource import Resource
from ..sql.statement import Output
from ..transactions import answered
from .bodies import check_media_type, parse_object
from .contracts import Contracts
from .written import Written

UNDO = b"undo"
Image = dict[str, Any]


class UndoBody(BaseModel):
    """Which change is undone: its `id` in the history of the row."""

    model_config = ConfigDict(extra="forbid", strict=True)

    change: Annotated[int, Field(ge=1, le=2**63 - 1)]


class Undo:
    """Undoes changes of one resource's rows.

    Args:
        written: answers the writes.
    """

    def __init__(self, engine: Engine, resource: Resource, written: Written) -> None:
        self._engine, self._resource, self._written = engine, resource, written
        self._contracts = Contracts(engine.catalog)
        table = resource.table
        self._columns = {column.name: column for column in kept_columns(resource)}
        #: What every write sets anew.
        self._counted = {name for name in (table.version, table.touched) if name is not None}
        self._counted |= {name for name, column in self._columns.items() if column.sql.computed is not None}

    async def undo(self, request: Request) -> Response:
        """`POST /{resource}/{key}/undo`."""
        if request.query:
            raise invalid(pairs_of(request.query)[0][0][:80], "unknown_parameter", "writes take no parameters.")
        check_media_type(request.headers.get(b"content-type"))
        change = _number(await request.body())

        async def work() -> Response:
            try:
                return await self._undo(request, await self._found(request, change))
            except StaleError:
                raise _changed(()) from None

        return await answered(self._engine.transactions, request.context, work)

    async def _found(self, request: Request, change: int) -> dict[str, Any]:
        """The change, what it kept of the row, and the row as it is now."""
        key = request.key
        named = tuple(column.name for column in self._resource.key)
        for primary in (False,) if named == self._resource.table.key else (False, True):
            slots = tuple(range(len(key)))
            query = History(self._resource.name, slots, KeysetPage(1), primary, len(key))
            statement = self._engine.prepare(query, self._engine.standing(request.context.principal))
            if not self._engine.can_be(statement, key):
                continue
            values = self._engine.bind(statement, [*key, change])
            found = self._engine.read(statement, values, request.context)
            rows = found if isinstance(found, list) else await found
            if output(statement, rows[0], Output.PARENT) is None:
                continue
            if rows[0][0] is None:
                raise invalid("change", "unknown", "is no change of this row that you may see.")
            return cast("dict[str, Any]", json.loads(rows[0][0]))
        raise NotFoundError(self._resource.name, ",".join(key))

    async def _undo(self, request: Request, change: dict[str, Any]) -> Response:
        """Only what is shown of a change decides the answer: what else it touched must not be found out by trying."""
        kept = _Sides(*(change[f"kept_{name}"] for name in ("before", "after", "now")))
        shown = _Sides(change["before"], change["after"], change["now"])
        match change["operation"]:
            case "create" if kept.after is not None:
                shown.check(set(shown.after or ()) - self._counted)
                return await self._delete(request, kept.now or {})
            case "delete" if kept.before is not None:
                if kept.now is not None:
                    raise Problem("CONFLICT", "The row is there again.", hint="Change it instead.")
                return await self._create(request, kept.before, shown.before or {})
            case "update" if kept.before is not None and kept.after is not None:
                return await self._restore(request, kept, shown)
            case _:
                raise _forbidden(request, "a change of which you may not see both sides")

    async def _restore(self, request: Request, kept: _Sides, shown: _Sides) -> Response:
        """Give the fields that a change touched their values again.

        Those that are not shown stay as they are, where they were changed since.
        """
        engine, resource, context = self._engine, self._resource, request.context
        before, deleted = kept.before or {}, resource.table.deleted
        told = shown.touched() - self._counted
        shown.check(told)
        touched = kept.touched() - self._counted - kept.changed(set(before))
        now = kept.now or {}
        if deleted in touched and told <= {deleted}:
            if before[deleted] is not None:
                return await self._delete(request, now)
            return self._written.row(*await engine.restore(resource, self._key(now), context), 200)
        standing = engine.standing(context.principal)
        contract = self._contracts.of(resource, Action.UPDATE, standing)
        if not told <= contract.columns.keys() or not (told or self._unseen(contract, standing)):
            raise _forbidden(request, "a change of what you may not set")
        given = {name: before[name] for name in touched if name in contract.columns}
        fields, version = contract.validate(_text(given).encode()), self._version(now)
        unseen = _not_shown(before, shown.before or {})
        statement, row = await engine.update(
            resource, self._key(now), fields, context, version=version, touch=True, unseen=unseen
        )
        return self._written.row(statement, row, 200)

    def _unseen(self, contract: Contract, standing: Standing) -> bool:
        """Whether there are fields that may be set, and not be seen in every row."""
        columns = Sight(self._engine.catalog, standing).columns(self._resource)
        return any(name not in columns or columns[name].mask is not None for name in contract.columns)

    async def _delete(self, request: Request, now: Image) -> Response:
        version = self._version(now)
        await self._engine.delete(self._resource, self._key(now), request.context, version=version)
        return Response(204, b"", [])

    async def _create(self, request: Request, before: Image, shown: Image) -> Response:
        """Make a deleted row again, with its key and what nobody sets."""
        context, resource = request.context, self._resource
        contract = self._contracts.of(resource, Action.CREATE, self._engine.standing(context.principal))
        given = {name: value for name, value in before.items() if name in contract.columns}
        if any(shown.get(name) is not None and name not in given for name in writable_columns(resource)):
            raise _forbidden(request, "the delete of what you may not set")
        kept = {n: value for n, value in before.items() if n not in given and self._keeps(self._columns[n])}
        if resource.table.version is not None:
            kept[resource.table.version] = before[resource.table.version] + 1
        values = {name: _value(self._columns[name], value) for name, value in kept.items()}
        fields = contract.validate(_text(given).encode())
        unseen = _not_shown(before, shown)
        statement, row = await self._engine.insert(resource, fields, context, values, unseen=unseen)
        return self._written.row(statement, row, 201)

    def _keeps(self, column: Column) -> bool:
        fresh = column.name in self._counted or column.name == self._resource.table.tenant
        return not fresh

    def _key(self, now: Image) -> list[str]:
        """What addresses the row now, as its path would have it."""
        values = [now[column.name] for column in self._resource.key]
        return [value if isinstance(value, str) else _text(value) for value in values]

    def _version(self, now: Image) -> int | None:
        """The version that the row must still have when it is written."""
        name = self._resource.table.version
        return None if name is None else int(now[name])


def _number(body: bytes) -> int:
    """The change that a body names.

    Raises:
        ValidationError: it names none.
    """
    parse_object(body)
    try:
        return UndoBody.model_validate_json(body).change
    except PydanticError as error:
        faults = error.errors(include_url=False, include_context=False, include_input=False)
        errors = [FieldError(str(fault["loc"][0])[:80], fault["type"], fault["msg"]) for fault in faults]
        raise ValidationError(errors, hint='Send {"change": id} with the id of a change in its history.') from None


def _value(column: Column, value: Any) -> Any:
    """A kept value as the database takes it."""
    config = ConfigDict(val_json_bytes="base64")
    kind = cast("type[Any]", type_of(column) | None)
    adapter: TypeAdapter[Any] = TypeAdapter(kind, config=config)
    return adapter.validate_json(_text(value), strict=True)


def _not_shown(kept: Image, shown: Image) -> frozenset[str]:
    """The fields whose kept values are not shown: no answer may depend on them."""
    return frozenset(name for name, value in kept.items() if _text(shown.get(name)) != _text(value))


def _text(value: Any) -> str:
    """A value as JSON, which tells true from 1, and has numbers of any size."""
    return json.dumps(value, ensure_ascii=False, sort_keys=True)


@dataclass(frozen=True, slots=True)
class _Sides:
    """A row before a change, after it, and now; `None` where there was no row."""

    before: Image | None
    after: Image | None
    now: Image | None

    def touched(self) -> set[str]:
        """What the change gave another value."""
        before, after = self.before or {}, self.after or {}
        return {name for name in after if _text(before[name]) != _text(after[name])}

    def changed(self, names: set[str]) -> set[str]:
        """Which of some fields have another value now than after it."""
        after, now = self.after or {}, self.now or {}
        return {name for name in names if name not in now or _text(after[name]) != _text(now[name])}

    def check(self, names: set[str]) -> None:
        """Refuse to undo what was changed since.

        Raises:
            Problem: `CONFLICT` with the fields.
        """
        if self.now is None:
            raise Problem("CONFLICT", "The row was deleted since.", hint="Undo the delete first.")
        other = self.changed(names)
        if other:
            raise _changed(other)


def _forbidden(request: Request, what: str) -> ForbiddenError:
    return ForbiddenError("undo", what, anonymous=request.context.principal.is_anonymous)


def _changed(names: Iterable[str]) -> Problem:
    errors = [FieldError(name, "changed", "has been changed since.") for name in sorted(names)]
    hint = "Undo the newer changes first, or write the row as it should be."
    return Problem("CONFLICT", "The row has been changed since.", errors=errors, hint=hint)
