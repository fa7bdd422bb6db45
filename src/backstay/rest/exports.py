"""`GET /{resource}/export`: every row that a list would show, as NDJSON or CSV (RFC 4180), page by page.

Underneath are a list's own pages by cursor: its plan, its rules, and no more than one page in memory. Pages are read
one after another, so that a row which changes meanwhile is there as it was or as it is.
"""

from __future__ import annotations

import csv
import io
import time
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, cast

import orjson

from ..config import Config
from ..context import Context
from ..engine import Engine, Rows
from ..errors import Problem, invalid
from ..http.messages import Request, Response, Streamed, pairs_of
from ..query.ir import KeysetPage, OffsetPage, Select
from ..query.sight import Sight
from ..schema.policy import Standing
from ..schema.resource import Resource
from ..sql.statement import Output
from . import params

PAGE_ROWS = 500
FORMATS = {"ndjson": b"application/x-ndjson", "csv": b"text/csv; charset=utf-8; header=present"}
#: Parameters of a list that say which part of it is wanted; an export is all of it.
_OF_PAGES = frozenset({"page", "limit", "cursor", "count"})
_OWN = frozenset({"format", "safe"})
#: What a spreadsheet takes for the beginning of a formula.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
Pairs = Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Asked:
    """What an export is of.

    Attributes:
        safe: cells of CSV that a spreadsheet would take for formulas begin with an apostrophe.
        columns: the members of a row, in order.
    """

    format: Literal["ndjson", "csv"]
    safe: bool
    columns: tuple[str, ...]
    query: Select
    raw: tuple[object, ...]
    standing: Standing


class Exports:
    """Exports one resource."""

    def __init__(self, engine: Engine, config: Config, resource: Resource) -> None:
        self._engine, self._config, self._resource = engine, config, resource

    async def export(self, request: Request) -> Response:
        """`GET /{resource}/export`."""
        asked = self.asked(pairs_of(request.query), request.context)
        await self._refuse_too_many(asked, request.context)
        # The first page is read before the answer begins: what is refused has a status.
        parts = self.parts(asked, request.context)
        first = await anext(parts, b"")
        name = self._resource.name.rpartition(".")[2].encode("ascii", "replace").replace(b'"', b"")
        disposition = b'attachment; filename="%b.%b"' % (name, asked.format.encode())
        headers = [(b"content-type", FORMATS[asked.format]), (b"content-disposition", disposition)]
        return Streamed(200, first, headers, parts)

    def asked(self, pairs: Pairs, context: Context) -> Asked:
        """The parameters of an export.

        Raises:
            Problem: see `Lists`.
        """
        own: dict[str, str] = {}
        for name, value in pairs:
            if name in _OF_PAGES:
                raise invalid(name, "unknown_parameter", "an export has no pages.")
            if name in _OWN and own.setdefault(name, value) is not value:
                raise invalid(name, "duplicate", "is given twice.")
        form = own.get("format", "ndjson")
        if form not in FORMATS:
            raise invalid("format", "invalid_value", "must be ndjson or csv.")
        safe = params.boolean(own.get("safe"), "safe", default=False)
        parsed = params.parse_list(
            self._resource.name, [*((n, v) for n, v in pairs if n not in _OWN), ("cursor", "")], self._config
        )
        query = cast(Select, parsed.query)
        standing = self._engine.standing(context.principal)
        if form == "csv" and query.shape.includes:
            raise invalid("include", "unsupported", "CSV has no place for related rows.", hint="Use format=ndjson.")
        columns = query.shape.fields
        if columns is None:
            columns = tuple(Sight(self._engine.catalog, standing).columns(self._resource))
        return Asked(cast(Any, form), safe, columns, query, tuple(parsed.raw), standing)

    async def _refuse_too_many(self, asked: Asked, context: Context) -> None:
        statement = self._engine.prepare(replace(asked.query, page=OffsetPage(1)), asked.standing)
        rows = await self._run(statement, asked.raw, context)
        total = rows[0][statement.position(Output.TOTAL)]
        most = self._config.export_max
        if total > most:
            detail = f"The export would have {total} rows, and at most {most} are exported."
            raise Problem("RESULT_TOO_LARGE", detail, hint="Filter for fewer rows, and export several times.")

    async def _run(self, statement: Any, raw: Sequence[object], context: Context) -> Rows:
        found = self._engine.read(statement, self._engine.bind(statement, raw), context)
        return found if isinstance(found, list) else await found

    async def pages(self, asked: Asked, context: Context) -> AsyncIterator[list[bytes]]:
        """The rows as JSON, page by page; the deadline is that of each page."""
        page, values, left = KeysetPage(PAGE_ROWS), tuple[object, ...](), self._config.export_max
        while left > 0:
            statement = self._engine.prepare(replace(asked.query, page=page), asked.standing)
            rows = await self._run(statement, (*asked.raw, *values), context)
            more, rows = len(rows) > PAGE_ROWS, rows[: min(PAGE_ROWS, left)]
            left -= len(rows)
            if rows:
                yield [row[0] for row in rows]
            if not more:
                return
            values = tuple(orjson.loads(rows[-1][1]))
            slots = tuple(range(len(asked.raw), len(asked.raw) + len(values)))
            page = KeysetPage(PAGE_ROWS, slots, tuple(value is None for value in values))
            context.deadline = time.monotonic() + self._config.request_timeout_s

    async def parts(self, asked: Asked, context: Context) -> AsyncIterator[bytes]:
        """The file, page by page."""
        if asked.format == "ndjson":
            async for rows in self.pages(asked, context):
                yield b"\n".join(rows) + b"\n"
            return
        lines = _Lines(asked.columns, safe=asked.safe)
        head = lines.header()
        async for rows in self.pages(asked, context):
            yield head + lines.of(rows)
            head = b""
        if head:
            yield head


class _Lines:
    """Rows of JSON as lines of CSV."""

    def __init__(self, columns: Sequence[str], *, safe: bool) -> None:
        self._columns, self._safe = columns, safe
        self._text = io.StringIO()
        self._writer = csv.writer(self._text, lineterminator="\r\n")

    def header(self) -> bytes:
        """The names of the columns."""
        self._writer.writerow(self._columns)
        return self._taken()

    def of(self, rows: Iterable[bytes]) -> bytes:
        """A line for each row."""
        for row in rows:
            found: dict[str, Any] = orjson.loads(row)
            self._writer.writerow([self._cell(found.get(name)) for name in self._columns])
        return self._taken()

    def _cell(self, value: Any) -> str:
        if value is None:
            return ""
        if isinstance(value, str):
            return f"'{value}" if self._safe and value.startswith(_FORMULA) and not _is_number(value) else value
        return orjson.dumps(value).decode()

    def _taken(self) -> bytes:
        text = self._text.getvalue()
        self._text.seek(0)
        self._text.truncate()
        return text.encode()


def _is_number(text: str) -> bool:
    """Whether it is a decimal: a negative number is no formula."""
    return text.removeprefix("-").replace(".", "", 1).isdecimal()
