"""Migrations: refused and failing ones first, then what they do to data, then the files they are."""

import enum
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any
from uuid import UUID

import pytest
import sqlalchemy as sa
from pydantic import Field, StringConstraints
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from backstay.db.apsw_dialect import create_sync_engine
from backstay.db.migrate import (
    DestructiveError,
    Project,
    contents,
    migrate,
    new,
    plan,
    prepare_dev,
    rollback,
    status,
)
from backstay.db.migration_diff import Risk
from backstay.db.migration_files import load_migrations, slug
from backstay.errors import OperatorError
from backstay.schema.base import NAMING, ModelBase, UuidKey

Columns = Callable[[], list[Any]]


class Colour(enum.Enum):
    """An enum to store."""

    RED = "red"


class Base(ModelBase, DeclarativeBase):
    """A registry of these tests' own."""

    metadata = sa.MetaData(naming_convention=NAMING)


class Team(Base):
    """Every type that a model may have."""

    name: Mapped[Annotated[str, StringConstraints(min_length=1, max_length=64)]] = mapped_column(unique=True)
    size: Mapped[Annotated[int, Field(ge=0)]]
    open: Mapped[bool] = mapped_column(server_default=sa.false())
    at: Mapped[datetime] = mapped_column(sa.DateTime(), server_default=sa.func.now())
    day: Mapped[date | None]
    clock: Mapped[time | None]
    price: Mapped[Decimal | None]
    data: Mapped[dict[str, Any] | None]
    blob: Mapped[bytes | None]
    code: Mapped[UUID | None]
    colour: Mapped[Colour | None]


class Badge(UuidKey, Base):
    """A UUID key, and a foreign key with its index."""

    team_id: Mapped[int] = mapped_column(sa.ForeignKey("teams.id", ondelete="CASCADE"))


def games(*more: Any, name: Any = None) -> sa.MetaData:
    """Models of one table, with these columns and constraints too."""
    metadata = sa.MetaData(naming_convention=NAMING)
    name = sa.Column("name", sa.Text, nullable=False) if name is None else name
    sa.Table("games", metadata, sa.Column("id", sa.Integer, primary_key=True), name, *more)
    return metadata


def rating(**options: Any) -> sa.Column[Any]:
    """A column to add and drop."""
    return sa.Column("rating", sa.Integer, **options)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A project of one table that is migrated and has a row."""
    made = at(tmp_path, games(rating()))
    new(made, "initial")
    migrate(made)
    run(made, "INSERT INTO games VALUES (1, 'kept', 5)")
    return made


def at(folder: Path, metadata: sa.MetaData) -> Project:
    """The same database and files with other models."""
    return Project(f"sqlite:///{folder / 'test.db'}", metadata, folder / "migrations")


def changed(project: Project, metadata: sa.MetaData) -> Project:
    """The project after its models changed."""
    return Project(project.url, metadata, project.folder)


def run(project: Project, *statements: str) -> list[tuple[Any, ...]]:
    """Run SQL; returns the last statement's rows."""
    engine = create_sync_engine(project.url, write=True)
    rows: list[tuple[Any, ...]] = []
    with engine.begin() as connection:
        for statement in statements:
            result = connection.exec_driver_sql(statement)
            rows = [tuple(row) for row in result] if result.returns_rows else []
    engine.dispose()
    return rows


def by_hand(project: Project, body: str, *, down: str = "pass") -> Path:
    """A migration whose `upgrade` is this code."""
    path = new(project, "by hand", empty=True).migration.path
    head, _, _ = path.read_text().partition("def upgrade")
    functions = "".join(
        f"def {name}() -> None:\n" + "".join(f"    {line}\n" for line in code.splitlines())
        for name, code in (("upgrade", body), ("downgrade", down))
    )
    path.write_text(head + functions)
    return path


def tables(project: Project) -> set[str]:
    """The tables there are."""
    return {row[0] for row in run(project, "SELECT name FROM sqlite_schema WHERE type = 'table'")}


# ---- refused and failing


