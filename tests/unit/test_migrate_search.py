"""Search indexes in migrations on both databases: what must not be lost first, then one history for both."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import DeclarativeBase, Mapped

from backstay import OperatorError
from backstay.db.engines import create_sync_engine
from backstay.db.migrate import Project, migrate, new, plan, prepare_dev, rollback, status
from backstay.db.migration_search import found_searches
from backstay.schema.base import NAMING, ModelBase
from backstay.schema.declare import schema_of
from support.databases import DATABASES
from support.postgres import fresh_database


def models(*search: str, columns: Sequence[str] = ("name", "about", "rating"), key: Any = None) -> sa.MetaData:
    """One table with these columns, searched by some of them; classes of a program's own base."""

    class Base(DeclarativeBase):
        metadata = sa.MetaData(naming_convention=NAMING)

    made = [sa.Column(name, sa.Integer() if name == "rating" else sa.Text()) for name in columns]
    id_ = sa.Column("id", key or sa.BigInteger().with_variant(sa.Integer(), "sqlite"), primary_key=True)

    class Game(Base):
        __table__ = sa.Table("games", Base.metadata, id_, *made)
        __search__ = search

    return schema_of([Game]).metadata


@pytest.fixture(params=DATABASES)
def project(request: pytest.FixtureRequest, tmp_path: Path) -> Project:
    """A migrated project whose one table has a row and a search."""
    url = fresh_database() if request.param == "postgresql" else f"sqlite:///{tmp_path / 'test.db'}"
    made = Project(url, models("name"), tmp_path / "migrations")
    new(made, "initial")
    migrate(made)
    run(made, "INSERT INTO games (id, name, about) VALUES (7, 'Space Invaders', 'shoot')")
    return made


def changed(project: Project, metadata: sa.MetaData) -> Project:
    """The project after its models changed."""
    return Project(project.url, metadata, project.folder)


def run(project: Project, *statements: str) -> list[tuple[Any, ...]]:
    """Run SQL; returns the last statement's rows."""
    engine = create_sync_engine(project.url, write=True)
    found: list[Any] = []
    with engine.begin() as connection:
        for statement in statements:
            result = connection.exec_driver_sql(statement)
            found = [tuple(row) for row in result] if result.returns_rows else []
    engine.dispose()
    return found


def searches(project: Project) -> dict[str, tuple[str, ...]]:
    """The searched columns that the database has, all of them current."""
    engine = create_sync_engine(project.url)
    with engine.connect() as connection:
        found = found_searches(connection)
    engine.dispose()
    assert all(search.current for search in found.values())
    return {table: search.columns for table, search in found.items()}


def hits(project: Project, word: str) -> int:
    """How many rows SQLite's index has for a word; on PostgreSQL the index cannot be out of date."""
    if project.url.startswith("postgresql"):
        return -1
    return run(project, f"SELECT count(*) FROM games_search('{word}')")[0][0]


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (("nmae",), "no column 'nmae'. Perhaps you meant 'name'"),
        (("rating",), "rating holds no text"),
        (("rank",), "no column 'rank'"),
    ],
)
def test_a_wrong_name_is_one_line(names: tuple[str, ...], said: str) -> None:
    """When the class is made, and not when the first caller searches."""
    with pytest.raises(OperatorError) as refused:
        models(*names)
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_key_that_is_no_rowid_is_refused_or_found() -> None:
    """A table WITHOUT ROWID has nothing for SQLite's index to name rows by."""

    class Base(ModelBase, DeclarativeBase):
        metadata = sa.MetaData()

    with pytest.raises(OperatorError, match="WITHOUT ROWID"):
        type(
            "Page",
            (Base,),
            {"__annotations__": {"name": Mapped[str]}, "__search__": "name"}
            | {"__table_args__": {"sqlite_with_rowid": False}},
        )


def test_nothing_is_left_to_do_after_migrating(project: Project) -> None:
    """Alembic wants to drop neither shadow tables nor the index, and what create_all makes is the same."""
    assert status(project).clean
    assert searches(project) == {"games": ("name",)}
    assert hits(project, "invaders") in (1, -1)
    again = Project(project.url, models("name"), project.folder)
    run(project, "DROP TABLE alembic_version")
    assert migrate(again).adopted


