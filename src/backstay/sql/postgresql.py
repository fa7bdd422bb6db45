"""PostgreSQL's dialect: objects are rows of lateral queries, and every value travels as text.

`row_to_json` over a lateral row is the cheapest way to build JSON there, and unlike `json_build_object` it writes
no spaces, so that the bytes are those of SQLite. Parameters are sent in text format and PostgreSQL infers their
types from the columns that they meet; a list is one array parameter, so that the text does not grow.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, cast

import orjson
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.dialects.postgresql.base import PGCompiler, PGDialect
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler

from ..query import values
from ..query.ir import Function, Op
from ..schema.kinds import ISO_LAYOUT
from ..schema.model import Column, Kind
from .dialect import BY, Expression, Listed, Member, Query, fixed, labels_of
from .images import PostgresImages
from .postgresql_kinds import array_of, array_shown, covers, extreme, item_of, range_of, text_shown
from .search import PostgresSearch
from .statement import Reader

_INSTANT = fixed("""'YYYY-MM-DD"T"HH24:MI:SS.US"+00:00"'""")
_DOUBLE: Any = cast(Any, sa.Double())
_TIME = fixed("'HH24:MI:SS.US'")
#: The setting of a transaction that says whose its changes are: the JSON of `Context.attribution`.
BY_SETTING = "backstay.by"
#: What a row that may not stay is "cast to an integer" from.
REFUSED = "backstay: refused"


class _RowObject(sa.ColumnElement[Any]):
    """An object of members that stand beside no query: `RETURNING` has no rows to join."""

    inherit_cache = False
    type = sa.JSON()

    def __init__(self, members: Sequence[Member]) -> None:
        self.members = members


@compiles(_RowObject)
def _row_object(element: _RowObject, compiler: SQLCompiler, **kw: Any) -> str:
    kw["within_columns_clause"] = False
    quote = compiler.preparer.quote_identifier
    names = [name for name, _ in element.members]
    labels = [quote(label) for label in labels_of(names)]
    values = [compiler.process(value, **kw) for _, value in element.members]
    columns = ", ".join(f"{value} AS {label}" for value, label in zip(values, labels, strict=True))
    whole = (
        "row_to_json(j.*)"
        if labels_of(names) is names
        else f"CAST({' || '.join(_pieces(names, labels, 'j'))} AS JSON)"
    )
    return f"(SELECT {whole} FROM (SELECT {columns}) AS j)"  # noqa: S608 - expressions of ours


def _pieces(names: Sequence[str], labels: Sequence[str], row: str) -> Iterator[str]:
    """An object whose names no column can have, as the texts that it is made of."""
    for i, (name, label) in enumerate(zip(names, labels, strict=True)):
        opened = ("," if i else "{") + json.dumps(name, ensure_ascii=False) + ":"
        yield "'" + opened.replace("'", "''") + "'"
        yield f"coalesce(CAST(to_json({row}.{label}) AS TEXT), 'null')"
    yield "'}'"


class _WholeRow(sa.ColumnElement[Any]):
    """`t1.*`: the bare name would be a column of that name, if there is one."""

    inherit_cache = False

    def __init__(self, row: Expression) -> None:
        self.row = row


@compiles(_WholeRow)
def _whole_row(element: _WholeRow, compiler: SQLCompiler, **kw: Any) -> str:
    return f"{compiler.process(element.row, **kw)}.*"


class _Compiler(PGCompiler):
    """SQLAlchemy's compiler, less one habit, and with the written row where RETURNING reads its table.

    Attributes:
        returned: the table of that row, while what is said of it is compiled.
    """

    returned: sa.Table | None = None

    def visit_table(self, table: Any, asfrom: bool = False, *given: Any, **kw: Any) -> str:
        """In a subquery of RETURNING, the table as it is after the write: PostgreSQL reads it as it was before."""
        named: str = cast(Any, super()).visit_table(table, asfrom, *given, **kw)
        if not asfrom or table is not self.returned:
            return named
        columns = [self.preparer.quote(column.name) for column in table.primary_key.columns]
        others = " OR ".join(f"o.{column} <> {named}.{column}" for column in columns)
        rows = f"(SELECT o.* FROM {named} AS o WHERE {others} UNION ALL SELECT {named}.*)"  # noqa: S608 - names of ours
        return rows if kw.get("enclosing_alias") is not None else f"{rows} AS {self.preparer.quote(table.name)}"

    def returning_clause(self, stmt: Any, returning_cols: Any, *, populate_result_map: bool, **kw: Any) -> str:
        """Keep table names in RETURNING: a rule's subquery there must not capture a bare column name."""
        kw["include_table"] = True
        base = cast(Any, SQLCompiler.returning_clause)
        return base(self, stmt, returning_cols, populate_result_map=populate_result_map, **kw)


