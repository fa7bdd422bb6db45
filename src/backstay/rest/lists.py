"""`GET` of many rows: lists, nested lists and aggregates.

A request's *recipe* (statement, page size, which values go where) depends on its parameter names and on the
values that are structure, never on filter values; it is cached by exactly those.
"""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from ..config import Config
from ..engine import Engine, Rows
from ..errors import CODES, FieldError, NotFoundError, ValidationError
from ..http.messages import Header, Request, Response, pairs_of
from ..query.ir import KeysetPage, OffsetPage
from ..schema.policy import Standing
from ..schema.resource import Resource
from ..sql.statement import Output, Statement
from . import cursors, params
from .params import Parsed
from .past import remembered
from .replies import (
    Envelope,
    conditional,
    cursor_links,
    etag_of,
    link_base,
    offset_meta,
    page_links,
    peek_meta,
    too_large,
)

RECIPES_MAX = 512
MEMO_MAX = 1_024
MEMO_QUERY_BYTES = 512
#: Parameters of a refused request that are looked at one by one.
DIAGNOSED_MAX = 16
#: Parameters that others refer to.
_CONTEXT = frozenset({"include", "select", "group", "sort", "q"})


@dataclass(frozen=True, slots=True, eq=False)
class Recipe:
    """How to answer requests of one structure."""

    statement: Statement
    limit: int
    paged: bool


@dataclass(slots=True, eq=False)
class Asked:
    """One request, ready to run; kept for the next one that is the same."""

    statement: Statement
    values: list[Any]
    page: int
    limit: int
    keyset: KeysetPage | None = None
    digest: str = ""
    as_of: str = ""
    link_base: str | None = None
    #: The driver's parameters, where they are the same for every principal.
    parameters: Sequence[Any] | None = None
    #: What the last answer counted, and the meta and the link that followed from it.
    tail: tuple[object, bytes, list[Header]] | None = None


