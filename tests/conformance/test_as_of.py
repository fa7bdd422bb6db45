"""`as_of`: rows as they were at an instant, under today's rules, for who may see their history."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Column, ForeignKey, Table, delete
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from backstay import (
    Backstay,
    FieldRule,
    ModelBase,
    SoftDelete,
    TenantScoped,
    has_role,
    me,
    public,
    signed_in,
)
from backstay.auth.tokens import Tokens
from support.asgi import SECRET, Answer, Client, quiet
from support.databases import DATABASES, empty_database


class Base(ModelBase, DeclarativeBase):
    """The models of this module."""


tagged = Table(
    "tagged",
    Base.metadata,
    Column("game_id", ForeignKey("games.id", ondelete="CASCADE"), primary_key=True),
    Column("tag_id", ForeignKey("tags.id"), primary_key=True),
)


class Game(Base):
    """Everybody sees its past, but its notes are for editors."""

    __tablename__ = "games"

    slug: Mapped[str] = mapped_column(unique=True)
    name: Mapped[str]
    price: Mapped[float | None]
    notes: Mapped[str | None]
    scores: Mapped[list["Score"]] = relationship(back_populates="game")
    tags: Mapped[list["Tag"]] = relationship(secondary=tagged)
    secrets: Mapped[list["Secret"]] = relationship()


class Score(Base):
    """Who made it sees it."""

    __tablename__ = "scores"

    game_id: Mapped[int] = mapped_column(ForeignKey("games.id", ondelete="CASCADE"))
    player_id: Mapped[int]
    value: Mapped[int]
    game: Mapped[Game] = relationship(back_populates="scores")


class Tag(Base):
    """What games have many of."""

    __tablename__ = "tags"

    name: Mapped[str]


class Secret(Base):
    """Nobody sees its past."""

    __tablename__ = "secrets"

    game_id: Mapped[int | None] = mapped_column(ForeignKey("games.id", ondelete="SET NULL"))
    text: Mapped[str]


class Tenant(Base):
    """Has cases."""

    __tablename__ = "tenants"

    name: Mapped[str]


class Case(TenantScoped, SoftDelete, Base):
    """A tenant's, which stays when it is deleted."""

    __tablename__ = "cases"

    name: Mapped[str]


class Past:
    """An app whose rows can be read as they were."""

    def __init__(self, url: str) -> None:
        self.app = Backstay("past", config=quiet(url))
        notes = FieldRule(read=has_role("editor"), write=signed_in)
        self.app.resource(
            Game, key=Game.slug, read=public, write=signed_in, history=public, fields={Game.notes: notes}
        )
        self.app.resource(Score, read=Score.player_id == me.id, write=signed_in, history=signed_in)
        self.app.resource(Tag, read=public, write=signed_in, history=has_role("editor"))
        self.app.resource(Secret, read=public, write=signed_in)
        self.app.resource(Tenant, read=public, write=signed_in)
        self.app.resource(Case, read=signed_in, write=signed_in, restore=has_role("editor"), history=signed_in)
        self.client = Client(self.app)

    def send(self, method: str, path: str, body: Any = None, query: Any = (), by: str | None = None) -> Answer:
        """A request of user 7, unless it says."""
        return self.client.request(method, path, query, body=body, credential=who(7) if by is None else by)

    def get(self, path: str, at: str, query: str = "", by: str | None = None) -> Answer:
        """A read of the past."""
        return self.send("GET", path, query=f"{query}&as_of={at}".lstrip("&"), by=by)

    def data(self, path: str, at: str, query: str = "", by: str | None = None) -> Any:
        """What it answers."""
        answer = self.get(path, at, query, by)
        assert answer.status == 200, answer.body
        return answer.data


def who(subject: int, *roles: str, tenant: str | None = None) -> str:
    """A credential."""
    return "Bearer " + Tokens(SECRET).issue(subject, roles=list(roles), tenant=tenant, ttl_s=3_600)


def now() -> str:
    """An instant that is after what was and before what comes, by every clock of this machine."""
    time.sleep(0.002)
    moment = datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    time.sleep(0.002)
    return moment


@pytest.fixture(params=DATABASES)
def past(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Past]:
    """An app without rows."""
    made = Past(empty_database(request.param, tmp_path, Base.metadata))
    with made.client:
        yield made


