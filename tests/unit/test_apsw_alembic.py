"""Alembic through the apsw dialect: transactional migrations, and an autogenerate that stays silent."""

import enum
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.operations import Operations
from sqlalchemy import exc

from backstay.db import apsw_alembic
from backstay.db.apsw_dialect import create_sync_engine


class Colour(enum.Enum):
    """An enum to store."""

    RED = "red"
    BLUE = "blue"


METADATA = sa.MetaData()
OWNERS = sa.Table("owners", METADATA, sa.Column("id", sa.Integer, primary_key=True))
THINGS = sa.Table(
    "things",
    METADATA,
    sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True),
    sa.Column("owner_id", sa.Integer, sa.ForeignKey("owners.id", ondelete="CASCADE")),
    sa.Column("name", sa.String(40), server_default="unnamed", nullable=False, unique=True),
    sa.Column("notes", sa.Text),
    sa.Column("count", sa.Integer, server_default="0", nullable=False),
    sa.Column("big", sa.BigInteger, server_default=sa.text("7")),
    sa.Column("ratio", sa.Float, server_default="0.5"),
    sa.Column("price", sa.Numeric(15, 2), server_default=sa.text("1.25")),
    sa.Column("flag", sa.Boolean(create_constraint=True, name="flag_is"), server_default=sa.false()),
    sa.Column("instant", sa.DateTime(timezone=True), server_default=sa.func.now()),
    sa.Column("moment", sa.DateTime, server_default=sa.text("CURRENT_TIMESTAMP")),
    sa.Column("day", sa.Date, server_default="2026-01-01"),
    sa.Column("time", sa.Time),
    sa.Column("span", sa.Interval),
    sa.Column("key", sa.Uuid),
    sa.Column("data", sa.JSON, server_default="{}"),
    sa.Column("blob", sa.LargeBinary),
    sa.Column("colour", sa.Enum(Colour, create_constraint=True, name="colour_is"), server_default="RED"),
    sa.Column("doubled", sa.Integer, sa.Computed("count * 2")),
    sa.Column("kept", sa.Integer, sa.Computed("count * 3", persisted=True)),
    sa.CheckConstraint("count >= 0", name="count_not_negative"),
    sa.UniqueConstraint("name", "count", name="name_and_count"),
    sa.Index("by_moment", "moment"),
    sa.Index("by_red_name", "name", unique=True, sqlite_where=sa.text("colour = 'RED'")),
)
ROW = {"owner_id": 1, "name": "kept", "notes": "note", "price": Decimal("1.25"), "big": 2**62, "count": 4}


def enforce(connection: Any) -> None:
    """Enforce foreign keys."""
    connection.pragma("foreign_keys", True)


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[sa.Engine]:
    """An engine whose tables are made, with a row that refers to another."""
    made = create_sync_engine(tmp_path / "test.db", write=True, on_connect=enforce)
    METADATA.create_all(made)
    with made.begin() as connection:
        connection.execute(OWNERS.insert().values(id=1))
        connection.execute(THINGS.insert().values(ROW))
    yield made
    made.dispose()


def migrate(connection: sa.Connection, **options: Any) -> MigrationContext:
    """A migration context as Backstay configures it."""
    apsw_alembic.register()
    opts = {"compare_server_default": True, "compare_type": True, **options}
    return MigrationContext.configure(connection, opts=opts)


def upgrade(op: Operations) -> None:
    """Add, alter and constrain, some of it by copying the table."""
    op.create_table("tags", sa.Column("id", sa.Integer, primary_key=True), sa.Column("label", sa.String(20)))
    op.create_index("by_label", "tags", ["label"], unique=True)
    op.add_column("owners", sa.Column("email", sa.String(80)))
    with op.batch_alter_table("things") as batch:
        batch.alter_column("notes", new_column_name="remarks", existing_type=sa.Text)
        batch.alter_column("price", type_=sa.Numeric(12, 3), existing_type=sa.Numeric(15, 2))
        batch.add_column(sa.Column("updated", sa.DateTime, server_default=sa.func.now()))
        batch.create_check_constraint("big_is_positive", "big > 0")
        batch.drop_index("by_moment")


