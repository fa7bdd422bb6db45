"""SQLite's dialect: JSON1 functions, and how values of each kind are stored.

Two facts shape it. A JSON value that passes through a scalar subquery becomes a string, so nested queries are
wrapped in `json()`. A double holds every decimal of up to 15 digits exactly, so `NUMERIC` is stored as REAL
and written out with its declared scale.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime, time
from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal
from functools import partial
from typing import Any, cast
from uuid import UUID

import orjson
import sqlalchemy as sa
from sqlalchemy.dialects.sqlite.base import SQLiteCompiler, SQLiteDialect
from sqlalchemy.sql.compiler import SQLCompiler

from ..query import values
from ..query.ir import Function, Op
from ..schema.kinds import ISO_LAYOUT
from ..schema.model import Column, Kind
from ..schema.types import list_text
from .dialect import Expression, Listed, Member, Query, fixed
from .images import SqliteImages
from .search import SqliteSearch
from .statement import Reader

#: SQL functions that the engine registers on every connection, because SQLite has none.
BASE64 = "backstay_base64"
JSON_CONTAINS = "backstay_json_contains"
FLOAT_TEXT = "backstay_float_text"
ROUNDED = "backstay_rounded"

_TRUE = fixed("json('true')")
_FALSE = fixed("json('false')")
_GLOB_SPECIAL = re.compile(r"([*?\[])")
#: No decimal that a column holds equals it.
_NOWHERE = 1e300
_REAL: Any = cast(Any, sa.REAL())
_EXACT = Context(prec=200)


def name_literal(name: str) -> Expression:
    """A member's name as a SQL string literal; names come from the schema, never from a caller."""
    return fixed("'" + name.replace("'", "''") + "'")


def glob_of(pattern: str) -> str:
    r"""A LIKE pattern (`%`, `_`, `\` escapes) as a GLOB, which is case-sensitive and can use an index.

    Example:
        >>> glob_of(r"a%b_c\%*")
        'a*b?c%[*]'
    """
    out: list[str] = []
    escaped = False
    for char in pattern:
        if escaped:
            out.append(_GLOB_SPECIAL.sub(r"[\1]", char))
            escaped = False
        elif char == "\\":
            escaped = True
        else:
            out.append({"%": "*", "_": "?"}.get(char) or _GLOB_SPECIAL.sub(r"[\1]", char))
    return "".join(out)


def _datetime_text(layout: str, value: datetime) -> str:
    """An instant as this column writes it; `layout` is `separator|fraction digits|suffix`, or `date`."""
    moment = value.astimezone(UTC) if value.tzinfo is not None else value
    if layout == "date":
        return moment.date().isoformat()
    separator, digits, suffix = layout.split("|")
    text = moment.replace(tzinfo=None).isoformat(separator, "microseconds")
    return text[: 20 + int(digits)].rstrip(".") + suffix


def _time_text(value: time) -> str:
    return value.isoformat("microseconds")


def _dumps(value: Any) -> str:
    try:
        return orjson.dumps(value).decode()
    except TypeError:  # an integer of more than 64 bits, which JSON has and orjson has not
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


class _Compiler(SQLiteCompiler):
    """SQLAlchemy's compiler, less two habits that cost us."""

    def returning_clause(self, stmt: Any, returning_cols: Any, *, populate_result_map: bool, **kw: Any) -> str:
        """Keep table names in RETURNING: a rule's subquery there must not capture a bare column name."""
        base = cast(Any, SQLCompiler.returning_clause)
        return base(self, stmt, returning_cols, populate_result_map=populate_result_map, **kw)

    def limit_clause(self, select: Any, **kw: Any) -> str:
        """No `OFFSET 0` parameter where there is no offset."""
        if select._offset_clause is None and select._limit_clause is not None:
            return "\n LIMIT " + self.process(select._limit_clause, **kw)
        return cast(Any, super()).limit_clause(select, **kw)


