"""A table with a column of every kind, its rows, and what a filter, an order and JSON make of them.

The expectations are written out here from the documentation, not derived from the code under test.
"""

import base64
import datetime as dt
import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from support.world import Base

COLORS = ("Zinc", "amber", "blue", "ünïcode")


class Sample(Base):
    """Every kind, not null and nullable."""

    small: Mapped[int] = mapped_column(sa.SmallInteger())
    whole: Mapped[int] = mapped_column(sa.Integer())
    big: Mapped[int]
    real: Mapped[float]
    money: Mapped[Decimal] = mapped_column(sa.Numeric(12, 2))
    exact: Mapped[Decimal]
    text: Mapped[str]
    code: Mapped[str] = mapped_column(sa.String(8))
    flag: Mapped[bool]
    moment: Mapped[dt.datetime]
    local: Mapped[dt.datetime] = mapped_column(sa.DateTime())
    day: Mapped[dt.date]
    hour: Mapped[dt.time]
    token: Mapped[uuid.UUID]
    color: Mapped[str] = mapped_column(sa.Enum(*COLORS, native_enum=False))
    blob: Mapped[bytes]
    doc: Mapped[dict[str, Any]]
    small_or: Mapped[int | None] = mapped_column(sa.SmallInteger())
    whole_or: Mapped[int | None] = mapped_column(sa.Integer())
    big_or: Mapped[int | None]
    real_or: Mapped[float | None]
    money_or: Mapped[Decimal | None] = mapped_column(sa.Numeric(12, 2))
    exact_or: Mapped[Decimal | None]
    text_or: Mapped[str | None]
    code_or: Mapped[str | None] = mapped_column(sa.String(8))
    flag_or: Mapped[bool | None]
    moment_or: Mapped[dt.datetime | None]
    local_or: Mapped[dt.datetime | None] = mapped_column(sa.DateTime())
    day_or: Mapped[dt.date | None]
    hour_or: Mapped[dt.time | None]
    token_or: Mapped[uuid.UUID | None]
    color_or: Mapped[str | None] = mapped_column(sa.Enum(*COLORS, native_enum=False))
    blob_or: Mapped[bytes | None]
    doc_or: Mapped[dict[str, Any] | None] = mapped_column(sa.JSON(none_as_null=True))


EQUALITY = ("eq", "ne", "in", "nin")
RANGES = (*EQUALITY, "lt", "lte", "gt", "gte")
TEXTUAL = (*RANGES, "like", "ilike", "contains")


@dataclass(frozen=True, slots=True)
class KindFacts:
    """One kind of column.

    Attributes:
        values: four values, the first twice as common as the others.
        operators: what filters may ask, besides `is`.
        sortable: whether it has an order.
        wrong: text that is no value of it.
        wrong_json: JSON that is no value of it, in a body.
    """

    values: tuple[Any, ...]
    operators: tuple[str, ...]
    wrong: tuple[str, ...]
    wrong_json: tuple[Any, ...]
    sortable: bool = True


UTC = dt.UTC
NOT_NUMBERS = ("", "x", "1x", "0x10", "1_000", "١", "NaN", "inf", "null", "true")
NOT_INTEGERS = (*NOT_NUMBERS, "1.0", "1e2", "9" * 30)
BODY_NOT_NUMBERS = ("1x", True, [], {}, [1])
BODY_NOT_INTEGERS = (*BODY_NOT_NUMBERS, "1", 1.5, 10**30)
BODY_NOT_TEXT = (1, 1.5, True, [], {}, ["x"])