class Lists:
    """Answers list requests of one resource.

    Args:
        parent: resource and relation of a nested route.
    """

    #: Parameters whose value is structure; a field that is called so is filtered by `name[eq]`.
    _structure = frozenset({"sort", "limit", "count", "include", "fields", "with_deleted"})
    #: These hold structure and values: such requests have no recipe.
    _mixed = frozenset({"or", "and", "cursor", "as_of"})

    def __init__(
        self,
        engine: Engine,
        config: Config,
        envelope: Envelope,
        resource: Resource,
        parent: tuple[Resource, str] | None = None,
    ) -> None:
        self._engine = engine
        self._config = config
        self._envelope = envelope
        self._resource = resource
        self._parent = parent
        self._recipes: dict[tuple[object, ...], Recipe] = {}
        self._memo: dict[tuple[bytes, Standing], Asked] = {}

    def list(self, request: Request) -> Response | Awaitable[Response]:
        """`GET /{resource}`, or with a parent's key in the path `GET /{parent}/{key}/{relation}`."""
        standing = self._engine.standing(request.context.principal)
        asked = self._memo.get((request.query, standing))
        if asked is None:
            asked = self._ask(request, standing, request.key)
            if self._parent is None and len(request.query) <= MEMO_QUERY_BYTES:
                _keep(self._memo, (request.query, standing), asked, MEMO_MAX)
        parameters = asked.parameters
        if parameters is None:
            parameters = asked.statement.parameters(asked.values, request.context)
            if asked.statement.repeatable:
                asked.parameters = parameters
        found = self._engine.run(asked.statement, parameters, request.context)
        if asked.as_of:
            found = remembered(self._engine, found, asked.as_of, request.context)
        if type(found) is list:
            return self._reply(request, asked, found)
        return self._later(request, asked, found)  # type: ignore[arg-type]

    async def _later(self, request: Request, asked: Asked, found: Awaitable[Rows]) -> Response:
        return self._reply(request, asked, await found)

    def _ask(self, request: Request, standing: Standing, key: list[str]) -> Asked:
        pairs = pairs_of(request.query)
        signature: list[object] = [standing]
        raw: list[object] = [*key]
        page: str | None = None
        for name, value in pairs:
            signature.append(name)
            if name == "page":
                page = value
                # The first page has a statement of its own.
                signature.append(value != "1")
            elif name in self._mixed:
                return self._parse(pairs, standing, key, None)
            elif name in self._structure or ("[" in name and name[name.find("[") + 1 : -1] not in params.COMPARISONS):
                signature.append(value)
            else:
                raw.append(value)
        cache_key = tuple(signature)
        recipe = self._recipes.get(cache_key)
        if recipe is None:
            return self._parse(pairs, standing, key, cache_key)
        return self._follow(recipe, raw, page)

    def _follow(self, recipe: Recipe, raw: list[object], page: str | None) -> Asked:
        """Only the values are new."""
        number = params.bounded(page, "page", 1, params.PAGE_MAX)
        if recipe.paged:
            raw.append((number - 1) * recipe.limit)
        return Asked(recipe.statement, self._bind(recipe.statement, raw), number, recipe.limit)

    def _parse(
        self, pairs: list[tuple[str, str]], standing: Standing, key: list[str], cache_key: tuple[object, ...] | None
    ) -> Asked:
        """Read the whole grammar, plan, and remember how."""
        try:
            parsed = self._parsed(pairs, key)
            statement = self._engine.prepare(parsed.query, standing)
            values = self._bind(statement, parsed.raw)
        except ValidationError as error:
            raise self._all_errors(error, pairs, standing, key) from None
        page = parsed.query.page
        assert page is not None, "a parsed list has a page"
        keyset = page if isinstance(page, KeysetPage) else None
        if cache_key is not None and isinstance(page, OffsetPage):
            paged = page.offset_slot is not None
            # Not for `page=01`, the first page too, whose signature is that of pages that are not.
            if paged is (dict(pairs).get("page", "1") != "1"):
                _keep(self._recipes, cache_key, Recipe(statement, page.limit, paged), RECIPES_MAX)
        return Asked(statement, values, parsed.page, page.limit, keyset, parsed.digest, parsed.as_of)

    def _all_errors(
        self, first: ValidationError, pairs: list[tuple[str, str]], standing: Standing, key: list[str]
    ) -> ValidationError:
        """Every parameter's errors: a later stage never saw those that an earlier one refused.

        Each parameter is read and planned again by itself, beside those that give it meaning.
        """
        if any(error.code == "too_many" for error in first.errors):
            return first
        found: dict[tuple[str, str], FieldError] = {}
        hints: list[str] = []
        around = [pair for pair in pairs if pair[0] in _CONTEXT]
        for pair in pairs[:DIAGNOSED_MAX]:
            name = pair[0]
            try:
                parsed = self._parsed([pair, *(other for other in around if other is not pair)], key)
                self._engine.check(parsed.query, parsed.raw, standing)
            except ValidationError as error:
                own = [e for e in error.errors if e.field == name or not {e.field, name} & _CONTEXT]
                found |= {(e.field, e.code): e for e in own}
                hints += [error.hint] if own else []
        found |= {(e.field, e.code): e for e in first.errors if (e.field, e.code) not in found}
        hints.append(first.hint)
        hint = next((text for text in hints if text != CODES["VALIDATION_ERROR"].hint), "")
        return ValidationError(found.values(), hint=hint)

    def _bind(self, statement: Statement, raw: Sequence[object]) -> list[Any]:
        """Bind; a parent's key that its column cannot hold is a key that no row has."""
        try:
            return self._engine.bind(statement, raw)
        except ValidationError:
            if self._parent is not None:
                resource = self._parent[0]
                key = raw[: len(resource.key)]
                if not self._engine.can_be(statement, key):
                    raise NotFoundError(resource.name, ",".join(map(str, key))) from None
            raise

    def _parsed(self, pairs: list[tuple[str, str]], key: list[str]) -> Parsed:
        parent = (self._parent[0].name, self._parent[1], key) if self._parent else None
        return params.parse_list(self._resource.name, pairs, self._config, parent=parent)

    def _reply(self, request: Request, asked: Asked, rows: Rows) -> Response:
        if self._parent is not None and rows[0][asked.statement.position(Output.PARENT)] is None:
            raise NotFoundError(self._parent[0].name, ",".join(request.key))
        if asked.keyset is not None:
            return self._keyset_page(request, asked, asked.keyset, rows)
        data, counted = rows[0][0], rows[0][1]
        if len(data) > self._config.result_bytes_max:
            raise too_large()
        tail = asked.tail
        if tail is None or tail[0] != counted:
            tail = asked.tail = (counted, *self._tail(request, asked, counted))
        body = self._envelope.page(data, tail[1])
        return conditional(request, 200, body, tail[2], etag_of(body))

    def _tail(self, request: Request, asked: Asked, counted: int | None) -> tuple[bytes, list[Header]]:
        """The meta of an offset page and its Link header; `counted` is the total, or whether there is more."""
        page, limit = asked.page, asked.limit
        if asked.statement.outputs[1] is Output.TOTAL:
            assert counted is not None, "a total is a number"
            last = -(-counted // limit)
            meta, more = offset_meta(page, limit, counted, last), page < last
        else:
            last, more = None, counted is not None
            meta = peek_meta(page, limit, more=more)
        link = page_links(self._base(request, asked, "page"), page, last, more=more) if more or page > 1 else None
        return meta, [] if link is None else [link]

    def _keyset_page(self, request: Request, asked: Asked, page: KeysetPage, rows: Rows) -> Response:
        """The objects are rows, and one more says that the pages go on."""
        if self._parent is not None:
            rows = [row for row in rows if row[0] is not None]
        more = len(rows) > page.limit
        rows = rows[: page.limit]
        if page.backward:
            rows.reverse()
        data = b"[%b]" % b",".join([row[0] for row in rows])
        if len(data) > self._config.result_bytes_max:
            raise too_large()
        meta, link = self._keyset_meta(request, asked, page, rows, more=more)
        body = self._envelope.page(data, meta)
        return conditional(request, 200, body, [link] if link is not None else [], etag_of(body))

    def _keyset_meta(
        self, request: Request, asked: Asked, page: KeysetPage, rows: Rows, *, more: bool
    ) -> tuple[bytes, Header | None]:
        following = before = None
        if rows and (more or page.backward):
            following = cursors.encode(asked.digest, orjson.loads(rows[-1][1]), backward=False)
        if rows and (more if page.backward else page.slots):
            before = cursors.encode(asked.digest, orjson.loads(rows[0][1]), backward=True)
        meta = orjson.dumps({"limit": page.limit, "next_cursor": following, "prev_cursor": before})
        return meta, cursor_links(self._base(request, asked, "cursor"), before, following)

    def _base(self, request: Request, asked: Asked, name: str) -> str:
        if asked.link_base is None:
            asked.link_base = link_base(request, name)
        return asked.link_base


class Aggregates(Lists):
    """Answers `GET /{resource}/aggregate`; the parameters differ, the rest is a list."""

    _structure = frozenset({"sort", "limit", "group", "select", "with_deleted"})
    _mixed = frozenset({"or", "and"})

    def _parsed(self, pairs: list[tuple[str, str]], key: list[str]) -> Parsed:
        return params.parse_aggregate(self._resource.name, pairs, self._config)


def _keep(cache: dict[Any, Any], key: Any, value: Any, most: int) -> None:
    """Remember, and forget the oldest when full: callers choose these keys."""
    if len(cache) >= most:
        cache.pop(next(iter(cache)))
    cache[key] = value