def test_what_cannot_be_asked_of_the_past_is_refused(past: Past) -> None:
    """No instant; rows without a history; a history that is others'; words that are looked for today."""
    past.send("POST", "/games", {"slug": "a", "name": "A"})
    for path in ("/games", "/games/a"):
        for wrong in ("", "yesterday", "5", "2026-13-01T00:00:00Z"):
            answer = past.get(path, wrong)
            assert (answer.status, answer.json["errors"][0]["field"]) == (400, "as_of"), wrong
        assert past.get(path, now(), f"as_of={now()}").status == 400
    for path in ("/secrets", "/secrets/1", "/games?include=secrets", "/games?secrets.text=x", "/games/a/secrets"):
        name, _, query = path.partition("?")
        answer = past.get(name, now(), query)
        assert (answer.status, answer.json["errors"][0]["field"]) == (400, "as_of"), (path, answer.body)
    assert past.get("/tags", now()).status == past.get("/games", now(), "include=tags").status == 403
    assert past.get("/tags", now(), by="").status == past.get("/scores", now(), by="").status == 401
    assert past.get("/games/a/tags", now()).status == 403
    assert past.get("/games/aggregate", now()).status == 400


def test_rows_are_as_they_were(past: Past) -> None:
    """Before they were made they are not there; changed ones are as before; deleted ones are there again."""
    times = [now()]
    past.send("POST", "/games", {"slug": "a", "name": "A", "price": 0.1})
    past.send("POST", "/games", {"slug": "b", "name": "B"})
    made = past.send("GET", "/games").data
    times.append(now())
    past.send("PATCH", "/games/a", {"name": "A2"})
    past.send("PATCH", "/games/a", {"name": "A3", "price": None})
    times.append(now())
    past.send("DELETE", "/games/b")
    times.append(now())
    assert past.data("/games", times[0]) == []
    assert past.get("/games/a", times[0]).status == 404
    assert past.data("/games", times[1]) == made
    assert past.data("/games/a", times[1]) == made[0]
    assert [row["name"] for row in past.data("/games", times[2])] == ["A3", "B"]
    assert past.data("/games/b", times[2]) == made[1]
    assert past.data("/games", times[3]) == past.send("GET", "/games").data
    assert past.get("/games/b", times[3]).status == 404
    assert past.data("/games", "2999-01-01T00:00:00Z") == past.data("/games", times[3])


def test_filters_sorts_and_pages_are_of_the_past(past: Past) -> None:
    """By values that are not there any more; pages by number and by cursor, and the total."""
    for number in range(6):
        past.send("POST", "/games", {"slug": f"s{number}", "name": f"n{number}", "price": number / 2})
    then = now()
    for number in range(6):
        past.send("PATCH", f"/games/s{number}", {"name": "same", "price": 9})
    past.send("DELETE", "/games/s3")
    assert [row["slug"] for row in past.data("/games", then, "name=n3")] == ["s3"]
    assert past.data("/games", then, "name=same") == []
    assert [row["slug"] for row in past.data("/games", then, "price[gte]=1.5&sort=-price")] == ["s5", "s4", "s3"]
    answer = past.get("/games", then, "sort=-name&limit=2&page=2")
    assert [row["name"] for row in answer.data] == ["n3", "n2"]
    assert (answer.meta["total"], answer.meta["pages"]) == (6, 3)
    assert [row["name"] for row in past.data("/games", then, "sort=-name&limit=2&page=2&count=false")] == ["n3", "n2"]
    first = past.get("/games", then, "sort=name&limit=4&cursor=")
    rest = past.get("/games", then, f"sort=name&limit=4&cursor={first.meta['next_cursor']}")
    assert [row["name"] for row in first.data + rest.data] == [f"n{i}" for i in range(6)]
    assert past.data("/games/s1", then, "fields=name") == {"name": "n1"}


