"""The types of the apsw dialect: what SQLite would change is refused, the rest returns as it was."""

import datetime as dt
import enum
import uuid
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import exc
from sqlalchemy.dialects import sqlite
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from backstay.db import apsw_dbapi
from backstay.db.apsw_dialect import ApswDialect, create_sync_engine
from backstay.db.apsw_types import NumericPrecisionError
from backstay.schema.base import UtcDateTime, current_instant


class Colour(enum.Enum):
    """An enum to store."""

    RED = "red"
    BLUE = "blue"


class Base(DeclarativeBase):
    """Models of these tests."""


class Thing(Base):
    """Every type there is."""

    __tablename__ = "things"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(sa.String(40), server_default="unnamed")
    notes: Mapped[str | None] = mapped_column(sa.Text)
    count: Mapped[int] = mapped_column(server_default="0")
    big: Mapped[int | None] = mapped_column(sa.BigInteger)
    ratio: Mapped[float | None] = mapped_column(sa.Float)
    price: Mapped[Decimal | None] = mapped_column(sa.Numeric(15, 2))
    rate: Mapped[Decimal | None] = mapped_column(sa.Numeric)
    fraction: Mapped[float | None] = mapped_column(sa.Numeric(10, 4, asdecimal=False))
    flag: Mapped[bool] = mapped_column(server_default=sa.false())
    moment: Mapped[dt.datetime | None] = mapped_column(sa.DateTime)
    instant: Mapped[dt.datetime | None] = mapped_column(sa.DateTime(timezone=True))
    created: Mapped[dt.datetime] = mapped_column(sa.DateTime(timezone=True), server_default=sa.func.now())
    day: Mapped[dt.date | None] = mapped_column(sa.Date)
    time: Mapped[dt.time | None] = mapped_column(sa.Time)
    span: Mapped[dt.timedelta | None] = mapped_column(sa.Interval)
    key: Mapped[uuid.UUID | None] = mapped_column(sa.Uuid)
    data: Mapped[Any] = mapped_column(sa.JSON, nullable=True)
    blob: Mapped[bytes | None] = mapped_column(sa.LargeBinary)
    colour: Mapped[Colour | None] = mapped_column(sa.Enum(Colour))
    doubled: Mapped[int] = mapped_column(sa.Computed("count * 2"))


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[sa.Engine]:
    """An engine for writing, its table made."""
    made = create_sync_engine(tmp_path / "test.db", write=True)
    Base.metadata.create_all(made)
    yield made
    made.dispose()


def stored(engine: sa.Engine, column: str) -> list[Any]:
    """What SQLite holds, untouched by SQLAlchemy's types."""
    with engine.connect() as connection:
        return list(connection.exec_driver_sql(f"SELECT {column} FROM things ORDER BY id").scalars())


# Refused


@pytest.mark.parametrize(
    "type_",
    [sa.Numeric(16, 2), sa.NUMERIC[Any](20), sa.DECIMAL[Any](38, 10), sa.Numeric(16, 0, asdecimal=False)],
)
def test_a_numeric_too_wide_for_sqlite_is_refused_when_declared(type_: sa.Numeric[Any]) -> None:
    """CREATE TABLE names the type, the column and the mend instead of losing digits later."""
    table = sa.Table("bills", sa.MetaData(), sa.Column("total", type_))
    with pytest.raises(NumericPrecisionError) as caught:
        sa.schema.CreateTable(table).compile(dialect=ApswDialect())
    message = str(caught.value)
    assert message.startswith(f"{type(type_).__name__}({type_.precision}")
    assert "of column bills.total" in message
    assert "declare Numeric(15, " in message
    assert "PostgreSQL" in message


def test_a_numeric_too_wide_for_sqlite_is_refused_when_bound(engine: sa.Engine) -> None:
    """A value of such a type, as a table made elsewhere may have, is refused in a bind and in a literal."""
    wide = sa.Table("bills", sa.MetaData(), sa.Column("total", sa.Numeric(20, 2)))
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE bills (total NUMERIC(20, 2))")
        connection.exec_driver_sql("INSERT INTO bills VALUES (12345.5)")
        with pytest.raises(NumericPrecisionError, match=r"Numeric\(20, 2\)"):
            connection.execute(wide.insert(), {"total": Decimal(1)})
        with pytest.raises(NumericPrecisionError):
            connection.execute(sa.select(sa.literal(Decimal(1), wide.c.total.type, literal_execute=True)))
        with pytest.raises(NumericPrecisionError):
            connection.execute(sa.select(sa.cast(wide.c.total, sa.Numeric(20, 2))))
        assert connection.execute(sa.select(wide)).scalar() == Decimal("12345.50")


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("price", Decimal("10000000000000.00")),
        ("price", Decimal("9999999999999.995")),
        ("price", Decimal("NaN")),
        ("price", float("inf")),
        ("price", "ten"),
        ("rate", Decimal("1234567890.1234567890")),
        ("fraction", 1_000_000.0),
        ("moment", dt.datetime(2026, 1, 1, tzinfo=dt.UTC)),
        ("time", dt.time(1, 2, tzinfo=dt.UTC)),
    ],
)
def test_a_value_that_would_change_in_sqlite_is_refused(engine: sa.Engine, column: str, value: Any) -> None:
    """Overflow, excess digits, NaN (which SQLite makes NULL) and a zone without a place are DataErrors."""
    with Session(engine) as session, pytest.raises(exc.DataError) as caught:
        session.execute(sa.insert(Thing).values({column: value}))
    assert isinstance(caught.value.orig, apsw_dbapi.DataError)
    assert stored(engine, "id") == []


