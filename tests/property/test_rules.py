"""Rules: nothing that any read reveals exceeds what a direct evaluation of the rules in Python admits."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import given, note, settings
from hypothesis import strategies as st
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from backstay import Backstay, ModelBase, has_role, me, nobody, public, signed_in
from support.asgi import Client, bearer, quiet, sync_engine
from support.databases import DATABASES, empty_database


class Base(ModelBase, DeclarativeBase):
    """A registry of its own."""

    metadata = sa.MetaData()


class Team(Base):
    """The to-one side."""

    __tablename__ = "teams"
    name: Mapped[str]
    open: Mapped[bool]
    boss_id: Mapped[int | None]
    notes: Mapped[list["Note"]] = relationship(back_populates="team")


class Note(Base):
    """The to-many side."""

    __tablename__ = "notes"
    text: Mapped[str]
    shown: Mapped[bool | None]
    owner_id: Mapped[int | None]
    team_id: Mapped[int | None] = mapped_column(sa.ForeignKey("teams.id"))
    team: Mapped[Team | None] = relationship(back_populates="notes")


Row = dict[str, Any]
#: True, False or unknown, as in SQL.
Truth = bool | None


@dataclass(frozen=True, slots=True)
class Who:
    """A principal."""

    id: int | None
    roles: frozenset[str] = frozenset()

    @property
    def credential(self) -> str:
        """Its Authorization header; none for anonymous."""
        return "" if self.id is None else bearer(self.id, roles=self.roles)


@dataclass(frozen=True, slots=True)
class World:
    """All rows and who asks."""

    teams: tuple[Row, ...]
    notes: tuple[Row, ...]
    who: Who

    def team(self, key: int | None) -> Row | None:
        """A team by its id, visible or not."""
        return next((team for team in self.teams if team["id"] == key), None)


Evaluate = Callable[[Row, World], Truth]


@dataclass(frozen=True)
class Rule:
    """A rule twice: as SQL and as Python."""

    words: str
    sql: Any
    holds: Evaluate

    def __repr__(self) -> str:
        return self.words


def equal(left: Any, right: Any) -> Truth:
    """SQL's equality."""
    return None if left is None or right is None else left == right


def negate(truth: Truth) -> Truth:
    """SQL's NOT."""
    return None if truth is None else not truth


def conjoin(left: Truth, right: Truth) -> Truth:
    """SQL's AND."""
    if left is False or right is False:
        return False
    return None if left is None or right is None else True


GENERAL = [
    Rule("public", public, lambda row, world: True),
    Rule("nobody", nobody, lambda row, world: False),
    Rule("signed_in", signed_in, lambda row, world: world.who.id is not None),
    Rule("admin", has_role("admin"), lambda row, world: "admin" in world.who.roles),
]
NOTE_RULES = [
    *GENERAL,
    Rule("own", Note.owner_id == me.id, lambda row, world: equal(row["owner_id"], world.who.id)),
    Rule("shown", Note.shown == sa.true(), lambda row, world: row["shown"]),
    Rule("no owner", Note.owner_id.is_(None), lambda row, world: row["owner_id"] is None),
    Rule(
        "team is open",
        Note.team.has(Team.open == sa.true()),
        lambda row, world: bool((world.team(row["team_id"]) or {}).get("open")),
    ),
    Rule(
        "team is mine",
        Note.team.has(Team.boss_id == me.id),
        lambda row, world: bool(equal((world.team(row["team_id"]) or {}).get("boss_id"), world.who.id)),
    ),
]
TEAM_RULES = [
    *GENERAL,
    Rule("boss", Team.boss_id == me.id, lambda row, world: equal(row["boss_id"], world.who.id)),
    Rule("open", Team.open == sa.true(), lambda row, world: row["open"]),
    Rule(
        "has own note",
        Team.notes.any(Note.owner_id == me.id),
        lambda row, world: any(
            note["team_id"] == row["id"] and equal(note["owner_id"], world.who.id) for note in world.notes
        ),
    ),
]


