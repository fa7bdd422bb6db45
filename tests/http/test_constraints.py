"""What a caller is told of a write that the database refuses: the fields, and nothing of rows out of sight.

That a value is taken which is unique in the whole table cannot be hidden from who may write such a row. Everything
else can: who may not write the row is told so first, and a unique value of a tenant says nothing to another.
"""

import asyncio
import enum
import re
import uuid
from collections.abc import Iterator
from datetime import UTC, date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from backstay import Backstay, FieldRule, ModelBase, TenantScoped, has_role, me, nobody, public, reflect, signed_in
from backstay.schema.base import NAMING
from backstay.testing import token
from support.asgi import SECRET, Answer, Client, quiet, sync_engine
from support.databases import DATABASES, Filled, dump
from support.postgres import fresh_database, rows
from support.twins import same_text


class Base(ModelBase, DeclarativeBase):
    """A registry of its own."""

    metadata = sa.MetaData(naming_convention=NAMING)


class Firm(Base):
    """A tenant."""

    name: Mapped[str]


class Team(Base):
    """Everybody sees it; its lead fills its desks."""

    lead_id: Mapped[int]


class Desk(Base):
    """Two unique columns together; seen and made by the team's lead alone."""

    team_id: Mapped[int] = mapped_column(sa.ForeignKey("teams.id"))
    spot: Mapped[str] = mapped_column(default="door")
    width: Mapped[int | None]
    team: Mapped[Team] = relationship()
    __table_args__ = (sa.UniqueConstraint("team_id", "spot"),)


class Locker(Base):
    """Its code is unique for all; rules depend on columns that nobody gives."""

    code: Mapped[str] = mapped_column(unique=True)
    owner_id: Mapped[int]
    open: Mapped[bool] = mapped_column(default=False)
    size: Mapped[int] = mapped_column(server_default=sa.text("3"))


class Page(Base):
    """Its path is its slug, which is unique for all; seen and made by its owner."""

    slug: Mapped[str] = mapped_column(unique=True)
    owner_id: Mapped[int]


class Badge(TenantScoped, Base):
    """A code that is unique in a tenant."""

    __tenant__ = "firms.id"
    code: Mapped[str]
    __table_args__ = (sa.UniqueConstraint("tenant_id", "code"),)


class Person(Base):
    """A pin that nobody reads, a number that nobody names, and a name that is unique in any case."""

    name: Mapped[str]
    pin: Mapped[str | None] = mapped_column(unique=True)
    number: Mapped[int] = mapped_column(unique=True, default=7)
    __tablename__ = "people"
    __table_args__ = (sa.Index("ux_people_name", sa.func.lower(sa.text("name")), unique=True),)


class Memo(Base):
    """Refers to a person, for everybody to see."""

    author_id: Mapped[int | None] = mapped_column(sa.ForeignKey("people.id"))


class Secret(Base):
    """Refers to a person, for admins to see."""

    about_id: Mapped[int] = mapped_column(sa.ForeignKey("people.id"))


class Vote(Base):
    """Seen by everybody, but not whose it is."""

    voter_id: Mapped[int] = mapped_column(sa.ForeignKey("people.id"))


class Visit(Base):
    """Goes with its person."""

    person_id: Mapped[int] = mapped_column(sa.ForeignKey("people.id", ondelete="CASCADE"))


class Node(Base):
    """A tree whose references are looked at when a transaction ends."""

    name: Mapped[str]
    parent_id: Mapped[int | None] = mapped_column(sa.ForeignKey("nodes.id", deferrable=True, initially="DEFERRED"))


class Span(Base):
    """CHECKs over several columns: one with a name, one about a column that is hidden."""

    low: Mapped[int]
    high: Mapped[int]
    low_mark: Mapped[int] = mapped_column(default=0)
    secret: Mapped[int] = mapped_column(default=5)
    note: Mapped[str | None]
    __table_args__ = (
        sa.CheckConstraint("low < high", name="ordered"),
        sa.CheckConstraint("low_mark <= low", name="low_mark"),
        sa.CheckConstraint("high < secret * 100", name="bounded"),
    )


class Shade(enum.Enum):
    """An enum to store."""

    DARK = "dark"