def test_a_dropped_column_needs_a_word(project: Project) -> None:
    """Rows would lose their values: nothing happens until somebody says that they may."""
    after = changed(project, games())
    written = new(after, "drop rating")
    assert "# ATTENTION: drop column games.rating: its values are lost." in written.migration.path.read_text()
    with pytest.raises(
        DestructiveError, match=r"drops column games\.rating.*--allow-destructive.*Nothing was changed"
    ):
        migrate(after)
    assert run(project, "SELECT rating FROM games") == [(5,)]
    assert [m.title for m in migrate(after, allow_destructive=True).applied] == ["drop rating"]
    assert run(project, "SELECT * FROM games") == [(1, "kept")]


@pytest.mark.parametrize(
    "body",
    [
        "op.drop_table('games')",
        "op.execute('DROP TABLE games')",
        "op.execute('ALTER TABLE games DROP COLUMN rating')",
    ],
)
def test_a_drop_is_seen_however_it_is_written(project: Project, body: str) -> None:
    """It is told from what is gone, not from the words of the file."""
    by_hand(project, body)
    with pytest.raises(DestructiveError, match=r"drops (table games|column games\.rating)"):
        migrate(project)
    assert run(project, "SELECT * FROM games") == [(1, "kept", 5)]


@pytest.mark.parametrize(
    "body",
    [
        "op.rename_table('games', 'matches')",
        "op.alter_column('games', 'rating', new_column_name='points')",
        "with op.batch_alter_table('games') as b:\n    b.alter_column('rating', new_column_name='points')",
    ],
)
def test_a_rename_loses_nothing(project: Project, body: str) -> None:
    """Nor does it need a word."""
    by_hand(project, body)
    assert len(migrate(project).applied) == 1
    table = "matches" if "matches" in body else "games"
    assert run(project, f"SELECT * FROM {table}") == [(1, "kept", 5)]


def test_a_drop_in_an_empty_table_needs_no_word(project: Project) -> None:
    """A new database goes through all of its history, drops included."""
    after = changed(project, games())
    new(after, "drop rating")
    run(project, "DELETE FROM games")
    assert len(migrate(after).applied) == 1


def test_rolling_back_an_added_column_needs_a_word_too(project: Project) -> None:
    """Its values would be lost."""
    after = changed(project, games(rating(), sa.Column("extra", sa.Integer)))
    new(after, "add extra")
    migrate(after)
    with pytest.raises(DestructiveError, match=r"games\.extra.*db rollback --allow-destructive"):
        rollback(after)
    assert [m.title for m in rollback(after, allow_destructive=True)] == ["add extra"]
    assert run(project, "SELECT * FROM games") == [(1, "kept", 5)]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("raise RuntimeError('no luck')", r"by_hand\.py:\d+: no luck\. Nothing was changed\."),
        ("op.add_column('nowhere', sa.Column('a', sa.Integer))", "no such table: nowhere"),
        ("op.execute('INSERT INTO games (name) VALUES (NULL)')", r"NOT NULL constraint failed: games\.name"),
        ("op.nonsense()", "has no attribute 'nonsense'"),
    ],
)
def test_a_failing_migration_changes_nothing(project: Project, body: str, message: str) -> None:
    """It rolls back whole, with the migrations before it in the same run, and says where it failed."""
    by_hand(project, "op.create_table('first', sa.Column('a', sa.Integer))")
    by_hand(project, f"op.create_table('second', sa.Column('a', sa.Integer))\n{body}")
    with pytest.raises(OperatorError, match=message) as caught:
        migrate(project)
    assert "\n" not in str(caught.value)
    assert tables(project) == {"games", "alembic_version"}
    assert len(status(project).pending) == 2


def test_rows_that_refer_to_nothing_are_refused(tmp_path: Path) -> None:
    """Foreign keys are off while tables are copied, and are checked before the commit."""
    metadata = games()
    sa.Table("scores", metadata, sa.Column("game_id", sa.ForeignKey("games.id"), primary_key=True))
    project = at(tmp_path, metadata)
    new(project, "initial")
    migrate(project)
    run(project, "INSERT INTO games VALUES (1, 'a')", "INSERT INTO scores VALUES (1)")
    by_hand(project, "op.execute('DELETE FROM games')")
    with pytest.raises(OperatorError, match="Rows of scores would refer to rows of games that do not exist"):
        migrate(project)
    assert run(project, "SELECT * FROM games") == [(1, "a")]


