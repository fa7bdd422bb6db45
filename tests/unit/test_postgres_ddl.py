"""One set of models makes tables on both databases: what would go wrong silently first, then what each column is."""

import enum
import warnings
from collections.abc import Iterator
from datetime import date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal
from uuid import UUID

import pytest
import sqlalchemy as sa
from pydantic import Field, StringConstraints
from sqlalchemy.dialects import postgresql
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from backstay.db.engines import create_sync_engine
from backstay.schema.base import NAMING, ModelBase, UuidKey
from support.postgres import fresh_database


class Colour(enum.Enum):
    """Stored by name."""

    RED = "red"
    BLUE = "blue"


class Base(ModelBase, DeclarativeBase):
    """A registry of these tests' own."""

    metadata = sa.MetaData(naming_convention=NAMING)


links = sa.Table(
    "links",
    Base.metadata,
    sa.Column("team_id", sa.ForeignKey("teams.id"), primary_key=True),
    sa.Column("badge_id", sa.ForeignKey("badges.id"), primary_key=True),
)


class Team(Base):
    """Every type that a model may have."""

    name: Mapped[Annotated[str, StringConstraints(min_length=1, max_length=8)]]
    code: Mapped[str] = mapped_column(sa.String(10))
    size: Mapped[Annotated[int, Field(ge=0, le=5)]]
    price: Mapped[Annotated[Decimal, Field(gt=0)] | None] = mapped_column(sa.Numeric(8, 2))
    open: Mapped[bool] = mapped_column(server_default=sa.false())
    at: Mapped[datetime] = mapped_column(server_default=sa.func.now())
    day: Mapped[date | None]
    clock: Mapped[time | None]
    ratio: Mapped[float | None]
    data: Mapped[Annotated[dict[str, Any], Field(max_length=3)] | None]
    items: Mapped[list[Any] | None]
    plain: Mapped[dict[str, Any] | None] = mapped_column(sa.JSON().with_variant(postgresql.JSON(), "postgresql"))
    blob: Mapped[bytes | None]
    token: Mapped[UUID | None]
    colour: Mapped[Colour]
    level: Mapped[Literal["it's", "high"]]
    native: Mapped[Colour | None] = mapped_column(sa.Enum(Colour, name="colour"))
    german: Mapped[str | None] = mapped_column(sa.Text(collation="POSIX").with_variant(sa.Text(), "sqlite"))
    __table_args__ = (
        sa.Index("ix_data", "data", postgresql_using="gin"),
        sa.Index("ix_words", sa.text("to_tsvector('english', name)"), postgresql_using="gin"),
        sa.Index("ix_at", "at", postgresql_using="brin"),
        sa.Index("ix_lower", sa.func.lower(sa.text("name"))),
        sa.Index("ix_open", "code", unique=True, postgresql_where=sa.text("size > 0")),
    )


class Badge(UuidKey, Base):
    """A UUID key and foreign keys: one is led by a constraint, one by a partial index only, one by nothing."""

    team_id: Mapped[int] = mapped_column(sa.ForeignKey("teams.id"))
    second_id: Mapped[int] = mapped_column(sa.ForeignKey("teams.id"))
    third_id: Mapped[int | None] = mapped_column(sa.ForeignKey("teams.id"))
    place: Mapped[str]
    __table_args__ = (
        sa.UniqueConstraint("team_id", "place"),
        sa.Index("ix_partial", "second_id", sqlite_where=sa.text("second_id > 0")),
    )


class Pin(Base):
    """A foreign key of two columns, which the unique constraint has in another order."""

    badge_team: Mapped[int]
    badge_place: Mapped[str]
    note: Mapped[str | None]
    __table_args__ = (sa.ForeignKeyConstraint(["badge_team", "badge_place"], ["badges.team_id", "badges.place"]),)


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def engine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[sa.Engine]:
    """A database with the models' tables."""
    path = Path(tmp_path_factory.mktemp("ddl")) / "test.db"
    url = fresh_database() if request.param == "postgresql" else f"sqlite:///{path}"
    made = create_sync_engine(url, write=True)
    Base.metadata.create_all(made)
    yield made
    made.dispose()


def team(**values: Any) -> Team:
    """A team that no constraint refuses, but for these values."""
    given: dict[str, Any] = {"name": "a", "code": "c", "size": 1, "colour": Colour.RED, "level": "it's"}
    return Team(**given | values)


@pytest.mark.parametrize(
    "values",
    [
        {"name": ""},
        {"name": "é" * 9},
        {"size": -1},
        {"size": 6},
        {"price": Decimal("0.00")},
        {"colour": sa.type_coerce("GREY", sa.Text())},
        {"level": sa.type_coerce("its", sa.Text())},
    ],
)
def test_what_the_model_forbids_the_database_refuses(engine: sa.Engine, values: dict[str, Any]) -> None:
    """Bounds, lengths in characters and the values of an enum are CHECK constraints on both."""
    with Session(engine) as session:
        session.execute(sa.insert(Team).values(**columns_of(team())))
        with pytest.raises(sa.exc.IntegrityError, match=r"(?i)check constraint"):
            session.execute(sa.insert(Team).values(**columns_of(team(code="d")) | values))