class Kind(Base):
    """A column of each type, given or not, of which its rule says something."""

    code: Mapped[str] = mapped_column(unique=True)
    flag: Mapped[bool] = mapped_column(default=True)
    at: Mapped[datetime] = mapped_column(default=datetime(2026, 1, 2, tzinfo=UTC))
    day: Mapped[date] = mapped_column(default=date(2026, 1, 2))
    hour: Mapped[time] = mapped_column(default=time(4, 5))
    price: Mapped[Decimal] = mapped_column(default=Decimal("1.5"))
    ratio: Mapped[float] = mapped_column(default=0.5)
    mark: Mapped[uuid.UUID] = mapped_column(default=uuid.UUID(int=7))
    raw: Mapped[bytes] = mapped_column(default=b"raw")
    shade: Mapped[Shade] = mapped_column(default=Shade.DARK)
    words: Mapped[list[str]] = mapped_column(default=["a"])
    stored: Mapped[str] = mapped_column(server_default="stored")


KINDS = {
    "flag": False,
    "at": "2027-01-01T00:00:00Z",
    "day": "2027-01-01",
    "hour": "05:06:07",
    "price": "2.25",
    "ratio": 0.25,
    "mark": str(uuid.UUID(int=8)),
    "raw": "AAE=",
    "shade": "DARK",
    "words": ["b"],
    "stored": "given",
}


def fill(engine: sa.Engine) -> None:
    """Tables and rows; `spans.note` may not be null in the database, whatever the model says."""
    Base.metadata.create_all(engine)
    kept = sa.schema.CreateTable(Base.metadata.tables["spans"]).compile(dialect=engine.dialect).string
    with engine.begin() as connection:
        connection.exec_driver_sql("DROP TABLE spans")
        connection.exec_driver_sql(kept.replace("note TEXT", "note TEXT NOT NULL DEFAULT ''"))
        for table, values in ROWS.items():
            connection.execute(sa.insert(Base.metadata.tables[table]), values)


ROWS: dict[str, list[dict[str, Any]]] = {
    "firms": [{"id": 1, "name": "a"}, {"id": 2, "name": "b"}],
    "teams": [{"id": 1, "lead_id": 1}, {"id": 2, "lead_id": 2}],
    "desks": [{"team_id": 1, "spot": "door"}, {"team_id": 2, "spot": "door"}, {"team_id": 2, "spot": "roof"}],
    "lockers": [{"code": "a", "owner_id": 1}, {"code": "b", "owner_id": 2}],
    "pages": [{"slug": "mine", "owner_id": 1}, {"slug": "hers", "owner_id": 2}],
    "badges": [{"tenant_id": 1, "code": "x"}, {"tenant_id": 2, "code": "y"}],
    "people": [{"id": n, "name": f"n{n}", "pin": f"p{n}", "number": n} for n in range(1, 8)],
    "memos": [{"author_id": 1}, {"author_id": 2}],
    "secrets": [{"about_id": 1}, {"about_id": 3}],
    "votes": [{"voter_id": 4}],
    "visits": [{"person_id": 5}],
    "nodes": [{"id": 1, "name": "root", "parent_id": None}, {"id": 2, "name": "leaf", "parent_id": 1}],
}
FILLED = Filled("constraints", fill)


def app_of(url: str) -> Backstay:
    """The app over a database."""
    app = Backstay("constraints", config=quiet(url))
    app.resource(Team, read=public)
    led = Desk.team.has(Team.lead_id == me.id)
    app.resource(Desk, read=led, write=led)
    app.resource(
        Locker,
        read=Locker.owner_id == me.id,
        create=(Locker.owner_id == me.id) & Locker.open.is_(False) & (Locker.size == 3) & (Locker.version == 1),
        update=Locker.owner_id == me.id,
        check=Locker.size < 9,
    )
    app.resource(Page, key=Page.slug, read=Page.owner_id == me.id, write=Page.owner_id == me.id)
    app.resource(Badge, read=signed_in, write=signed_in)
    app.resource(
        Person,
        read=public,
        write=signed_in,
        hidden=[Person.number],
        fields={Person.pin: FieldRule(read=nobody, write=signed_in)},
    )
    app.resource(Memo, read=public, write=signed_in)
    app.resource(Secret, read=has_role("admin"), write=signed_in)
    app.resource(Vote, read=public, fields={Vote.voter_id: FieldRule(read=nobody)})
    app.resource(Visit, read=public)
    app.resource(Node, read=public, write=signed_in)
    app.resource(Span, read=public, write=signed_in, hidden=[Span.secret])
    same = [column == column for name, column in vars(Kind).items() if name in KINDS and name != "words"]
    app.resource(
        Kind, read=public, create=sa.and_(*same, Kind.words.is_not(None), Kind.created_at > EPOCH) & signed_in
    )
    return app


EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def who(number: int, *roles: str, tenant: int | None = None) -> str:
    """Somebody's credential."""
    return "Bearer " + token(number, roles, tenant=tenant, secret=SECRET)


ADA, BOB = who(1), who(2)


@pytest.fixture(params=DATABASES)
def client(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Client]:
    """The app on each database."""
    with Client(app_of(FILLED.own(request.param, tmp_path))) as opened:
        yield opened


def told(answer: Answer) -> tuple[Any, ...]:
    """All that an answer tells, without keys that are numbered on and times."""
    timing = re.sub(r"dur=[0-9.]+", "", answer.headers.get("server-timing", ""))
    return answer.status, re.sub(r'"id":\d+', '"id":0', same_text(answer.body)), timing


def fields_of(answer: Answer) -> list[str]:
    """The fields that an answer names."""
    return [error["field"] for error in answer.json["errors"]]


#: Writes that no row of another team, tenant or owner may change the answer of.
BLIND = st.one_of(
    st.tuples(
        st.sampled_from(["POST /desks", "PATCH /desks/1", "PUT /desks/1", "PATCH /desks/2"]),
        st.fixed_dictionaries(
            {}, optional={"team_id": st.sampled_from([1, 2, 99]), "spot": st.sampled_from(["door", "roof", "free"])}
        ),
    ),
    st.tuples(
        st.sampled_from(["POST /badges", "PATCH /badges/1", "PATCH /badges/2"]),
        st.fixed_dictionaries({"code": st.sampled_from(["x", "y", "free"])}),
    ),
    st.tuples(
        st.just("POST /lockers"),
        st.fixed_dictionaries(
            {"code": st.sampled_from(["a", "b", "free"]), "owner_id": st.sampled_from([2, 3])},
            optional={"open": st.booleans()},
        ),
    ),
    st.tuples(
        st.sampled_from(["POST /lockers", "PATCH /lockers/1"]),
        st.fixed_dictionaries(
            {"code": st.sampled_from(["b", "free"]), "size": st.just(9)}, optional={"owner_id": st.just(1)}
        ),
    ),
)
OTHERWISE = (
    "UPDATE desks SET spot = 'other ' || id WHERE team_id = 2",
    "UPDATE badges SET code = 'other' WHERE tenant_id = 2",
    "UPDATE lockers SET code = 'other' WHERE owner_id = 2",
)


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(asked=st.lists(BLIND, min_size=1, max_size=4))
@pytest.mark.parametrize("database", DATABASES)
def test_a_row_out_of_sight_changes_no_refusal(database: str, tmp_path: Path, asked: list[tuple[str, Any]]) -> None:
    """Where others have taken the value, the answer is as where they have not: who may not write it is told so."""
    worlds: list[list[Any]] = []
    for changes in ((), OTHERWISE):
        url = FILLED.own(database, tmp_path)
        engine = sync_engine(url)
        with engine.begin() as connection:
            for change in changes:
                connection.exec_driver_sql(change)
        engine.dispose()
        with Client(app_of(url)) as client:
            worlds.append([])
            for request, body in asked:
                method, path = request.split()
                worlds[-1].append(told(client.request(method, path, body=body, credential=who(1, tenant=1))))
    assert worlds[0] == worlds[1]
    assert all(status < 500 for status, *_ in worlds[0])


