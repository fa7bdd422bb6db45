"""The apsw dialect: engines, transactions and reflection."""

import shutil
import threading
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import exc
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column
from sqlalchemy.orm.exc import StaleDataError
from sqlalchemy.pool import QueuePool, StaticPool

from backstay.db import apsw_dbapi
from backstay.db.apsw_dialect import apsw_url, create_sync_engine, register

CHINOOK = Path(__file__).parents[3] / "shared" / "data" / "chinook.sqlite"


class Base(DeclarativeBase):
    """Models of these tests."""


class Owner(Base):
    """What a Thing belongs to."""

    __tablename__ = "owners"
    id: Mapped[int] = mapped_column(primary_key=True)


class Thing(Base):
    """A table with every kind of constraint."""

    __tablename__ = "things"
    __table_args__ = (
        sa.CheckConstraint("count >= 0", name="count_not_negative"),
        sa.UniqueConstraint("name", "count", name="name_and_count"),
        sa.Index("by_notes", "notes"),
        sa.Index("by_many", "name", unique=True, sqlite_where=sa.text("count > 9")),
    )
    id: Mapped[int] = mapped_column(primary_key=True)
    owner_id: Mapped[int | None] = mapped_column(sa.ForeignKey("owners.id", ondelete="CASCADE"))
    name: Mapped[str] = mapped_column(sa.String(40), server_default="unnamed", unique=True)
    notes: Mapped[str | None]
    count: Mapped[int] = mapped_column(server_default="0")
    flag: Mapped[bool] = mapped_column(sa.Boolean(create_constraint=True, name="flag_is"), server_default="0")
    doubled: Mapped[int] = mapped_column(sa.Computed("count * 2"))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A database file of the test's own."""
    return tmp_path / "test.db"


@pytest.fixture
def engine(path: Path) -> Iterator[sa.Engine]:
    """An engine for writing, its tables made."""
    made = create_sync_engine(path, write=True, on_connect=enforce)
    Base.metadata.create_all(made)
    yield made
    made.dispose()


def enforce(connection: Any) -> None:
    """Enforce foreign keys."""
    connection.pragma("foreign_keys", True)


def counts(engine: sa.Engine) -> list[int]:
    """The count of each thing."""
    with engine.connect() as connection:
        return list(connection.exec_driver_sql("SELECT count FROM things ORDER BY id").scalars())


# Refused


@pytest.mark.parametrize(
    ("values", "name"),
    [
        ({"count": -1}, "SQLITE_CONSTRAINT_CHECK"),
        ({"name": None}, "SQLITE_CONSTRAINT_NOTNULL"),
        ({"name": "taken"}, "SQLITE_CONSTRAINT_UNIQUE"),
        ({"owner_id": 99}, "SQLITE_CONSTRAINT_FOREIGNKEY"),
    ],
)
def test_a_broken_constraint_is_sqlalchemys_integrity_error(
    engine: sa.Engine, values: dict[str, Any], name: str
) -> None:
    """The DBAPI's error, with its code, is `orig`; the session is usable after its rollback."""
    with Session(engine) as session:
        session.add(Thing(name="taken"))
        session.commit()
        with pytest.raises(exc.IntegrityError) as caught:
            session.execute(sa.insert(Thing).values(values))
        assert isinstance(caught.value.orig, apsw_dbapi.IntegrityError)
        assert caught.value.orig.sqlite_errorname == name
        session.rollback()
        assert session.scalar(sa.select(sa.func.count()).select_from(Thing)) == 1


def test_an_engine_for_reading_neither_writes_nor_makes_the_file(path: Path) -> None:
    """Without write=True a missing file is an error and a write is refused by SQLite."""
    reader = create_sync_engine(path)
    with pytest.raises(exc.OperationalError, match="unable to open"):
        reader.connect()
    assert not path.exists()
    writer = create_sync_engine(path, write=True)
    Base.metadata.create_all(writer)
    with reader.connect() as connection, pytest.raises(exc.OperationalError, match="readonly"):
        connection.execute(sa.insert(Owner).values(id=1))
    writer.dispose()
    reader.dispose()


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("sqlite+apsw://user@host/x.db", "no host"),
        ("sqlite+apsw:///x.db?cached_statements=9", "unknown in a SQLite URL: cached_statements"),
        ("sqlite+apsw:///x.db?begin_mode=later", "begin_mode in a SQLite URL is one of deferred, immediate"),
        ("sqlite+apsw:///x.db?mode=memory", "mode in a SQLite URL is one of ro, rw, rwc"),
        ("sqlite+apsw:///x.db?timeout=soon", "number of seconds"),
        ("sqlite+apsw:///file::memory:?cache=shared", "vfs=memdb"),
        ("sqlite+apsw:///file:x?mode=memory", "vfs=memdb"),
        ("postgresql://localhost/x", "not a SQLite URL"),
    ],
)
def test_a_url_that_cannot_mean_what_it_says_is_refused(url: str, message: str) -> None:
    """No part of a URL is silently ignored."""
    with pytest.raises(exc.ArgumentError, match=message):
        create_sync_engine(url).connect()


# Transactions


