"""`GET /{resource}/{key}/history`: what a row was like before each change, and who made it."""

from __future__ import annotations

from collections.abc import Awaitable

from ..config import Config
from ..engine import Engine
from ..errors import NotFoundError, ValidationError
from ..http.messages import Request, Response
from ..query.ir import History, OrderKey
from ..schema.policy import nobody
from ..schema.resource import Resource
from . import cursors, params
from .lists import Lists
from .params import Parsed
from .replies import Envelope

HISTORY = b"history"
_ORDER = (OrderKey(("id",), descending=True),)


def remembers(resource: Resource) -> bool:
    """Whether it has `GET /{resource}/{key}/history`."""
    kept = bool(resource.key) and resource.policy.history is not nobody
    return kept and HISTORY.decode() not in resource.relationships


class Histories(Lists):
    """Answers for the changes of one row, as a list by cursor.

    Args:
        primary: the key is the table's primary key, not the resource's.
    """

    _structure = frozenset({"limit"})
    _mixed = frozenset({"cursor"})

    def __init__(
        self, engine: Engine, config: Config, envelope: Envelope, resource: Resource, *, primary: bool = False
    ) -> None:
        super().__init__(engine, config, envelope, resource, (resource, HISTORY.decode()))
        self._primary = primary
        named = tuple(column.name for column in resource.key)
        #: A row that is gone has no other key any more.
        self._gone = (
            None
            if primary or named == resource.table.key
            else Histories(engine, config, envelope, resource, primary=True)
        )

    def history(self, request: Request) -> Response | Awaitable[Response]:
        """`GET /{resource}/{key}/history`."""
        return self.list(request) if self._gone is None else self._either(request, self._gone)

    async def _either(self, request: Request, gone: Histories) -> Response:
        try:
            return await _waited(self.list(request))
        except NotFoundError as unknown:
            try:
                return await _waited(gone.list(request))
            except (NotFoundError, ValidationError):
                raise unknown from None

    def _parsed(self, pairs: list[tuple[str, str]], key: list[str]) -> Parsed:
        words, raw = params.parse_history(pairs, self._config, key)
        limit = params.bounded(words.get("limit"), "limit", self._config.page_limit, self._config.page_limit_max)
        digest = cursors.digest(f"{self._resource.name}/history", _ORDER)
        page = params.keyset_page(words.get("cursor", ""), limit, raw, digest)
        query = History(self._resource.name, tuple(range(len(key))), page, self._primary)
        return Parsed(query, raw, 0, digest)


async def _waited(found: Response | Awaitable[Response]) -> Response:
    return found if isinstance(found, Response) else await found
