"""The workload on Backstay, written as its README says."""

from typing import Annotated

from pydantic import Field
from sqlalchemy import ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column, relationship

from backstay import Backstay, Model, me, public, signed_in


class User(Model):
    """A player."""

    username: Mapped[str] = mapped_column(unique=True)


class Game(Model):
    """A game that players score in."""

    slug: Mapped[str] = mapped_column(unique=True)
    name: Mapped[str]
    scores: Mapped[list["Score"]] = relationship(back_populates="game")


class Score(Model):
    """One result of one player."""

    game_id: Mapped[int] = mapped_column(ForeignKey("games.id"))
    player_id: Mapped[int] = mapped_column(ForeignKey("users.id"))
    value: Mapped[Annotated[int, Field(ge=0)]]
    game: Mapped[Game] = relationship(back_populates="scores")
    player: Mapped[User] = relationship()
    __table_args__ = (Index(None, "game_id", "value"),)


app = Backstay("bench")
app.resource(User, read=public)
app.resource(Game, read=public)
app.resource(Score, read=public, create=signed_in, stamp={Score.player_id: me.id})
