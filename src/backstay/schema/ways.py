"""Names for the relationships of a database that has foreign keys but no words for them.

To-one: the column without its `_id` or `Id` (`game_id` → `game`, `AlbumId` → `Album`); where that says
nothing new (`ReportsTo`), the target's name, or `{target}_{column}` when several keys or its own table lead there.
To-many: the child's name, or `{child}_by_{column}` when several of its keys lead here.
Many-to-many: the far table's name, or `{far}_by_{column}` when both keys of the association lead to one table.
A name that is taken, by a column or an earlier way, gives place to the next candidate, at last to `{name}_2`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

import sqlalchemy as sa

from .found import FoundKey, FoundTable
from .model import Column, Relationship

_SUFFIX = re.compile(r"(?:[_ ][iI][dD]|(?<=[a-z0-9])I[dD])\Z")


def stem(column: str) -> str:
    """A foreign key column's own word for what it leads to; empty when it has none.

    Example:
        >>> [stem(name) for name in ("game_id", "AlbumId", "ReportsTo", "paid")]
        ['game', 'Album', '', '']
    """
    short = _SUFFIX.sub("", column)
    return short if short != column else ""


class Ways:
    """Collects the relationships of every table.

    Args:
        found: the tables by the database's name.
        names: the API's name of each.
        sql: the SQLAlchemy table of each.
        columns: the API's columns of each, by the API's name.
    """

    def __init__(
        self,
        found: Mapping[str, FoundTable],
        names: Mapping[str, str],
        sql: Mapping[str, sa.Table],
        columns: Mapping[str, Mapping[str, Column]],
    ) -> None:
        self._found = found
        self._names = names
        self._sql = sql
        self._columns = columns
        self._ways: dict[str, dict[str, Relationship]] = {name: {} for name in found}

    def all(self) -> dict[str, dict[str, Relationship]]:
        """The relationships by the database's name of their table: to-one first, then to-many, then through."""
        for table in self._found.values():
            for key in table.foreign_keys:
                self._to_one(table, key)
        for table in self._found.values():
            for key in table.foreign_keys:
                self._back(table, key)
        for table in self._found.values():
            if is_association(table):
                near, far = table.foreign_keys
                self._through(table, near, far)
                self._through(table, far, near)
        return self._ways

    def _api(self, table: str, columns: tuple[str, ...]) -> str:
        """The API's names of some columns, joined."""
        wanted = [self._sql[table].c[name] for name in columns]
        by_sql = {column.sql: name for name, column in self._columns[table].items()}
        return "_".join(by_sql[column] for column in wanted)

    def _pairs(self, table: str, key: FoundKey) -> Iterator[tuple[sa.Column[object], sa.Column[object]]]:
        for local, remote in zip(key.columns, key.target_columns, strict=True):
            yield self._sql[table].c[local], self._sql[key.target].c[remote]

    def _add(self, table: str, candidates: list[str], relationship: Relationship) -> None:
        taken = self._ways[table].keys() | self._columns[table].keys()
        last = candidates[-1]
        numbered = (f"{last}_{number}" for number in range(2, len(taken) + 3))
        name = next(name for name in (*candidates, *numbered) if name and name not in taken)
        self._ways[table][name] = Relationship(
            name,
            relationship.target,
            relationship.many,
            relationship.pairs,
            relationship.through,
            relationship.far_pairs,
        )

    def _to_one(self, table: FoundTable, key: FoundKey) -> None:
        target = self._names[key.target]
        column = self._api(table.name, key.columns)
        alone = sum(other.target == key.target for other in table.foreign_keys) == 1 and key.target != table.name
        candidates = [stem(column) if len(key.columns) == 1 else "", target if alone else "", f"{target}_{column}"]
        self._add(table.name, candidates, Relationship("", target, False, tuple(self._pairs(table.name, key))))

    def _back(self, table: FoundTable, key: FoundKey) -> None:
        child = self._names[table.name]
        alone = sum(other.target == key.target for other in table.foreign_keys) == 1
        pairs = tuple((remote, local) for local, remote in self._pairs(table.name, key))
        candidates = [child if alone else "", f"{child}_by_{self._api(table.name, key.columns)}"]
        many = not table.identifies(key.columns)
        self._add(key.target, candidates, Relationship("", child, many, pairs))

    def _through(self, table: FoundTable, near: FoundKey, far: FoundKey) -> None:
        name = self._names[far.target]
        columns = self._api(table.name, far.columns)
        candidates = [
            name if near.target != far.target else f"{name}_by_{columns}",
            f"{name}_via_{self._names[table.name]}",
            f"{name}_via_{self._names[table.name]}_by_{columns}",
        ]
        pairs = tuple((remote, local) for local, remote in self._pairs(table.name, near))
        way = Relationship("", name, True, pairs, self._sql[table.name], tuple(self._pairs(table.name, far)))
        self._add(near.target, candidates, way)


def is_association(table: FoundTable) -> bool:
    """Whether a table joins two rows: its columns, or those of its primary key, are exactly two foreign keys'."""
    if len(table.foreign_keys) != 2:
        return False
    first, second = (set(key.columns) for key in table.foreign_keys)
    every = {column.name for column in table.columns}
    return not first & second and first | second in (every, set(table.primary_key))