class PostgresDialect:
    """See `dialect.Dialect`.

    Args:
        recorded: changes are recorded by triggers, which read whose they are from a setting of the transaction.
    """

    name = "postgresql"
    lateral = True
    search = PostgresSearch()
    images = PostgresImages()

    def __init__(self, *, recorded: bool = False) -> None:
        # For the rest of the transaction: triggers run after what a statement returns is worked out.
        setting: Any = sa.func.set_config(fixed(f"'{BY_SETTING}'"), sa.bindparam(BY, type_=sa.Text()), fixed("true"))
        self.attribution: Expression | None = setting if recorded else None
        self._core = PGDialect(paramstyle="numeric_dollar")
        self._core.statement_compiler = _Compiler

    @property
    def core(self) -> PGDialect:
        """SQLAlchemy's dialect, which renders the text."""
        return self._core

    def json_value(self, column: Column, expression: Expression) -> Expression:
        """A column's value in its JSON form."""
        shown = _SHOWN.get(column.kind)
        return expression if shown is None else shown(column, expression)

    def json_object(self, members: Sequence[Member]) -> Expression:
        """An object with these members, in order."""
        return _RowObject(members)

    def json_row(self, rows: sa.FromClause, names: Sequence[str]) -> Expression:
        """A row of a lateral query as an object; null where a left join found none."""
        whole = sa.func.row_to_json(_WholeRow(cast(Any, rows).table_valued()))
        labels = labels_of(names)
        if labels is names:
            return whole
        pieces = _pieces(names, labels, str(cast(Any, rows).name))
        return sa.case((whole.is_(None), sa.null()), else_=sa.cast(fixed(" || ".join(pieces)), sa.JSON()))

    def json_list(self, item: Expression, origin: Any, order: Sequence[Expression], first: int = 0) -> Listed:
        """An array that stands by itself. Its rows are sorted again: a join may have changed their order.

        One that is to be cut is made once, behind a fence.
        """
        found = sa.func.array(sa.select(item).select_from(origin).order_by(*order).scalar_subquery())
        if not first:
            return Listed(sa.func.array_to_json(found), None)
        made = sa.select(found.label("listed")).offset(fixed("0")).subquery("part")
        more = sa.func.nullif(sa.func.cardinality(made.c.listed) > fixed(str(first)), sa.false())
        return Listed(sa.func.array_to_json(fixed(f"part.listed[1:{first}]")), made, more)

    def json_array(self, items: Sequence[Expression]) -> Expression:
        """An array of these values."""
        return sa.func.json_build_array(*items)

    def json_nested(self, query: Query) -> Expression:
        """A scalar subquery; JSON stays JSON."""
        return query.scalar_subquery()

    def json_bytes(self, expression: Expression) -> Expression:
        """Results come as text, which the driver does not decode."""
        return expression

    def empty_list(self) -> Expression:
        """The JSON value []."""
        return fixed("'[]'::json")

    def sort_key(self, column: Column, expression: Expression) -> Expression:
        """Enums by their text, whatever order the type gives its labels."""
        if column.kind is Kind.ENUM and isinstance(expression.type, sa.Enum) and expression.type.native_enum:
            return sa.cast(expression, sa.Text()).collate("C")
        return expression

    def allowed(self, check: Expression) -> Expression:
        """An error undoes the statement in the same round trip; the engine knows it by its text."""
        # A cast of a constant would be worked out, and fail, before any row is looked for; that of concat() is not.
        return sa.cast(sa.case((check, fixed("'1'")), else_=sa.func.concat(fixed(f"'{REFUSED}'"))), sa.Integer())

    def compare(self, column: Column, left: Expression, op: Op, value: sa.BindParameter[Any]) -> Expression:
        """A filter's comparison; lists arrive as one array parameter."""
        if op in (Op.LT, Op.LTE, Op.GT, Op.GTE):
            left = self.sort_key(column, left)
        simple = _COMPARISONS.get(op)
        if simple is not None:
            return simple(left, value)
        if op is Op.IN:
            return left == sa.func.any(value)
        if op is Op.NIN:
            return left != sa.func.all(value)
        if op is Op.CONTAINS and column.kind is Kind.JSON:
            document = left if isinstance(left.type, JSONB) else sa.cast(left, JSONB())
            return document.op("@>", is_comparison=True)(sa.cast(value, JSONB()))
        if op is Op.CONTAINS and column.kind in (Kind.ARRAY, Kind.RANGE):
            return covers(left, value)
        text = sa.cast(left, sa.Text()) if column.kind is not Kind.TEXT else left
        if op is Op.LIKE:
            return text.like(value)
        if op is Op.ILIKE:
            return text.ilike(value)
        return sa.func.strpos(text, sa.cast(value, sa.Text())) > fixed("0")

    def aggregate(
        self, function: Function, column: Column | None, expression: Expression | None, *, distinct: bool
    ) -> Expression:
        """An aggregate of a column's values; without any, the number of rows."""
        if expression is None or column is None:
            return sa.func.count()
        argument: Any = sa.distinct(expression) if distinct else expression
        kind = expression.type
        if function is Function.AVG and isinstance(kind, sa.Integer):
            # As SQLite divides: the exact sum as a double.
            return sa.cast(sa.func.sum(argument), _DOUBLE).op("/")(sa.func.count(argument))
        if function is Function.AVG and column.kind is Kind.NUMERIC and column.scale is not None:
            # An integer of the last digit divides as SQLite's does.
            tens = fixed(str(10**column.scale))
            total = sa.cast(sa.func.sum(argument).op("*")(tens), _DOUBLE)
            return total.op("/")(sa.func.count(argument).op("*")(tens))
        if column.kind is Kind.FLOAT and function in (Function.SUM, Function.AVG):
            # Fifteen digits, which is what a double keeps as a numeric: the others depend on the order of the rows.
            found = cast(Expression, getattr(sa.func, function.value)(argument))
            return sa.cast(sa.cast(found, sa.Numeric()), _DOUBLE)
        if function is Function.AVG:
            return sa.cast(sa.func.avg(argument), _DOUBLE)
        if function is Function.SUM and isinstance(kind, sa.Integer):
            return sa.cast(sa.func.sum(argument), sa.BigInteger())
        if function in (Function.MIN, Function.MAX) and isinstance(kind, sa.Boolean):
            return sa.func.bool_and(argument) if function is Function.MIN else sa.func.bool_or(argument)
        if function in (Function.MIN, Function.MAX) and isinstance(kind, sa.Uuid):
            argument = sa.cast(argument, sa.Text()).collate("C")
        if function in (Function.MIN, Function.MAX):
            found = extreme(expression, greatest=function is Function.MAX)
            if found is not None:
                return found
        return cast(Expression, getattr(sa.func, function.value)(argument))

    def measure_value(self, function: Function, column: Column | None, expression: Expression) -> Expression:
        """An aggregate's JSON form: counts and averages are numbers, the others look like their column."""
        if column is None or function in (Function.COUNT, Function.AVG):
            return expression
        return self.json_value(column, expression)

    def order(self, expression: Expression, *, descending: bool, nullable: bool) -> Expression:
        """A sort key; null is larger than every value, which needs no words here."""
        return expression.desc() if descending else expression.asc()

    def reader(self, column: Column) -> Callable[[Any], Any]:
        """From a Python value of the column's kind to its text."""
        store = _STORED.get(column.kind, _text)
        if column.kind is Kind.ARRAY:
            item = self.reader(item_of(column))
            return lambda value: None if value is None else array_of([item(part) for part in value])
        if column.kind is Kind.DATETIME and not column.timezone:
            store = _naive
        if column.kind is Kind.JSON and not column.nullable:
            return store
        return lambda value: None if value is None else store(value)

    def plain(self, value: Any) -> bytes | None:
        """Its text."""
        if value is None or isinstance(value, bool):
            return None if value is None else (b"t" if value else b"f")
        return str(value).encode()

    def typed(self, value: sa.BindParameter[Any], sql_type: Any) -> Expression:
        """A cast; PostgreSQL would take the type of whatever stands beside it."""
        return sa.cast(value, sql_type)

    def slot_reader(self, column: Column, op: Op) -> Reader:
        """From a filter's text to the driver's text."""
        store = self.reader(column)
        if op in (Op.IN, Op.NIN):
            return lambda raw: array_of([store(item) for item in values.parse_list(column, raw)])
        if op is Op.LIKE:
            return lambda raw: _no_lone_escape(values.text(raw)).encode()
        if op is Op.ILIKE:
            return lambda raw: _doubled_escape(values.text(raw)).encode()
        if op is Op.CONTAINS and column.kind is Kind.RANGE:
            return range_of
        if op is Op.CONTAINS and column.kind not in (Kind.JSON, Kind.ARRAY):
            return lambda raw: values.text(raw).encode()
        return lambda raw: store(values.parse(column, raw))