def test_ddl_rolls_back_with_the_rest(engine: sa.Engine) -> None:
    """A failed block leaves neither its table nor its rows."""
    late = sa.Table("late", sa.MetaData(), sa.Column("id", sa.Integer, primary_key=True))

    def fail() -> None:
        with engine.begin() as connection:
            connection.execute(sa.insert(Owner).values(id=1))
            late.create(connection)
            connection.execute(late.insert().values(id=1))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert sorted(sa.inspect(engine).get_table_names()) == ["owners", "things"]
    with engine.connect() as connection:
        assert connection.scalar(sa.select(sa.func.count()).select_from(Owner)) == 0


def test_nested_transactions_are_savepoints(engine: sa.Engine) -> None:
    """begin_nested() inside begin_nested(): the inner one fails alone, the outer one keeps the rest."""
    with Session(engine) as session:
        session.add(Owner(id=1))
        with session.begin_nested():
            session.add(Owner(id=2))
            with pytest.raises(exc.IntegrityError), session.begin_nested():
                session.execute(sa.insert(Thing).values(owner_id=99))
            session.add(Owner(id=3))
        undone = session.begin_nested()
        session.add(Owner(id=4))
        session.flush()
        undone.rollback()
        session.commit()
        assert session.scalars(sa.select(Owner.id)).all() == [1, 2, 3]


def test_the_isolation_level_says_how_a_transaction_begins(path: Path) -> None:
    """SERIALIZABLE defers the lock, IMMEDIATE takes it, AUTOCOMMIT has none; each ends with its use."""
    engine = create_sync_engine(f"sqlite:///{path}?begin_mode=deferred&timeout=0", write=True)
    Base.metadata.create_all(engine)
    writing = engine.execution_options(isolation_level="IMMEDIATE")
    with writing.connect() as first, engine.connect() as second:
        assert (first.get_isolation_level(), second.get_isolation_level()) == ("IMMEDIATE", "SERIALIZABLE")
        first.execute(sa.select(Owner))
        second.execute(sa.select(Owner))
        with pytest.raises(exc.OperationalError, match="locked"):
            second.execute(sa.insert(Owner).values(id=1))
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(sa.insert(Owner).values(id=1))
        connection.rollback()
        connection.exec_driver_sql("VACUUM")
        assert connection.scalar(sa.select(Owner.id)) == 1
    with engine.connect() as connection:
        assert connection.get_isolation_level() == "SERIALIZABLE"
    engine.dispose()


def test_four_threads_of_sessions_lose_nothing(engine: sa.Engine) -> None:
    """Each session reads and then writes under BEGIN IMMEDIATE: every increment arrives."""
    with Session(engine) as session:
        session.add(Thing(name="counter", count=0))
        session.commit()
    failures: list[BaseException] = []

    def add() -> None:
        try:
            for _ in range(15):
                with Session(engine) as session:
                    thing = session.scalars(sa.select(Thing)).one()
                    thing.count += 1
                    session.commit()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=add) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert counts(engine) == [60]


def test_many_rows_are_inserted_updated_and_deleted_with_true_counts(engine: sa.Engine) -> None:
    """Bulk insert returns keys in order; a bulk update by key checks the number of rows it matched."""
    with Session(engine) as session:
        things = [Thing(name=f"thing {number}") for number in range(2500)]
        session.add_all(things)
        session.flush()
        assert [thing.id for thing in things] == list(range(1, 2501))
        for thing in things:
            thing.count = thing.id
        session.flush()
        result = session.execute(sa.update(Thing).where(Thing.count > 2000).values(notes="many"))
        assert getattr(result, "rowcount") == 500  # noqa: B009 - typed on CursorResult only
        session.execute(sa.delete(Thing).where(Thing.id == 1))
        session.get_one(Thing, 2)
        with pytest.raises(StaleDataError):
            session.execute(sa.update(Thing), [{"id": 1, "count": 5}])


def test_a_streamed_result_reads_in_parts(engine: sa.Engine) -> None:
    """yield_per() opens a streaming cursor, which takes no more rows than were asked for."""
    with Session(engine) as session:
        session.execute(sa.insert(Owner), [{"id": number} for number in range(1000)])
        seen = 0
        for part in session.scalars(sa.select(Owner.id).execution_options(yield_per=100)).partitions():
            assert len(part) == 100
            seen += len(part)
        assert seen == 1000


def test_regexp_and_ping_work(engine: sa.Engine) -> None:
    """regexp_match() has its function, and pool_pre_ping leaves no transaction open."""
    pinged = create_sync_engine(engine.url, write=True, pool_pre_ping=True)
    for _ in range(2):
        with pinged.connect() as connection:
            driver = connection.connection.driver_connection
            assert driver is not None
            assert not driver.in_transaction
            assert connection.scalar(sa.select(sa.literal("abc").regexp_match("^a.c$")))
            assert connection.scalar(sa.select(sa.func.floor(2.5))) == 2
    pinged.dispose()


