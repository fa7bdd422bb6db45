"""`POST /batch`: several requests of the API in one transaction, all or none; one may refer to what another made."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, cast
from urllib.parse import quote

import orjson
from pydantic import BaseModel, ConfigDict, Field, StrictBool
from pydantic import ValidationError as PydanticError

from ..config import Config
from ..engine import Engine
from ..errors import FieldError, Problem, ValidationError, invalid
from ..http.frame import Handler
from ..http.messages import JSON_TYPE, Request, Response, Streamed
from ..http.quotas import Quotas
from ..observe import Series
from ..transactions import answered
from .bodies import check_media_type, parse_object
from .replies import Envelope

OPERATIONS_MAX = 100
#: What an answer's headers tell of one operation.
_TOLD = (b"location", b"etag")
_REFERENCE = "$ref"
_IN_PATH = re.compile(r"\{([A-Za-z0-9_.-]+)\}")
Find = Callable[[Request], "tuple[Handler, Series] | None"]
_Name = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_-]*$", max_length=64)]
_Header = Annotated[str, Field(max_length=1_024, pattern=r"^[ -~]*$")]


class _Closed(BaseModel):
    model_config = ConfigDict(extra="forbid")


class OperationHeaders(_Closed):
    """The headers that one operation may have of its own."""

    if_match: Annotated[_Header | None, Field(alias="If-Match")] = None
    if_none_match: Annotated[_Header | None, Field(alias="If-None-Match")] = None


class BatchOperation(_Closed):
    """One request: its path is below that of the API."""

    id: _Name | None = None
    method: Literal["GET", "POST", "PATCH", "PUT", "DELETE"]
    path: Annotated[str, Field(pattern=r"^/[!-~]*$", max_length=2_000)]
    body: dict[str, Any] | None = None
    headers: OperationHeaders | None = None


class BatchBody(_Closed):
    """Operations, in order; with `dry_run` nothing of them remains."""

    operations: Annotated[list[BatchOperation], Field(min_length=1, max_length=OPERATIONS_MAX)]
    dry_run: StrictBool = False


class _UndoneError(Exception):
    """The end of a dry run, which undoes it."""

    def __init__(self, response: Response) -> None:
        super().__init__("dry run")
        self.response = response


@dataclass(slots=True)
class _Run:
    """One batch while it runs."""

    request: Request
    made: dict[str, Any] = field(default_factory=dict[str, Any])


class Batch:
    """Answers batches for one version of the API.

    Args:
        find: the endpoint of a request, as for any other.
        quotas: the rate limits; each operation counts as the request that it is.
    """

    def __init__(self, engine: Engine, config: Config, envelope: Envelope, find: Find, quotas: Quotas) -> None:
        self._engine, self._config, self._envelope, self._find = engine, config, envelope, find
        self._quotas = quotas
        self._base = config.base_path.encode()

    async def run(self, request: Request) -> Response:
        """`POST /batch`."""
        if request.query:
            raise invalid("query", "unknown_parameter", "a batch takes no parameters.")
        check_media_type(request.headers.get(b"content-type"))
        body = _validated(parse_object(await request.body()))

        async def work() -> Response:
            response = await self._all(request, body)
            if body.dry_run:
                raise _UndoneError(response)
            return response

        try:
            return await answered(self._engine.transactions, request.context, work)
        except _UndoneError as undone:
            return undone.response

    async def _all(self, request: Request, body: BatchBody) -> Response:
        run = _Run(request)
        parts: list[bytes] = []
        for index, operation in enumerate(body.operations):
            try:
                response = await self._one(run, operation)
            except Problem as problem:
                raise _of_operation(problem, index, operation) from None
            parts.append(_part(response))
            if sum(map(len, parts)) > self._config.result_bytes_max:
                raise Problem("RESULT_TOO_LARGE", "The answers of the batch would be larger than this server sends.")
            shown = orjson.loads(response.body).get("data") if response.body else None
            run.made[str(index)] = shown
            if operation.id is not None:
                run.made[operation.id] = shown
        meta = b'{"dry_run":%b,"operations":%d}' % (b"true" if body.dry_run else b"false", len(parts))
        return Response(200, self._envelope.page(b"[" + b",".join(parts) + b"]", meta), [JSON_TYPE])

    async def _one(self, run: _Run, operation: BatchOperation) -> Response:
        path, _, query = operation.path.partition("?")
        path = _IN_PATH.sub(lambda match: quote(_text(_referred(run.made, match[1])), safe=""), path)
        headers = {b"content-type": b"application/json"} if operation.body is not None else {}
        if operation.headers is not None:
            given = operation.headers.model_dump(by_alias=True, exclude_none=True)
            headers |= {name.lower().encode(): str(value).encode() for name, value in given.items()}
        body = b"" if operation.body is None else orjson.dumps(_resolved(operation.body, run.made))
        target = self._base + path.encode()
        part = run.request.part(operation.method, target, query.encode(), headers, body)
        found = self._find(part) if target != self._base + b"/batch" else None
        if found is None:
            raise Problem("NOT_FOUND", f"Nothing that a batch can do is at {path[:200]}.")
        handler, series = found
        await self._quotas.count(run.request, series)
        result = handler(part)
        response = result if isinstance(result, Response) else await result
        if isinstance(response, Streamed):
            raise invalid("path", "unsupported", "an export is no part of a batch.")
        return response


def _validated(found: Mapping[str, Any]) -> BatchBody:
    try:
        return BatchBody.model_validate(found)
    except PydanticError as error:
        listed = error.errors(include_url=False, include_input=False, include_context=False)
        raise ValidationError([FieldError(_place(e["loc"]), e["type"], f"{e['msg']}.") for e in listed]) from None


def _place(parts: tuple[int | str, ...]) -> str:
    """Where an error is: `operations[2].path`."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in parts)
    return text.removeprefix(".") or "body"


