"""What a write answers: the row as it is now, where it is, and its validator."""

from __future__ import annotations

import orjson

from ..config import Config
from ..db.database import Row
from ..engine import output
from ..http.messages import JSON_TYPE, Response
from ..schema.resource import Resource
from ..sql.statement import Output, Statement
from .replies import Envelope, etag_of, location


class Written:
    """Answers the writes of a resource."""

    def __init__(self, config: Config, envelope: Envelope, resource: Resource) -> None:
        self._config, self._envelope, self._resource = config, envelope, resource

    def row(self, statement: Statement, row: Row, status: int) -> Response:
        """The answer of a write that has a row."""
        key: list[object] = orjson.loads(output(statement, row, Output.KEY)) if status == 201 else []
        return self.rebuilt(status, row[0], output(statement, row, Output.VERSION), key)

    def rebuilt(self, status: int, data: bytes, version: int | None, key: list[object]) -> Response:
        """The same, from the parts that are recorded of it."""
        if status == 204:
            return Response(204, b"", [])
        body = self._envelope.item(data)
        headers = [location(self._config, self._resource.name, key)] if status == 201 else []
        return Response(status, body, [*headers, (b"etag", etag_of(body, version)), JSON_TYPE])
