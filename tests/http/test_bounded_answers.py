"""What the contract says of the length of answers and refusals holds, on both databases and for custom endpoints."""

from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from fastapi.responses import PlainTextResponse
from sqlalchemy.orm import DeclarativeBase, Mapped, Session

from backstay import Backstay, ModelBase, Problem, public
from backstay.errors import FIELD_ERRORS_MAX, NAME_CHARS_MAX, TEXT_CHARS_MAX, FieldError
from backstay.rest.replies import ETAGS_BYTES_MAX
from support.asgi import Client, quiet
from support.contract import Contract
from support.databases import DATABASES, Filled

LARGEST = 20_000


class Base(ModelBase, DeclarativeBase):
    """A registry of its own."""

    metadata = sa.MetaData()


class Note(Base):
    """A text of any length."""

    text: Mapped[str]


def fill(engine: sa.Engine) -> None:
    """A note that fits, and one that does not."""
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        session.add_all([Note(id=1, text="short"), Note(id=2, text="x" * LARGEST)])
        session.commit()


NOTES = Filled("notes", fill)


def app_of(url: str) -> Backstay:
    """Notes, and endpoints that answer too much."""
    app = Backstay("notes", config=quiet(url, result_bytes_max=LARGEST))
    app.resource(Note, read=public, write=public)

    @app.get("/api/v1/texts/{chars}")
    async def text(chars: int) -> dict[str, str]:
        return {"text": "x" * chars}

    @app.get("/api/v1/files/{chars}", response_class=PlainTextResponse)
    async def file(chars: int) -> str:
        return "x" * chars

    @app.get("/api/v1/refusals/{chars}")
    async def refuse(chars: int) -> None:
        errors = [FieldError("f" * chars, "c" * chars, "m" * chars) for _ in range(chars)]
        raise Problem("VALIDATION_ERROR", "d" * chars, errors=errors, hint="h" * chars)

    return app


@pytest.fixture(params=DATABASES)
def client(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """The app over one database."""
    with Client(app_of(NOTES.shared(request.param, tmp_path))) as opened:
        yield opened


@pytest.mark.parametrize("path", ["/notes/2", "/notes?id=2", "/notes?id=2&cursor=", "/notes?id=2&count=false"])
def test_a_row_that_is_too_large_is_refused(client: Client, path: str) -> None:
    """By itself, on a page and by a cursor."""
    answer = client.get(*path.partition("?")[::2])
    assert (answer.status, answer.json["code"]) == (400, "RESULT_TOO_LARGE")


def test_a_row_that_fits_is_answered(client: Client) -> None:
    """The others are there."""
    assert client.get("/notes/1").data["text"] == "short"
    assert client.get("/notes/2", "fields=id").data == {"id": 2}


def test_a_custom_answer_in_json_is_bounded(client: Client) -> None:
    """It is refused before any of it is sent; what is no JSON is the endpoint's own affair."""
    assert client.get("/texts/100").json == {"text": "x" * 100}
    answer = client.get(f"/texts/{LARGEST}")
    assert (answer.status, answer.json["code"]) == (400, "RESULT_TOO_LARGE")
    assert len(client.get(f"/files/{LARGEST + 1}").body) == LARGEST + 1


def test_a_refusal_is_bounded(client: Client) -> None:
    """However much an endpoint has to say, the Problem is one of the contract."""
    contract = Contract(client.app.openapi())
    answer = client.get("/refusals/5000")
    assert contract.faults("GET", "/api/v1/refusals/{chars}", answer) == []
    problem = answer.json
    assert len(problem["detail"]) == len(problem["hint"]) == TEXT_CHARS_MAX
    assert len(problem["errors"]) == FIELD_ERRORS_MAX
    assert {len(problem["errors"][0][name]) for name in ("field", "code")} == {NAME_CHARS_MAX}


@pytest.mark.parametrize("path", ["/notes/1", "/notes"])
def test_validators_are_bounded(client: Client, path: str) -> None:
    """A header of more ETags than are looked at is refused, not ignored."""

    def asked(header: bytes) -> Any:
        return client.get(path, "fields=id", more=[(b"if-none-match", header)])

    refused = client.request("PATCH", "/notes/1", body={}, more=[(b"if-match", b"x" * (ETAGS_BYTES_MAX + 1))])
    assert (refused.status, refused.json["errors"][0]["field"]) == (400, "If-Match")
    assert asked(b'"x", *'.rjust(ETAGS_BYTES_MAX)).status == 200
    answer = asked(b"x" * (ETAGS_BYTES_MAX + 1))
    assert (answer.status, answer.json["errors"][0]["field"]) == (400, "If-None-Match")