def columns_of(row: Team) -> dict[str, Any]:
    """Its values that are set."""
    return {name: value for name, value in vars(row).items() if not name.startswith("_")}


def test_text_sorts_by_bytes(engine: sa.Engine) -> None:
    """In every column that says nothing else, and an index serves the order and prefixes."""
    names = ["a", "B", "_", "é", "z", "Z", "ß", "10", "9"]
    with Session(engine) as session:
        session.add_all(team(name=name, code=name) for name in names)
        session.flush()
        for column in (Team.name, Team.code):
            assert list(session.scalars(sa.select(column).order_by(column))) == sorted(names, key=str.encode)


def test_the_database_numbers_keys_and_takes_given_ones(engine: sa.Engine) -> None:
    """An id may be given; it is not GENERATED ALWAYS."""
    with Session(engine) as session:
        session.add(team(code="first"))
        session.add(team(id=1_000, code="given"))
        session.flush()
        assert set(session.scalars(sa.select(Team.id))) > {1_000}
    if engine.name == "postgresql":
        identity = sa.inspect(engine).get_columns("teams")[0]["identity"]
        assert (identity["always"], identity["start"]) == (False, 1)


def test_every_value_comes_back(engine: sa.Engine) -> None:
    """As the same Python value on both."""
    given = {
        "price": Decimal("12.30"),
        "at": datetime.fromisoformat("2026-01-02T03:04:05.678901+00:00"),
        "day": date(2026, 1, 2),
        "clock": time(1, 2, 3, 4),
        "ratio": 0.1,
        "data": {"b": 1, "a": [2**70, None, "é"]},
        "items": [1, {"x": 0.1}],
        "plain": {"b": 1, "a": 2},
        "blob": b"\x00\xff",
        "token": UUID("01890a5d-ac96-774b-bcce-b302099a8057"),
        "native": Colour.BLUE,
    }
    with Session(engine) as session:
        row = team(**given)
        session.add(row)
        session.flush()
        session.expire_all()
        assert {name: getattr(row, name) for name in given} == given
        assert list(row.plain) == ["b", "a"]


def test_types_on_postgresql() -> None:
    """Each is what PostgreSQL has for it."""
    url = fresh_database()
    engine = create_sync_engine(url, write=True)
    Base.metadata.create_all(engine)
    query = """SELECT a.attname, format_type(a.atttypid, a.atttypmod), c.collname FROM pg_attribute a
        LEFT JOIN pg_collation c ON c.oid = a.attcollation
        WHERE a.attrelid = 'teams'::regclass AND a.attnum > 0"""
    with engine.connect() as connection:
        found = {name: (type_, collation) for name, type_, collation in connection.exec_driver_sql(query)}
        assert connection.exec_driver_sql("SELECT pg_typeof(id)::text FROM badges").first() is None
        assert str(sa.inspect(engine).get_columns("badges")[0]["type"]) == "UUID"
    engine.dispose()
    assert found == {
        "id": ("bigint", None),
        "name": ("text", "C"),
        "code": ("character varying(10)", "C"),
        "size": ("bigint", None),
        "price": ("numeric(8,2)", None),
        "open": ("boolean", None),
        "at": ("timestamp with time zone", None),
        "day": ("date", None),
        "clock": ("time without time zone", None),
        "ratio": ("double precision", None),
        "data": ("jsonb", None),
        "items": ("jsonb", None),
        "plain": ("json", None),
        "blob": ("bytea", None),
        "token": ("uuid", None),
        "colour": ("character varying(4)", "C"),
        "level": ("character varying(4)", "C"),
        "native": ("colour", None),
        "german": ("text", "POSIX"),
        "created_at": ("timestamp with time zone", None),
        "updated_at": ("timestamp with time zone", None),
        "version": ("bigint", None),
    }


def test_every_foreign_key_has_an_index(engine: sa.Engine) -> None:
    """Of its own, unless a key, a constraint or a whole index begins with its columns; association tables too."""
    inspector = sa.inspect(engine)
    found = {
        (table, *index["column_names"])
        for table in ("badges", "links", "pins")
        for index in inspector.get_indexes(table)
        if not index.get("duplicates_constraint") and index["name"] != "ix_partial"
    }
    assert found == {
        ("badges", "second_id"),
        ("badges", "third_id"),
        ("links", "badge_id"),
        ("pins", "badge_team", "badge_place"),
    }


def test_special_indexes_are_made_where_they_exist(engine: sa.Engine) -> None:
    """GIN is left out on SQLite; BRIN becomes a B-tree there; a partial index is partial on both."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = {index["name"] for index in sa.inspect(engine).get_indexes("teams")}
    special = {"ix_data", "ix_words"} if engine.name == "postgresql" else set[str]()
    # SQLAlchemy's SQLite reflection does not list an index of expressions.
    assert found - {"ix_lower"} == special | {"ix_at", "ix_open"}
    with Session(engine) as session:
        session.add_all([team(code="same", size=0), team(code="same", size=0)])
        session.flush()
        session.add_all([team(code="same", size=1), team(code="same", size=1)])
        with pytest.raises(sa.exc.IntegrityError):
            session.flush()
