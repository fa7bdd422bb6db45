"""Migrations on PostgreSQL: what must not happen first, then one history for both databases."""

import enum
import shutil
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from backstay.db import migration_database, migration_locks
from backstay.db.engines import create_sync_engine
from backstay.db.migrate import DestructiveError, Project, contents, migrate, new, prepare_dev, rollback, status
from backstay.db.migration_diff import Risk
from backstay.db.seed import seed
from backstay.errors import OperatorError
from backstay.schema.base import NAMING, ModelBase, UuidKey
from support.postgres import fresh_database, rows


class Colour(enum.Enum):
    """An enum to store."""

    RED = "red"


class MoreColour(enum.Enum):
    """The same after a change."""

    RED = "red"
    GREEN = "green"


class Base(ModelBase, DeclarativeBase):
    """A registry of these tests' own."""

    metadata = sa.MetaData(naming_convention=NAMING)


class Team(Base):
    """Columns of many types, and indexes that SQLite has not."""

    name: Mapped[str] = mapped_column(sa.String(20), unique=True)
    colour: Mapped[Colour | None]
    at: Mapped[datetime] = mapped_column(server_default=sa.func.now())
    data: Mapped[dict[str, Any] | None]
    open: Mapped[bool] = mapped_column(server_default=sa.false())
    __table_args__ = (
        sa.Index("ix_data", "data", postgresql_using="gin"),
        sa.Index("ix_words", sa.text("to_tsvector('english', name)"), postgresql_using="gin"),
        sa.Index("ix_lower", sa.func.lower(sa.text("name"))),
        sa.Index("ix_open", "at", postgresql_where=sa.text("open")),
    )


class Badge(UuidKey, Base):
    """A UUID key, and a foreign key with its index."""

    team_id: Mapped[int] = mapped_column(sa.ForeignKey("teams.id", ondelete="CASCADE"))


def games(*more: Any, name: Any = None) -> sa.MetaData:
    """Models of one table, with these columns and constraints too."""
    metadata = sa.MetaData(naming_convention=NAMING)
    name = sa.Column("name", sa.String(5), nullable=False) if name is None else name
    sa.Table("games", metadata, sa.Column("id", sa.Integer, primary_key=True), name, *more)
    return metadata


