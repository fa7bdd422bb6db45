"""Rules twice: as SQLAlchemy expressions, and evaluated directly in Python, in SQL's three values.

Nothing here is derived from `backstay.schema.policy`: it is the other opinion.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from hypothesis import strategies as st

from backstay import has_permission, has_role, me, nobody, public, signed_in
from backstay.testing import token
from support.asgi import SECRET

if TYPE_CHECKING:
    from support.guarded import Guarded, Hall

Row = dict[str, Any]
#: True, False or unknown.
Truth = bool | None


@dataclass(frozen=True, slots=True)
class Who:
    """A principal."""

    id: int | None
    roles: frozenset[str] = frozenset()
    permissions: frozenset[str] = frozenset()
    tenant: int | None = None
    scopes: frozenset[str] | None = None

    @property
    def credential(self) -> str:
        """Its Authorization header; none for anonymous."""
        if self.id is None:
            return ""
        told = {"permissions": self.permissions, "scopes": self.scopes, "tenant": self.tenant}
        return "Bearer " + token(self.id, self.roles, secret=SECRET, **told)

    def covers(self, name: str, action: str) -> bool:
        """Whether its scopes admit an action."""
        if self.scopes is None:
            return True
        words = [f"{one}:{word}" for one in (name, "*") for word in (action, "*")]
        words += [] if action == "read" else [f"{name}:write", "*:write"]
        return "*" in self.scopes or any(word in self.scopes for word in words)


class Rule:
    """One term."""

    def sql(self, model: Guarded, hall: Hall) -> Any:
        """As a rule of a resource."""
        raise NotImplementedError

    def holds(self, row: Row, model: Guarded, hall: Hall, who: Who) -> Truth:
        """Of a row."""
        raise NotImplementedError

    def verdict(self, who: Who) -> Truth:
        """What is certain of every row there could be; None where it depends on the row."""
        return None


@dataclass(frozen=True)
class Says(Rule):
    """Something about the principal alone: `public`, `signed_in`, `role:admin`, `permission:p`."""

    word: str

    def sql(self, model: Guarded, hall: Hall) -> Any:
        """As a rule of a resource."""
        kind, _, name = self.word.partition(":")
        plain = {"public": public, "nobody": nobody, "signed_in": signed_in}
        return plain[kind] if kind in plain else has_role(name) if kind == "role" else has_permission(name)

    def holds(self, row: Row, model: Guarded, hall: Hall, who: Who) -> Truth:
        """Of a row."""
        return self.verdict(who)

    def verdict(self, who: Who) -> Truth:
        """Of every row there could be."""
        kind, _, name = self.word.partition(":")
        certain = {"public": True, "nobody": False, "signed_in": who.id is not None}
        return certain.get(kind, name in (who.roles if kind == "role" else who.permissions))


@dataclass(frozen=True)
class Mine(Rule):
    """A column equals the principal's id."""

    column: str

    def sql(self, model: Guarded, hall: Hall) -> Any:
        """As a rule of a resource."""
        return getattr(model.mapped, self.column) == me.id

    def holds(self, row: Row, model: Guarded, hall: Hall, who: Who) -> Truth:
        """Of a row."""
        return None if row[self.column] is None or who.id is None else row[self.column] == who.id


@dataclass(frozen=True)
class Equals(Rule):
    """A column has a value, or is null."""

    column: str
    value: Any

    def sql(self, model: Guarded, hall: Hall) -> Any:
        """As a rule of a resource."""
        column = getattr(model.mapped, self.column)
        return column.is_(None) if self.value is None else column == sa.literal(self.value, column.type)

    def holds(self, row: Row, model: Guarded, hall: Hall, who: Who) -> Truth:
        """Of a row."""
        if self.value is None:
            return row[self.column] is None
        return None if row[self.column] is None else row[self.column] == self.value


@dataclass(frozen=True)
class Has(Rule):
    """Some related row fulfils a rule."""

    way: str
    many: bool
    inner: Rule

    def sql(self, model: Guarded, hall: Hall) -> Any:
        """As a rule of a resource."""
        there = self.inner.sql(hall.models[(model.many if self.many else model.one)[self.way]], hall)
        way = getattr(model.mapped, self.way)
        return way.any(there) if self.many else way.has(there)

    def holds(self, row: Row, model: Guarded, hall: Hall, who: Who) -> Truth:
        """Of a row."""
        there = hall.models[(model.many if self.many else model.one)[self.way]]
        return any(self.inner.holds(other, there, hall, who) is True for other in hall.along(model, row, self.way))


@dataclass(frozen=True)
class Not(Rule):
    """It does not hold."""

    inner: Rule

    def sql(self, model: Guarded, hall: Hall) -> Any:
        """As a rule of a resource."""
        return ~self.inner.sql(model, hall)

    def holds(self, row: Row, model: Guarded, hall: Hall, who: Who) -> Truth:
        """Of a row."""
        return inverse(self.inner.holds(row, model, hall, who))

    def verdict(self, who: Who) -> Truth:
        """Of every row there could be."""
        return inverse(self.inner.verdict(who))


@dataclass(frozen=True)
class Join(Rule):
    """All hold, or any."""

    every: bool
    parts: tuple[Rule, ...]

    def sql(self, model: Guarded, hall: Hall) -> Any:
        """As a rule of a resource."""
        joined = self.parts[0].sql(model, hall)
        for part in self.parts[1:]:
            other = part.sql(model, hall)
            joined = joined & other if self.every else joined | other
        return joined

    def holds(self, row: Row, model: Guarded, hall: Hall, who: Who) -> Truth:
        """Of a row."""
        return self._joined(part.holds(row, model, hall, who) for part in self.parts)

    def verdict(self, who: Who) -> Truth:
        """Of every row there could be."""
        return self._joined(part.verdict(who) for part in self.parts)

    def _joined(self, truths: Iterable[Truth]) -> Truth:
        found = list(truths)
        if (not self.every) in found:
            return not self.every
        return None if None in found else self.every


def inverse(truth: Truth) -> Truth:
    """NOT."""
    return None if truth is None else not truth


def by_row(rule: Rule | None) -> bool:
    """Whether a rule says something about the row."""
    match rule:
        case None | Says():
            return False
        case Not(inner):
            return by_row(inner)
        case Join(_, parts):
            return any(by_row(part) for part in parts)
        case _:
            return True


WORDS = ("public", "nobody", "signed_in", "role:admin", "role:editor", "permission:p")
FLAGS = st.sampled_from([Says(word) for word in WORDS])


def compound(leaves: st.SearchStrategy[Rule]) -> st.SearchStrategy[Rule]:
    """Rules made of others."""

    def extend(inner: st.SearchStrategy[Rule]) -> st.SearchStrategy[Rule]:
        pairs = st.tuples(inner, inner)
        return inner.map(Not) | st.builds(Join, st.booleans(), pairs)

    return st.recursive(leaves, extend, max_leaves=3)


def of_row(columns: Iterable[str]) -> st.SearchStrategy[Rule]:
    """Rules about a row itself; `columns` are those of whole numbers and flags."""
    names = list(columns)
    mine = st.builds(Mine, st.sampled_from([name for name in names if name != "flag"]))
    flag = st.builds(Equals, st.just("flag"), st.sampled_from([True, False, None]))
    return FLAGS | mine | flag