def test_memory_is_shared_by_the_engine(tmp_path: Path) -> None:
    """In memory all connections of an engine are one; by memdb several engines share one database."""
    alone = create_sync_engine(":memory:", write=True)
    Base.metadata.create_all(alone)
    assert isinstance(alone.pool, StaticPool)
    with Session(alone) as session:
        session.add(Owner(id=1))
        session.commit()
    seen: list[int] = []
    thread = threading.Thread(target=lambda: seen.extend(Session(alone).scalars(sa.select(Owner.id))))
    thread.start()
    thread.join()
    assert seen == [1]
    url = f"sqlite+apsw:///file:/{tmp_path.name}?vfs=memdb"
    one, two = create_sync_engine(url, write=True), create_sync_engine(url)
    assert isinstance(one.pool, QueuePool)
    Base.metadata.create_all(one)
    assert "things" in sa.inspect(two).get_table_names()
    for engine in (alone, one, two):
        engine.dispose()


def test_a_url_or_a_path_opens_the_same_file(path: Path) -> None:
    """A path, a plain sqlite URL and a URL object are one; what the URL says goes before `write`."""
    url = apsw_url(path, write=True)
    assert url == apsw_url(f"sqlite:///{path}", write=True) == apsw_url(sa.make_url(f"sqlite:///{path}"), write=True)
    assert url.query == {"begin_mode": "immediate"}
    assert apsw_url(f"sqlite:///{path}?mode=ro", write=False).query == {
        "mode": "ro",
        "begin_mode": "deferred",
    }
    register()
    created = sa.create_engine(f"sqlite+apsw:///{path}?timeout=0.5")
    with created.connect() as connection:
        assert connection.dialect.server_version_info == apsw_dbapi.sqlite_version_info
    created.dispose()


# Reflection


def test_an_existing_database_is_reflected(tmp_path: Path) -> None:
    """Tables, columns, keys, foreign keys and indexes of Chinook, read-only, and rows through them."""
    if not CHINOOK.exists():
        pytest.skip("shared/data/chinook.sqlite is absent")
    copy = tmp_path / "chinook.sqlite"
    shutil.copyfile(CHINOOK, copy)
    copy.chmod(0o444)
    engine = create_sync_engine(f"sqlite:///{copy}?mode=ro")
    metadata = sa.MetaData()
    metadata.reflect(engine, views=True)
    assert len(metadata.tables) >= 11
    track = next(table for name, table in metadata.tables.items() if name.lower() == "track")
    assert len(track.primary_key.columns) == 1
    assert len(track.foreign_keys) == 3
    assert track.indexes
    price = next(column for column in track.columns if column.name.lower() in ("unitprice", "unit_price"))
    assert isinstance(price.type, sa.NUMERIC)
    with engine.connect() as connection:
        assert connection.scalar(sa.select(price).limit(1)) == Decimal("0.99")
        assert connection.scalar(sa.select(sa.func.count()).select_from(track)) == 3503
    engine.dispose()


def test_names_and_types_of_any_existing_table_are_reflected(engine: sa.Engine) -> None:
    """Quoted names, missing and invented types, WITHOUT ROWID and composite keys do not stop reflection."""
    with engine.begin() as connection:
        connection.exec_driver_sql(
            'CREATE TABLE "order ""lines""" ("order" INT, "line no" SMALLINT, [what?] , price MONEY(9,2),'
            ' made TIMESTAMP DEFAULT CURRENT_TIMESTAMP, PRIMARY KEY ("order", "line no")) WITHOUT ROWID'
        )
        connection.exec_driver_sql("""INSERT INTO "order ""lines\""" VALUES (1, 2, 'x', 1.5, '2026-01-01')""")
    table = sa.Table('order "lines"', sa.MetaData(), autoload_with=engine)
    assert [column.name for column in table.primary_key] == ["order", "line no"]
    assert [column.name for column in table.columns] == ["order", "line no", "what?", "price", "made"]
    assert table.dialect_options["sqlite"]["with_rowid"] is False
    with engine.connect() as connection:
        assert connection.execute(sa.select(table.c["line no"], table.c["what?"])).one() == (2, "x")


def test_everything_declared_is_reflected(engine: sa.Engine) -> None:
    """Checks, uniques, partial indexes, views, computed columns and actions are all seen again."""
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE VIEW names AS SELECT name FROM things")
    inspector = sa.inspect(engine)
    assert inspector.get_view_names() == ["names"]
    assert inspector.get_view_definition("names") == "CREATE VIEW names AS SELECT name FROM things"
    assert {check["name"] for check in inspector.get_check_constraints("things")} == {
        "count_not_negative",
        "flag_is",
    }
    assert {unique["name"] for unique in inspector.get_unique_constraints("things")} == {
        None,
        "name_and_count",
    }
    assert {index["name"] for index in inspector.get_indexes("things")} == {"by_notes", "by_many"}
    (key,) = inspector.get_foreign_keys("things")
    assert (key["referred_table"], key.get("options")) == ("owners", {"ondelete": "CASCADE"})
    assert inspector.get_pk_constraint("things")["constrained_columns"] == ["id"]
    columns = {column["name"]: column for column in inspector.get_columns("things")}
    assert list(columns) == [column.name for column in Thing.__table__.columns]
    assert "computed" in columns["doubled"]
