"""A third world, of three versions of one API: `v3` has the models' names, `v1` and `v2` say what has changed since.

| | v1 | v2 | v3 |
|---|---|---|---|
| resource | results | scores | scores |
| its value | result | points | value |
| its player | user | player | player |
| its combo | | | combo, required |
| its mode | optional | required | required |
| its rank | always 0 | always 0 | |
| the nick of a player | nick | nick | |
| seasons, and the season of a score | | | seasons |
| medals | awards, which name drafts | awards | medals |
"""

from collections.abc import Iterable
from datetime import date
from typing import Annotated, Any

import sqlalchemy as sa
from pydantic import Field
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from backstay import (
    Added,
    Backstay,
    FieldRule,
    ModelBase,
    Removed,
    Renamed,
    Required,
    Version,
    has_role,
    me,
    public,
    signed_in,
)
from backstay.schema.base import NAMING
from backstay.testing import token
from support.asgi import SECRET, quiet
from support.databases import Filled
from support.seed import STAMPS, Row, rows


class Base(ModelBase, DeclarativeBase):
    """A registry of its own."""

    metadata = sa.MetaData(naming_convention=NAMING)


class Player(Base):
    """Somebody; `email` is for herself alone."""

    name: Mapped[str] = mapped_column(unique=True)
    email: Mapped[str | None]
    nick: Mapped[str | None]
    scores: Mapped[list["Score"]] = relationship(back_populates="player")


class Season(Base):
    """Not in older versions."""

    name: Mapped[str]
    scores: Mapped[list["Score"]] = relationship(back_populates="season")


class Score(Base):
    """What has been renamed most."""

    value: Mapped[Annotated[int, Field(ge=0)]]
    combo: Mapped[int]
    mode: Mapped[str]
    note: Mapped[str | None] = mapped_column(unique=True)
    player_id: Mapped[int] = mapped_column(sa.ForeignKey("players.id"))
    season_id: Mapped[int | None] = mapped_column(sa.ForeignKey("seasons.id"))
    player: Mapped[Player] = relationship(back_populates="scores")
    season: Mapped[Season | None] = relationship(back_populates="scores")
    medals: Mapped[list["Medal"]] = relationship(back_populates="score")
    __table_args__ = (sa.CheckConstraint("value <> 13", name="value_not_13"),)


class Draft(Base):
    """Its owner's alone, and in no older version."""

    text: Mapped[str]
    owner_id: Mapped[int] = mapped_column(sa.ForeignKey("players.id"))


class Medal(Base):
    """Refers to drafts, in every version."""

    title: Mapped[str]
    score_id: Mapped[int] = mapped_column(sa.ForeignKey("scores.id"))
    draft_id: Mapped[int | None] = mapped_column(sa.ForeignKey("drafts.id"))
    score: Mapped[Score] = relationship(back_populates="medals")


OLDER = (
    Version(
        "v2",
        [
            Renamed(Score.value, was="points"),
            Renamed(Medal, was="awards"),
            Added(Score.combo, default=7),
            Added(Score.season_id),
            Added(Season),
            Added(Draft),
            Removed(Player.nick),
            Removed("scores.rank", answer=0),
        ],
        deprecated=date(2026, 10, 1),
        sunset=date(2099, 1, 1),
        guide="https://example.com/to-v3",
    ),
    Version(
        "v1",
        [
            Renamed(Score, was="results"),
            Renamed(Score.value, was="result"),
            Renamed(Score.player, was="user"),
            Required(Score.mode, default="classic"),
        ],
        deprecated=date(2025, 10, 1),
        sunset=date(2026, 1, 1),
    ),
)


def versioned(url: str, older: Iterable[Version] = OLDER, **settings: Any) -> Backstay:
    """The app over a database."""
    app = Backstay("versioned", config=quiet(url, **settings))
    app.versions("v3", *older)
    app.resource(
        Player, read=public, create=has_role("admin"), fields={Player.email: FieldRule(read=Player.id == me.id)}
    )
    app.resource(Season, read=public)
    app.resource(
        Score,
        read=(Score.value < 1_000) | (Score.player_id == me.id),
        create=signed_in,
        update=Score.player_id == me.id,
        delete=Score.player_id == me.id,
        stamp={Score.player_id: me.id},
        limit="3/minute" if settings.get("rate_limit") else "",
    )
    app.resource(Draft, read=Draft.owner_id == me.id, create=signed_in, stamp={Draft.owner_id: me.id})
    app.resource(Medal, read=public, create=signed_in)
    return app


SEED: Iterable[tuple[Any, list[Row]]] = (
    (Player, rows("id name email nick", (1, "ada", "ada@example.org", "A"), (2, "bob", None, None))),
    (Season, rows("id name", (1, "spring"), (2, "autumn"))),
    (
        Score,
        rows(
            "id value combo mode note player_id season_id",
            (1, 100, 3, "classic", "first", 1, 1),
            (2, 50, 0, "blitz", None, 1, None),
            (3, 100, 1, "blitz", "third", 2, 2),
            (4, 5_000, 9, "classic", "secret", 2, 1),
            (5, 0, 2, "classic", None, 2, None),
        ),
    ),
    (Draft, rows("id text owner_id", (1, "ada's", 1), (2, "bob's", 2))),
    (Medal, rows("id title score_id draft_id", (1, "gold", 1, 1), (2, "iron", 5, None))),
)


def fill(engine: sa.Engine) -> None:
    """The tables and their rows."""
    Base.metadata.create_all(engine)
    with engine.begin() as connection:
        for model, found in SEED:
            connection.execute(sa.insert(model), [STAMPS | row for row in found])


VERSIONED = Filled("versioned", fill)
READERS: dict[str, dict[str, str]] = {
    name: {"authorization": f"Bearer {token(subject, roles, scopes=scopes, secret=SECRET)}"}
    for name, subject, roles, scopes in (
        ("ada", 1, (), None),
        ("bob", 2, (), None),
        ("admin", 900, ("admin",), None),
        ("scores only", 1, (), ("scores:*",)),
        ("players only", 1, (), ("players:*",)),
        ("results only", 1, (), ("results:*",)),
    )
} | {"": {}}
