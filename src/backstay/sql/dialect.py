"""What the compiler needs of a database: a dozen functions, no base class."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol, cast

import sqlalchemy as sa
from sqlalchemy.engine import Dialect as CoreDialect

from ..query.ir import Function, Op
from ..schema.model import Column, Search
from .statement import Reader

Expression = sa.ColumnElement[Any]
Query = sa.Select[*tuple[Any, ...]]
#: `(name, expression)` of one member of a JSON object.
Member = tuple[str, Expression]


def fixed(text: str) -> Expression:
    """SQL that is the same for every caller: a literal of ours, never a value."""
    return cast(Expression, sa.literal_column(text))


class Listed(NamedTuple):
    """An array, what to select it from (nothing: it stands by itself), and whether more rows were cut off."""

    data: Expression
    origin: Any
    more: Expression | None = None


#: The parameter of whose a write is, as a JSON array.
BY = "by_whom"
#: PostgreSQL cuts longer names, also those of an object's members.
NAME_BYTES_MAX = 63


def labels_of(names: Sequence[str]) -> Sequence[str]:
    """What the columns of a row are called that becomes an object: by its names, unless one would be cut."""
    fit = all(len(name.encode()) <= NAME_BYTES_MAX for name in names)
    return names if fit else [f"m{i}" for i in range(len(names))]


class TextSearch(Protocol):
    """One database's full text search."""

    def matches(self, search: Search, rows: sa.FromClause, value: sa.BindParameter[Any]) -> Expression:
        """Whether a row has the words."""
        ...

    def relevance(
        self, search: Search, rows: sa.FromClause, origin: Any, value: sa.BindParameter[Any]
    ) -> tuple[Expression, Any]:
        """How well a row has the words, more is better; and the rows joined for it."""
        ...

    def reader(self, raw: Any) -> Any:
        """From the text of `q` to the driver's value."""
        ...


class Images(Protocol):
    """How one database reads what changes kept of rows."""

    def row(self, table: sa.Table, change: sa.FromClause, side: str) -> tuple[Any, Sequence[Expression]]:
        """A row that a change kept (`before` or `after`): what to select from, and the values of its columns."""
        ...

    def key(self, values: Sequence[Expression]) -> Expression:
        """A primary key as changes have it."""
        ...


class Json(Protocol):
    """How one database makes JSON."""

    def json_value(self, column: Column, expression: Expression) -> Expression:
        """A column's value in its JSON form."""
        ...

    def json_object(self, members: Sequence[Member]) -> Expression:
        """An object with these members, in order."""
        ...

    def json_row(self, rows: sa.FromClause, names: Sequence[str]) -> Expression:
        """A row of a lateral query, its columns called by `labels_of`, as an object; only where `lateral` holds."""
        ...

    def json_list(self, item: Expression, origin: Any, order: Sequence[Expression], first: int = 0) -> Listed:
        """The items of all rows as an array, in that order; empty when there are no rows.

        Args:
            first: with `lateral`: so many of them are wanted, and whether there are more.
        """
        ...

    def json_array(self, items: Sequence[Expression]) -> Expression:
        """An array of these values."""
        ...

    def json_nested(self, query: Query) -> Expression:
        """A scalar subquery whose value is JSON and stays JSON."""
        ...


class Dialect(Json, Protocol):
    """One database's way to say things."""

    name: str
    #: Whether a JSON object is made from a row: then its members are the columns of a lateral query.
    lateral: bool
    #: What a write returns beside its row, so that the database knows whose it is; its parameter is `BY`.
    attribution: Expression | None

    @property
    def images(self) -> Images:
        """How it reads what changes kept of rows."""
        ...

    @property
    def search(self) -> TextSearch:
        """Its full text search."""
        ...

    @property
    def core(self) -> CoreDialect:
        """SQLAlchemy's dialect, which renders the text."""
        ...

    def sort_key(self, column: Column, expression: Expression) -> Expression:
        """What rows are sorted and compared by, so that every database has the same order."""
        ...

    def json_bytes(self, expression: Expression) -> Expression:
        """JSON as the driver hands it over cheapest: bytes that are not decoded."""
        ...

    def empty_list(self) -> Expression:
        """The JSON value []."""
        ...

    def allowed(self, check: Expression) -> Expression:
        """1 where a row that was just written may stay; else 0, or an error that undoes the statement."""
        ...

    def compare(self, column: Column, left: Expression, op: Op, value: sa.BindParameter[Any]) -> Expression:
        """A filter's comparison."""
        ...

    def aggregate(
        self, function: Function, column: Column | None, expression: Expression | None, *, distinct: bool
    ) -> Expression:
        """An aggregate of a column's values, given as an expression; without one, the number of rows."""
        ...

    def measure_value(self, function: Function, column: Column | None, expression: Expression) -> Expression:
        """An aggregate's value in its JSON form."""
        ...

    def order(self, expression: Expression, *, descending: bool, nullable: bool) -> Expression:
        """A sort key; null is larger than every value."""
        ...

    def reader(self, column: Column) -> Callable[[Any], Any] | None:
        """From a Python value of the column's kind to the driver's; `None` when it is the same."""
        ...

    def plain(self, value: Any) -> Any:
        """A value of ours that belongs to no column, such as an offset, for the driver."""
        ...

    def typed(self, value: sa.BindParameter[Any], sql_type: Any) -> Expression:
        """A parameter where the database could not tell its type."""
        ...

    def slot_reader(self, column: Column, op: Op) -> Reader:
        """From a filter's text to the driver's value."""
        ...