def _no_lone_escape(pattern: str) -> str:
    """A pattern may not end in a lone escape; SQLite's GLOB drops it."""
    return pattern[:-1] if _lone(pattern) else pattern


def _doubled_escape(pattern: str) -> str:
    return pattern + "\\" if _lone(pattern) else pattern


def _lone(pattern: str) -> bool:
    return bool((len(pattern) - len(pattern.rstrip("\\"))) % 2)


def _numeric_shown(column: Column, expression: Expression) -> Expression:
    """As a string with the declared scale; a type without one keeps its digits to the scale of the API."""
    declared = getattr(column.sql.type, "scale", None)
    exact = declared is not None or column.scale is None
    value = expression if exact else sa.func.round(expression, fixed(str(column.scale)))
    return sa.cast(value, sa.Text())


def _instant_shown(column: Column, expression: Expression) -> Expression:
    moment = sa.func.timezone(fixed("'UTC'"), expression) if column.timezone else expression
    shown = sa.func.to_char(moment, _INSTANT)
    if column.layout == ISO_LAYOUT:
        return shown
    return sa.case((sa.func.isfinite(expression), shown), else_=sa.cast(expression, sa.Text()))


def _time_shown(column: Column, expression: Expression) -> Expression:
    if getattr(column.sql.type, "timezone", False):
        return sa.cast(expression, sa.Text())
    return sa.func.to_char(expression, _TIME)