def test_an_unnamed_check_is_not_lost_in_silence(tmp_path: Path) -> None:
    """Alembic leaves it out of the copied table with a warning; here it is an error."""
    project = at(tmp_path, sa.MetaData())
    by_hand(project, "op.execute('CREATE TABLE t (a INT CHECK (a > 0), b INT)')")
    by_hand(project, "with op.batch_alter_table('t') as b:\n    b.drop_column('b')")
    with pytest.raises(OperatorError, match="Unnamed CHECK constraint"):
        migrate(project)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("def upgrade(:\n", r"x\.py:1: "),
        ("import nothing_such\n", "No module named 'nothing_such'"),
        ("revision = '1'\n", "has no down_revision"),
        ("revision = 1\ndown_revision = None\ndef upgrade(): ...\ndef downgrade(): ...\n", "revision must be text"),
        (
            "revision = '9'\ndown_revision = '8'\ndef upgrade(): ...\ndef downgrade(): ...\n",
            "follows 8, which no file",
        ),
        ("revision = '9'\ndown_revision = None\ndef upgrade(): ...\ndef downgrade(): ...\n", "both are the first"),
    ],
)
def test_a_broken_history_is_one_line(project: Project, text: str, message: str) -> None:
    """With the file's name, and the line where there is one."""
    (project.folder / "x.py").write_text(text)
    with pytest.raises(OperatorError, match=message):
        status(project)


def test_a_database_ahead_of_the_files_is_one_line(project: Project) -> None:
    """As after a checkout of an older branch."""
    next(project.folder.glob("*.py")).unlink()
    with pytest.raises(OperatorError, match="which no file in migrations/ is"):
        status(project)


def test_a_new_migration_needs_the_last_one_applied(tmp_path: Path) -> None:
    """It is written against the database."""
    project = at(tmp_path, games())
    new(project, "initial")
    with pytest.raises(OperatorError, match="run `backstay db migrate` first"):
        new(changed(project, games(rating())), "add rating")


def test_there_is_nothing_to_write_when_models_and_database_agree(project: Project) -> None:
    """No empty files by accident."""
    with pytest.raises(OperatorError, match="nothing to write"):
        new(project, "again")
    assert len(load_migrations(project.folder)) == 1


def test_nothing_to_roll_back_is_one_line(tmp_path: Path) -> None:
    """Also when there is no database."""
    with pytest.raises(OperatorError, match="nothing to roll back"):
        rollback(at(tmp_path, games()))


@pytest.mark.parametrize("url", ["sqlite://", "postgresql://h/d", "nonsense"])
def test_other_databases_are_one_line(tmp_path: Path, url: str) -> None:
    """Until they come."""
    project = Project(url, games(), tmp_path / "migrations")
    new(at(tmp_path, games()), "initial")
    with pytest.raises(OperatorError):
        migrate(project)


def test_a_file_that_is_no_database_is_one_line(tmp_path: Path) -> None:
    """Nothing is done to it."""
    project = at(tmp_path, games())
    new(project, "initial")
    (tmp_path / "test.db").write_bytes(b"x" * 5_000)
    for function in (status, migrate):
        with pytest.raises(OperatorError, match="file is not a database"):
            function(project)


def test_tables_of_others_are_left_alone(project: Project) -> None:
    """What no migration made is none of ours to drop."""
    run(project, "CREATE TABLE theirs (a)", "CREATE VIRTUAL TABLE found USING fts5(body)")
    assert status(project).clean


# ---- what they do to data