# Kept


def test_every_type_returns_what_was_stored(engine: sa.Engine) -> None:
    """An ORM round trip keeps values and Python types of every column type."""
    values: dict[str, Any] = {
        "name": "ä🎲",
        "notes": "two\nlines",
        "count": 3,
        "big": 2**63 - 1,
        "ratio": 0.1,
        "price": Decimal("9999999999999.99"),
        "rate": Decimal("0.000123"),
        "fraction": 2.0,
        "flag": True,
        "moment": dt.datetime(2026, 11, 21, 1, 34, 0, 123456),
        "instant": dt.datetime(2026, 11, 21, 1, 34, tzinfo=dt.UTC),
        "day": dt.date(2026, 2, 28),
        "time": dt.time(23, 59, 59, 999999),
        "span": dt.timedelta(days=400, microseconds=1),
        "key": uuid.uuid4(),
        "data": {"list": [1, 2.5, None, "x"], "deep": {"ß": True}, "big": 2**60},
        "blob": b"\x00\xff",
        "colour": Colour.BLUE,
    }
    with Session(engine) as session:
        session.add(Thing(**values))
        session.commit()
    with Session(engine) as session:
        thing = session.scalars(sa.select(Thing)).one()
        returned = {name: getattr(thing, name) for name in values}
        assert returned == values
        assert {n: type(v) for n, v in returned.items()} == {n: type(v) for n, v in values.items()}
        assert thing.doubled == 6
        assert thing.created.tzinfo is dt.UTC
        found = [
            session.scalar(sa.select(Thing.id).where(getattr(Thing, n) == v))
            for n, v in values.items()
            if n != "data"
        ]
        assert found == [thing.id] * len(found)


def test_null_is_null_in_every_type(engine: sa.Engine) -> None:
    """None goes in and comes out of every nullable column, and SQLite holds NULL."""
    names = [c.name for c in Thing.__table__.columns if c.nullable and c.name not in ("data", "doubled")]
    with Session(engine) as session:
        session.add(Thing(**dict.fromkeys(names)))
        session.commit()
        thing = session.scalars(sa.select(Thing)).one()
        assert [getattr(thing, name) for name in names] == [None] * len(names)
    assert {name: stored(engine, name) for name in names} == {name: [None] for name in names}


def test_json_null_and_sql_null_differ(engine: sa.Engine) -> None:
    """JSON.NULL stores the text null; leaving the column out, or sa.null(), stores NULL."""
    with Session(engine) as session:
        given: list[Any] = [sa.JSON.NULL, sa.null(), None, 0, "text", "", [], {}, False]
        for number, data in enumerate(given):
            session.execute(sa.insert(Thing).values(name=str(number), data=data))
        session.execute(sa.insert(Thing).values(name="left out"))
        session.commit()
        returned = session.scalars(sa.select(Thing.data).order_by(Thing.id)).all()
        assert returned == [None, None, None, 0, "text", "", [], {}, False, None]
        counted = session.scalar(sa.select(sa.func.count()).where(Thing.data.is_(sa.null())))
        assert counted == 2
        session.execute(sa.update(Thing).values(data={"a": {"b": [10, 20]}}))
        assert session.scalar(sa.select(Thing.data["a", "b", 1].as_integer()).limit(1)) == 20


@pytest.mark.parametrize(
    ("given", "returned", "held"),
    [
        (Decimal("1.10"), "1.10", 1.1),
        (Decimal("1.005"), "1.01", 1.01),
        (Decimal("-1.005"), "-1.01", -1.01),
        (Decimal("2"), "2.00", 2),
        (Decimal("0.00"), "0.00", 0),
        (Decimal("-0.00"), "0.00", 0),
        (7, "7.00", 7),
        (0.1, "0.10", 0.1),
        ("3.5", "3.50", 3.5),
        (Decimal("1E+3"), "1000.00", 1000),
        (Decimal("-9999999999999.99"), "-9999999999999.99", -9999999999999.99),
    ],
)
def test_a_numeric_is_exact_at_its_scale(engine: sa.Engine, given: Any, returned: str, held: float) -> None:
    """Decimals are rounded to the scale as PostgreSQL does, kept as numbers, and return with that scale."""
    with Session(engine) as session:
        session.execute(sa.insert(Thing).values(price=given))
        session.commit()
        assert str(session.scalar(sa.select(Thing.price))) == returned
        assert session.scalar(sa.select(Thing.id).where(Thing.price == sa.literal(given, sa.Numeric(15, 2)))) == 1
    assert stored(engine, "price") == [held]


