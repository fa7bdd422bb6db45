"""Cross-origin requests: origins that are refused first, then what a browser of an allowed one is told."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import DeclarativeBase, Mapped

from backstay import Backstay, ModelBase, public, signed_in
from backstay.errors import OperatorError
from support.asgi import Answer, Client, bearer, quiet, sync_engine

LISTED = "https://app.example.com"
OTHER = "https://app.example.com:8443"
ORIGINS = f" {LISTED} , HTTPS://Shop.Example.com:443, {OTHER}, http://[::1]:3000"


class Base(ModelBase, DeclarativeBase):
    """A registry of these tests' own."""

    metadata = sa.MetaData()


class Page(Base):
    """What scripts read."""

    title: Mapped[str]


def opened(tmp_path: Path, origins: str) -> Client:
    """An app that lets pages of some origins call it."""
    path = tmp_path / "pages.db"
    engine = sync_engine(path)
    Base.metadata.create_all(engine)
    engine.dispose()
    app = Backstay("pages", config=quiet(path, cors_origins=origins, rate_limit="1000/minute"))
    app.resource(Page, read=public, create=signed_in)

    @app.get("/api/v1/custom")
    async def custom() -> int:
        return 1

    @app.get("/api/v1/broken")
    async def broken() -> int:
        raise RuntimeError("a fault of the endpoint")

    return Client(app)


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Client]:
    """An app that names its origins."""
    with opened(tmp_path, ORIGINS) as client:
        yield client


def ask(client: Client, method: str, path: str, origin: str, **headers: str) -> Answer:
    """A browser's request."""
    sent = {"origin": origin} | {name.replace("_", "-"): value for name, value in headers.items()}
    return client.request(method, path, headers=[(n.encode(), v.encode()) for n, v in sent.items()])


def preflight(client: Client, path: str, origin: str, method: str = "PATCH", headers: str = "") -> Answer:
    """A browser's question."""
    more = {"access_control_request_headers": headers} if headers else {}
    return ask(client, "OPTIONS", path, origin, access_control_request_method=method, **more)


def allowances(answer: Answer) -> dict[str, str]:
    """What an answer says of CORS."""
    return {name: value for name, value in answer.headers.items() if name.startswith("access-control-")}


STRANGERS = [
    "https://evil.example",
    "null",
    "",
    "http://app.example.com",
    "https://app.example.com.evil.example",
    "https://app.example.com:444",
    "https://app.example.com/",
    "https://APP.example.com",
    "https://evil.example, https://app.example.com",
    "https://xapp.example.com",
    "\xff",
]


@pytest.mark.parametrize("origin", STRANGERS)
def test_a_strange_origin_is_told_nothing(client: Client, origin: str) -> None:
    """No CORS header on any answer; a preflight is refused in words; caches learn that the origin matters."""
    for path in ("/pages", "/custom", "/nothing", "/broken"):
        answer = ask(client, "GET", path, origin)
        assert allowances(answer) == {}
        assert answer.headers["vary"] == "Origin"
        answer = preflight(client, path, origin)
        assert (answer.status, answer.json["code"]) == (403, "ORIGIN_NOT_ALLOWED")
        assert allowances(answer) == {}
        assert "BACKSTAY_CORS_ORIGINS" in answer.json["hint"]


@pytest.mark.parametrize("origin", [LISTED, "https://shop.example.com", OTHER, "http://[::1]:3000"])
def test_an_allowed_origin_may_read_every_answer(client: Client, origin: str) -> None:
    """Generated, custom, refused and failed ones, with their headers and with credentials."""
    for path, status in (("/pages", 200), ("/custom", 200), ("/nothing", 404), ("/broken", 500), ("/pages/9", 404)):
        answer = ask(client, "GET", path, origin)
        assert answer.status == status
        said = allowances(answer)
        exposed = {name.strip().lower() for name in said.pop("access-control-expose-headers").split(",")}
        assert {"etag", "location", "link", "ratelimit", "ratelimit-policy", "retry-after", "x-request-id"} <= exposed
        assert said == {"access-control-allow-origin": origin, "access-control-allow-credentials": "true"}
        assert answer.headers["vary"] == "Origin"


def test_a_preflight_is_answered_before_anything_else(client: Client) -> None:
    """204 for generated and custom paths; the headers that the page wants to send are allowed by name."""
    for path in ("/pages", "/pages/1", "/custom", "/nothing"):
        answer = preflight(client, path, LISTED, headers="authorization, content-type, x-own")
        assert answer.status == 204
        assert answer.body == b""
        said = allowances(answer)
        assert said["access-control-allow-origin"] == LISTED
        assert said["access-control-allow-credentials"] == "true"
        assert {"PATCH", "DELETE", "PUT"} <= set(said["access-control-allow-methods"].split(", "))
        assert said["access-control-allow-headers"] == "authorization, content-type, x-own"
        assert int(said["access-control-max-age"]) > 0
    assert ask(client, "OPTIONS", "/pages", LISTED).status == 405, "no preflight"


@pytest.mark.parametrize("wanted", ["x\r\nset-cookie: a=b", "x: y", "a" * 5_000, "\xff", "x;y"])
def test_no_header_is_made_of_what_a_preflight_says(client: Client, wanted: str) -> None:
    """Names that are none are not repeated."""
    answer = preflight(client, "/pages", LISTED, headers=wanted)
    assert answer.status == 204
    assert "access-control-allow-headers" not in answer.headers


def test_anybody_may_read_but_never_with_cookies(tmp_path: Path) -> None:
    """`*` allows every origin, and no credentials."""
    with opened(tmp_path, "*") as client:
        for origin in (LISTED, "https://evil.example", "null"):
            for answer in (ask(client, "GET", "/custom", origin), preflight(client, "/pages", origin)):
                assert answer.status in (200, 204)
                assert answer.headers["access-control-allow-origin"] == "*"
                assert "access-control-allow-credentials" not in answer.headers


def test_without_the_setting_nothing_is_said(tmp_path: Path) -> None:
    """No CORS headers, and OPTIONS is a method like any other."""
    with opened(tmp_path, "") as client:
        answer = ask(client, "GET", "/pages", LISTED)
        assert allowances(answer) == {}
        assert "vary" not in answer.headers
        assert preflight(client, "/pages", LISTED).status == 405


def test_a_preflight_costs_no_place(tmp_path: Path) -> None:
    """What the page asks is counted, what its browser asks is not."""
    with opened(tmp_path, LISTED) as client:
        for _ in range(5):
            assert "ratelimit" not in preflight(client, "/pages", LISTED).headers
        assert client.get("/pages", credential=bearer(1)).headers["ratelimit"].startswith('"default";r=999')


@pytest.mark.parametrize(
    "text",
    [
        "app.example.com",
        "https://app.example.com/",
        "https://app.example.com/path",
        "https://*.example.com",
        "https://",
        "null",
        "https://user@app.example.com",
        "https://app.example.com:port",
        "https://app.example.com;https://b.example",
        f"*, {LISTED}",
    ],
)
def test_what_is_no_origin_is_told_at_the_start(tmp_path: Path, text: str) -> None:
    """One line, that names the setting."""
    with opened(tmp_path, text) as client, pytest.raises(OperatorError, match="BACKSTAY_CORS_ORIGINS"):
        client.app.start()