def rating(**options: Any) -> sa.Column[Any]:
    """A column to add and drop."""
    return sa.Column("rating", sa.Integer, **options)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A project of one table that is migrated and has a row."""
    made = Project(fresh_database(), games(rating()), tmp_path / "migrations")
    new(made, "initial")
    migrate(made)
    rows(made.url, "INSERT INTO games VALUES (1, 'kept', 5)")
    return made


@pytest.fixture(params=["sqlite first", "postgresql first"])
def pair(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Project, Project]:
    """Two databases of one project: migrations are written on the first."""
    folder = tmp_path / "migrations"
    pair = [Project(url, Base.metadata, folder) for url in (f"sqlite:///{tmp_path / 'a.db'}", fresh_database())]
    return (pair[0], pair[1]) if request.param == "sqlite first" else (pair[1], pair[0])


def changed(project: Project, metadata: sa.MetaData) -> Project:
    """The project after its models changed."""
    return Project(project.url, metadata, project.folder)


def by_hand(project: Project, body: str) -> None:
    """A migration whose `upgrade` is this code."""
    path = new(project, "by hand", empty=True).migration.path
    head, _, _ = path.read_text().partition("def upgrade")
    lines = "".join(f"    {line}\n" for line in body.splitlines())
    path.write_text(f"{head}def upgrade() -> None:\n{lines}\n\ndef downgrade() -> None:\n    pass\n")


def names(url: str) -> set[str]:
    """Tables and indexes in a PostgreSQL database."""
    found = rows(
        url, "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'i')"
    )
    return {str(row[0]) for row in found}


# ---- refused and failing


@pytest.mark.parametrize("body", ["op.drop_table('games')", "op.execute('ALTER TABLE games DROP COLUMN rating')"])
def test_a_drop_needs_a_word(project: Project, body: str) -> None:
    """However it is written, and nothing is changed meanwhile."""
    by_hand(project, body)
    with pytest.raises(DestructiveError, match=r"drops (table games|column games\.rating)"):
        migrate(project)
    assert rows(project.url, "SELECT * FROM games") == [(1, "kept", 5)]
    assert len(migrate(project, allow_destructive=True).applied) == 1


def test_a_failing_migration_changes_nothing(project: Project) -> None:
    """DDL is part of the transaction; it says where it failed."""
    by_hand(
        project, "op.create_table('first', sa.Column('a', sa.Integer))\nop.execute('INSERT INTO nowhere VALUES (1)')"
    )
    with pytest.raises(OperatorError, match=r'by_hand\.py:\d+: relation "nowhere" does not exist') as caught:
        migrate(project)
    assert "\n" not in str(caught.value)
    assert "first" not in names(project.url)
    assert len(status(project).pending) == 1


def test_a_migration_does_not_hang_behind_a_query(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """It gives up soon, because everybody who comes later would wait behind it."""
    monkeypatch.setattr(migration_database, "LOCK_MS", 100)
    new(changed(project, games(rating(), sa.Column("more", sa.Integer))), "more")
    with psycopg.connect(project.url) as long:
        long.execute("SELECT * FROM games")
        started = time.monotonic()
        with pytest.raises(OperatorError, match=r"a table was locked by others for more than .* Nothing was changed"):
            migrate(project)
        assert time.monotonic() - started < 5
    assert len(migrate(project).applied) == 1


SCRIPT = """
import sys, sqlalchemy as sa
from pathlib import Path
from backstay.db.migrate import Project, migrate
project = Project(sys.argv[1], sa.MetaData(), Path(sys.argv[2]))
print(len(migrate(project).applied))
"""


def test_two_processes_migrate_once(tmp_path: Path) -> None:
    """One does it while the other waits, and then has nothing to do."""
    project = Project(fresh_database(), sa.MetaData(), tmp_path / "migrations")
    by_hand(project, "import time\nop.create_table('t', sa.Column('a', sa.Integer))\ntime.sleep(0.5)")
    command = [sys.executable, "-c", SCRIPT, project.url, str(project.folder)]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    assert sorted(process.communicate()[0].strip() for process in processes) == ["0", "0", "1"]


@pytest.mark.parametrize(
    ("body", "warning"),
    [
        ("op.create_index('i', 'games', ['rating'])", "writes wait while i is built; create it CONCURRENTLY"),
        ("op.alter_column('games', 'rating', type_=sa.BigInteger())", "everybody waits while rating is rewritten"),
        ("op.alter_column('games', 'rating', nullable=False)", "everybody waits while rating is searched for NULL"),
        ("op.create_check_constraint('c', 'games', 'rating > 0')", "everybody waits while every row is checked"),
        ("op.add_column('games', sa.Column('more', sa.Integer))", ""),
        ("op.create_table('t', sa.Column('a', sa.Integer))\nop.create_index('i', 't', ['a'])", ""),
    ],
)
def test_a_lock_on_a_big_table_is_said_before(
    project: Project, monkeypatch: pytest.MonkeyPatch, body: str, warning: str
) -> None:
    """What is quick on any table, or on a new one, needs no warning."""
    by_hand(project, body)
    said: list[str] = []
    monkeypatch.setattr(migration_locks, "BIG_BYTES", 1)
    migrate(project, warn=said.append)
    assert len(said) == bool(warning)
    assert all(warning in text and text.startswith("games has ") for text in said)


def test_a_small_table_needs_no_warning(project: Project) -> None:
    """Its index is there at once."""
    by_hand(project, "op.create_index('i', 'games', ['rating'])")
    said: list[str] = []
    migrate(project, warn=said.append)
    assert said == []


# ---- one history


def test_one_history_serves_both(pair: tuple[Project, Project]) -> None:
    """What was written on one runs on the other, and both then agree with the models; down again, too."""
    first, second = pair
    text = new(first, "initial").migration.path.read_text()
    assert "from sqlalchemy.dialects" not in text
    for project in (first, second):
        migrate(project)
        assert status(project).clean, status(project).changed
    postgres = next(p for p in pair if p.url.startswith("postgresql"))
    assert {"ix_data", "ix_words", "ix_lower", "ix_open", "ix_badges_team_id"} <= names(postgres.url)
    for project in (first, second):
        rollback(project)
        migrate(project)
        assert status(project).clean


def test_later_changes_serve_both(pair: tuple[Project, Project]) -> None:
    """Added and dropped columns, types, NOT NULL, an enum with more values, a special index; there and back."""
    before, after = sa.MetaData(naming_convention=NAMING), sa.MetaData(naming_convention=NAMING)

    class First(ModelBase, DeclarativeBase):
        metadata = before

    class Game(First):
        """The model at first."""

        name: Mapped[str] = mapped_column(sa.String(5))
        old: Mapped[datetime] = mapped_column(server_default=sa.func.now())
        data: Mapped[dict[str, Any] | None]
        colour: Mapped[Colour]
        size: Mapped[int | None]

    class Later(ModelBase, DeclarativeBase):
        metadata = after

    class Game2(Later):
        """The model after some days."""

        __tablename__ = "games"
        name: Mapped[str] = mapped_column(sa.String(50))
        more: Mapped[datetime] = mapped_column(server_default=sa.func.now())
        data: Mapped[dict[str, Any] | None]
        colour: Mapped[MoreColour]
        size: Mapped[int]
        __table_args__ = (sa.Index("ix_data", "data", postgresql_using="gin"),)

    assert Game.__tablename__ == Game2.__tablename__
    first, second = (changed(project, before) for project in pair)
    new(first, "initial")
    migrate(first)
    migrate(second)
    first, second = (changed(project, after) for project in pair)
    written = new(first, "later", now=datetime(2027, 1, 1, tzinfo=UTC))
    assert "dialects" not in written.migration.path.read_text()
    safe = {o.text for o in written.operations if o.risk is Risk.SAFE}
    assert "let games.colour be RED, GREEN" in safe
    for project in (first, second):
        migrate(project)
        assert status(project).clean, status(project).changed
        engine = create_sync_engine(project.url, write=True)
        with Session(engine) as session, session.begin():
            session.add(Game2(name="a" * 20, colour=MoreColour.GREEN, size=1))
        with engine.begin() as connection:
            connection.execute(after.tables["games"].delete())
        engine.dispose()
        rollback(project)
        assert {o.text for o in status(changed(project, before)).changed} == set()


def test_development_migrates_what_is_safe(project: Project) -> None:
    """As on SQLite: what could lose data or fail is left to a person."""
    after = changed(project, games(sa.Column("x", sa.Integer), sa.Column("y", sa.Integer, nullable=False)))
    done = prepare_dev(after)
    assert [o.text for o in done.applied] == ["add column games.x"]
    assert {o.text for o in done.refused} == {"add column games.y NOT NULL", "drop column games.rating"}
    assert rows(project.url, "SELECT * FROM games") == [(1, "kept", 5, None)]


def test_a_changed_text_column_still_sorts_by_bytes(project: Project) -> None:
    """ALTER TYPE would give it the database's collation."""
    after = changed(project, games(rating(), name=sa.Column("name", sa.String(50), nullable=False)))
    new(after, "longer")
    migrate(after)
    query = """SELECT collname FROM pg_attribute a JOIN pg_collation c ON c.oid = a.attcollation
        WHERE attrelid = 'games'::regclass AND attname = 'name'"""
    assert rows(project.url, query) == [("C",)]


