"""`GET` of many rows: lists, nested lists and aggregates.

A request's *recipe* (statement, page size, which values go where) depends on its parameter names and on the
values that are structure, never on filter values; it is cached by exactly those.
"""

from __future__ import annotations

from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Any

import orjson

from ..config import Config
from ..db.database import Row
from ..engine import Engine
from ..errors import NotFoundError
from ..http.messages import Request, Response, pairs_of
from ..query.ir import KeysetPage, OffsetPage
from ..schema.policy import Standing
from ..schema.resource import Resource
from ..sql.statement import Output, Statement
from . import cursors, params
from .params import Parsed
from .replies import Envelope, conditional, etag_of, links, offset_meta, peek_meta

RECIPES_MAX = 512
MEMO_MAX = 1_024
MEMO_QUERY_BYTES = 512
#: Parameters whose value is structure. `or`, `and` and `cursor` hold both: such requests have no recipe.
_STRUCTURE = frozenset({"sort", "limit", "count", "include", "fields", "group", "select"})
_MIXED = frozenset({"or", "and", "cursor"})
_SCOPED = ("fields[", "sort[", "limit[")


@dataclass(frozen=True, slots=True, eq=False)
class Recipe:
    """How to answer requests of one structure."""

    statement: Statement
    limit: int
    page_at: int


@dataclass(frozen=True, slots=True, eq=False)
class Asked:
    """One request, ready to run."""

    statement: Statement
    values: list[Any]
    page: int
    limit: int
    keyset: KeysetPage | None = None
    digest: str = ""


class Lists:
    """Answers list requests of one resource.

    Args:
        parent: resource and relation of a nested route.
    """

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

    def list(self, request: Request, key: list[str] | None = None) -> Response | Awaitable[Response]:
        """`GET /{resource}`, or with the parent's key `GET /{parent}/{key}/{relation}`."""
        standing = self._engine.standing(request.context.principal)
        asked = self._memo.get((request.query, standing)) if key is None else None
        if asked is None:
            asked = self._ask(request, standing, key or [])
            if key is None and len(request.query) <= MEMO_QUERY_BYTES:
                _keep(self._memo, (request.query, standing), asked, MEMO_MAX)
        found = self._engine.read(asked.statement, asked.values, request.context)
        if type(found) is tuple:
            return self._reply(request, asked, found, key)
        return self._later(request, asked, found, key)  # type: ignore[arg-type]

    async def _later(
        self, request: Request, asked: Asked, found: Awaitable[Row | None], key: list[str] | None
    ) -> Response:
        row = await found
        assert row is not None, "a list returns one row"
        return self._reply(request, asked, row, key)

    def _ask(self, request: Request, standing: Standing, key: list[str]) -> Asked:
        pairs = pairs_of(request.query)
        signature: list[object] = [standing]
        raw: list[object] = [*key]
        page_at = -1
        for name, value in pairs:
            signature.append(name)
            if name == "page":
                page_at = len(raw)
                raw.append(value)
            elif name in _MIXED:
                return self._parse(pairs, standing, key, None)
            elif name in _STRUCTURE or ("[" in name and (name.endswith("[is]") or name.startswith(_SCOPED))):
                signature.append(value)
            else:
                raw.append(value)
        cache_key = tuple(signature)
        recipe = self._recipes.get(cache_key)
        if recipe is None:
            return self._parse(pairs, standing, key, cache_key)
        return self._follow(recipe, raw, page_at)

    def _follow(self, recipe: Recipe, raw: list[object], page_at: int) -> Asked:
        """Only the values are new."""
        number = 1
        if page_at >= 0:
            number = params.bounded(str(raw.pop(page_at)), "page", 1, params.PAGE_MAX)
        raw.append((number - 1) * recipe.limit)
        return Asked(recipe.statement, self._engine.bind(recipe.statement, raw), number, recipe.limit)

    def _parse(
        self, pairs: list[tuple[str, str]], standing: Standing, key: list[str], cache_key: tuple[object, ...] | None
    ) -> Asked:
        """Read the whole grammar, plan, and remember how."""
        parsed = self._parsed(pairs, key)
        statement = self._engine.prepare(parsed.query, standing)
        page = parsed.query.page
        assert page is not None, "a parsed list has a page"
        keyset = page if isinstance(page, KeysetPage) else None
        values = self._engine.bind(statement, parsed.raw)
        if cache_key is not None and isinstance(page, OffsetPage):
            _keep(self._recipes, cache_key, Recipe(statement, page.limit, page.offset_slot), RECIPES_MAX)
        return Asked(statement, values, parsed.page, page.limit, keyset, parsed.digest)

    def _parsed(self, pairs: list[tuple[str, str]], key: list[str]) -> Parsed:
        parent = (self._parent[0].name, self._parent[1], key) if self._parent else None
        return params.parse_list(self._resource.name, pairs, self._config, parent=parent)

    def _reply(self, request: Request, asked: Asked, row: Row, key: list[str] | None) -> Response:
        outputs = asked.statement.outputs
        if key is not None and row[outputs.index(Output.PARENT)] is None:
            assert self._parent is not None, "only nested lists have keys"
            raise NotFoundError(self._parent[0].name, ",".join(key))
        if asked.keyset is not None:
            return self._keyset_reply(request, asked, asked.keyset, row)
        page, limit = asked.page, asked.limit
        if outputs[1] is Output.TOTAL:
            total: int = row[1]
            meta = offset_meta(page, limit, total)
            last = -(-total // limit)
            more = page < last
        else:
            meta = peek_meta(page, limit, row[1])
            last, more = None, row[1] > limit
        body = self._envelope.page(row[0], meta)
        headers: list[tuple[bytes, bytes]] = []
        if more or page > 1:
            targets: dict[str, str | int | None] = {"first": 1, "prev": page - 1 if page > 1 else None}
            targets |= {"next": page + 1 if more else None, "last": last or None}
            header = links(request, "page", targets)
            if header is not None:
                headers.append(header)
        return conditional(request, 200, body, headers, etag_of(body))

    def _keyset_reply(self, request: Request, asked: Asked, page: KeysetPage, row: Row) -> Response:
        data, count, raw_keys = row[0], row[1], row[2]
        keys: list[list[Any]] = orjson.loads(raw_keys)
        more = count > page.limit
        if page.backward and more:
            # The extra row was read in front of the page; it stands behind it in the reversed answer.
            keys = keys[1:] if len(keys) > page.limit else keys
        else:
            keys = keys[: page.limit]
        has_next = more if not page.backward else bool(keys)
        has_prev = more if page.backward else bool(page.slots and keys)
        following = cursors.encode(asked.digest, keys[-1], backward=False) if keys and has_next else None
        before = cursors.encode(asked.digest, keys[0], backward=True) if keys and has_prev else None
        meta = orjson.dumps({"limit": page.limit, "next_cursor": following, "prev_cursor": before}).decode()
        body = self._envelope.page(data, meta)
        header = links(request, "cursor", {"prev": before, "next": following})
        return conditional(request, 200, body, [header] if header else [], etag_of(body))


class Aggregates(Lists):
    """Answers `GET /{resource}/aggregate`; the parameters differ, the rest is a list."""

    def _parsed(self, pairs: list[tuple[str, str]], key: list[str]) -> Parsed:
        return params.parse_aggregate(self._resource.name, pairs, self._config)


def _keep(cache: dict[Any, Any], key: Any, value: Any, most: int) -> None:
    """Remember, and forget the oldest when full: callers choose these keys."""
    if len(cache) >= most:
        cache.pop(next(iter(cache)))
    cache[key] = value
