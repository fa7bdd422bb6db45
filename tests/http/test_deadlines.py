"""The deadline of a request holds for custom endpoints too, whatever they wait for."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from fastapi import Request
from fastapi.responses import StreamingResponse
from sqlalchemy.orm import DeclarativeBase, Mapped

from backstay import Backstay, Context, ModelBase, public
from support.asgi import Client, quiet, sync_engine

TIMEOUT_S = 0.25


class Base(ModelBase, DeclarativeBase):
    """A registry of these tests' own."""

    metadata = sa.MetaData()


class Page(Base):
    """An app exposes something."""

    title: Mapped[str]


class Seen:
    """What endpoints noticed."""

    def __init__(self) -> None:
        self.cancelled = 0
        self.let_go = threading.Event()


@pytest.fixture
def seen() -> Seen:
    """Nothing yet."""
    return Seen()


@pytest.fixture
def client(tmp_path: Path, seen: Seen) -> Iterator[Client]:
    """An app that gives a request a quarter of a second."""
    path = tmp_path / "pages.db"
    engine = sync_engine(path)
    Base.metadata.create_all(engine)
    engine.dispose()
    app = Backstay("pages", config=quiet(path, request_timeout_s=TIMEOUT_S))
    app.resource(Page, read=public)

    @app.get("/waits")
    async def waits() -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            seen.cancelled += 1
            raise

    @app.get("/blocks")
    def blocks() -> None:
        seen.let_go.wait(60)

    @app.get("/stubborn")
    async def stubborn() -> None:
        for _ in range(6):
            try:
                await asyncio.sleep(0.2)
            except asyncio.CancelledError:
                seen.cancelled += 1

    @app.post("/reads")
    async def reads(request: Request) -> int:
        return len(await request.body())

    @app.get("/streams")
    async def streams() -> StreamingResponse:
        async def parts() -> AsyncIterator[bytes]:
            for _ in range(5):
                await asyncio.sleep(TIMEOUT_S / 3)
                yield b"part "

        return StreamingResponse(parts())

    @app.get("/quick")
    async def quick(ctx: Context) -> float:
        return ctx.deadline - time.monotonic()

    with Client(app) as client:
        yield client
    seen.let_go.set()


@pytest.mark.parametrize("path", ["/waits", "/blocks", "/stubborn"])
def test_an_endpoint_that_takes_too_long_is_503(client: Client, seen: Seen, path: str) -> None:
    """At the deadline, whether it waits, blocks a thread or will not be cancelled; the next request is as ever."""
    began = time.monotonic()
    answer = client.get(path, base="")
    assert TIMEOUT_S <= time.monotonic() - began < TIMEOUT_S + 0.5
    assert (answer.status, answer.json["code"]) == (503, "DEADLINE_EXCEEDED")
    assert answer.headers["x-request-id"] == answer.json["request_id"]
    assert client.get("/quick", base="").status == 200
    seen.let_go.set()
    client.loop.run_until_complete(asyncio.sleep(0.05))
    assert seen.cancelled == (path != "/blocks")


def test_a_body_that_stops_coming_is_given_up(client: Client) -> None:
    """An endpoint that waits for the rest of a body waits no longer than the request may take."""

    async def receive() -> dict[str, object]:
        await asyncio.sleep(60)
        return {"type": "http.disconnect"}

    async def talk() -> list[dict[str, object]]:
        scope = {
            "type": "http",
            "method": "POST",
            "path": "/reads",
            "query_string": b"",
            "headers": [(b"content-length", b"5")],
        }
        said: list[dict[str, object]] = []

        async def send(message: dict[str, object]) -> None:
            said.append(message)

        await client.app(scope, receive, send)
        return said

    said = client.loop.run_until_complete(talk())
    assert [message["type"] for message in said] == ["http.response.start", "http.response.body"]
    assert said[0]["status"] in (408, 503)


def test_an_answer_that_has_begun_may_take_longer(client: Client) -> None:
    """What streams is not cut off; the deadline is for the beginning of the answer."""
    answer = client.get("/streams", base="")
    assert (answer.status, answer.body) == (200, b"part " * 5)


def test_an_endpoint_knows_its_deadline(client: Client) -> None:
    """Context says until when it may work."""
    assert 0 < client.get("/quick", base="").json <= TIMEOUT_S