KINDS: Mapping[str, KindFacts] = {
    "small": KindFacts((0, -(2**15), 7, 2**15 - 1), RANGES, (*NOT_INTEGERS, "32768"), (*BODY_NOT_INTEGERS, 32768)),
    "whole": KindFacts((0, -(2**31), 7, 2**31 - 1), RANGES, (*NOT_INTEGERS, "-2147483649"), (2**31,)),
    "big": KindFacts((2**53 + 1, -(2**63), 2**53, 2**63 - 1), RANGES, (*NOT_INTEGERS, str(2**63)), (2**63,)),
    "real": KindFacts((0.1, -1.5, 1e300, 2.5e-10), RANGES, (*NOT_NUMBERS, "1e999"), BODY_NOT_NUMBERS),
    "money": KindFacts(
        (Decimal("0.10"), Decimal("-3.00"), Decimal("9999999999.99"), Decimal("0.00")),
        RANGES,
        (*NOT_NUMBERS, "1e99"),
        ("1x", "NaN", "Infinity", True, [], "0.001", "99999999999.00"),
    ),
    "exact": KindFacts(
        (Decimal("0.3000"), Decimal("-0.0001"), Decimal("12345678901.2345"), Decimal("2.0000")),
        RANGES,
        NOT_NUMBERS,
        ("", True, {}, "1.00001"),
    ),
    "text": KindFacts(("abc", "", "100%_\\ é𝄞", 'a"b,c'), TEXTUAL, ("\x00",), BODY_NOT_TEXT),
    "code": KindFacts(("Abc", "", "%", "é"), TEXTUAL, ("a\x00b",), (*BODY_NOT_TEXT, "123456789")),
    "flag": KindFacts(
        (True, False, True, False), EQUALITY, ("", "yes", "TRUE", "2", "null"), ("true", 1, 0, []), sortable=True
    ),
    "moment": KindFacts(
        (
            dt.datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
            dt.datetime(1, 1, 1, tzinfo=UTC),
            dt.datetime(2026, 1, 2, 3, 4, 5, 600, tzinfo=UTC),
            dt.datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC),
        ),
        RANGES,
        ("", "yesterday", "2026-13-01T00:00:00Z", "2026-01-01T25:00:00Z", "0001-01-01T00:00:00+14:00", "1767323045"),
        ("yesterday", "5", 5, True, [], "2026-02-30T00:00:00Z", "0001-01-01T00:00:00+14:00"),
    ),
    "local": KindFacts(
        (
            dt.datetime(2026, 1, 2, 3, 4, 5),
            dt.datetime(1969, 12, 31, 23, 59, 59, 999999),
            dt.datetime(2026, 1, 2, 3, 4, 5, 600),
            dt.datetime(2100, 1, 1),
        ),
        RANGES,
        ("", "now", "2026-02-30T00:00:00"),
        ("now", 5, False),
    ),
    "day": KindFacts(
        (dt.date(2026, 1, 2), dt.date(1, 1, 1), dt.date(2024, 2, 29), dt.date(9999, 12, 31)),
        RANGES,
        ("", "2026-02-30", "20260102", "2026-1-2", "2026-01-02T00:00:00Z", "02.01.2026"),
        ("2026-02-30", 5, "x", True),
    ),
    "hour": KindFacts(
        (dt.time(12), dt.time(0), dt.time(12, 0, 0, 1), dt.time(23, 59, 59, 999999)),
        RANGES,
        ("", "24:00:01", "noon", "12:60:00"),
        ("24:00:01", "noon", True, []),
    ),
    "token": KindFacts(
        tuple(
            uuid.UUID(text) for text in ("ABCDEF01-2345-6789-ABCD-EF0123456789", "0" * 32, "f" * 32, "0" * 31 + "5")
        ),
        EQUALITY,
        ("", "x", "abcdef01-2345-6789-abcd-ef012345678", "{abcdef01-2345-6789-abcd-ef0123456789}"),
        ("x", 5, [], True),
    ),
    "color": KindFacts(COLORS, RANGES, ("", "zinc", "red", "BLUE"), ("red", "zinc", "", 1, None)),
    "blob": KindFacts((b"abc", b"", b"\x00\xff", "é".encode()), (), (), ("*", "a", 5, True), sortable=False),
    "doc": KindFacts(
        ({"a": 1, "tags": ["x", "y"]}, {}, {"a": {"b": None}, "é": "𝄞"}, {"n": 2**53 + 1, "t": True}),
        ("contains",),
        (),
        (),
        sortable=False,
    ),
}

#: Row *i* has value `ORDER[i]` of each kind, and null or value `ORDER_OR[i]` in the nullable column.
ORDER = (0, 1, 2, 0, 3)
ORDER_OR = (None, 2, 0, 0, None)


def value_of(column: str, row: int) -> Any:
    """The value of a column in row `row` (from 0)."""
    name = column.removesuffix("_or")
    index = ORDER_OR[row] if column.endswith("_or") else ORDER[row]
    return None if index is None else KINDS[name].values[index]


COLUMNS = (*KINDS, *(f"{name}_or" for name in KINDS))
ROWS = [{"id": i + 1} | {column: value_of(column, i) for column in COLUMNS} for i in range(len(ORDER))]


def json_of(column: str, value: Any) -> Any:
    """A value in a response, as the contract has it."""
    scale = {"money": 2, "exact": 4}.get(column.removesuffix("_or"), 0)
    if isinstance(value, Decimal):
        return f"{value:.{scale}f}"
    if isinstance(value, dt.datetime):
        return value.replace(tzinfo=UTC).isoformat(timespec="microseconds")
    if isinstance(value, dt.time):
        return value.isoformat("microseconds")
    if isinstance(value, dt.date):
        return value.isoformat()
    if isinstance(value, uuid.UUID):
        return str(value)
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    return value


def text_of(column: str, value: Any) -> str:
    """A value in a query string."""
    shown = json_of(column, value)
    if isinstance(shown, bool):
        return "true" if shown else "false"
    return json.dumps(shown) if isinstance(shown, (dict, list)) else str(shown)


def matches(op: str, value: Any, given: Any) -> bool:
    """What a filter makes of a row's value: null fulfils none of them."""
    if value is None:
        return False
    return {
        "eq": lambda: value == given,
        "ne": lambda: value != given,
        "lt": lambda: value < given,
        "lte": lambda: value <= given,
        "gt": lambda: value > given,
        "gte": lambda: value >= given,
        "in": lambda: value in given,
        "nin": lambda: value not in given,
    }[op]()
