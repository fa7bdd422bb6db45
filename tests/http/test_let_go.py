"""What the server gave a request is let go of with it: it holds a connection open as long as a body could be read."""

import asyncio
import gc
import weakref
from pathlib import Path
from typing import Any

import pytest
from fastapi import Request
from pydantic import BaseModel
from sqlalchemy.orm import DeclarativeBase, Mapped

from backstay import Backstay, ModelBase, public
from backstay.http import patience
from support.asgi import quiet
from support.databases import empty_database

HEADERS = [(b"host", b"a"), (b"content-type", b"application/json"), (b"content-length", b"5000")]


class Base(ModelBase, DeclarativeBase):
    """The models of this module."""


class Page(Base):
    """What a generated endpoint takes."""

    title: Mapped[str]


class Text(BaseModel):
    """What a custom one takes."""

    title: str


def pages(url: str) -> Backstay:
    """An app that reads bodies in each way."""
    app = Backstay("pages", config=quiet(url))
    app.resource(Page, read=public, create=public)

    @app.post("/typed")
    async def typed(text: Text) -> int:
        return len(text.title)

    @app.post("/raw")
    async def raw(request: Request) -> int:
        return len(await request.body())

    @app.post("/failing")
    async def failing(request: Request) -> int:
        try:
            return len(await request.body())
        except Exception as error:
            raise RuntimeError from error

    return app


class Waiting:
    """A body that never comes; as the server's own it has no frame."""

    def __call__(self) -> asyncio.Future[Any]:
        """The next message."""
        return asyncio.get_running_loop().create_future()


class Answered:
    """Where the answer goes."""

    def __init__(self) -> None:
        self.status = 0
        self.headers: list[tuple[bytes, bytes]] = []

    async def __call__(self, message: Any) -> None:
        """One message."""
        if message["type"] == "http.response.start":
            self.status, self.headers = message["status"], message["headers"]


@pytest.mark.parametrize(
    ("path", "status"), [("/api/v1/pages", 408), ("/typed", 408), ("/raw", 408), ("/failing", 500)]
)
def test_a_body_that_came_too_slowly_is_held_by_nobody(
    path: str, status: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even by the errors that a framework leaves behind until they are collected; and the connection ends."""
    monkeypatch.setattr(patience, "GRACE_S", 0.05)
    monkeypatch.setattr(patience, "LOOK_S", 0.02)
    app = pages(empty_database("sqlite", tmp_path, Base.metadata))

    async def run() -> None:
        scope = {"type": "http", "method": "POST", "path": path, "query_string": b"", "headers": HEADERS}
        receive, send = Waiting(), Answered()
        left = [weakref.ref(receive), weakref.ref(send)]
        await asyncio.create_task(app(scope, receive, send))
        assert send.status == status
        assert ((b"connection", b"close") in send.headers) == (status == 408)
        del receive, send, scope
        await asyncio.sleep(0.01)
        assert [reference() for reference in left] == [None, None]
        await app.stop()

    gc.collect()
    gc.disable()
    try:
        asyncio.run(run())
    finally:
        gc.enable()