def test_a_fresh_start_drops_everything_of_ours(project: Project) -> None:
    """Views, types and sequences too, but nothing of an extension."""
    rows(
        project.url,
        "CREATE VIEW v AS SELECT * FROM games",
        "CREATE MATERIALIZED VIEW m AS SELECT * FROM v",
        "CREATE TYPE colour AS ENUM ('red')",
        "CREATE SEQUENCE loose",
        'CREATE TABLE "odd ""name" (a int REFERENCES games)',
        "CREATE TABLE parts (a int) PARTITION BY RANGE (a)",
        "CREATE TABLE part PARTITION OF parts DEFAULT",
    )
    assert contents(project) == {"games": 1}
    assert len(migrate(project, fresh=True).applied) == 1
    left = (
        "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('v', 'm', 'p', 'r')"
    )
    assert {row[0] for row in rows(project.url, left)} == {"games", "alembic_version"}
    assert rows(project.url, "SELECT to_regtype('colour'), to_regclass('loose')") == [(None, None)]


def test_a_database_made_by_create_all_is_taken_over(tmp_path: Path) -> None:
    """Nothing is made twice."""
    project = Project(fresh_database(), Base.metadata, tmp_path / "migrations")
    engine = create_sync_engine(project.url, write=True)
    Base.metadata.create_all(engine)
    engine.dispose()
    new(project, "initial")
    assert migrate(project).adopted
    assert status(project).clean


# ---- seeds


def test_after_a_seed_with_ids_the_database_goes_on(tmp_path: Path) -> None:
    """The next row's id is free; a failing seeder leaves nothing, and says what to do first."""
    project = Project(fresh_database(), Base.metadata, tmp_path / "migrations")

    def fill(session: Session, progress: Any) -> None:
        session.execute(
            sa.insert(Team), [{"id": number, "name": f"team {number}"} for number in progress(range(1, 500))]
        )

    def fail(session: Session, progress: Any) -> None:
        session.add(Team(name="team 1"))

    def silent(items: Any, description: str = "") -> Any:
        return items

    with pytest.raises(OperatorError, match=r"seeder fill failed \(relation .* run `backstay db migrate` first"):
        seed(project.url, [fill], silent)
    new(project, "initial")
    migrate(project)
    assert seed(project.url, [fill], silent) == ["fill"]
    with pytest.raises(OperatorError, match=r"seeder fail failed \(duplicate key.* Nothing of it remains"):
        seed(project.url, [fail], silent)
    rows(project.url, "INSERT INTO teams (name) VALUES ('next')")
    assert rows(project.url, "SELECT max(id), count(*) FROM teams")[0][1] == 500
    assert contents(project) == {"teams": 500}


def test_the_arcade_runs_on_postgresql(tmp_path: Path) -> None:
    """Its files and its seed as they are: 210,100 rows within a minute."""
    folder = tmp_path / "arcade"
    shutil.copytree(Path(__file__).parents[2] / "examples" / "arcade", folder, ignore=shutil.ignore_patterns(".data"))
    url = fresh_database()
    for command in (["migrate"], ["status"], ["seed"]):
        whole = [sys.executable, "-m", "backstay", "db", *command, "--database", url]
        done = subprocess.run(whole, cwd=folder, capture_output=True, text=True, timeout=60, check=False)
        assert (done.returncode, done.stderr) == (0, "")
    assert rows(url, "SELECT count(*) FROM scores") == [(200_000,)]
    assert rows(url, "INSERT INTO games (slug, name) VALUES ('x', 'X') RETURNING id") == [(101,)]
