"""The headers that protect answers in browsers and caches, on every kind of answer."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from fastapi import Response
from sqlalchemy.orm import DeclarativeBase, Mapped

from backstay import Backstay, ModelBase, public, signed_in
from support.asgi import Answer, Client, bearer, quiet, sync_engine

EVERYWHERE = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
}


class Base(ModelBase, DeclarativeBase):
    """A registry of these tests' own."""

    metadata = sa.MetaData()


class Page(Base):
    """Something to read and write."""

    title: Mapped[str]


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Client]:
    """An app behind a proxy, with endpoints that set headers themselves."""
    path = tmp_path / "pages.db"
    engine = sync_engine(path)
    Base.metadata.create_all(engine)
    engine.dispose()
    app = Backstay("pages", config=quiet(path, trusted_proxies="10.0.0.0/8"))
    app.resource(Page, read=public, create=signed_in, delete=signed_in)

    @app.get("/api/v1/custom")
    async def custom() -> int:
        return 1

    @app.get("/api/v1/page")
    async def page() -> Response:
        own = {
            "Content-Security-Policy": "default-src 'self'",
            "Cache-Control": "max-age=5",
            "Referrer-Policy": "origin",
        }
        return Response("<p>", media_type="text/html", headers=own)

    @app.get("/api/v1/tagged")
    async def tagged() -> Response:
        return Response("1", headers={"ETag": '"1"'})

    @app.get("/api/v1/broken")
    async def broken() -> int:
        raise RuntimeError("a fault of the endpoint")

    with Client(app) as client:
        yield client


def protected(answer: Answer) -> None:
    """As data that no browser shows, runs or embeds."""
    assert EVERYWHERE.items() <= answer.headers.items()
    assert answer.headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"
    assert answer.headers["server"] == "api"


def test_every_answer_is_protected(client: Client) -> None:
    """Successes, refusals and failures, of generated and custom endpoints."""
    for method, path, status in (
        ("GET", "/pages", 200),
        ("GET", "/pages/1", 404),
        ("POST", "/pages", 415),
        ("PUT", "/pages", 405),
        ("GET", "/nothing", 404),
        ("GET", "/custom", 200),
        ("GET", "/broken", 500),
    ):
        answer = client.request(method, path, credential=bearer(1))
        assert answer.status == status
        protected(answer)
    for path in ("/health/live", "/metrics", "/openapi.json"):
        protected(client.get(path, base=""))


def test_a_page_says_itself_what_it_may_load(client: Client) -> None:
    """The reference page and a custom endpoint keep their own policies, once each."""
    answer = client.get("/docs", base="")
    assert EVERYWHERE.items() <= answer.headers.items()
    assert "script-src 'self'" in answer.headers["content-security-policy"]
    assert answer.headers["cross-origin-opener-policy"] == "same-origin"
    answer = client.get("/page", credential=bearer(1))
    assert answer.headers["content-security-policy"] == "default-src 'self'"
    assert answer.headers["referrer-policy"] == "origin"
    assert answer.headers["cache-control"] == "max-age=5"
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_what_somebody_signed_in_reads_is_kept_by_nobody_else(client: Client) -> None:
    """No-store; with an ETag the reader's own browser may keep it, and has to ask. Public answers say nothing."""
    credential = bearer(1)
    made = client.post("/pages", {"title": "x"}, credential=credential)
    for answer in (
        made,
        client.get("/pages", credential=credential),
        client.get("/pages/1", credential=credential),
        client.get("/tagged", credential=credential),
    ):
        assert answer.headers["cache-control"] == "private, no-cache"
    etag = client.get("/pages/1", credential=credential).headers["etag"].encode()
    headers = [(b"authorization", credential.encode()), (b"if-none-match", etag)]
    answer = client.get("/pages/1", headers=headers)
    assert (answer.status, answer.headers["cache-control"]) == (304, "private, no-cache")
    for answer in (
        client.get("/custom", credential=credential),
        client.get("/nothing", credential=credential),
        client.get("/openapi.json", credential=credential, base=""),
        client.request("DELETE", "/pages/1", credential=credential),
    ):
        assert answer.headers["cache-control"] == "no-store"
    assert "cache-control" not in client.get("/pages").headers


def test_https_is_made_to_stay(client: Client) -> None:
    """Strict-Transport-Security where the client came by https, also when a trusted proxy says so; never else."""

    def asked(path: str, peer: str, **headers: str) -> bool:
        sent = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
        return "strict-transport-security" in client.get(path, headers=sent, peer=peer).headers

    for path in ("/pages", "/custom", "/nothing"):
        assert not asked(path, "192.0.2.1", x_forwarded_proto="https", x_forwarded_for="192.0.2.7")
        assert not asked(path, "10.0.0.1", x_forwarded_proto="http", x_forwarded_for="192.0.2.7")
        assert not asked(path, "10.0.0.1")
        assert asked(path, "10.0.0.1", x_forwarded_proto="https", x_forwarded_for="192.0.2.7")
        assert asked(path, "10.0.0.1", forwarded="for=192.0.2.7;proto=https")
