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
                wanted, fits = _WANTED.get(_kind(side), ("", None))
                found = next((value for value in _values(other) if not fits(value)), None) if fits else None
                if found is not None:
                    return f"compare {side.name} with {wanted}, not {found!r:.80}"
    return ""


def _kind(side: Any) -> Kind:
    """Of a column, else any; what a type of the program's own stands for is its own affair."""
    if not isinstance(side, sa.Column):
        return Kind.ANY
    its_type = cast(Any, side).type
    return Kind.ANY if isinstance(its_type, sa.TypeDecorator) else kind_of(its_type) or Kind.ANY


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


#: What a column of a kind is compared with, in words, and whether a value is that.
_WANTED: dict[Kind, tuple[str, Callable[[Any], bool]]] = {
    Kind.INTEGER: ("whole numbers", _whole),
    Kind.FLOAT: ("numbers", _number),
    Kind.NUMERIC: ("numbers", _number),
    Kind.BOOLEAN: ("true and false", lambda value: value in (0, 1)),
    Kind.TEXT: ("texts", lambda value: not isinstance(value, bool | UUID | bytes)),
    Kind.DATE: ("dates", lambda value: _is_day(value) if isinstance(value, str) else type(value) is dt.date),
    Kind.TIME: (
        "times of day",
        lambda value: _is_clock(value) if isinstance(value, str) else isinstance(value, dt.time),
    ),
    Kind.UUID: ("UUIDs", lambda value: _is_uuid(value) if isinstance(value, str) else isinstance(value, UUID)),
    Kind.BYTES: ("bytes", lambda value: isinstance(value, bytes)),
}