#: Method, path, body, who, status and the fields that are named.
NAMED: list[tuple[str, str, Any, str, int, list[str]]] = [
    ("POST", "/desks", {"team_id": 1, "spot": "door"}, ADA, 409, ["team_id", "spot"]),
    ("POST", "/desks", {"team_id": 1}, ADA, 409, ["team_id", "spot"]),
    ("PATCH", "/desks/3", {"spot": "door"}, BOB, 409, ["team_id", "spot"]),
    ("POST", "/desks", {"team_id": 2, "spot": "door"}, ADA, 403, []),
    ("POST", "/desks", {"team_id": 99, "spot": "door"}, ADA, 403, []),
    ("POST", "/desks", {"team_id": 2, "spot": "door"}, "", 401, []),
    ("POST", "/lockers", {"code": "b", "owner_id": 1}, ADA, 409, ["code"]),
    ("POST", "/lockers", {"code": "b", "owner_id": 1, "size": 4}, ADA, 403, []),
    ("POST", "/lockers", {"code": "b", "owner_id": 1, "open": True}, ADA, 403, []),
    ("POST", "/lockers", {"code": "b", "owner_id": 2}, ADA, 403, []),
    ("PATCH", "/lockers/1", {"code": "b"}, ADA, 409, ["code"]),
    ("PATCH", "/lockers/1", {"code": "b", "size": 9}, ADA, 403, []),
    ("PATCH", "/lockers/1", {"code": "b", "owner_id": 2}, ADA, 403, []),
    ("PATCH", "/lockers/1", {"code": "b"}, BOB, 404, []),
    ("POST", "/badges", {"code": "x"}, who(1, tenant=1), 409, ["code"]),
    ("POST", "/badges", {"code": "y"}, who(1, tenant=1), 201, []),
    ("POST", "/people", {"name": "new"}, ADA, 409, ["body"]),
    ("PATCH", "/people/1", {"name": "N2"}, ADA, 409, ["name"]),
    ("PATCH", "/people/1", {"pin": "p2"}, ADA, 409, ["pin"]),
    ("POST", "/memos", {"author_id": 99}, ADA, 409, ["author_id"]),
    ("POST", "/spans", {"low": 2, "high": 1, "note": "n"}, ADA, 400, ["low", "high"]),
    ("POST", "/spans", {"low": 2, "high": 3, "low_mark": 9, "note": "n"}, ADA, 400, ["low", "low_mark"]),
    ("POST", "/spans", {"low": 2, "high": 900, "note": "n"}, ADA, 400, ["high"]),
    ("POST", "/spans", {"low": 1, "high": 2, "note": None}, ADA, 400, ["note"]),
    ("POST", "/nodes", {"name": "n", "parent_id": 99}, ADA, 409, ["parent_id"]),
    ("PATCH", "/nodes/2", {"parent_id": 99}, ADA, 409, ["parent_id"]),
]


@pytest.mark.parametrize(("method", "path", "body", "credential", "status", "fields"), NAMED)
def test_fields_are_named(
    client: Client, method: str, path: str, body: Any, credential: str, status: int, fields: list[str]
) -> None:
    """Every field that a constraint is about and that may be named; a refused write changes nothing."""
    before = dump(client.app.config.database_url)
    answer = client.request(method, path, body=body, credential=credential)
    assert (answer.status, fields_of(answer) if status != 201 else []) == (status, fields), answer.json
    assert (dump(client.app.config.database_url) == before) == (status != 201)


def test_no_constraint_names_what_is_hidden(client: Client) -> None:
    """Neither a hidden column nor the name of a CHECK about one."""
    for body in ({"low": 2, "high": 900, "note": "n"}, {"low": 2, "high": 1, "note": "n"}):
        answer = client.post("/spans", body, credential=ADA)
        assert "secret" not in answer.body.decode()
        assert ("ordered" in answer.body.decode()) == (body["high"] == 1)
        assert "bounded" not in answer.body.decode()
    assert "number" not in client.post("/people", {"name": "new"}, credential=ADA).body.decode()


@pytest.mark.parametrize(
    ("key", "credential", "status", "resources"),
    [
        (1, ADA, 409, ["memos"]),
        (1, who(1, "admin"), 409, ["memos", "secrets"]),
        (2, ADA, 409, ["memos"]),
        (3, ADA, 409, []),
        (3, who(1, "admin"), 409, ["secrets"]),
        (4, who(1, "admin"), 409, []),
        (5, ADA, 204, []),
        (6, ADA, 204, []),
    ],
)
def test_only_rows_in_sight_are_named_where_they_refer(
    client: Client, key: int, credential: str, status: int, resources: list[str]
) -> None:
    """Hidden rows, and a reference that is hidden, keep a row too: that they do is all that is told."""
    answer = client.request("DELETE", f"/people/{key}", credential=credential)
    assert answer.status == status
    if status == 409:
        named = f"Rows of {', '.join(resources)}" if resources else "Other rows"
        assert (answer.json["code"], answer.json["detail"]) == (
            "STILL_REFERENCED",
            f"{named} refer to this row of people.",
        )
        assert fields_of(answer) == resources
    assert client.get(f"/people/{key}").status == (200 if status == 409 else 404)


def test_making_a_row_at_a_path_tells_what_a_create_tells(client: Client) -> None:
    """A row out of sight is no row to compare with: its key is taken, to who may make such a row."""
    for slug, owner, status in (
        ("mine", 1, 412),
        ("hers", 1, 409),
        ("mine", 2, 403),
        ("hers", 2, 403),
        ("new", 2, 403),
    ):
        answer = client.request(
            "PUT", f"/pages/{slug}", body={"owner_id": owner}, credential=ADA, more=[(b"if-none-match", b"*")]
        )
        assert answer.status == status, answer.json
        assert ("etag" in answer.headers) == (status == 412)
        assert fields_of(answer) == (["slug"] if status == 409 else [])