def test_a_changed_search_is_made_anew(project: Project) -> None:
    """Of the rows that are there, and back again; no row is lost, so that nobody has to allow it."""
    other = changed(project, models("name", "about"))
    words = [operation.text for operation in plan(other)]
    assert words == ["drop search of games by name", "search games by name, about"]
    written = new(other, "search more")
    text = written.migration.path.read_text()
    assert "op.create_search('games', ['name', 'about'])" in text
    migrate(other)
    assert status(other).clean
    assert searches(other) == {"games": ("name", "about")}
    assert hits(other, "shoot") in (1, -1)
    rollback(other)
    assert searches(project) == {"games": ("name",)}
    assert hits(project, "shoot") in (0, -1)
    assert hits(project, "space") in (1, -1)


def test_a_search_that_is_gone_is_dropped(project: Project) -> None:
    """With its triggers: writing goes on."""
    other = changed(project, models())
    new(other, "no search")
    migrate(other)
    assert status(other).clean
    assert searches(other) == {}
    run(other, "UPDATE games SET name = 'Pong'", "DELETE FROM games")


def test_a_searched_column_may_go(project: Project) -> None:
    """The search goes first and comes back after, so that no trigger names what is not there."""
    both = changed(project, models("name", "about"))
    new(both, "both")
    migrate(both)
    less = changed(project, models("name", columns=("name", "rating")))
    new(less, "no about")
    migrate(less, allow_destructive=True)
    assert status(less).clean
    run(less, "UPDATE games SET name = 'Pong'")
    assert hits(less, "pong") in (1, -1)
    rollback(less, allow_destructive=True)
    assert searches(both) == {"games": ("name", "about")}


def test_a_copied_table_keeps_its_search(project: Project) -> None:
    """SQLite changes a table by copying it, which numbers rows without an INTEGER key anew."""
    other = changed(project, models("name", columns=("name", "about")))
    new(other, "no rating")
    migrate(other, allow_destructive=True)
    assert status(other).clean
    run(other, "UPDATE games SET name = 'Pong'")
    assert (hits(other, "pong"), hits(other, "space")) in ((1, 0), (-1, -1))


def test_a_text_key_keeps_its_search_when_copied_and_vacuumed(tmp_path: Path) -> None:
    """Its rows have numbers that nobody declared."""
    project = Project(f"sqlite:///{tmp_path / 'test.db'}", models("name", key=sa.Text()), tmp_path / "migrations")
    new(project, "initial")
    migrate(project)
    rows = "INSERT INTO games (id, name) VALUES ('a', 'one'), ('b', 'two'), ('c', 'three')"
    run(project, rows, "DELETE FROM games WHERE id = 'a'")
    other = changed(project, models("name", key=sa.Text(), columns=("name", "about")))
    new(other, "no rating")
    migrate(other, allow_destructive=True)
    found = "SELECT id FROM games WHERE rowid IN (SELECT rowid FROM games_search('three'))"
    assert run(other, found) == [("c",)]
    engine = create_sync_engine(project.url, write=True, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql("VACUUM")
    engine.dispose()
    assert run(other, found) == [("c",)]


def test_a_broken_search_is_noticed(project: Project) -> None:
    """A trigger that somebody dropped leaves the index behind the rows."""
    if project.url.startswith("postgresql"):
        run(project, "DROP INDEX ix_games_search")
    else:
        run(project, "DROP TRIGGER games_search_update")
    assert "search games by name" in [operation.text for operation in plan(project)]
    assert prepare_dev(project).refused == ()
    assert searches(project) == {"games": ("name",)}


def test_a_dropped_table_takes_its_search_along(project: Project) -> None:
    """Nothing of it stays, and it comes back with the table."""
    other = changed(project, sa.MetaData())
    new(other, "nothing")
    migrate(other, allow_destructive=True)
    assert searches(other) == {}
    rollback(other, allow_destructive=True)
    assert searches(project) == {"games": ("name",)}
    migrate(other, allow_destructive=True, fresh=True)
    assert searches(other) == {}