def _bytes_shown(column: Column, expression: Expression) -> Expression:
    return sa.func.translate(sa.func.encode(expression, fixed("'base64'")), fixed(r"E'\n'"), fixed("''"))


def _array_shown(column: Column, expression: Expression) -> Expression:
    return array_shown(column, expression, _SHOWN.get(item_of(column).kind))


_SHOWN: Mapping[Kind, Callable[[Column, Expression], Expression]] = {
    Kind.NUMERIC: _numeric_shown,
    Kind.DATETIME: _instant_shown,
    Kind.TIME: _time_shown,
    Kind.BYTES: _bytes_shown,
    Kind.ARRAY: _array_shown,
    Kind.OTHER: text_shown,
    Kind.OPAQUE: text_shown,
}


def _text(value: Any) -> bytes:
    """The text of an integer, a decimal, a string and of whatever Python's `str` is right for."""
    return str(value).encode()


def _naive(value: datetime) -> bytes:
    moment = value.astimezone(UTC).replace(tzinfo=None) if value.tzinfo is not None else value
    return moment.isoformat().encode()


def _dumps(value: Any) -> bytes:
    try:
        return orjson.dumps(value)
    except TypeError:  # an integer of more than 64 bits, which JSON has and orjson has not
        return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def _instant(value: datetime) -> bytes:
    moment = value if value.tzinfo is not None else value.replace(tzinfo=UTC)
    return moment.isoformat().encode()


_STORED: Mapping[Kind, Callable[[Any], bytes]] = {
    Kind.BOOLEAN: lambda value: b"t" if value else b"f",
    # SQLite knows no negative zero.
    Kind.FLOAT: lambda value: repr(float(value) + 0.0).encode(),
    Kind.DATETIME: _instant,
    Kind.DATE: lambda value: value.isoformat().encode(),
    Kind.TIME: lambda value: value.isoformat().encode(),
    Kind.BYTES: lambda value: b"\\x" + bytes(value).hex().encode(),
    Kind.JSON: _dumps,
}

_COMPARISONS: Mapping[Op, Callable[[Any, Any], Any]] = {
    Op.EQ: lambda left, value: left == value,
    Op.NE: lambda left, value: left != value,
    Op.LT: lambda left, value: left < value,
    Op.LTE: lambda left, value: left <= value,
    Op.GT: lambda left, value: left > value,
    Op.GTE: lambda left, value: left >= value,
}
