"""The arcade-like API that the contract is fuzzed over: rules of every sort, a natural key, references both ways."""

from typing import Annotated

import sqlalchemy as sa
from fastapi import Query
from pydantic import BaseModel, Field, StringConstraints
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, relationship

from backstay import (
    Backstay,
    Context,
    FieldRule,
    ForbiddenError,
    ModelBase,
    NotFoundError,
    SoftDelete,
    has_role,
    me,
    public,
    signed_in,
)

from .asgi import quiet
from .databases import Filled


class Base(ModelBase, DeclarativeBase):
    """A registry of its own."""

    metadata = sa.MetaData()


class User(Base):
    """A player."""

    username: Mapped[Annotated[str, StringConstraints(min_length=1, max_length=64)]] = mapped_column(unique=True)
    motto: Mapped[str | None]


class Game(Base):
    """A game that players score in, found by its words."""

    __search__ = ("slug", "name")
    slug: Mapped[Annotated[str, StringConstraints(pattern=r"^[a-z0-9-]{1,64}$")]] = mapped_column(unique=True)
    name: Mapped[str] = mapped_column(sa.String(80))
    scores: Mapped[list["Score"]] = relationship(back_populates="game")


class Score(SoftDelete, Base):
    """One result of one player."""

    game_id: Mapped[int] = mapped_column(sa.ForeignKey("games.id"))
    player_id: Mapped[int] = mapped_column(sa.ForeignKey("users.id"))
    value: Mapped[Annotated[int, Field(ge=0)]]
    game: Mapped[Game] = relationship(back_populates="scores")
    player: Mapped[User] = relationship()
    __table_args__ = (sa.Index(None, "game_id", "value"),)


ADMIN, PLAYER = 1, 2


def fill(engine: sa.Engine) -> None:
    """A few rows: user 1 is the admin, 2 the player."""
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        session.add_all(User(id=number, username=f"user-{number}") for number in range(1, 6))
        session.add_all(Game(id=number, slug=f"game-{number}", name=f"Game {number}") for number in range(1, 4))
        session.flush()
        session.add_all(Score(id=n, game_id=n % 3 + 1, player_id=n % 5 + 1, value=n * 7 % 40) for n in range(1, 31))
        session.commit()


ARCADE = Filled("arcade", fill)


class Place(BaseModel):
    """One line of a leaderboard."""

    username: str
    best: Annotated[int, Field(ge=0, le=2**63 - 1)]


class Cheer(BaseModel):
    """What is called out."""

    text: Annotated[str, StringConstraints(min_length=1, max_length=80)]


def arcade(url: str) -> Backstay:
    """The app over a database of its own."""
    app = Backstay("arcade", config=quiet(url))
    motto = FieldRule(read=User.id == me.id)
    app.resource(User, read=public, update=User.id == me.id, delete=has_role("admin"), fields={User.motto: motto})
    app.resource(Game, key=Game.slug, read=public, write=has_role("admin"))
    app.resource(
        Score,
        read=public,
        create=signed_in,
        stamp={Score.player_id: me.id},
        update=Score.player_id == me.id,
        delete=(Score.player_id == me.id) | has_role("admin"),
        restore=has_role("admin"),
    )
    add_endpoints(app)
    return app


def add_endpoints(app: Backstay) -> None:
    """Custom endpoints: one that reads the database, one with a body, for signed-in principals."""

    @app.get("/api/v1/games/{slug}/leaderboard")
    async def leaderboard(slug: str, ctx: Context, limit: Annotated[int, Query(ge=1, le=100)] = 10) -> list[Place]:
        """The best players of a game."""
        best = sa.func.max(Score.value)
        places = sa.select(User.username, best.label("best")).join(Score.player).join(Score.game)
        ranked = places.where(Game.slug == slug).group_by(User.id).order_by(best.desc(), User.id).limit(limit)
        async with app.session(ctx) as session:
            found = (await session.execute(ranked)).mappings().all()
        if not found:
            raise NotFoundError("games", slug)
        return [Place.model_validate(dict(row)) for row in found]

    @app.post("/api/v1/games/{slug}/cheers", status_code=201)
    async def cheer(slug: str, cheers: Cheer, ctx: Context) -> Cheer:
        """Call out; whoever is not signed in stays silent."""
        if ctx.principal.is_anonymous:
            raise ForbiddenError("cheer for", slug[:80], anonymous=True)
        return cheers