def combined(base: list[Rule]) -> st.SearchStrategy[Rule]:
    """Rules made of others by not, and, or."""

    def extend(inner: st.SearchStrategy[Rule]) -> st.SearchStrategy[Rule]:
        pairs = st.tuples(inner, inner)
        return (
            inner.map(lambda r: Rule(f"~({r})", ~r.sql, lambda row, world: negate(r.holds(row, world))))
            | pairs.map(lambda p: Rule(f"({p[0]} & {p[1]})", p[0].sql & p[1].sql, conjunction(*p)))
            | pairs.map(lambda p: Rule(f"({p[0]} | {p[1]})", p[0].sql | p[1].sql, disjunction(*p)))
        )

    return st.recursive(st.sampled_from(base), extend, max_leaves=4)


def conjunction(left: Rule, right: Rule) -> Evaluate:
    """Both hold."""
    return lambda row, world: conjoin(left.holds(row, world), right.holds(row, world))


def disjunction(left: Rule, right: Rule) -> Evaluate:
    """Either holds."""
    return lambda row, world: negate(conjoin(negate(left.holds(row, world)), negate(right.holds(row, world))))


ROLES = st.sampled_from([frozenset(), frozenset({"admin"}), frozenset({"other"})])
PRINCIPALS = st.just(Who(None)) | st.builds(Who, st.integers(1, 3), ROLES)
IDS = st.none() | st.integers(1, 3)


@st.composite
def worlds(draw: st.DrawFn) -> World:
    """A few teams and notes."""
    teams = [
        {"id": i, "name": draw(st.sampled_from("xyz")), "open": draw(st.booleans()), "boss_id": draw(IDS)}
        for i in range(1, draw(st.integers(1, 4)) + 1)
    ]
    notes = [
        {
            "id": i,
            "text": draw(st.sampled_from("abc")),
            "shown": draw(st.none() | st.booleans()),
            "owner_id": draw(IDS),
            "team_id": draw(st.none() | st.sampled_from([team["id"] for team in teams])),
        }
        for i in range(1, draw(st.integers(0, 8)) + 1)
    ]
    return World(tuple(teams), tuple(notes), draw(PRINCIPALS))


@pytest.fixture(scope="module", params=DATABASES)
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, sa.Engine]]:
    """A database with empty tables."""
    url = empty_database(request.param, tmp_path_factory.mktemp("rules"), Base.metadata)
    engine = sync_engine(url)
    yield url, engine
    engine.dispose()


class Reader:
    """Reads as the principal and notes what each read reveals."""

    def __init__(self, client: Client, who: Who) -> None:
        self.client = client
        self.credential = who.credential

    def json(self, path: str, query: str = "") -> Any:
        """The body of an answer; None where the principal's standing is refused."""
        answer = self.client.get(path, query, credential=self.credential)
        assert answer.status in (200, 401, 403, 404), answer.body
        return answer.json if answer.status == 200 else None

    def ids(self, path: str, query: str = "") -> set[int]:
        """The ids of a list, whose total must be their number."""
        found = self.json(path, query + "&limit=100")
        if found is None:
            return set()
        assert found["meta"].get("total", len(found["data"])) == len(found["data"])
        return {row["id"] for row in found["data"]}


def fill(engine: sa.Engine, world: World) -> None:
    """The world's rows and no others."""
    with engine.begin() as connection:
        connection.execute(sa.delete(Note))
        connection.execute(sa.delete(Team))
        connection.execute(sa.insert(Team), list(world.teams))
        if world.notes:
            connection.execute(sa.insert(Note), list(world.notes))