def test_related_rows_are_of_the_same_instant(past: Past) -> None:
    """Those inside a row, those below its path, those that filters and sorts lead to, and the links between."""
    editor = who(7, "editor")
    past.send("POST", "/games", {"slug": "a", "name": "A"})
    past.send("POST", "/games", {"slug": "b", "name": "B"})
    past.send("POST", "/tags", {"name": "old"})
    past.send("POST", "/scores", {"game_id": 1, "player_id": 7, "value": 5})
    past.send("POST", "/scores", {"game_id": 1, "player_id": 8, "value": 6})
    link(past, tagged.insert().values(game_id=1, tag_id=1))
    then = now()
    past.send("PATCH", "/scores/1", {"value": 50, "game_id": 2})
    past.send("PATCH", "/tags/1", {"name": "new"})
    past.send("PATCH", "/games/a", {"name": "A2"})
    link(past, delete(tagged))
    (game,) = past.data("/games", then, "include=scores,tags&slug=a", by=editor)
    assert [score["value"] for score in game["scores"]] == [5]
    assert [tag["name"] for tag in game["tags"]] == ["old"]
    assert past.data("/scores/1", then, "include=game")["game"]["name"] == "A"
    assert [row["value"] for row in past.data("/games/a/scores", then)] == [5]
    assert past.data("/games/b/scores", then) == []
    assert [row["slug"] for row in past.data("/games", then, "scores.value=5")] == ["a"]
    assert [row["slug"] for row in past.data("/games", then, "tags.name=old", by=editor)] == ["a"]
    assert past.data("/games", then, "scores.value=6") == []
    assert [row["id"] for row in past.data("/scores", then, "sort=game.name")] == [1]
    assert past.send("GET", "/games", query="tags.name=new").data == []


def test_rules_hold_of_the_past_row(past: Past) -> None:
    """Who may not have read it then, by today's rules, does not now: rows, fields and tenants."""
    past.send("POST", "/tenants", {"name": "a"})
    past.send("POST", "/tenants", {"name": "b"})
    past.send("POST", "/games", {"slug": "a", "name": "A", "notes": "mine"})
    past.send("POST", "/scores", {"game_id": 1, "player_id": 7, "value": 5})
    ours, theirs = who(7, tenant="1"), who(7, tenant="2")
    past.send("POST", "/cases", {"name": "x"}, by=ours)
    then = now()
    link(past, Score.__table__.update().values(player_id=8))
    link(past, Case.__table__.update().values(tenant_id=2))
    assert past.data("/scores", then, by=who(8)) == []
    assert past.get("/scores/1", then, by=who(8)).status == 404
    assert past.data("/scores/1", then)["value"] == 5
    assert past.data("/cases", then, by=theirs) == []
    assert past.get("/cases/1", then, by=theirs).status == 404
    assert past.data("/cases/1", then, by=ours)["name"] == "x"
    assert past.get("/cases", then).status == 403
    assert "notes" not in past.data("/games/a", then)
    assert past.data("/games/a", then, by=who(1, "editor"))["notes"] == "mine"
    assert past.get("/games", then, "notes=mine").status == 400


def test_rows_that_were_deleted_then(past: Past) -> None:
    """A row that was marked as deleted is for who restores, whatever it is now."""
    past.send("POST", "/tenants", {"name": "a"})
    ours, editor = who(7, tenant="1"), who(1, "editor", tenant="1")
    past.send("POST", "/cases", {"name": "x"}, by=ours)
    past.send("DELETE", "/cases/1", by=ours)
    then = now()
    past.send("POST", "/cases/1/restore", by=editor)
    assert past.data("/cases", then, by=ours) == []
    assert past.data("/cases", then, "with_deleted=only", by=editor)[0]["name"] == "x"
    assert past.get("/cases", then, "with_deleted=only", by=ours).status == 403


def test_what_was_pruned_is_not_made_up(past: Past) -> None:
    """An instant from before the log is refused, and says from when on it goes; later ones are answered."""
    past.send("POST", "/games", {"slug": "a", "name": "A"})
    early = now()
    past.send("PATCH", "/games/a", {"name": "A2"})
    then = now()
    past.send("PATCH", "/games/a", {"name": "A3"})

    async def prune() -> int:
        return await past.app.changes.prune(datetime.fromisoformat(then))

    assert past.client.loop.run_until_complete(prune()) == 2
    for path in ("/games", "/games/a", "/games?cursor="):
        answer = past.get(*[path.partition("?")[0], early, path.partition("?")[2]])
        assert (answer.status, answer.json["code"]) == (410, "HISTORY_PRUNED"), answer.body
        assert "What changed before 2" in answer.json["detail"]
    assert past.data("/games/a", then)["name"] == "A2"
    later = (datetime.now(UTC) + timedelta(hours=1)).isoformat().replace("+00:00", "Z")
    assert past.data("/games/a", later)["name"] == "A3"


def link(past: Past, statement: Any) -> None:
    """A statement of the program."""

    async def write() -> None:
        async with past.app.transaction() as session:
            await session.execute(statement)

    past.client.loop.run_until_complete(write())
