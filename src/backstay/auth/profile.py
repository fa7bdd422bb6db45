"""The columns of a program's user model that people fill in when they register."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Mapper

from ..errors import OperatorError, perhaps
from ..schema.base import annotations_of
from ..schema.constraints import metadata_of, pydantic_metadata
from ..schema.declare import PRIVATE, SECRET, SERVER_SET
from ..schema.kinds import column_like, kind_of
from ..schema.model import Column
from .user import UserBase

_OURS = frozenset(name for name in vars(UserBase) if not name.startswith("_"))


def profile_of(user: type[Any], names: Sequence[str]) -> dict[str, Column]:
    """The named columns, by attribute.

    Raises:
        OperatorError: a name that is no column which people may set, or a column that must have a value and is not
            named.
    """
    # Not configured: other models may not be declared yet.
    mapper: Mapper[Any] = sa.inspect(user)
    columns = {str(name): column for name, column in mapper.columns.items()}
    free = {n: c for n, c in columns.items() if n not in _OURS and _is_free(c)}
    for name in names:
        if name not in free:
            hint = perhaps(name, free, noun="column")
            raise OperatorError(
                f"AccountOptions(profile=…): people do not set {user.__name__}.{name}. {hint}".rstrip()
            )
    for name, column in free.items():
        if not column.nullable and not _has_default(column) and name not in names:
            mend = f"name it in AccountOptions(profile=[{name!r}]), or give it a default"
            raise OperatorError(f"Nobody could register, because {user.__name__}.{name} must have a value: {mend}.")
    annotations = annotations_of(user)
    found: dict[str, Column] = {}
    for name in names:
        facts = column_like(free[name].type, nullable=bool(free[name].nullable))
        metadata = pydantic_metadata(metadata_of(annotations.get(name)))
        found[name] = replace(facts, name=name, metadata=metadata, has_default=_has_default(free[name]))
    return found


def _is_free(column: sa.Column[Any]) -> bool:
    marked = any(column.info.get(mark) for mark in (SECRET, SERVER_SET, PRIVATE))
    clocked = column.onupdate is not None or column.name in ("created_at", "version")
    return not (marked or column.primary_key or clocked) and kind_of(column.type) is not None


def _has_default(column: sa.Column[Any]) -> bool:
    return column.default is not None or column.server_default is not None
