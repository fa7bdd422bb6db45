"""Custom endpoints: refused input first, then the Context and the session that they are given."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from backstay import Backstay, Context, ModelBase, me, public, signed_in
from support.asgi import Client, bearer, quiet, sync_engine


class Base(ModelBase, DeclarativeBase):
    """A registry of these tests' own."""

    metadata = sa.MetaData()


class Note(Base):
    """What the endpoints count."""

    author_id: Mapped[int] = mapped_column("author", sa.ForeignKey("authors.id"))
    text: Mapped[str]


class Author(Base):
    """The owner of notes."""

    notes: Mapped[list[Note]] = relationship(Note)


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Client]:
    """An app with an endpoint of its own on a file with three notes."""
    path = tmp_path / "notes.db"
    engine = sync_engine(path)
    Base.metadata.create_all(engine)
    with engine.begin() as connection:
        connection.execute(sa.insert(Author.__table__), [{"id": 1}])
        connection.execute(sa.insert(Note.__table__), [{"author": 1, "text": text} for text in "abc"])
    engine.dispose()
    app = Backstay("notes", config=quiet(path))
    app.resource(Author, read=public)
    app.resource(Note, read=public, create=signed_in, stamp={Note.author_id: me.id})

    @app.get("/api/v1/notes/count")
    async def count(ctx: Context, least: int = 0) -> dict[str, object]:
        async with app.session(ctx) as session:
            found = await session.scalar(sa.select(sa.func.count()).select_from(Note))
        return {"count": found, "principal": ctx.principal.id, "least": least}

    @app.post("/api/v1/notes/break")
    async def write(ctx: Context) -> str:
        async with app.session(ctx) as session:
            with pytest.raises(OperationalError, match="readonly"):
                await session.execute(sa.delete(Note))
        return "refused"

    with Client(app) as client:
        yield client


def test_bad_parameter_is_named_alone(client: Client) -> None:
    """The parameters that Backstay gives an endpoint are none of the caller's to send."""
    answer = client.get("/notes/count", "least=many")
    assert answer.status == 400
    assert [error["field"] for error in answer.json["errors"]] == ["least"]


def test_endpoint_has_the_principal_and_its_statements_count(client: Client) -> None:
    """Context is the request's; a session made with it counts like the engine's statements."""
    answer = client.get("/notes/count", credential=bearer(7))
    assert answer.json == {"count": 3, "principal": "7", "least": 0}
    assert 'statements;desc="1"' in answer.headers["server-timing"]


def test_session_cannot_write(client: Client) -> None:
    """Nothing records what a session changes yet, so it changes nothing."""
    assert client.post("/notes/break", {}).json == "refused"
    assert client.get("/notes").meta["total"] == 3


def test_stamped_reference_is_not_created_below_its_parent(client: Client) -> None:
    """The path and the principal would both set it: the route is not offered, nor documented."""
    answer = client.post("/authors/1/notes", {"text": "d"}, credential=bearer(1))
    assert answer.status == 405
    assert answer.headers["allow"] == "GET, HEAD"
    assert "post" not in client.app.openapi()["paths"]["/api/v1/authors/{key}/notes"]
    assert client.post("/notes", {"text": "d"}, credential=bearer(1)).status == 201