class SqliteDialect:
    """See `dialect.Dialect`."""

    name = "sqlite"
    lateral = False
    #: The connection that writes knows.
    attribution: Expression | None = None
    search = SqliteSearch()
    images = SqliteImages()

    def __init__(self) -> None:
        self._core = SQLiteDialect(paramstyle="qmark")
        self._core.statement_compiler = _Compiler

    @property
    def core(self) -> SQLiteDialect:
        """SQLAlchemy's dialect, which renders the text."""
        return self._core

    def json_value(self, column: Column, expression: Expression) -> Expression:
        """A column's value in its JSON form."""
        kind = column.kind
        if kind is Kind.BOOLEAN:
            return sa.case((expression.is_(None), sa.null()), (expression, _TRUE), else_=_FALSE)
        if kind is Kind.NUMERIC:
            text = sa.func.printf(fixed(f"'%.{column.scale}f'"), expression)
            numbers = sa.func.typeof(expression).in_([fixed("'integer'"), fixed("'real'")])
            return sa.case((numbers, text), else_=_safe(expression))
        if kind is Kind.FLOAT:
            shown = _float_shown(expression)
            real = sa.func.typeof(expression) == fixed("'real'")
            return sa.case((real, shown), else_=_safe(expression)) if column.loose else shown
        if kind is Kind.DATETIME and column.layout != ISO_LAYOUT:
            return _instant(expression)
        if kind is Kind.UUID:
            return _uuid(expression)
        if kind is Kind.BYTES:
            return cast(Expression, getattr(sa.func, BASE64)(expression))
        if kind is Kind.ARRAY:
            return sa.func.json(expression)
        if kind is Kind.JSON:
            valid = sa.func.json_valid(expression)
            return sa.case((valid, sa.func.json(expression)), else_=_safe(expression))
        return _safe(expression) if column.loose else expression

    def json_object(self, members: Sequence[Member]) -> Expression:
        """An object with these members, in order."""
        arguments = [part for name, value in members for part in (name_literal(name), value)]
        return sa.func.json_object(*arguments)

    def json_row(self, rows: sa.FromClause, names: Sequence[str]) -> Expression:
        """SQLite has no lateral queries."""
        raise AssertionError("objects are made of members")

    def json_list(self, item: Expression, origin: Any, order: Sequence[Expression], first: int = 0) -> Listed:
        """An aggregate of the rows, which keep the order of the query that they come from."""
        return Listed(sa.func.json_group_array(item), origin)

    def json_array(self, items: Sequence[Expression]) -> Expression:
        """An array of these values."""
        return sa.func.json_array(*items)

    def json_nested(self, query: Query) -> Expression:
        """A scalar subquery whose value is JSON and stays JSON."""
        return sa.func.json(query.scalar_subquery())

    def json_bytes(self, expression: Expression) -> Expression:
        """A BLOB, which the driver hands over without decoding."""
        return sa.cast(expression, sa.LargeBinary())

    def empty_list(self) -> Expression:
        """The JSON value []."""
        return fixed("json('[]')")

    def allowed(self, check: Expression) -> Expression:
        """The writer rolls a refused row back."""
        return sa.case((check, fixed("1")), else_=fixed("0"))

    def compare(self, column: Column, left: Expression, op: Op, value: sa.BindParameter[Any]) -> Expression:
        """A filter's comparison; lists arrive as one JSON parameter, so that the text does not grow."""
        simple = _COMPARISONS.get(op)
        if simple is not None:
            return simple(left, value)
        if op in (Op.IN, Op.NIN):
            items = sa.func.json_each(value).table_valued("value")
            found = left.in_(sa.select(items.c.value))
            return sa.not_(found) if op is Op.NIN else found
        if op is Op.LIKE:
            return left.op("GLOB")(value)
        if op is Op.ILIKE:
            return left.like(value, escape="\\")
        if column.kind in (Kind.JSON, Kind.ARRAY):
            return getattr(sa.func, JSON_CONTAINS)(left, value) == fixed("1")
        return sa.func.instr(left, value) > fixed("0")

    def sort_key(self, column: Column, expression: Expression) -> Expression:
        """Values as they are stored: text by its bytes."""
        return expression

    def aggregate(
        self, function: Function, column: Column | None, expression: Expression | None, *, distinct: bool
    ) -> Expression:
        """An aggregate of a column's values; decimals are added as the integers that they are of their last digit."""
        if expression is None or column is None:
            return sa.func.count()
        adds = function in (Function.SUM, Function.AVG)
        scale = _scale_added(column) if adds else None
        if scale is not None:
            expression = sa.cast(sa.func.round(expression.op("*")(_tens(scale))), sa.Integer())
        argument: Any = sa.distinct(expression) if distinct else expression
        if scale is not None and function is Function.AVG:
            many = sa.func.count(argument).op("*")(_tens(scale))
            return sa.cast(sa.func.sum(argument), _REAL).op("/")(many)
        found = cast(Expression, getattr(sa.func, function.value)(argument))
        return getattr(sa.func, ROUNDED)(found) if adds and column.kind is Kind.FLOAT else found

    def measure_value(self, function: Function, column: Column | None, expression: Expression) -> Expression:
        """An aggregate's JSON form: counts and averages are numbers, the others look like their column."""
        if column is None or function is Function.COUNT:
            return expression
        if function is Function.AVG:
            return _float_shown(expression)
        scale = _scale_added(column)
        if function is Function.SUM and scale is not None:
            return _decimal_shown(expression, scale)
        return self.json_value(column, expression)

    def order(self, expression: Expression, *, descending: bool, nullable: bool) -> Expression:
        """A sort key; null is larger than every value, as PostgreSQL has it."""
        key = expression.desc() if descending else expression.asc()
        if not nullable:
            return key
        return key.nulls_first() if descending else key.nulls_last()

    def reader(self, column: Column) -> Callable[[Any], Any] | None:
        """From a Python value of the column's kind to the driver's."""
        if column.kind is Kind.DATETIME:
            layout = column.layout or " |6|"
            return lambda value: None if value is None else _datetime_text(layout, value)
        if column.kind is Kind.JSON:
            return lambda value: None if value is None and column.nullable else _dumps(value)
        convert = _STORED.get(column.kind)
        if convert is None:
            return None
        if column.kind is Kind.UUID and column.loose:
            return lambda value: None if value is None else str(value)
        return lambda value: None if value is None else convert(value)

    def plain(self, value: Any) -> Any:
        """As it is."""
        return value

    def typed(self, value: sa.BindParameter[Any], sql_type: Any) -> Expression:
        """SQLite asks for no types."""
        return value

    def slot_reader(self, column: Column, op: Op) -> Reader:
        """From a filter's text to the driver's value."""
        if column.kind is Kind.INTEGER and op not in (Op.IN, Op.NIN):
            return _integer_reader(column)
        store = self.reader(column) or _same
        if column.kind is Kind.NUMERIC and column.scale is not None and not column.loose:
            store = partial(_between, column, op)
        if op in (Op.IN, Op.NIN):
            return lambda raw: _dumps([store(item) for item in values.parse_list(column, raw)])
        if op is Op.LIKE:
            return lambda raw: glob_of(values.text(raw))
        if op in (Op.ILIKE, Op.CONTAINS) and column.kind not in (Kind.JSON, Kind.ARRAY):
            return values.text if op is Op.CONTAINS else _like
        return lambda raw: store(values.parse(column, raw))