@settings(max_examples=60, deadline=None)
@given(world=worlds(), note_rule=combined(NOTE_RULES), team_rule=combined(TEAM_RULES))
def test_reads_reveal_what_the_rules_admit_and_nothing_else(
    made: tuple[str, sa.Engine], world: World, note_rule: Rule, team_rule: Rule
) -> None:
    """Lists, items, includes, nested lists, filters, sorts, counts and aggregates agree with the rules in Python."""
    note(f"notes: {note_rule!r}, teams: {team_rule!r}, {world}")
    url, engine = made
    fill(engine, world)
    notes = {n["id"]: n for n in world.notes if note_rule.holds(n, world) is True}
    teams = {t["id"]: t for t in world.teams if team_rule.holds(t, world) is True}
    team_of = {key: (note["team_id"] if note["team_id"] in teams else None) for key, note in notes.items()}
    app = Backstay("rules", config=quiet(url))
    app.resource(Team, read=team_rule.sql)
    app.resource(Note, read=note_rule.sql)
    with Client(app) as client:
        reader = Reader(client, world.who)
        assert reader.ids("/notes") == set(notes)
        assert reader.ids("/teams") == set(teams)
        assert reader.ids("/notes", "count=false") == set(notes)
        assert reader.ids("/notes", "sort=team.name&cursor=") == set(notes)
        for row in world.notes:
            assert (reader.json(f"/notes/{row['id']}") is not None) == (row["id"] in notes)
        check_filters(reader, world, notes, teams, team_of)
        check_includes(reader, notes, teams, team_of)
        check_aggregates(reader, notes, teams, team_of)


def check_filters(
    reader: Reader, world: World, notes: dict[int, Row], teams: dict[int, Row], team_of: dict[int, int | None]
) -> None:
    """A filter through a relation sees only related rows that the principal may read."""
    for name in "xyz":
        expected = {key for key, team in team_of.items() if team is not None and teams[team]["name"] == name}
        assert reader.ids("/notes", f"team.name={name}") == expected
        assert reader.ids("/notes", f"or=(team.name={name},id=0)") == expected
    for text in "abc":
        matching = {notes[key]["team_id"] for key in notes if notes[key]["text"] == text} & set(teams)
        assert reader.ids("/teams", f"notes.text={text}") == matching
    for team in world.teams:
        below = {key for key, owner in team_of.items() if owner == team["id"]}
        assert reader.ids(f"/teams/{team['id']}/notes") == below


def check_includes(
    reader: Reader, notes: dict[int, Row], teams: dict[int, Row], team_of: dict[int, int | None]
) -> None:
    """An embedded row is a visible one, both ways and through two relations."""
    listed = reader.json("/notes", "include=team.notes&limit=100")
    for row in listed["data"] if listed else []:
        team = row["team"]
        assert (team["id"] if team else None) == team_of[row["id"]]
        if team:
            assert {inner["id"] for inner in team["notes"]} == {k for k, t in team_of.items() if t == team["id"]}
    listed = reader.json("/teams", "include=notes.team&limit=100")
    for team in listed["data"] if listed else []:
        assert {note["id"] for note in team["notes"]} == {k for k, t in team_of.items() if t == team["id"]}
        assert all(note["team"]["id"] == team["id"] for note in team["notes"])


def check_aggregates(
    reader: Reader, notes: dict[int, Row], teams: dict[int, Row], team_of: dict[int, int | None]
) -> None:
    """Counts, extremes and groups are those of the visible rows; a hidden row's name is no group."""
    found = reader.json("/notes/aggregate", "select=count,max(id),count(distinct team.name)")
    if found is not None:
        names = {teams[team]["name"] for team in team_of.values() if team is not None}
        expected = {"count": len(notes), "max_id": max(notes, default=None), "count_distinct_team_name": len(names)}
        assert found["data"] == [expected]
    found = reader.json("/notes/aggregate", "group=team.name&select=count&limit=100")
    if found is not None:
        counts: dict[str | None, int] = {}
        for team in team_of.values():
            name = teams[team]["name"] if team is not None else None
            counts[name] = counts.get(name, 0) + 1
        assert {group["team.name"]: group["count"] for group in found["data"]} == counts
        assert found["meta"]["total"] == len(counts)