def downgrade(op: Operations) -> None:
    """Undo upgrade()."""
    with op.batch_alter_table("things") as batch:
        batch.create_index("by_moment", ["moment"])
        batch.drop_constraint("big_is_positive", type_="check")
        batch.drop_column("updated")
        batch.alter_column("price", type_=sa.Numeric(15, 2), existing_type=sa.Numeric(12, 3))
        batch.alter_column("remarks", new_column_name="notes", existing_type=sa.Text)
    op.drop_column("owners", "email")
    op.drop_table("tags")


def run(engine: sa.Engine, step: Callable[[Operations], None]) -> None:
    """Run one migration step as one transaction, foreign keys off as copying a table needs."""
    with engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA foreign_keys = OFF")
        context = migrate(connection)
        with context.begin_transaction(), Operations.context(context) as op:
            step(op)
        connection.commit()
        connection.exec_driver_sql("PRAGMA foreign_keys = ON")


def schema(engine: sa.Engine) -> list[Any]:
    """The tables and indexes, as SQLite keeps them."""
    with engine.connect() as connection:
        return list(connection.exec_driver_sql("SELECT type, name, sql FROM sqlite_schema ORDER BY 1, 2"))


def test_a_failing_migration_leaves_the_schema_as_it_was(engine: sa.Engine) -> None:
    """Tables created, altered and copied before the failure are all undone."""

    def fail(op: Operations) -> None:
        upgrade(op)
        op.execute("INSERT INTO things (big) VALUES (-1)")

    before = schema(engine)
    with pytest.raises(exc.IntegrityError):
        run(engine, fail)
    assert schema(engine) == before


def test_a_migration_goes_up_and_down_again(engine: sa.Engine) -> None:
    """Copying the table keeps its rows and those that refer to it; down again, autogenerate is silent."""
    run(engine, upgrade)
    inspector = sa.inspect(engine)
    assert {"remarks", "updated"} <= {column["name"] for column in inspector.get_columns("things")}
    assert {"big_is_positive"} <= {check["name"] for check in inspector.get_check_constraints("things")}
    with engine.connect() as connection:
        copied = connection.exec_driver_sql("SELECT remarks, doubled, kept, owner_id FROM things").all()
        assert copied == [("note", 8, 12, 1)]
        with pytest.raises(exc.IntegrityError, match="big_is_positive"):
            connection.exec_driver_sql("UPDATE things SET big = -1")
    run(engine, downgrade)
    with engine.connect() as connection:
        returned = connection.execute(sa.select(*(THINGS.c[name] for name in ROW))).one()
        assert returned == tuple(ROW.values())
        assert compare_metadata(migrate(connection), METADATA) == []


def test_autogenerate_finds_nothing_to_do_after_create_all(engine: sa.Engine) -> None:
    """Models of every type, with defaults and checks, equal the tables made from them."""
    with engine.connect() as connection:
        assert compare_metadata(migrate(connection), METADATA) == []


def test_autogenerate_can_compare_a_type_that_sqlite_cannot_declare(engine: sa.Engine) -> None:
    """A NUMERIC(20, 2) of an existing file is compared, so that the narrowing it needs can be generated."""
    metadata = sa.MetaData()
    sa.Table("bills", metadata, sa.Column("total", sa.Numeric(15, 2)))
    with engine.begin() as connection:
        connection.exec_driver_sql("DROP TABLE things")
        connection.exec_driver_sql("DROP TABLE owners")
        connection.exec_driver_sql("CREATE TABLE bills (total NUMERIC(20, 2))")
        ((change,),) = compare_metadata(migrate(connection), metadata)
    assert change[0] == "modify_type"