def _float_shown(expression: Expression) -> Expression:
    """A double in PostgreSQL's form, as a JSON number."""
    return sa.func.json(getattr(sa.func, FLOAT_TEXT)(expression))


def _scale_added(column: Column) -> int | None:
    """How many digits behind the point the values of a column all have, so that integers can stand for them."""
    return column.scale if column.kind is Kind.NUMERIC and not column.loose else None


def _tens(scale: int) -> Expression:
    return fixed(str(10**scale))


def _decimal_shown(expression: Expression, scale: int) -> Expression:
    """So many of the last digit, as a decimal with its scale."""
    if not scale:
        return sa.cast(expression, sa.Text())
    sign = sa.case((expression < fixed("0"), fixed("'-'")), else_=fixed("''"))
    size = sa.func.abs(expression)
    parts = (size.op("/")(_tens(scale)), size.op("%")(_tens(scale)))
    text = sa.func.printf(fixed(f"'%s%d.%0{scale}d'"), sign, *parts)
    return sa.case((expression.is_(None), sa.null()), else_=text)


def _between(column: Column, op: Op, value: Decimal) -> float:
    """A filter's decimal; for one of more digits than the column's, the neighbour that compares as it does."""
    step = Decimal(1).scaleb(-(column.scale or 0))
    below = value.quantize(step, ROUND_FLOOR, _EXACT)
    if below == value:
        return float(value)
    if op in (Op.GT, Op.LTE):
        return float(below)
    return float(value.quantize(step, ROUND_CEILING, _EXACT)) if op in (Op.GTE, Op.LT) else _NOWHERE


