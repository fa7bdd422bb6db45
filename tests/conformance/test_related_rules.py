"""Rules through relations: what they say inside `any()` and `has()` is of that related row and of this outer one."""

from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from backstay import Backstay, FieldRule, ModelBase, has_role, me, public, signed_in
from support.asgi import Client, bearer, quiet, sync_engine
from support.databases import empty_database


class Base(ModelBase, DeclarativeBase):
    """A registry of its own; its tables are called as aliases are."""

    metadata = sa.MetaData()


class Club(Base):
    """Has a level, and members."""

    __tablename__ = "t0"
    level: Mapped[int]
    name: Mapped[str | None]
    members: Mapped[list["Member"]] = relationship(back_populates="club")


class Member(Base):
    """Has a level too."""

    __tablename__ = "t1"
    level: Mapped[int | None]
    person: Mapped[int | None]
    club_id: Mapped[int | None] = mapped_column(sa.ForeignKey("t0.id"))
    club: Mapped[Club | None] = relationship(back_populates="members")


CLUBS = [{"id": 1, "level": 5, "name": "high"}, {"id": 2, "level": 1, "name": "low"}]
MEMBERS = [{"id": 1, "level": 3, "person": 1, "club_id": 1}, {"id": 2, "level": 3, "person": 2, "club_id": 2}]


@pytest.fixture(scope="module")
def url(database: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A database with two clubs."""
    made = empty_database(database, tmp_path_factory.mktemp("clubs"), Base.metadata)
    engine = sync_engine(made)
    with engine.begin() as connection:
        connection.execute(sa.insert(Club), CLUBS)
        connection.execute(sa.insert(Member), MEMBERS)
        if database == "postgresql":
            for name in ("t0", "t1"):
                connection.execute(sa.text(f"SELECT setval(pg_get_serial_sequence('{name}', 'id'), 100)"))
    engine.dispose()
    return made


@pytest.fixture
def ask(url: str) -> Iterator[Any]:
    """Opens an app with rules of clubs and members."""
    opened: list[Client] = []

    def make(club: Any = None, member: dict[str, Any] | None = None, **more: Any) -> Client:
        app = Backstay("clubs", config=quiet(url))
        app.resource(Club, read=public if club is None else club, **more)
        app.resource(Member, **({"read": public} | (member or {})))
        opened.append(Client(app))
        return opened[-1]

    yield make
    for client in opened:
        client.__exit__()


def ids(client: Client, path: str, query: str = "", *, who: int = 1, roles: tuple[str, ...] = ()) -> list[int]:
    """The keys of a list."""
    answer = client.get(path, query, credential=bearer(who, roles=roles))
    assert answer.status == 200, answer.body
    return [row["id"] for row in answer.data]


RULES: list[tuple[Any, list[int]]] = [
    (Club.members.any(Member.level > Club.level), [2]),
    (Club.members.any((Member.person == me.id) & (Member.level < Club.level)), [1]),
    (~Club.members.any(Member.level > Club.level), [1]),
    (Club.members.any(signed_in & (Member.person == me.id)), [1]),
    (Club.members.any(has_role("chief") | (Member.person == me.id)), [1]),
    (Club.members.any(~has_role("chief") & (Member.person == 2)), [2]),
    (Club.members.any(has_role("chief")), []),
    (Club.members.any(signed_in), [1, 2]),
    (Club.members.any(Member.club.has(Club.level == 5)), [1]),
    (Club.members.any(Member.club.has(Club.members.any(Member.person == me.id))), [1]),
]


@pytest.mark.parametrize(("rule", "expected"), RULES)
def test_a_rule_inside_a_relation_means_its_rows(ask: Any, rule: Any, expected: list[int]) -> None:
    """In lists, filters from the other side and includes."""
    client = ask(rule)
    assert ids(client, "/t0", "sort=id") == expected
    assert ids(client, "/t1", "club.level[gt]=0&sort=id") == expected
    answer = client.get("/t1", "include=club&sort=id", credential=bearer(1))
    assert [row["club"]["id"] for row in answer.data if row["club"]] == expected


def test_a_field_rule_through_a_relation_holds_for_new_rows(ask: Any) -> None:
    """The answer of a create is masked by the new row, not by any row of its table."""
    shown = FieldRule(read=Member.club.has(Club.level > 3))
    client = ask(member={"create": public, "fields": {Member.level: shown}})
    for club, level in ((1, 7), (2, None), (None, None)):
        answer = client.post("/t1", {"level": 7, "club_id": club}, credential=bearer(1))
        assert (answer.status, answer.data["level"]) == (201, level)
    assert ids(client, "/t1", "level=7&sort=id")


def test_a_check_through_a_relation_means_the_new_row(ask: Any) -> None:
    """That some other row would pass is no reason to take this one."""
    client = ask(member={"create": public, "check": Member.club.has(Club.members.any(Member.person == me.id))})
    assert client.post("/t1", {"club_id": 1}, credential=bearer(1)).status == 201
    assert client.post("/t1", {"club_id": 2}, credential=bearer(1)).status == 403
    assert client.post("/t1", {}, credential=bearer(1)).status == 403


def test_a_row_of_defaults_alone_is_created(ask: Any) -> None:
    """An empty body gives what the table gives."""
    client = ask(member={"create": public})
    answer = client.post("/t1", {}, credential=bearer(1))
    assert (answer.status, answer.data["level"], answer.data["version"]) == (201, None, 1)