def test_a_deferred_reference_harms_no_other_write(client: Client) -> None:
    """It fails when its transaction ends: of thirty writes at once those alone are refused that lead nowhere."""

    async def write(number: int) -> tuple[int, Answer]:
        parent = 99 if number % 5 == 0 else 1
        return parent, await client.send(
            "POST", "/nodes", body={"name": f"n{number}", "parent_id": parent}, credential=ADA
        )

    async def many() -> list[tuple[int, Answer]]:
        return await asyncio.gather(*(write(number) for number in range(30)))

    for parent, answer in client.loop.run_until_complete(many()):
        assert answer.status == (409 if parent == 99 else 201), answer.json
        if parent == 99:
            assert fields_of(answer) == ["parent_id"]
    assert client.get("/nodes").meta["total"] == 2 + 24
    refused = client.request("DELETE", "/nodes/1", credential=ADA)
    assert (refused.status, fields_of(refused)) == (409, ["nodes"])


def test_rules_are_asked_whatever_the_types(client: Client) -> None:
    """A row that is kept out is judged by its values and its defaults, as it would be when it was written."""
    made = client.post("/kinds", {"code": "a"}, credential=ADA)
    assert made.status == 201, made.json
    for body in ({}, KINDS, *({name: value} for name, value in KINDS.items())):
        answer = client.post("/kinds", {"code": "a"} | body, credential=ADA)
        assert (answer.status, fields_of(answer)) == (409, ["code"]), (body, answer.json)


POSTGRES = """
CREATE TABLE bookings (id int PRIMARY KEY, room int NOT NULL, at int4range NOT NULL, owner int,
    CONSTRAINT no_overlap EXCLUDE USING gist (int4range(room, room, '[]') WITH =, at WITH &&),
    CONSTRAINT plain EXCLUDE USING btree (owner WITH =));
CREATE TABLE seats (id int PRIMARY KEY, place int UNIQUE DEFERRABLE INITIALLY DEFERRED, row int, UNIQUE (place, row));
INSERT INTO bookings VALUES (1, 1, '[1,5)', 1);
INSERT INTO seats VALUES (1, 1, 1), (2, 2, 2);
"""


@pytest.fixture
def found() -> Iterator[Client]:
    """An existing PostgreSQL database, whose rows of others nobody sees."""
    url = fresh_database()
    rows(url, POSTGRES)
    app = Backstay("found", config=quiet(url), schema=reflect(url))
    bookings = app.schema.tables["bookings"].sql.c
    app.resource("bookings", read=bookings.owner == me.id, write=bookings.owner == me.id)
    app.resource("seats", read=public, write=public)
    with Client(app) as opened:
        yield opened


def test_exclusion_constraints(found: Client) -> None:
    """Rows that exclude each other are a conflict, of the columns that PostgreSQL names; not to who may not write."""
    taken = {"id": 2, "room": 1, "at": "[4,8)", "owner": 2}
    answer = found.post("/bookings", taken, credential=BOB)
    assert (answer.status, answer.json["code"], answer.json["detail"]) == (
        409,
        "CONFLICT",
        "Another row of bookings conflicts.",
    )
    assert fields_of(answer) == ["room", "at"]
    answer = found.post("/bookings", taken | {"at": "[8,9)", "owner": 1}, credential=ADA)
    assert (answer.status, fields_of(answer)) == (409, ["owner"])
    refused = [found.post("/bookings", taken | {"at": at}, credential=ADA) for at in ("[4,8)", "[8,9)")]
    assert {answer.status for answer in refused} == {403}
    assert told(refused[0]) == told(refused[1])
    assert found.post("/bookings", taken | {"at": "[8,9)"}, credential=BOB).status == 201


def test_deferred_unique_constraints(found: Client) -> None:
    """They fail at the commit, and are told like others."""
    answer = found.post("/seats", {"id": 3, "place": 2, "row": 3})
    assert (answer.status, fields_of(answer)) == (409, ["place"])
    answer = found.request("PATCH", "/seats/1", body={"place": 2})
    assert (answer.status, fields_of(answer)) == (409, ["place"])
    assert [row["place"] for row in found.get("/seats").data] == [1, 2]