def _safe(expression: Expression) -> Expression:
    """A value of an existing file, which may be a BLOB whatever its column says."""
    blob = sa.func.typeof(expression) == fixed("'blob'")
    return sa.case((blob, getattr(sa.func, BASE64)(expression)), else_=expression)


def _instant(expression: Expression) -> Expression:
    """Text that SQLAlchemy or other programs wrote, as ISO 8601 in UTC."""
    size = sa.func.length(expression)
    literal = fixed
    stored = sa.type_coerce(expression, sa.Text())  # SQLAlchemy's DateTime has no `||`
    joined = sa.func.replace(expression, literal("' '"), literal("'T'"))
    return sa.case(
        (sa.func.typeof(expression) != literal("'text'"), _safe(expression)),
        (size == literal("19"), joined.concat(literal("'.000000+00:00'"))),
        (size == literal("26"), joined.concat(literal("'+00:00'"))),
        (size == literal("23"), joined.concat(literal("'000+00:00'"))),
        (size == literal("10"), stored.concat(literal("'T00:00:00.000000+00:00'"))),
        else_=expression,
    )


def _uuid(expression: Expression) -> Expression:
    literal = fixed
    lower = sa.func.lower(expression)
    parts = [
        sa.func.substr(lower, literal(a), literal(b))
        for a, b in (("1", "8"), ("9", "4"), ("13", "4"), ("17", "4"), ("21", "12"))
    ]
    dashed: Any = parts[0]
    for part in parts[1:]:
        dashed = dashed.concat(literal("'-'")).concat(part)
    return sa.case((sa.func.length(expression) == literal("32"), dashed), else_=lower)


def _same(value: Any) -> Any:
    return value


def _integer_reader(column: Column) -> Reader:
    """Integers address most rows: plain digits that fit need no regular expression."""
    digits = len(str(column.high)) - 1

    def read(raw: str) -> int:
        if len(raw) <= digits and raw.isdigit() and raw.isascii():
            return int(raw)
        return values.parse(column, raw)

    return read


def _like(raw: str) -> str:
    """A pattern whose last character is a lone escape would be refused by SQLite."""
    values.text(raw)
    trailing = len(raw) - len(raw.rstrip("\\"))
    return raw + "\\" if trailing % 2 else raw


_COMPARISONS: Mapping[Op, Callable[[Any, Any], Any]] = {
    Op.EQ: lambda left, value: left == value,
    Op.NE: lambda left, value: left != value,
    Op.LT: lambda left, value: left < value,
    Op.LTE: lambda left, value: left <= value,
    Op.GT: lambda left, value: left > value,
    Op.GTE: lambda left, value: left >= value,
}

_STORED: Mapping[Kind, Callable[[Any], Any]] = {
    Kind.NUMERIC: float,
    Kind.DATE: date.isoformat,
    Kind.TIME: _time_text,
    Kind.UUID: lambda value: value.hex if isinstance(value, UUID) else str(value),
    Kind.ENUM: str,
    Kind.ARRAY: list_text,
    Kind.BOOLEAN: int,
}
