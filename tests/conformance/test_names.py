"""Names as they may be: longer than an identifier of PostgreSQL, quoted, reserved, with percent signs and dollars."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from backstay import Backstay, ModelBase, me, public
from support.asgi import Client, bearer, quiet
from support.databases import DATABASES, Filled
from support.twins import same_text

LONG = "a_name_that_is_longer_than_any_identifier_that_postgresql_would_keep_whole"
LONGER = f"{LONG}_and_starts_alike"
ODD = (
    'quo"te',
    "apos'trophe",
    "per%cent",
    "per%%(s)s",
    "dol$1lar",
    "select",
    "Größe",
    "a b",
    "col:on",
    "back\\slash",
    "t0",
)


class Base(ModelBase, DeclarativeBase):
    """A registry of its own."""

    metadata = sa.MetaData()


class Odd(Base):
    """Columns of odd names, relations of long ones, and two kinds of column that hold a principal's id."""

    __tablename__ = "odds"
    label: Mapped[str]
    owner: Mapped[str | None]
    keeper: Mapped[int | None]
    parent_id: Mapped[int | None] = mapped_column(sa.ForeignKey("odds.id"))
    locals().update({name: mapped_column(sa.BigInteger()) for name in ODD})


setattr(Odd, LONG, relationship(Odd, remote_side=[Odd.__table__.c.id], back_populates=LONGER))
setattr(Odd, LONGER, relationship(Odd, remote_side=[Odd.__table__.c.parent_id], back_populates=LONG))


def fill(engine: sa.Engine) -> None:
    """A row with a parent, and one without."""
    Base.metadata.create_all(engine)
    with engine.begin() as connection:
        for row in (
            {"id": 1, "label": "root", "owner": "7", "keeper": None, "parent_id": None},
            {"id": 2, "label": "leaf", "owner": None, "keeper": 7, "parent_id": 1},
            {"id": 3, "label": "else", "owner": "8", "keeper": 8, "parent_id": 1},
        ):
            numbers = {column: number for number, column in enumerate(ODD)}
            connection.execute(sa.insert(Odd.__table__), row | numbers)


NAMES = Filled("names", fill)


@pytest.fixture
def clients(tmp_path: Path) -> Iterator[list[Client]]:
    """The app over each database."""
    with ExitStack() as stack:
        found: list[Client] = []
        for name in DATABASES:
            app = Backstay("odd", config=quiet(NAMES.own(name, tmp_path)))
            app.resource(Odd, read=(Odd.owner == me.id) | (Odd.keeper == me.id), create=public, update=public)
            found.append(stack.enter_context(Client(app)))
        yield found


REQUESTS = [
    "",
    f"include={LONG}",
    f"include={LONG},{LONGER}&fields=id&fields[{LONG}]=label&fields[{LONGER}]=id",
    f"include={LONG}.{LONG}.{LONGER}",
    f"{LONG}.label=root&sort=-{LONG}.label&cursor=",
    f"{LONGER}.label[ne]=x",
    *(f"fields=id,{name}&sort={name}&{name}[gte]=0".replace("%", "%25") for name in ODD if '"' not in name),
]
AGGREGATES = [
    f"group={LONG}.label&select={'n' * 63}:count,max({LONG}.label),max({LONG}.parent_id)&sort=-max_{LONG}_label",
    *(f"select=n:max({name})".replace("%", "%25") for name in ("select", "t0")),
]


@pytest.mark.parametrize("query", REQUESTS)
def test_odd_names_are_names(clients: list[Client], query: str) -> None:
    """Of columns and relations: the same rows, members and order on both databases, and no name is cut."""
    answers = [client.get("/odds", query, credential=bearer(7)) for client in clients]
    assert [answer.status for answer in answers] == [200, 200], answers
    assert same_text(answers[0].body) == same_text(answers[1].body)
    assert [row["id"] for row in answers[0].data] == [2] if "root" in query else [1, 2]
    if query.startswith("include"):
        assert LONG in answers[1].data[0]


@pytest.mark.parametrize("query", AGGREGATES)
def test_odd_names_are_names_of_measures(clients: list[Client], query: str) -> None:
    """A caller may call a measure as it likes."""
    answers = [client.get("/odds/aggregate", query, credential=bearer(7)) for client in clients]
    assert [answer.status for answer in answers] == [200, 200], answers
    assert same_text(answers[0].body) == same_text(answers[1].body)


def test_odd_names_are_written(clients: list[Client]) -> None:
    """A body names them, and the answer of a write has them."""
    body = {"label": "new", "owner": "7"} | dict.fromkeys(ODD, 5)
    answers = [client.post("/odds", body, credential=bearer(7)) for client in clients]
    assert [answer.status for answer in answers] == [201, 201], answers
    assert same_text(answers[0].body) == same_text(answers[1].body)
    assert answers[0].data[ODD[0]] == 5


def test_a_principal_is_compared_with_columns_of_two_kinds(clients: list[Client]) -> None:
    """In one rule: as text with the one, as a number with the other; who is no number matches by text only."""
    for client in clients:
        assert [row["id"] for row in client.get("/odds", "sort=id", credential=bearer("7")).data] == [1, 2]
        assert [row["id"] for row in client.get("/odds", "sort=id", credential=bearer(8)).data] == [3]
        assert client.get("/odds", "sort=id", credential=bearer("x")).data == []
