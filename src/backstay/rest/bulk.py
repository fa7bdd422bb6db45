"""Writes of many rows in one request: a list of new ones, a change or delete by a filter, a file of rows.

Each is one transaction, with a row's own rules, hooks and change entries for every row. A list and a filter are all
or nothing; of a file, the rows that are refused are left out and reported.
"""

from __future__ import annotations

import io
import json
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, cast

import orjson

from ..bulk.records import Record, read_csv, read_ndjson
from ..config import Config
from ..context import Context
from ..engine import Engine
from ..errors import FIELD_ERRORS_MAX, FieldError, NotFoundError, Problem, ValidationError, invalid
from ..http.frame import Handler
from ..http.messages import JSON_TYPE, Request, Response, pairs_of
from ..query.ir import Group, Insert, OffsetPage, Select, Shape
from ..query.payload import Action, Contract
from ..schema.resource import Resource
from ..sql.statement import Output
from ..transactions import answered
from . import params
from .bodies import check_media_type, parse_object
from .contracts import Contracts
from .replies import Envelope, too_large

_WORDS = ("or", "and", "q")
_NDJSON = frozenset({b"application/x-ndjson", b"application/ndjson", b"application/jsonl"})


class Bulk:
    """Answers the bulk writes of a resource."""

    def __init__(self, engine: Engine, config: Config, envelope: Envelope, resource: Resource) -> None:
        self._engine, self._config, self._envelope, self._resource = engine, config, envelope, resource
        self._contracts = Contracts(engine.catalog)

    def create_or(self, one: Callable[[Request], Awaitable[Response]]) -> Handler:
        """`POST /{resource}`: a list of rows, or one."""

        async def create(request: Request) -> Response:
            body = await request.kept_body()
            if body[:1] != b"[" and body.lstrip()[:1] != b"[":
                return await one(request)
            return await self._create(request, body)

        return create

    async def _create(self, request: Request, body: bytes) -> Response:
        _refuse_parameters(request)
        check_media_type(request.headers.get(b"content-type"))
        rows = self._validated(split_list(body, self._config.bulk_max), self._contract(request, Action.CREATE))

        async def work() -> Response:
            made: list[bytes] = []
            refused = _Refused()
            size = 0
            for place, fields in enumerate(rows):
                try:
                    _, row = await self._engine.insert(self._resource, fields, request.context)
                except Problem as problem:
                    refused.add(f"[{place}]", problem)
                    continue
                made.append(row[0])
                size += len(row[0]) + 1
                if size > self._config.result_bytes_max:
                    raise too_large()
            refused.check()
            meta = b'{"count":%d}' % len(made)
            return Response(201, self._envelope.page(b"[%b]" % b",".join(made), meta), [JSON_TYPE])

        return await answered(self._engine.transactions, request.context, work)

    def _contract(self, request: Request, action: Action) -> Contract:
        return self._contracts.of(self._resource, action, self._engine.standing(request.context.principal))

    def _validated(self, bodies: Iterable[bytes], contract: Contract) -> list[dict[str, Any]]:
        """The fields of each row.

        Raises:
            Problem: with the errors of every row.
        """
        rows: list[dict[str, Any]] = []
        refused = _Refused()
        for place, body in enumerate(bodies):
            try:
                rows.append(_fields(body, contract))
            except Problem as problem:
                refused.add(f"[{place}]", problem)
        refused.check()
        return rows

    async def change(self, request: Request) -> Response:
        """`PATCH /{resource}?…`: the same new values in every row of a filter."""
        check_media_type(request.headers.get(b"content-type"))
        fields = _fields(await request.body(), self._contract(request, Action.UPDATE))

        async def write(key: Sequence[str]) -> None:
            await self._engine.update(self._resource, key, fields, request.context)

        return await self._each(request, "update", write)

    async def delete(self, request: Request) -> Response:
        """`DELETE /{resource}?…`: every row of a filter."""

        async def write(key: Sequence[str]) -> None:
            await self._engine.delete(self._resource, key, request.context)

        return await self._each(request, "delete", write)

    async def _each(
        self, request: Request, action: str, write: Callable[[Sequence[str]], Awaitable[None]]
    ) -> Response:
        """Write the rows of a filter that the principal may write."""
        if b"if-match" in request.headers:
            raise invalid("If-Match", "unsupported", "is of one row: change it on its own path.")
        found = params.sort_out(pairs_of(request.query), _WORDS, self._config)
        if not found.filters:
            hint = "Name the rows by a filter, such as status=old; of one row, write its key into the path."
            raise invalid("query", "required", f"a filter of the rows to {action}.", hint=hint)
        query = Select(self._resource.name, Group(False, tuple(found.filters)), may=action)

        async def work() -> Response:
            count = 0
            for key in await self._keys(query, found.raw, request.context):
                try:
                    await write(key)
                except NotFoundError:
                    continue  # somebody else was first
                count += 1
            return Response(200, self._envelope.item(b'{"count":%d}' % count), [JSON_TYPE])

        return await answered(self._engine.transactions, request.context, work)

    async def _keys(self, query: Select, raw: Sequence[object], context: Context) -> list[list[str]]:
        """The keys of the rows, in the order of keys, so that two requests do not wait for each other.

        Raises:
            Problem: there are more than one request may write.
        """
        most = self._config.bulk_max
        names = tuple(column.name for column in self._resource.key)
        wanted = Select(query.resource, query.filter, page=OffsetPage(most), shape=Shape(names), may=query.may)
        statement = self._engine.prepare(wanted, self._engine.standing(context.principal))
        found = self._engine.read(statement, self._engine.bind(statement, raw), context)
        rows = found if isinstance(found, list) else await found
        total = rows[0][statement.position(Output.TOTAL)]
        if total > most:
            detail = f"The filter has {total} rows, and one request writes at most {most}."
            raise Problem("RESULT_TOO_LARGE", detail, hint="Filter for fewer rows, and send several requests.")
        return [[_text(row[name]) for name in names] for row in orjson.loads(rows[0][0])]

    async def load(self, request: Request) -> Response:
        """`POST /{resource}/import`: the rows of a file; those that are refused are reported and left out."""
        _refuse_parameters(request)
        media = (request.headers.get(b"content-type") or b"").partition(b";")[0].strip().lower()
        if media != b"text/csv" and media not in _NDJSON:
            shown = media.decode("latin-1")[:80] or "none"
            hint = "Send Content-Type: application/x-ndjson or text/csv."
            raise Problem("UNSUPPORTED_MEDIA_TYPE", f"The body's Content-Type is {shown}.", hint=hint)
        # Who may create nothing learns nothing of the rows; a file without any is refused, too.
        self._engine.check(Insert(self._resource.name, ()), (), self._engine.standing(request.context.principal))
        contract = self._contract(request, Action.CREATE)
        stream = io.BytesIO(await request.body())
        found = read_csv(stream, contract.columns) if media == b"text/csv" else read_ndjson(stream)
        records = list(found)
        most = self._config.bulk_max
        if len(records) > most:
            detail = f"The file has {len(records)} rows, and one request creates at most {most}."
            raise Problem("RESULT_TOO_LARGE", detail, hint="Send it in parts, or ask the operator to import it.")

        async def work() -> Response:
            rows, errors = 0, list[dict[str, Any]]()
            failed = 0
            for record in records:
                try:
                    await self._made(_record(record, contract), request.context)
                except Problem as problem:
                    if not problem.errors and problem.code != "MALFORMED_JSON":
                        raise
                    failed += 1
                    errors += _said(record.line, problem)
                else:
                    rows += 1
            report = orjson.dumps({"rows": rows, "failed": failed, "errors": errors[:FIELD_ERRORS_MAX]})
            return Response(200, self._envelope.item(report), [JSON_TYPE])

        return await answered(self._engine.transactions, request.context, work)

    async def _made(self, fields: dict[str, Any], context: Context) -> None:
        """A row of a file; of one that is refused, nothing remains of what its hooks wrote either."""
        if not self._engine.hooks.watch(self._resource, "create"):
            await self._engine.insert(self._resource, fields, context)
            return
        async with context.transaction.session.begin_nested():
            await self._engine.insert(self._resource, fields, context)


