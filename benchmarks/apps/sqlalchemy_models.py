"""The mapped classes and the engine that the FastAPI and the Litestar peer share."""

import os
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import BigInteger, DateTime, ForeignKey, Index, event, make_url
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

URL = make_url(os.environ["BENCH_DATABASE"])
POSTGRES = URL.get_backend_name() == "postgresql"


def now() -> datetime:
    """Return the time in UTC; on SQLite without its offset, the form its columns hold."""
    moment = datetime.now(UTC)
    return moment if POSTGRES else moment.replace(tzinfo=None)


class Base(DeclarativeBase):
    """Columns every table has."""

    type_annotation_map = {int: BigInteger, datetime: DateTime(timezone=True)}

    id: Mapped[int] = mapped_column(primary_key=True)
    created_at: Mapped[datetime] = mapped_column(default=now)
    updated_at: Mapped[datetime] = mapped_column(default=now, onupdate=now)
    version: Mapped[int] = mapped_column(default=1)


class User(Base):
    """A player."""

    __tablename__ = "users"
    username: Mapped[str] = mapped_column(unique=True)


class Game(Base):
    """A game that players score in."""

    __tablename__ = "games"
    slug: Mapped[str] = mapped_column(unique=True)
    name: Mapped[str]


class Score(Base):
    """One result of one player."""

    __tablename__ = "scores"
    game_id: Mapped[int] = mapped_column(ForeignKey("games.id"))
    player_id: Mapped[int] = mapped_column(ForeignKey("users.id"), index=True)
    value: Mapped[int]
    player: Mapped[User] = relationship()
    __table_args__ = (Index("ix_scores_game_id_value", "game_id", "value"),)


def set_pragmas(connection: Any, _record: Any) -> None:
    """Give every new connection the same durability and cache the other servers have."""
    cursor = connection.cursor()
    for pragma in ("journal_mode = wal", "synchronous = full", "foreign_keys = on", "cache_size = -65536"):
        cursor.execute(f"pragma {pragma}")
    cursor.close()


def create_engine() -> AsyncEngine:
    """Return the engine on the database named by the environment.

    On PostgreSQL with ten connections that stay: the default pool opens ten more under load and closes each
    after one request, which costs more than the request.
    """
    if POSTGRES:
        return create_async_engine(URL.set(drivername="postgresql+asyncpg"), pool_size=10, max_overflow=0)
    engine = create_async_engine(URL.set(drivername="sqlite+aiosqlite"))
    event.listen(engine.sync_engine, "connect", set_pragmas)
    return engine
