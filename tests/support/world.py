"""The declared world of the conformance, golden and bad-input tests: its models, its rules and its app.

It has every way the grammar can go: to-one, to-many, many-to-many, a self-reference, natural and composite keys,
rows that only some principals see, and a table with a column of every kind (`support.samples`).
"""

import datetime as dt
from decimal import Decimal
from typing import Annotated, Any

import sqlalchemy as sa
from pydantic import Field, StringConstraints
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from backstay import Backstay, Config, ModelBase, has_role, me, public, signed_in
from backstay.schema.base import NAMING

SECRET = "a secret of more than thirty-two bytes, for tests"


class Base(ModelBase, DeclarativeBase):
    """A registry of its own."""

    metadata = sa.MetaData(naming_convention=NAMING)


class Plain(DeclarativeBase):
    """No id, no timestamps, no version: what a program may bring along."""

    metadata = Base.metadata
    registry = Base.registry


game_tags = sa.Table(
    "game_tags",
    Base.metadata,
    sa.Column("game_id", sa.ForeignKey("games.id"), primary_key=True),
    sa.Column("tag_id", sa.ForeignKey("tags.id"), primary_key=True),
)


class User(Base):
    """A player; `password` is hidden."""

    username: Mapped[str] = mapped_column(unique=True)
    name: Mapped[str | None]
    rank: Mapped[int | None]
    password: Mapped[str | None]
    boss_id: Mapped[int | None] = mapped_column(sa.ForeignKey("users.id"))
    boss: Mapped["User | None"] = relationship(back_populates="reports", remote_side="User.id")
    reports: Mapped[list["User"]] = relationship(back_populates="boss")
    games: Mapped[list["Game"]] = relationship(back_populates="owner")
    scores: Mapped[list["Score"]] = relationship(back_populates="player")
    shelves: Mapped[list["Shelf"]] = relationship(back_populates="owner")
    payments: Mapped[list["Payment"]] = relationship(back_populates="payer")


class Game(Base):
    """Addressed by its slug."""

    slug: Mapped[Annotated[str, StringConstraints(pattern=r"^[a-z0-9-]{1,64}$")]] = mapped_column(unique=True)
    name: Mapped[Annotated[str, StringConstraints(min_length=1, max_length=80)]]
    price: Mapped[Decimal | None] = mapped_column(sa.Numeric(8, 2))
    released: Mapped[dt.date | None]
    owner_id: Mapped[int | None] = mapped_column(sa.ForeignKey("users.id"))
    owner: Mapped[User | None] = relationship(back_populates="games")
    scores: Mapped[list["Score"]] = relationship(back_populates="game")
    tags: Mapped[list["Tag"]] = relationship(back_populates="games", secondary=game_tags)
    comments: Mapped[list["Comment"]] = relationship(back_populates="game")


class Score(Base):
    """Its player is stamped, and may alone change or delete it."""

    game_id: Mapped[int] = mapped_column(sa.ForeignKey("games.id"))
    player_id: Mapped[int] = mapped_column(sa.ForeignKey("users.id"))
    value: Mapped[Annotated[int, Field(ge=0)]]
    note: Mapped[str | None]
    game: Mapped[Game] = relationship(back_populates="scores")
    player: Mapped[User] = relationship(back_populates="scores")
    __table_args__ = (sa.Index(None, "game_id", "value"),)


class Tag(Base):
    """Many-to-many with games."""

    label: Mapped[str] = mapped_column(unique=True)
    games: Mapped[list[Game]] = relationship(back_populates="tags", secondary=game_tags)


class Comment(Base):
    """A tree below a game; one writes in one's own name, which a check holds."""

    body: Mapped[str]
    game_id: Mapped[int] = mapped_column(sa.ForeignKey("games.id"))
    author_id: Mapped[int | None] = mapped_column(sa.ForeignKey("users.id"))
    parent_id: Mapped[int | None] = mapped_column(sa.ForeignKey("comments.id"))
    game: Mapped[Game] = relationship(back_populates="comments")
    author: Mapped[User | None] = relationship()
    parent: Mapped["Comment | None"] = relationship(back_populates="replies", remote_side="Comment.id")
    replies: Mapped[list["Comment"]] = relationship(back_populates="parent")


class Payment(Base):
    """Visible to its payer and to admins."""

    payer_id: Mapped[int] = mapped_column(sa.ForeignKey("users.id"))
    amount: Mapped[Decimal] = mapped_column(sa.Numeric(15, 4))
    payer: Mapped[User] = relationship(back_populates="payments")


class Team(Base):
    """Visible to its members and to admins: a rule through a relation."""

    name: Mapped[str] = mapped_column(unique=True)
    members: Mapped[list["Member"]] = relationship(back_populates="team")


class Member(Base):
    """Visible to everybody, but its team is not."""

    team_id: Mapped[int] = mapped_column(sa.ForeignKey("teams.id"))
    user_id: Mapped[int] = mapped_column(sa.ForeignKey("users.id"))
    team: Mapped[Team] = relationship(back_populates="members")
    user: Mapped[User] = relationship()


class Shelf(Plain):
    """A composite key."""

    __tablename__ = "shelves"
    user_id: Mapped[int] = mapped_column(sa.ForeignKey("users.id"), primary_key=True)
    place: Mapped[str] = mapped_column(primary_key=True)
    title: Mapped[str | None]
    owner: Mapped[User] = relationship(back_populates="shelves")
    books: Mapped[list["Book"]] = relationship(back_populates="shelf")


class Book(Plain):
    """A composite foreign key, and a key that the caller chooses."""

    __tablename__ = "books"
    isbn: Mapped[str] = mapped_column(primary_key=True)
    user_id: Mapped[int | None]
    place: Mapped[str | None]
    shelf: Mapped[Shelf | None] = relationship(back_populates="books")
    __table_args__ = (sa.ForeignKeyConstraint(["user_id", "place"], ["shelves.user_id", "shelves.place"]),)


class Setting(Plain):
    """A table without relations, addressed by any text."""

    __tablename__ = "settings"
    name: Mapped[str] = mapped_column(primary_key=True)
    value: Mapped[dict[str, Any] | None] = mapped_column(sa.JSON())


def world(url: str, *, sample: type[Any] | None = None, **settings: Any) -> Backstay:
    """The app over a database; `sample` is the model of every kind."""
    given = {"secret": SECRET, "log_level": "error", "rate_limit": "off"} | settings
    app = Backstay("world", config=Config(database_url=url, **given))
    admin = has_role("admin")
    app.resource(User, read=public, write=admin, hidden=[User.password])
    app.resource(Game, key=Game.slug, read=public, write=admin)
    app.resource(
        Score,
        read=public,
        create=signed_in,
        stamp={Score.player_id: me.id},
        update=Score.player_id == me.id,
        delete=(Score.player_id == me.id) | admin,
    )
    app.resource(Tag, read=public, write=admin)
    app.resource(Comment, read=public, create=signed_in, update=signed_in, check=Comment.author_id == me.id)
    app.resource(Payment, read=(Payment.payer_id == me.id) | admin, create=admin)
    app.resource(Team, read=Team.members.any(Member.user_id == me.id) | admin, write=admin)
    app.resource(Member, read=public)
    app.resource(Shelf, read=public, write=public)
    app.resource(Book, read=public, write=public)
    app.resource(Setting, read=public, write=public)
    if sample is not None:
        app.resource(sample, read=public, write=public)
    return app