def test_numerics_of_fifteen_digits_all_survive(engine: sa.Engine) -> None:
    """Random and extreme decimals of 15 digits at every scale come back digit for digit."""
    digits = ["999999999999999", "100000000000001", "123456789012345", "999999999999998", "314159265358979"]
    with engine.connect() as connection:
        for scale in range(16):
            type_ = sa.Numeric(15, scale)
            for text in digits:
                value = Decimal(text).scaleb(-scale)
                bound = connection.scalar(sa.select(sa.literal(value, type_)))
                literal = connection.scalar(sa.select(sa.literal(value, type_, literal_execute=True)))
                assert [str(bound), str(literal)] == [f"{value:f}"] * 2


def test_sums_and_averages_of_a_numeric_are_decimals_of_its_scale(engine: sa.Engine) -> None:
    """Ten times 0.10 is exactly 1.00, although SQLite adds doubles."""
    with Session(engine) as session:
        session.execute(sa.insert(Thing), [{"name": str(n), "price": Decimal("0.10")} for n in range(10)])
        total, mean = session.execute(sa.select(sa.func.sum(Thing.price), sa.func.sum(Thing.price) * 2)).one()
        assert (str(total), str(mean)) == ("1.00", "2.00")


def test_an_instant_is_stored_in_utc_and_returns_in_utc(engine: sa.Engine) -> None:
    """A zone is converted, not dropped; a value without one counts as UTC."""
    east = dt.timezone(dt.timedelta(hours=5, minutes=30))
    with Session(engine) as session:
        session.add(Thing(name="a", instant=dt.datetime(2026, 1, 1, 2, 0, tzinfo=east)))
        session.add(Thing(name="b", instant=dt.datetime(2026, 1, 1, 2, 0)))
        session.commit()
        returned = session.scalars(sa.select(Thing.instant).order_by(Thing.id)).all()
    assert returned == [
        dt.datetime(2025, 12, 31, 20, 30, tzinfo=dt.UTC),
        dt.datetime(2026, 1, 1, 2, tzinfo=dt.UTC),
    ]
    assert stored(engine, "instant") == ["2025-12-31 20:30:00.000000", "2026-01-01 02:00:00.000000"]


def test_iso_texts_of_other_programs_are_read(engine: sa.Engine) -> None:
    """Texts with T, Z or an offset, as existing files hold them, are the instants they name."""
    with engine.begin() as connection:
        for text in ("2026-01-01T00:00:00Z", "2026-01-01 02:00:00+02:00", "2026-01-01"):
            connection.exec_driver_sql("INSERT INTO things (name, moment, instant) VALUES (?1, ?1, ?1)", (text,))
        for moment, instant in connection.execute(sa.select(Thing.moment, Thing.instant)):
            assert moment == dt.datetime(2026, 1, 1)
            assert instant == dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


def test_now_compares_with_stored_times(engine: sa.Engine) -> None:
    """func.now() and a DateTime default have the format of a bound value: same width, sorted as one."""
    with Session(engine) as session:
        session.execute(sa.insert(Thing).values(instant=dt.datetime.now(dt.UTC)))
        session.commit()
        assert session.scalar(sa.select(sa.func.now() >= Thing.instant))
        assert isinstance(session.scalar(sa.select(sa.func.now())), dt.datetime)
    assert {len(text) for text in stored(engine, "created") + stored(engine, "instant")} == {26}


def test_a_type_with_a_storage_format_of_its_own_is_left_alone(engine: sa.Engine) -> None:
    """SQLite's DATETIME, given by name, formats and parses as SQLAlchemy says, whatever the zone."""
    iso = sqlite.DATETIME(
        storage_format="%(year)04d%(month)02d%(day)02dT%(hour)02d+00:00", regexp=r"(\d{4})(\d\d)(\d\d)T(\d\d)"
    )
    with engine.connect() as connection:
        bound = sa.literal(dt.datetime(2026, 1, 2, 3, tzinfo=dt.UTC), iso)
        assert connection.scalar(sa.select(sa.cast(bound, sa.String))) == "20260102T03+00:00"
        assert connection.scalar(sa.select(bound)) == dt.datetime(2026, 1, 2, 3)


def test_backstays_own_instant_is_stored_as_json_shows_it(engine: sa.Engine) -> None:
    """UtcDateTime passes through the dialect: any zone in, UTC out, ISO 8601 with its offset in the file."""
    table = sa.Table("instants", sa.MetaData(), sa.Column("at", UtcDateTime, server_default=current_instant()))
    east = dt.timezone(dt.timedelta(hours=2))
    with engine.begin() as connection:
        table.create(connection)
        connection.execute(table.insert().values(at=dt.datetime(2026, 1, 1, tzinfo=east)))
        connection.execute(table.insert())
        texts = connection.exec_driver_sql("SELECT at FROM instants").scalars().all()
        assert texts[0] == "2025-12-31T22:00:00.000000+00:00"
        assert [len(text) for text in texts] == [32, 32]
        assert connection.scalars(sa.select(table.c.at)).first() == dt.datetime(2025, 12, 31, 22, tzinfo=dt.UTC)
