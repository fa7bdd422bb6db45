"""Rules that lead back to their own table: what is written is judged, and shown, as it is after the write."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import ForeignKey
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from backstay import Backstay, Config, FieldRule, ModelBase, public
from support.asgi import SECRET, Client
from support.databases import DATABASES, empty_database


class Base(ModelBase, DeclarativeBase):
    """The models of this module."""


class Node(Base):
    """A row below another of its kind, or below itself."""

    __tablename__ = "nodes"

    parent_id: Mapped[int | None] = mapped_column(ForeignKey("nodes.id"))
    open: Mapped[bool]
    note: Mapped[str | None]
    parent: Mapped["Node | None"] = relationship(remote_side="Node.id")


@pytest.fixture(params=DATABASES)
def client(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Client]:
    """Three nodes: one alone, a closed one, and one below it."""
    url = empty_database(request.param, tmp_path, Base.metadata)
    app = Backstay("nodes", config=Config(database_url=url, secret=SECRET, log_level="error", rate_limit="off"))
    below_open = Node.parent.has(Node.open) | Node.parent_id.is_(None)
    fields = {Node.note: FieldRule(read=Node.parent.has(Node.open), write=public)}
    app.resource(Node, read=public, create=public, update=below_open, delete=public, fields=fields)
    with Client(app) as client:
        for body in ({"open": True}, {"open": False}, {"open": True}):
            assert client.post("/nodes", {**body, "note": "n"}).status == 201
        yield client


def test_a_row_below_itself_is_judged_as_it_is_now(client: Client) -> None:
    """Closing it is refused, in the same write that puts it there, and opening it is not."""
    assert client.request("PATCH", "/nodes/1", body={"parent_id": 1, "open": False}).status == 401
    assert client.get("/nodes/1").data["parent_id"] is None
    opened = client.request("PATCH", "/nodes/2", body={"parent_id": 2, "open": True})
    assert (opened.status, opened.data["note"]) == (200, "n")
    assert client.request("PATCH", "/nodes/2", body={"open": False}).status == 401
    assert client.get("/nodes/2").data["open"] is True


def test_other_rows_are_judged_as_they_are(client: Client) -> None:
    """A row goes below an open one, and not below a closed one; what it shows follows."""
    assert client.request("PATCH", "/nodes/3", body={"parent_id": 2}).status == 401
    moved = client.request("PATCH", "/nodes/3", body={"parent_id": 1})
    assert (moved.status, moved.data["note"]) == (200, "n")
    assert client.request("PATCH", "/nodes/1", body={"open": False}).status == 200
    assert client.request("PATCH", "/nodes/3", body={"open": False}).status == 401
