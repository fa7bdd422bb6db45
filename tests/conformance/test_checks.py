"""Row checks: a rule that no row can fulfil refuses the rows that are there, and those alone."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy.orm import DeclarativeBase, Mapped

from backstay import Backstay, Config, ModelBase, me, public
from support.asgi import SECRET, Client, bearer
from support.databases import DATABASES, empty_database


class Base(ModelBase, DeclarativeBase):
    """The models of this module."""


class Note(Base):
    """What two people write together."""

    __tablename__ = "notes"

    writer: Mapped[int | None]
    editor: Mapped[int | None]
    text: Mapped[str]


@pytest.fixture(params=DATABASES)
def client(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Client]:
    """An app without rows, in which nobody unknown can fulfil the rule of changes."""
    url = empty_database(request.param, tmp_path, Base.metadata)
    app = Backstay("notes", config=Config(database_url=url, secret=SECRET, log_level="error", rate_limit="off"))
    both = (Note.writer == me.id) & (Note.editor == me.id)
    app.resource(Note, read=public, create=public, update=~both, delete=public)
    with Client(app) as client:
        yield client


def test_what_is_not_there_is_missing_and_not_forbidden(client: Client) -> None:
    """A database may know that the check cannot hold before it looks for a row: the answer is 404 all the same."""
    for method in ("PATCH", "PUT"):
        assert client.request(method, "/notes/1", body={"text": "b"}).status == 404
    assert client.post("/notes", {"text": "a", "writer": 7}, credential=bearer(7)).status == 201
    for method in ("PATCH", "PUT"):
        assert client.request(method, "/notes/1", body={"text": "b"}).status == 401
        assert client.request(method, "/notes/2", body={"text": "b"}).status == 404
    assert client.request("PATCH", "/notes/1", body={"text": "b"}, credential=bearer(7)).status == 403
    assert client.request("PATCH", "/notes/1", body={"text": "b"}, credential=bearer(8)).status == 200
    assert client.get("/notes/1").data["text"] == "b"
