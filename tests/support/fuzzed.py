"""The arcade-like API that the contract is fuzzed over: rules of every sort, a natural key, references both ways."""

from typing import Annotated

import sqlalchemy as sa
from pydantic import Field, StringConstraints
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, relationship

from backstay import Backstay, ModelBase, has_role, me, public, signed_in

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


class Score(Base):
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


def arcade(url: str) -> Backstay:
    """The app over a database of its own."""
    app = Backstay("arcade", config=quiet(url))
    app.resource(User, read=public, update=User.id == me.id, delete=has_role("admin"))
    app.resource(Game, key=Game.slug, read=public, write=has_role("admin"))
    app.resource(
        Score,
        read=public,
        create=signed_in,
        stamp={Score.player_id: me.id},
        update=Score.player_id == me.id,
        delete=(Score.player_id == me.id) | has_role("admin"),
    )
    return app
