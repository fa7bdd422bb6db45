"""Columns that hold a list: bodies, answers and filters of `Mapped[list[...]]`."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import DeclarativeBase, Mapped, Session

from backstay import Backstay, Config, ModelBase, public
from backstay.db.engines import create_sync_engine
from support.asgi import Client
from support.postgres import fresh_database


class Base(ModelBase, DeclarativeBase):
    """A registry of its own."""

    metadata = sa.MetaData()


class Film(Base):
    """A list of each kind of item."""

    __tablename__ = "films"
    tags: Mapped[list[str]]
    years: Mapped[list[int] | None]
    scores: Mapped[list[float] | None]
    flags: Mapped[list[bool] | None]


ROWS: list[dict[str, Any]] = [
    {"tags": ["a", "b"], "years": [1, 2], "scores": [0.5, 2.0], "flags": [True]},
    {"tags": [], "years": None, "scores": None, "flags": None},
    {"tags": ["a,b", 'q"t', "é", ""], "years": [2**63 - 1], "scores": [1e300], "flags": [False, True]},
]


@pytest.fixture(params=["sqlite", "postgresql"])
def client(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Client]:
    """An app with three films, the last written by the ORM."""
    url = f"sqlite:///{tmp_path / 'films.db'}" if request.param == "sqlite" else fresh_database()
    engine = create_sync_engine(url, write=True)
    Base.metadata.create_all(engine)
    app = Backstay("films", config=Config(database_url=url, log_level="error", rate_limit="off"))
    app.resource(Film, read=public, write=public)
    with Client(app) as opened:
        for row in ROWS[:2]:
            answer = opened.post("/films", row)
            assert (answer.status, {name: answer.data[name] for name in row}) == (201, row)
        with Session(engine) as session:
            session.add(Film(**ROWS[2]))
            session.commit()
            assert session.get_one(Film, 1).tags == ["a", "b"]
        engine.dispose()
        yield opened


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"tags": "a"}, "tags"),
        ({"tags": None}, "tags"),
        ({"tags": [1]}, "tags.0"),
        ({"tags": ["a", None]}, "tags.1"),
        ({"tags": [["a"]]}, "tags.0"),
        ({"tags": [], "years": [2**63]}, "years.0"),
        ({"tags": [], "years": ["1"]}, "years.0"),
        ({"tags": [], "scores": {"0": 1}}, "scores"),
        ({}, "tags"),
    ],
)
def test_a_wrong_list_is_refused_by_its_item(client: Client, body: Any, field: str) -> None:
    """Every item is judged as a column of its type would be."""
    answer = client.post("/films", body)
    assert (answer.status, answer.json["errors"][0]["field"]) == (400, field)


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("years=x", "years"),
        ("years[contains]=1,x", "years[contains]"),
        ("tags[in]=a", "tags[in]"),
        ("tags[gt]=a", "tags[gt]"),
        ("tags[like]=a", "tags[like]"),
        ("sort=tags", "sort"),
    ],
)
def test_what_lists_have_no_meaning_for_is_refused(client: Client, query: str, field: str) -> None:
    """A list has no order and no pattern; its items must be of their type."""
    answer = client.get("/films", query)
    assert (answer.status, answer.json["errors"][0]["field"]) == (400, field)


@pytest.mark.parametrize(
    ("query", "ids"),
    [
        ("tags=a,b", [1]),
        ("tags=b,a", []),
        ("tags=", [2]),
        ("tags[ne]=a,b", [2, 3]),
        ("tags[contains]=b", [1]),
        ("tags[contains]=b,a", [1]),
        ("tags[contains]=", [1, 2, 3]),
        ('tags[contains]="a,b"', [3]),
        ('tags[contains]="q\\"t","é",""', [3]),
        ("tags[contains]=a,c", []),
        ("years=1,2", [1]),
        ("years[ne]=1,2", [3]),
        ("years[contains]=9223372036854775807", [3]),
        ("years[is]=null", [2]),
        ("scores=0.5,2", [1]),
        ("scores[contains]=2", [1]),
        ("flags[contains]=true", [1, 3]),
        ("flags=false,true", [3]),
        ("or=(tags=,years[contains]=2)", [1, 2]),
    ],
)
def test_filters_of_lists(client: Client, query: str, ids: list[int]) -> None:
    """`eq` is the same items in the same order, `contains` has all of the listed items, null is neither."""
    answer = client.get("/films", query.replace("+", "%2B"))
    assert (answer.status, [row["id"] for row in answer.data]) == (200, ids)


def test_lists_are_json(client: Client) -> None:
    """In lists, items, changed rows and the contract."""
    listed = client.get("/films", "sort=id").data
    assert [{name: row[name] for name in ROWS[0]} for row in listed] == ROWS
    assert client.get("/films/3").data == listed[2]
    assert client.request("PATCH", "/films/1", body={"tags": ["z"], "years": None}).data["tags"] == ["z"]
    assert client.get("/films", "tags=z&years[is]=null").meta["total"] == 1
    schemas = client.app.openapi()["components"]["schemas"]
    assert schemas["Film"]["properties"]["tags"]["items"]["type"] == "string"
    assert schemas["FilmCreate"]["properties"]["years"]["type"] == ["array", "null"]