FAMILY = """
CREATE TABLE parents (id INTEGER PRIMARY KEY, name TEXT COLLATE NOCASE NOT NULL, old INT, boss_id INT,
    CONSTRAINT ck_named CHECK (name <> ''), CONSTRAINT uq_named UNIQUE (name),
    CONSTRAINT fk_boss FOREIGN KEY (boss_id) REFERENCES parents (id));
CREATE TABLE children (id INTEGER PRIMARY KEY AUTOINCREMENT, parent_id INT NOT NULL,
    CONSTRAINT fk_parent FOREIGN KEY (parent_id) REFERENCES parents (id) ON DELETE CASCADE);
CREATE INDEX ix_old ON parents (old) WHERE old > 0;
CREATE VIEW named AS SELECT name FROM parents;
CREATE TABLE log (id INT);
CREATE TRIGGER logged AFTER INSERT ON parents BEGIN INSERT INTO log VALUES (new.id); END;
INSERT INTO parents VALUES (1, 'Ann', 7, NULL), (2, 'Bob', 8, 1);
INSERT INTO children (parent_id) VALUES (1), (2);
"""


def test_a_copied_table_is_what_it_was(tmp_path: Path) -> None:
    """Rows, keys both ways, checks, collation, autoincrement, triggers and views survive a change of the table."""
    project = at(tmp_path, sa.MetaData())
    statements = [part.strip() for part in FAMILY.replace("new.id); END", "new.id)#END").split(";\n") if part.strip()]
    run(project, *(statement.replace("#", "; ").rstrip(";") for statement in statements))
    by_hand(
        project,
        "with op.batch_alter_table('parents') as b:\n"
        "    b.alter_column('boss_id', new_column_name='chief_id')\n"
        "    b.alter_column('name', existing_type=sa.Text(), server_default='x')\n"
        "with op.batch_alter_table('children') as b:\n"
        "    b.add_column(sa.Column('at', sa.Text(), server_default=sa.text('(1 + 1)')))\n",
    )
    migrate(project)
    assert run(project, "SELECT * FROM parents") == [(1, "Ann", 7, None), (2, "Bob", 8, 1)]
    assert run(project, "SELECT id, parent_id, at FROM children") == [(1, 1, "2"), (2, 2, "2")]
    assert run(project, "SELECT * FROM named") == [("Ann",), ("Bob",)]
    assert run(project, "INSERT INTO parents (id, name) VALUES (3, 'Eve')", "SELECT id FROM log") == [
        (1,),
        (2,),
        (3,),
    ]
    for refused in (
        "INSERT INTO parents (name) VALUES ('ANN')",
        "INSERT INTO parents (name) VALUES ('')",
    ):
        with pytest.raises(sa.exc.IntegrityError):
            run(project, refused)
    run(project, "PRAGMA foreign_keys = ON", "DELETE FROM children WHERE id = 2")
    assert run(project, "INSERT INTO children (parent_id) VALUES (1) RETURNING id") == [(3,)]
    sql = dict(run(project, "SELECT name, sql FROM sqlite_schema WHERE sql IS NOT NULL"))
    assert "AUTOINCREMENT" in sql["children"]
    assert "ON DELETE CASCADE" in sql["children"]
    assert "REFERENCES parents (id)" in sql["parents"]
    assert "WHERE old > 0" in sql["ix_old"]
    assert run(project, "PRAGMA foreign_key_check") == []


def test_a_round_trip_keeps_the_data(tmp_path: Path) -> None:
    """Down and up again over every kind of change, with rows of every type."""
    project = at(tmp_path, Base.metadata)
    new(project, "initial")
    migrate(project)
    insert = sa.insert(Team).values(
        name="a",
        size=1,
        open=True,
        price=Decimal("1.25"),
        data={"a": 1},
        blob=b"\0",
        code=UUID(int=1),
        colour=Colour.RED,
    )
    engine = create_sync_engine(project.url, write=True)
    with engine.begin() as connection:
        connection.execute(insert)
        connection.execute(sa.insert(Badge).values(team_id=1))
    before = run(project, "SELECT * FROM teams"), run(project, "SELECT * FROM badges")
    wider = sa.MetaData(naming_convention=NAMING)
    for table in Base.metadata.tables.values():
        table.to_metadata(wider)
    wider.tables["teams"].append_column(sa.Column("motto", sa.Text, nullable=False, server_default="none"))
    wider.tables["badges"].append_column(sa.Column("rank", sa.Integer, nullable=True, index=True))
    after = changed(project, wider)
    new(after, "more")
    migrate(after)
    assert status(after).clean
    assert run(project, "SELECT motto FROM teams") == [("none",)]
    rollback(after, allow_destructive=True)
    assert (run(project, "SELECT * FROM teams"), run(project, "SELECT * FROM badges")) == before
    assert status(project).clean is False  # the file is pending again
    migrate(after)
    assert status(after).clean
    assert run(project, "PRAGMA foreign_key_check") == []


