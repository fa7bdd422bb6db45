"""Values that a program compares columns with in its rules: each has to be one that the column can have.

PostgreSQL refuses most others. SQLite compares a number with a word and finds them different, so that a rule like
`Page.level != "secret"` about a number admits everybody.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Iterator
from decimal import Decimal, InvalidOperation
from typing import Any, cast
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.sql import elements, operators, visitors

from ..schema.kinds import kind_of
from ..schema.model import Kind
from ..schema.policy import ME_PREFIX

_COMPARISONS = frozenset(
    {
        operators.eq,
        operators.ne,
        operators.lt,
        operators.le,
        operators.gt,
        operators.ge,
        operators.is_distinct_from,
        operators.is_not_distinct_from,
        operators.in_op,
        operators.not_in_op,
    }
)


def misfit(rule: sa.ColumnElement[bool]) -> str:
    """What to write instead of the first value that is none of its column; empty where each is."""
    for element in visitors.iterate(rule):
        if isinstance(element, elements.BinaryExpression) and cast(Any, element).operator in _COMPARISONS:
            said = cast(Any, element)
            for side, other in ((said.left, said.right), (said.right, said.left)):
                kind = _kind(side)
                if kind in _FITS:
                    for value in _values(other):
                        if not _FITS[kind](value):
                            return f"compare {side.name} with {_WANTED[kind]}, not {value!r:.80}"
    return ""


def _kind(side: Any) -> Kind | None:
    """Of a column; what a type of the program's own stands for is its own affair."""
    if not isinstance(side, sa.Column):
        return None
    its_type = cast(Any, side).type
    return None if isinstance(its_type, sa.TypeDecorator) else kind_of(its_type)


def _values(side: Any) -> Iterator[Any]:
    """The constants of one side of a comparison."""
    if isinstance(side, elements.True_ | elements.False_):
        yield isinstance(side, elements.True_)
    if isinstance(side, sa.BindParameter) and not str(cast(Any, side).key).startswith(ME_PREFIX):
        bound = cast(Any, side)
        values: Iterable[Any] = bound.value if bound.expanding else (bound.value,)
        yield from (value for value in values if value is not None)


def _parses(parse: Callable[[str], object]) -> Callable[[Any], bool]:
    def parses(value: Any) -> bool:
        try:
            parse(value)
        except (ValueError, InvalidOperation):
            return False
        return True

    return parses


_is_whole, _is_number, _is_uuid = _parses(int), _parses(Decimal), _parses(UUID)
_is_day, _is_clock = _parses(dt.date.fromisoformat), _parses(dt.time.fromisoformat)


def _number(value: Any) -> bool:
    if isinstance(value, str):
        return _is_number(value)
    return isinstance(value, int | float | Decimal) and not isinstance(value, bool)


def _whole(value: Any) -> bool:
    if isinstance(value, str):
        return _is_whole(value)
    return isinstance(value, int) and not isinstance(value, bool)


_FITS: dict[Kind, Callable[[Any], bool]] = {
    Kind.INTEGER: _whole,
    Kind.FLOAT: _number,
    Kind.NUMERIC: _number,
    Kind.BOOLEAN: lambda value: value in (0, 1),
    Kind.TEXT: lambda value: not isinstance(value, bool | UUID | bytes),
    Kind.DATE: lambda value: _is_day(value) if isinstance(value, str) else type(value) is dt.date,
    Kind.TIME: lambda value: _is_clock(value) if isinstance(value, str) else isinstance(value, dt.time),
    Kind.UUID: lambda value: _is_uuid(value) if isinstance(value, str) else isinstance(value, UUID),
    Kind.BYTES: lambda value: isinstance(value, bytes),
}
_WANTED = {
    Kind.INTEGER: "whole numbers",
    Kind.FLOAT: "numbers",
    Kind.NUMERIC: "numbers",
    Kind.BOOLEAN: "true and false",
    Kind.TEXT: "texts",
    Kind.DATE: "dates",
    Kind.TIME: "times of day",
    Kind.UUID: "UUIDs",
    Kind.BYTES: "bytes",
}
