"""SQLAlchemy types whose values survive SQLite exactly, or are refused: Numeric and the times with a zone.

A value that PostgreSQL would refuse or round is refused or rounded here too, so that both databases agree.
"""

import datetime as dt
from decimal import ROUND_HALF_UP, Context, Decimal, InvalidOperation
from typing import Any, Protocol, cast

from sqlalchemy import exc, types
from sqlalchemy.dialects.sqlite import DATETIME, TIME
from sqlalchemy.engine import Dialect

from backstay.db.apsw_errors import DataError

DIGITS_MAX = 15
"""Decimal digits that a double, SQLite's only fraction, always gives back as they were."""

_ROUNDING = Context(prec=1000, rounding=ROUND_HALF_UP)  # half away from zero, as PostgreSQL rounds numeric


class Processor(Protocol):
    """Turns one value on its way in or out."""

    def __call__(self, value: Any) -> Any:
        """The turned value."""


class NumericPrecisionError(exc.ArgumentError, exc.DontWrapMixin):
    """A Numeric type has more digits than SQLite can keep exactly."""

    def __init__(self, type_: types.Numeric[Any], column: str | None = None) -> None:
        """Name the type, the column where it is known, and the mend."""
        where = f" of column {column}" if column else ""
        super().__init__(
            f"{named(type_)}{where} has more digits than the {DIGITS_MAX} that SQLite keeps exactly: declare "
            f"Numeric({DIGITS_MAX}, {min(type_.scale or 0, DIGITS_MAX)}) or less, store whole minor units in "
            "BigInteger, or use PostgreSQL"
        )
        self.type_ = type_
        self.column = column


def named(type_: types.Numeric[Any]) -> str:
    """The type as it is declared, `Numeric(20, 2)`."""
    sizes = ", ".join(str(size) for size in (type_.precision, type_.scale) if size is not None)
    return f"{'Numeric' if type(type_) is ApswNumeric else type(type_).__name__}({sizes})"


def refuse_wide(type_: types.Numeric[Any], column: str | None = None) -> None:
    """Raise if the type has more digits than SQLite keeps exactly."""
    if type_.precision is not None and type_.precision > DIGITS_MAX:
        raise NumericPrecisionError(type_, column)


class ApswNumeric(types.Numeric[Any]):
    """Decimal to double and back without loss, rounded to its scale on the way in."""

    def bind_processor(self, dialect: Dialect) -> Processor:
        """Decimal to the nearest double that reads back as the same decimal."""
        refuse_wide(self)
        return lambda value: None if value is None else self._stored(value)

    def literal_processor(self, dialect: Dialect) -> Processor:
        """The same, as SQL text."""
        refuse_wide(self)
        return lambda value: repr(self._stored(value))

    def result_processor(self, dialect: Dialect, coltype: object) -> Processor:
        """Whatever SQLite holds to a Decimal of the declared scale, or to a float."""
        if not self.asdecimal:
            return lambda value: None if value is None else float(value)
        scale = self._scale() if self.decimal_return_scale is None else self.decimal_return_scale
        if scale is None:
            return lambda value: None if value is None else _decimal(value)
        unit = Decimal(1).scaleb(-scale)
        return lambda value: None if value is None else _decimal(value).quantize(unit, context=_ROUNDING)

    def _scale(self) -> int | None:
        return 0 if self.scale is None and self.precision is not None else self.scale

    def _stored(self, value: Any) -> float:
        exact = _decimal(value)
        if not exact.is_finite():
            raise DataError(f"{named(self)} takes finite numbers, not {value!r}")
        scale = self._scale()
        if scale is not None:
            exact = exact.quantize(Decimal(1).scaleb(-scale), context=_ROUNDING)
        if self.precision is not None and abs(exact) >= Decimal(1).scaleb(self.precision - (scale or 0)):
            raise DataError(f"{value} has more digits than {named(self)} holds")
        stored = float(exact)
        if Decimal(repr(stored)) != exact:
            raise DataError(f"{value} has more than the {DIGITS_MAX} digits that SQLite keeps exactly")
        return stored


def _decimal(value: Any) -> Decimal:
    try:
        return Decimal(repr(value) if isinstance(value, float) else value)
    except (InvalidOperation, TypeError, ValueError) as error:
        raise DataError(f"{value!r} is not a number") from error


class ApswDateTime(DATETIME):
    """UTC text in SQLAlchemy's SQLite format; a zone goes in and comes out only where one is declared."""

    def bind_processor(self, dialect: Dialect) -> Processor:
        """With a zone: to UTC, where a value without one is UTC already. Without: such values only."""
        format_ = super().bind_processor(dialect)
        assert format_ is not None, "SQLAlchemy's SQLite DATETIME always formats"
        zoned = self.timezone

        def process(value: Any) -> Any:
            if getattr(value, "tzinfo", None) is not None:
                if not zoned:
                    raise DataError(f"{value} has a zone; declare the column DateTime(timezone=True)")
                value = value.astimezone(dt.UTC)
            return format_(value)

        return process

    def result_processor(self, dialect: Dialect, coltype: object) -> Processor:
        """The stored instant: in UTC where a zone is declared, else without one."""
        parse = super().result_processor(dialect, coltype)
        assert parse is not None, "SQLAlchemy's SQLite DATETIME always parses"
        zoned = self.timezone

        def process(value: Any) -> Any:
            moment = parse(value)
            if moment is None or (moment.tzinfo is None and not zoned):
                return moment
            aware = moment.replace(tzinfo=dt.UTC) if moment.tzinfo is None else moment.astimezone(dt.UTC)
            return aware if zoned else aware.replace(tzinfo=None)

        return process


class ApswTime(TIME):
    """Time of day as text, without a zone: SQLite's text has no room for one."""

    def bind_processor(self, dialect: Dialect) -> Processor:
        """Refuse a zone instead of dropping it."""
        format_ = cast("Processor", super().bind_processor(dialect))

        def process(value: Any) -> Any:
            if getattr(value, "tzinfo", None) is not None:
                raise DataError(f"{value} has a zone, which SQLite's TIME cannot keep")
            return format_(value)

        return process
