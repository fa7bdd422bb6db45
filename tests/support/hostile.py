"""A world that hostile requests are sent to, with the proof that nothing came of them."""

import io
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Self

import apsw

from support import seed
from support.asgi import Answer, Client, bearer, sync_engine
from support.samples import ROWS, Sample
from support.world import sqlite_url, world

ADMIN = bearer(900, roles=["admin"]).encode()
JSON = (b"content-type", b"application/json")


class Target:
    """One app, its log and its file."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.path = folder / "world.db"
        engine = sync_engine(self.path)
        seed.fill(engine, [(Sample.__table__, ROWS)])
        engine.dispose()
        self.app = world(sqlite_url(self.path), sample=Sample, **settings)
        self.log = io.StringIO()
        self.app.start().frame.log._stream = self.log
        self.client = Client(self.app)
        self.before = self.dump()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.client.__exit__()

    def dump(self) -> list[tuple[Any, ...]]:
        """Every row of every table."""
        connection = apsw.Connection(str(self.path), flags=apsw.SQLITE_OPEN_READONLY)
        try:
            tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
            return [(t, *row) for t in tables for row in connection.execute(f'SELECT * FROM "{t}"')]
        finally:
            connection.close()

    def send(
        self,
        method: str,
        path: str | bytes,
        query: str | bytes = b"",
        *,
        headers: Any = None,
        body: bytes | None = None,
    ) -> Answer:
        """A request by an admin, who may do anything that is well said."""
        sent = [(b"authorization", ADMIN), *(headers if headers is not None else [JSON] if body is not None else [])]
        return self.client.request(method, path, query, headers=sent, body=body)

    def refuse(self, answer: Answer, statuses: Iterable[int] = (400,)) -> Any:
        """The problem of a refusal: complete, computed, and no failure of ours."""
        assert answer.status in statuses, (answer.status, answer.body[:500])
        assert answer.headers["content-type"] == "application/problem+json"
        problem = answer.json
        assert problem["status"] == answer.status
        assert problem["code"] != "INTERNAL"
        assert problem["hint"]
        assert len(answer.body) < 20_000, "an answer does not repeat what it refuses"
        for error in problem["errors"]:
            assert error["field"]
            assert error["code"]
            assert error["message"]
        return problem

    def unharmed(self) -> None:
        """Nothing changed, nothing failed, and the app still answers."""
        failures = self.log.getvalue()
        self.log.seek(0)
        self.log.truncate()
        assert failures == ""
        assert self.dump() == self.before
        assert self.send("GET", "/games/tetris").status == 200


def fields_of(problem: Any) -> list[str]:
    """The fields that a problem names."""
    return [error["field"] for error in problem["errors"]]
