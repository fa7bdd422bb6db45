"""Keys of several columns in a path."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from backstay import Backstay, ModelBase, public
from support.asgi import Client, quiet, sync_engine


class Base(ModelBase, DeclarativeBase):
    """A registry of its own."""

    metadata = sa.MetaData()


class Pair(Base):
    """A row with two keys."""

    id = None  # type: ignore[assignment]
    left: Mapped[int] = mapped_column(primary_key=True)
    right: Mapped[str] = mapped_column(primary_key=True)


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Client]:
    """Two pairs, one with a comma."""
    engine = sync_engine(tmp_path / "pairs.db")
    Base.metadata.create_all(engine)
    engine.dispose()
    app = Backstay("pairs", config=quiet(tmp_path / "pairs.db"))
    app.resource(Pair, read=public, write=public)
    with Client(app) as found:
        assert found.post("/pairs", {"left": 1, "right": "a"}).status == 201
        assert found.post("/pairs", {"left": 2, "right": "b,c"}).status == 201
        yield found


@pytest.mark.parametrize("key", ["1", "1,a,b", "1%2Ca,b,c", ",", "", "1,", "x,a", "1,%2C"])
def test_a_key_with_the_wrong_parts_is_not_found(client: Client, key: str) -> None:
    """Also after a good key has made the plan; a count of parts must never reach a cached one."""
    assert client.get("/pairs/1,a").status == 200
    for method in ("GET", "DELETE"):
        assert client.request(method, f"/pairs/{key}").status == 404
    assert client.get("/pairs").meta["total"] == 2


@pytest.mark.parametrize("key", ["1,a", "1%2Ca", "2,b%2Cc", "2%2Cb%2Cc"])
def test_commas_may_be_encoded(client: Client, key: str) -> None:
    """A client that encodes the whole key as one text means the same row."""
    answer = client.get(f"/pairs/{key}")
    assert answer.status == 200
    assert str(answer.data["left"]) == key[0]


def test_the_location_of_a_new_row_leads_to_it(client: Client) -> None:
    """Commas between the parts, `%2C` inside."""
    answer = client.post("/pairs", {"left": 3, "right": ",é/"})
    assert answer.headers["location"] == "/api/v1/pairs/3,%2C%C3%A9%2F"
    assert client.get(answer.headers["location"].removeprefix("/api/v1")).data["right"] == ",é/"
