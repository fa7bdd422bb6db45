"""Run an app's seeders: plain functions that fill the database through an ORM session."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Protocol, TypeVar, overload

import apsw
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.orm import Session
from sqlalchemy.pool import NullPool

from ..errors import OperatorError
from .engines import backend_of, create_sync_engine
from .identities import advance_identities

T = TypeVar("T")

_CACHE_KIB = 65_536
_NO_TABLE = re.compile(r"no such table|relation .* does not exist")


class Progress(Protocol):
    """Goes through items, or counts to a total, and shows how far it is."""

    @overload
    def __call__(self, items: int, description: str = "") -> Iterator[int]: ...
    @overload
    def __call__(self, items: Iterable[T], description: str = "") -> Iterator[T]: ...


Seeder = Callable[[Session, Any], None]


def seed(url: str, seeders: Sequence[Seeder], progress: Progress) -> list[str]:
    """Run each seeder in a transaction of its own; returns their names.

    Raises:
        OperatorError: one failed; nothing of it remains.
    """

    prepare = _prepare_sqlite if backend_of(url) == "sqlite" else None
    engine: sa.Engine = create_sync_engine(url, write=True, on_connect=prepare, poolclass=NullPool)
    done: list[str] = []
    for seeder in seeders:
        name = getattr(seeder, "__name__", "seeder")
        try:
            with Session(engine) as session, session.begin():
                seeder(session, progress)
                session.flush()
                advance_identities(session.connection())
        except OperatorError:
            raise
        except SQLAlchemyError as error:
            said = str(error.orig if isinstance(error, DBAPIError) else error).splitlines()[0]
            hint = ": run `backstay db migrate` first" if _NO_TABLE.search(said) else ""
            raise OperatorError(f"The seeder {name} failed ({said}){hint}. Nothing of it remains.") from error
        done.append(name)
    return done


def _prepare_sqlite(connection: apsw.Connection) -> None:
    connection.pragma("foreign_keys", True)  # pyright: ignore[reportUnknownMemberType]
    connection.pragma("cache_size", -_CACHE_KIB)  # pyright: ignore[reportUnknownMemberType]