def _of_operation(problem: Problem, index: int, operation: BatchOperation) -> Problem:
    """A refusal as that of the whole batch, which says whose it is."""
    where = f"operations[{index}]"
    errors = [FieldError(f"{where}.{error.field}", error.code, error.message) for error in problem.errors]
    detail = f"{where} ({operation.method} {operation.path[:200]}): {problem.detail}"
    if problem.status == 405:  # of the batch itself it would say that it takes no POST
        errors = [FieldError(f"{where}.method", "invalid_value", problem.detail)]
        return Problem("VALIDATION_ERROR", detail, errors=errors, hint=problem.hint)
    return Problem(problem.code, detail, errors=errors, hint=problem.hint, headers=problem.headers)


def _part(response: Response) -> bytes:
    told = {name.decode(): value.decode() for name, value in response.headers if name in _TOLD}
    body = response.body or b"null"
    return b'{"status":%d,"headers":%b,"body":%b}' % (response.status, orjson.dumps(told), body)


def _resolved(value: Any, made: Mapping[str, Any]) -> Any:
    """A body with its references replaced: `{"$ref": "order.id"}`."""
    if isinstance(value, dict):
        members = cast("dict[str, Any]", value)
        reference = members.get(_REFERENCE)
        if len(members) == 1 and isinstance(reference, str):
            return _referred(made, reference)
        return {name: _resolved(member, made) for name, member in members.items()}
    if isinstance(value, list):
        return [_resolved(item, made) for item in cast("list[Any]", value)]
    return value


def _referred(made: Mapping[str, Any], reference: str) -> Any:
    """A value of what an operation before answered, as `order.id`.

    Raises:
        ValidationError: there is none.
    """
    name, *steps = reference.split(".")
    found: Any = made.get(name, _NOTHING)
    for step in steps:
        found = cast("dict[str, Any]", found).get(step, _NOTHING) if isinstance(found, dict) else _NOTHING
    if found is _NOTHING or isinstance(found, dict | list):
        raise invalid(
            "reference", "invalid_value", f"{reference[:80]!r} is no value of an operation before this one."
        )
    return found


def _text(value: Any) -> str:
    return value if isinstance(value, str) else orjson.dumps(value).decode()


_NOTHING = object()