class _Refused:
    """What is wrong with the rows of a list."""

    def __init__(self) -> None:
        self._errors: list[FieldError] = []
        self._first: Problem | None = None

    def add(self, where: str, problem: Problem) -> None:
        """Note a row's refusal.

        Raises:
            Problem: one that is no matter of the row's values.
        """
        if not problem.errors and problem.code != "MALFORMED_JSON":
            raise problem
        self._first = self._first or problem
        for error in problem.errors or [FieldError("", "malformed", problem.detail)]:
            self._errors.append(FieldError(f"{where}.{error.field}".removesuffix("."), error.code, error.message))

    def check(self) -> None:
        """Refuse the whole, if any row is refused.

        Raises:
            Problem: with what is wrong with all of them.
        """
        if self._first is None:
            return
        if self._first.code in ("VALIDATION_ERROR", "MALFORMED_JSON"):
            raise ValidationError(self._errors[:FIELD_ERRORS_MAX])
        first = self._errors[0]
        raise Problem(self._first.code, f"{first.field}: {first.message}", errors=self._errors[:FIELD_ERRORS_MAX])


def split_list(body: bytes, most: int) -> list[bytes]:
    """The items of a JSON list, each as it is written: parsing may round numbers.

    Raises:
        Problem: it is no JSON, or has no items, or more than so many.
    """
    try:
        items = cast("list[Any]", orjson.loads(body))
    except orjson.JSONDecodeError as error:
        raise Problem("MALFORMED_JSON", f"The body is not valid JSON: {error}.") from None
    if not 1 <= len(items) <= most:
        raise invalid("body", "too_many" if items else "too_few", f"a list has 1 to {most} rows.")
    text = body.decode()
    decoder, place = json.JSONDecoder(), text.index("[") + 1
    found: list[bytes] = []
    try:
        for _ in items:
            place = _behind_space(text, place, " \t\r\n,")
            _, end = decoder.raw_decode(text, place)
            found.append(text[place:end].encode())
            place = end
    except (ValueError, RecursionError):
        raise Problem("MALFORMED_JSON", "The body is nested too deeply.") from None
    return found


def _behind_space(text: str, place: int, space: str) -> int:
    while text[place] in space:
        place += 1
    return place


def _fields(body: bytes, contract: Contract) -> dict[str, Any]:
    parse_object(body, ignored=contract.ignored)
    return contract.validate(body)


def _record(record: Record, contract: Contract) -> dict[str, Any]:
    if not isinstance(record.body, bytes):
        raise record.body
    return _fields(record.body, contract)


def _said(line: int, problem: Problem) -> list[Mapping[str, Any]]:
    """The errors of one line."""
    errors = problem.errors or (FieldError("row", "malformed", problem.detail),)
    return [{"line": line, "field": e.field, "code": e.code, "message": e.message} for e in errors]


def _text(value: Any) -> str:
    """A value of a key as it stands in a path."""
    return value if isinstance(value, str) else orjson.dumps(value).decode()


def _refuse_parameters(request: Request) -> None:
    if request.query:
        raise invalid("query", "unknown_parameter", "creates take no parameters.")