def test_rolling_back_all_leaves_nothing(project: Project) -> None:
    """And the history starts again."""
    rollback(project, 99, allow_destructive=True)
    assert tables(project) == {"alembic_version"}
    assert status(project).current is None


# ---- the files


def test_what_was_written_is_what_the_models_say(tmp_path: Path) -> None:
    """After the first migration nothing differs, for every type, default and constraint of a model."""
    project = at(tmp_path, Base.metadata)
    path = new(project, "initial").migration.path
    migrate(project)
    assert plan(project) == ()
    text = path.read_text()
    assert "from backstay.schema.base import UtcDateTime, current_instant\n" in text
    for part in ("UtcDateTime()", "server_default=current_instant()", "sa.func.now()", "sa.false()", "sa.Enum('RED'"):
        assert part in text
    for part in ("ck_teams_size_ge", "ck_teams_name_max_length", "uq_teams_name", "fk_badges_team_id_teams"):
        assert part in text
    assert "### commands" not in text


def test_a_file_has_a_date_a_title_and_its_place(project: Project) -> None:
    """Two in one second have names of their own; a title cannot break the file."""
    now = datetime(2026, 11, 21, 1, 34, 5, tzinfo=UTC)
    first = new(project, 'It\'s """a \\ title"', empty=True, now=now).migration
    second = new(project, "ключ!", empty=True, now=now).migration
    assert first.path.name == "20261121_013405_it_s_a_title.py"
    assert second.path.name == "20261121_013406_ключ.py"
    assert (second.follows, second.revision) == (first.revision, "20261121_013406")
    assert first.title == "It's '''a / title"
    assert slug("!!!") == "migration"


@pytest.mark.parametrize(
    ("metadata", "risk", "text"),
    [
        (games(rating(), sa.Column("x", sa.Integer)), Risk.SAFE, "add column games.x"),
        (
            games(rating(), sa.Column("x", sa.Integer, nullable=False, server_default="1")),
            Risk.SAFE,
            "add column games.x",
        ),
        (games(rating(), sa.Column("x", sa.Integer, nullable=False)), Risk.RISKY, "add column games.x NOT NULL"),
        (games(rating(index=True)), Risk.SAFE, "create index ix_games_rating on games"),
        (games(rating(), sa.Index("u", "name", unique=True)), Risk.RISKY, "create unique index u on games"),
        (games(rating(unique=True)), Risk.RISKY, "add constraint uq_games_rating to games"),
        (games(rating(nullable=False)), Risk.RISKY, "make games.rating NOT NULL"),
        (games(rating(), name=sa.Column("name", sa.Text)), Risk.SAFE, "allow NULL in games.name"),
        (games(rating(server_default="3")), Risk.SAFE, "change the default of games.rating"),
        (games(sa.Column("rating", sa.Text)), Risk.LOSSY, "change type of games.rating from INTEGER to TEXT"),
        (
            games(rating(), sa.CheckConstraint("rating > 0", "positive")),
            Risk.RISKY,
            "add constraint ck_games_positive to games",
        ),
        (games(), Risk.LOSSY, "drop column games.rating"),
        (sa.MetaData(), Risk.LOSSY, "drop table games"),
    ],
)
def test_operations_have_words_and_a_risk(project: Project, metadata: sa.MetaData, risk: Risk, text: str) -> None:
    """What may harm rows that are there is never called safe."""
    found = status(changed(project, metadata)).changed
    assert [(o.text, o.risk) for o in found] == [(text, risk)]
    assert bool(found[0].why) is (risk is not Risk.SAFE)


