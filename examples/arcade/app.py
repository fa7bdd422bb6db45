"""A score board: players who sign in, games and scores, and a leaderboard of each game."""

from typing import Annotated

from fastapi import Query
from pydantic import BaseModel, Field, StringConstraints
from seed import fill
from sqlalchemy import ForeignKey, Index, func, select
from sqlalchemy.orm import Mapped, mapped_column, relationship

from backstay import (
    AccountOptions,
    Backstay,
    Context,
    Model,
    NotFoundError,
    UserBase,
    has_role,
    me,
    public,
    signed_in,
)


class User(UserBase, Model):
    scores: Mapped[list["Score"]] = relationship(back_populates="player")


class Game(Model):
    __search__ = ("name",)
    slug: Mapped[Annotated[str, StringConstraints(pattern=r"^[a-z0-9-]{1,64}$")]] = mapped_column(unique=True)
    name: Mapped[Annotated[str, StringConstraints(min_length=1, max_length=80)]]
    scores: Mapped[list["Score"]] = relationship(back_populates="game")


class Score(Model):
    game_id: Mapped[int] = mapped_column(ForeignKey("games.id"))
    player_id: Mapped[int] = mapped_column(ForeignKey("users.id"))
    value: Mapped[Annotated[int, Field(ge=0)]]
    game: Mapped[Game] = relationship(back_populates="scores")
    player: Mapped[User] = relationship(back_populates="scores")
    __table_args__ = (Index(None, "game_id", "value"),)


app = Backstay(
    "arcade",
    description="Games, players and their scores.",
    info={
        "contact": {"name": "The Backstay founders", "url": "https://backstay.dev"},
        "license": {"name": "Apache 2.0", "identifier": "Apache-2.0"},
    },
)
app.seeder(fill)
app.accounts(User, AccountOptions(verify_email=False))
app.resource(User, read=public, update=User.id == me.id)
app.resource(Game, key=Game.slug, read=public, write=has_role("admin"))
app.resource(Score, read=public, create=signed_in, stamp={Score.player_id: me.id}, delete=Score.player_id == me.id)


Whole = Annotated[int, Field(ge=0, le=2**63 - 1)]


class Place(BaseModel):
    username: str
    best: Whole
    played: Whole


@app.get("/api/v1/games/{slug}/leaderboard")
async def leaderboard(slug: str, ctx: Context, limit: Annotated[int, Query(ge=1, le=100)] = 10) -> list[Place]:
    """The best players of a game, each with the best score; an ordinary FastAPI route."""
    best = func.max(Score.value).label("best")
    places = select(User.username, best, func.count().label("played")).join(Score.player).group_by(User.id)
    async with app.session(ctx) as session:
        game_id = await session.scalar(select(Game.id).where(Game.slug == slug))
        if game_id is None:
            raise NotFoundError("games", slug)
        ranked = places.where(Score.game_id == game_id).order_by(best.desc(), User.id).limit(limit)
        return [Place(**row) for row in (await session.execute(ranked)).mappings()]
