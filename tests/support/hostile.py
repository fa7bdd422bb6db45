"""A world that hostile requests are sent to, with the proof that nothing came of them."""

import io
from collections.abc import Iterable
from typing import Any, Self

from support.asgi import Answer, Client, bearer
from support.databases import dump
from support.samples import Sample
from support.world import world

ADMIN = bearer(900, roles=["admin"]).encode()
JSON = (b"content-type", b"application/json")


class Target:
    """One app over a database that is as filled, and its log."""

    def __init__(self, url: str, **settings: Any) -> None:
        self.url = url
        self.app = world(url, sample=Sample, **settings)
        self.log = io.StringIO()
        self.app.start().frame.log._stream = self.log
        self.client = Client(self.app)
        self.before = dump(url)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.client.__exit__()

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
        assert dump(self.url) == self.before
        assert self.send("GET", "/games/tetris").status == 200


def fields_of(problem: Any) -> list[str]:
    """The fields that a problem names."""
    return [error["field"] for error in problem["errors"]]