def test_an_added_foreign_key_is_safe_when_its_column_is_new(project: Project) -> None:
    """It is NULL in every row."""
    column = sa.Column("next_id", sa.ForeignKey("games.id"), type_=sa.Integer)
    found = status(changed(project, games(rating(), column))).changed
    assert {o.risk for o in found} == {Risk.SAFE}
    assert (
        prepare_dev(changed(project, games(rating(), sa.Column("next_id", sa.ForeignKey("games.id"))))).refused == ()
    )
    assert run(project, "SELECT * FROM games") == [(1, "kept", 5, None)]


# ---- development


def test_development_applies_what_is_safe_and_refuses_the_rest(project: Project) -> None:
    """What it did is a file; what it did not do changed nothing."""
    after = changed(
        project, games(sa.Column("x", sa.Integer), sa.Column("y", sa.Integer, nullable=False), sa.Index("i", "y"))
    )
    done = prepare_dev(after)
    assert [o.text for o in done.applied] == ["add column games.x"]
    assert [path.name[16:] for path in done.files] == ["add_column_games_x.py"]
    refused = {"add column games.y NOT NULL", "drop column games.rating", "create index i on games"}
    assert {o.text for o in done.refused} == refused
    assert run(project, "SELECT * FROM games") == [(1, "kept", 5, None)]
    again = prepare_dev(after)
    assert (again.applied, again.files, len(again.refused)) == ((), (), 3)


def test_development_starts_from_nothing(tmp_path: Path) -> None:
    """No database, no folder: it makes both."""
    project = at(tmp_path, Base.metadata)
    done = prepare_dev(project)
    assert {o.text for o in done.applied} >= {"create table teams", "create table badges"}
    assert done.refused == ()
    assert status(project).clean


def test_development_applies_files_but_not_destructive_ones(project: Project) -> None:
    """A colleague's migration that drops a column waits for a person."""
    after = changed(project, games())
    new(after, "drop rating")
    done = prepare_dev(after)
    assert (done.applied, done.files) == ((), ())
    assert "--allow-destructive" in done.refused[0].text
    assert run(project, "SELECT * FROM games") == [(1, "kept", 5)]


# ---- taking over, starting over, and company


def test_a_database_that_has_every_table_is_taken_over(tmp_path: Path) -> None:
    """As one made by `create_all` or by another tool from the same models."""
    project = at(tmp_path, games())
    engine = create_sync_engine(project.url, write=True)
    project.metadata.create_all(engine)
    engine.dispose()
    revision = new(project, "initial").migration.revision
    done = migrate(project)
    assert (done.applied, done.adopted, done.current) == ((), True, revision)
    assert status(project).clean


def test_a_fresh_start_drops_everything(project: Project) -> None:
    """Views, virtual tables and tables of others too."""
    run(
        project,
        "CREATE VIEW v AS SELECT * FROM games",
        "CREATE VIRTUAL TABLE found USING fts5(body)",
        'CREATE TABLE "odd ""name" (a REFERENCES games)',
    )
    assert contents(project) == {"games": 1}
    assert len(migrate(project, fresh=True).applied) == 1
    assert tables(project) == {"games", "alembic_version"}
    assert contents(project) == {}


def test_reading_creates_no_database(tmp_path: Path) -> None:
    """Nor does writing a file."""
    project = at(tmp_path, games())
    new(project, "initial")
    assert len(status(project).pending) == 1
    assert contents(project) == {}
    assert not (tmp_path / "test.db").exists()


SCRIPT = """
import sys, sqlalchemy as sa
from pathlib import Path
from backstay.db.migrate import Project, migrate
project = Project(sys.argv[1], sa.MetaData(), Path(sys.argv[2]))
print(len(migrate(project).applied))
"""


def test_two_processes_migrate_once(tmp_path: Path) -> None:
    """One does it while the other waits, and then has nothing to do."""
    project = at(tmp_path, sa.MetaData())
    by_hand(project, "import time\nop.create_table('t', sa.Column('a', sa.Integer))\ntime.sleep(0.5)")
    command = [sys.executable, "-c", SCRIPT, project.url, str(project.folder)]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    assert sorted(process.communicate()[0].strip() for process in processes) == ["0", "0", "1"]
    assert tables(project) == {"t", "alembic_version"}
