"""What a declared annotation demands of a value, in the terms that a database can hold too."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Annotated, Any, get_args, get_origin

import sqlalchemy as sa
from pydantic import StringConstraints
from pydantic.fields import FieldInfo

from .kinds import kind_of
from .model import Kind

_BOUNDS = ("ge", "gt", "le", "lt")
_LENGTHS = ("min_length", "max_length")


@dataclass(frozen=True, slots=True)
class Constraint:
    """One demand: `kind` is the pydantic word (`ge`, `max_length`, …)."""

    kind: str
    value: Any


def metadata_of(annotation: Any) -> tuple[Any, ...]:
    """The `Annotated` metadata in a type, wherever it is nested (`Annotated[X, m] | None`).

    Example:
        >>> metadata_of(Annotated[int, "positive"])
        ('positive',)
    """
    if get_origin(annotation) is Annotated:
        inner, *metadata = get_args(annotation)
        return (*metadata_of(inner), *metadata)
    found: tuple[Any, ...] = ()
    for argument in get_args(annotation):
        found += metadata_of(argument)
    return found


def pydantic_metadata(metadata: Iterable[Any]) -> tuple[Any, ...]:
    """Only what constrains a value: SQLAlchemy's own annotations (`mapped_column`) are dropped."""
    return tuple(
        m
        for m in metadata
        if not isinstance(m, (sa.schema.SchemaItem, sa.types.TypeEngine, str))
        and not type(m).__module__.startswith("sqlalchemy")
    )


def constraints_of(metadata: Iterable[Any]) -> Iterator[Constraint]:
    """The constraints that a CHECK or a column length can express."""
    for item in metadata:
        if isinstance(item, FieldInfo):
            yield from constraints_of(item.metadata)
        elif isinstance(item, StringConstraints):
            for name in _LENGTHS:
                if getattr(item, name) is not None:
                    yield Constraint(name, getattr(item, name))
        else:
            for name in (*_BOUNDS, *_LENGTHS):
                value = getattr(item, name, None)
                if value is not None:
                    yield Constraint(name, value)


def check_of(column: sa.Column[Any], constraint: Constraint) -> sa.ColumnElement[bool] | None:
    """The CHECK expression of one constraint; None for the length of what has none in a database, such as JSON."""
    if constraint.kind in _LENGTHS and kind_of(column.type) not in (Kind.TEXT, Kind.BYTES):
        return None
    value = sa.literal(constraint.value, literal_execute=True)
    match constraint.kind:
        case "ge":
            return column >= value
        case "gt":
            return column > value
        case "le":
            return column <= value
        case "lt":
            return column < value
        case "min_length":
            return sa.func.length(column) >= value
        case _:
            return sa.func.length(column) <= value
