"""A model with a column of every sortable kind, nullable and not, and strategies for its rows."""

import datetime as dt
import uuid
from collections.abc import Iterable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from hypothesis import strategies as st
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from backstay import Backstay, ModelBase, public
from support.asgi import quiet

COLORS = ("Zinc", "amber", "blue", "ünïcode")


class Base(ModelBase, DeclarativeBase):
    """A registry of its own."""

    metadata = sa.MetaData()


class Owner(Base):
    """What the to-one way leads to."""

    __tablename__ = "owners"
    rank: Mapped[int | None]
    name: Mapped[str]


class Thing(Base):
    """A column of every sortable kind."""

    __tablename__ = "things"
    # A deleted key is never given again, so that a key tells a row for ever.
    __table_args__ = {"sqlite_autoincrement": True}
    whole: Mapped[int]
    real: Mapped[float]
    price: Mapped[Decimal]
    text: Mapped[str]
    moment: Mapped[dt.datetime]
    local: Mapped[dt.datetime] = mapped_column(sa.DateTime())
    day: Mapped[dt.date]
    hour: Mapped[dt.time]
    code: Mapped[uuid.UUID]
    flag: Mapped[bool]
    color: Mapped[str] = mapped_column(sa.Enum(*COLORS, native_enum=False))
    whole_or: Mapped[int | None]
    real_or: Mapped[float | None]
    price_or: Mapped[Decimal | None]
    text_or: Mapped[str | None]
    moment_or: Mapped[dt.datetime | None]
    local_or: Mapped[dt.datetime | None] = mapped_column(sa.DateTime())
    day_or: Mapped[dt.date | None]
    hour_or: Mapped[dt.time | None]
    code_or: Mapped[uuid.UUID | None]
    flag_or: Mapped[bool | None]
    color_or: Mapped[str | None] = mapped_column(sa.Enum(*COLORS, native_enum=False))
    owner_id: Mapped[int | None] = mapped_column(sa.ForeignKey("owners.id"))
    owner: Mapped[Owner | None] = relationship()


INTEGERS = st.sampled_from([-(2**63), -(2**53) - 1, -1, 0, 1, 2, 2**53 + 1, 2**63 - 1]) | st.integers(
    -(2**63), 2**63 - 1
)
FLOATS = st.sampled_from(
    [0.1 + 0.2, 0.3, 1e22, 1e23, -0.0, 0.0, 5e-324, 2.2250738585072014e-308, 1.7976931348623157e308, 1e15, 0.1]
) | st.floats(allow_nan=False, allow_infinity=False)
NUMERICS = st.sampled_from(
    [Decimal("0.3000"), Decimal("0.1000"), Decimal("-0.0001"), Decimal("99999999999.9999"), Decimal(0)]
) | st.decimals(-99_999_999_999, 99_999_999_999, places=4)
#: Text that both databases hold and JSON carries: no NUL, no lone surrogates.
CHARACTERS = st.characters(exclude_categories=["Cs"], exclude_characters="\x00")
TEXTS = st.sampled_from(
    ["", " ", "a", "A", "ä", "Ä", "Z", "z", "é", "e\u0301", "ß", "SS", "0", "10", "9", "null", '"', "\\", "%_", "𝄞"]
) | st.text(CHARACTERS, max_size=8)
MOMENTS = st.sampled_from([dt.datetime.min, dt.datetime(2026, 1, 1), dt.datetime.max]) | st.datetimes()
KINDS: Mapping[str, st.SearchStrategy[Any]] = {
    "whole": INTEGERS,
    "real": FLOATS,
    "price": NUMERICS,
    "text": TEXTS,
    "moment": MOMENTS,
    "local": MOMENTS,
    "day": st.sampled_from([dt.date.min, dt.date.max]) | st.dates(),
    "hour": st.sampled_from([dt.time.min, dt.time.max]) | st.times(),
    "code": st.sampled_from([uuid.UUID(int=0), uuid.UUID(int=2**128 - 1)]) | st.uuids(),
    "flag": st.booleans(),
    "color": st.sampled_from(COLORS),
}
#: Sort keys with the place of their value in a drawn row.
COLUMNS = [*KINDS, *(f"{name}_or" for name in KINDS)]
PATHS = ["owner.rank", "owner.name"]

#: What the columns that a test does not vary hold.
PLAIN: Mapping[str, Any] = {
    "whole": 1,
    "real": 0.5,
    "price": Decimal("1.5000"),
    "text": "t",
    "moment": dt.datetime(2026, 1, 1),
    "local": dt.datetime(2026, 1, 1),
    "day": dt.date(2026, 1, 1),
    "hour": dt.time(12),
    "code": uuid.UUID(int=7),
    "flag": True,
    "color": "blue",
}


def values_of(column: str) -> st.SearchStrategy[Any]:
    """Values of a column; its `_or` twin may be null."""
    base = KINDS[column.removesuffix("_or")]
    return st.none() | base if column.endswith("_or") else base


@st.composite
def rows_of(draw: st.DrawFn, columns: Iterable[str], *, least: int = 0, most: int = 12) -> list[dict[str, Any]]:
    """Rows that vary in these columns, with few distinct values so that ties are common."""
    pools = {c: draw(st.lists(values_of(c), min_size=1, max_size=4)) for c in columns if "." not in c}
    count = draw(st.integers(least, most))
    return [dict(PLAIN) | {c: draw(st.sampled_from(pool)) for c, pool in pools.items()} for _ in range(count)]


def app_of(where: Path | str) -> Backstay:
    """Both models, readable and writable by everybody."""
    app = Backstay("kinds", config=quiet(where))
    app.resource(Owner, read=public, write=public)
    app.resource(Thing, read=public, write=public)
    return app
