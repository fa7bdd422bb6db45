"""The Plan: a Query with names resolved, policy attached and limits applied. Only a Plan compiles.

These are the frozen nodes; `planner` is their only maker. Every row source is a `Source`, which carries the
rule that the principal's standing leaves of its resource's policy: a plan without policy cannot be written.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any

import sqlalchemy as sa

from ..schema.model import Column, Kind, Relationship, Search
from ..schema.policy import Folded
from ..schema.resource import Resource
from .ir import RELEVANCE, Function, KeysetPage, Op, Page, Test


class Form(Enum):
    """How the value of a slot is read."""

    SCALAR = "scalar"
    LIST = "list"
    PATTERN = "pattern"
    OFFSET = "offset"
    CURSOR = "cursor"
    BODY = "body"
    SEARCH = "search"


@dataclass(frozen=True, slots=True, eq=False)
class Slot:
    """What one value of the query is for: the caller's name for it, its column, its form.

    Of one that is not `told` the caller learns nothing, also not from a refusal.
    """

    label: str
    column: Column | None
    form: Form
    told: bool = True


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """Rows of one resource, as far as the principal may see them."""

    resource: Resource
    rule: Folded


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """One relation on a path; `between` are the rows of its association table, where that has rules."""

    way: Relationship
    source: Source
    between: Source | None = None


@dataclass(frozen=True, slots=True, eq=False)
class PlanCompare:
    """A column compared with a slot."""

    column: Column
    op: Op
    slot: int


@dataclass(frozen=True, slots=True, eq=False)
class PlanIs:
    """A column tested for null or truth."""

    column: Column
    test: Test


@dataclass(frozen=True, slots=True, eq=False)
class PlanVia:
    """Whether any row over there fulfils a condition."""

    step: Step
    inner: PlanFilter


@dataclass(frozen=True, slots=True, eq=False)
class PlanGroup:
    """All or any of some conditions."""

    any: bool
    items: tuple[PlanFilter, ...]


@dataclass(frozen=True, slots=True, eq=False)
class PlanSearch:
    """Whether a row has the words of a slot."""

    search: Search
    slot: int


PlanFilter = PlanCompare | PlanIs | PlanVia | PlanSearch | PlanGroup


@dataclass(frozen=True, slots=True, eq=False)
class PlanPath:
    """A column, perhaps of a row at the end of to-one steps."""

    steps: tuple[Step, ...]
    column: Column


@dataclass(frozen=True, slots=True, eq=False)
class PlanOrder:
    """One sort key; with `search` it is how well a row answers that."""

    path: PlanPath
    descending: bool
    search: PlanSearch | None = None

    @property
    def can_be_null(self) -> bool:
        """A column reached through a left join can be absent even where it is not nullable."""
        return self.path.column.nullable or bool(self.path.steps)


def by_relevance(search: PlanSearch, *, descending: bool) -> PlanOrder:
    """The sort key of a search."""
    column: sa.Column[float] = sa.Column(RELEVANCE, sa.Double())
    return PlanOrder(PlanPath((), Column(RELEVANCE, column, Kind.FLOAT, nullable=False)), descending, search)


@dataclass(frozen=True, slots=True, eq=False)
class PlanShape:
    """The fields and embedded rows of one JSON object, in order."""

    columns: tuple[Column, ...]
    embeds: tuple[Embed, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Embed:
    """Related rows inside an object."""

    step: Step
    shape: PlanShape
    order: tuple[PlanOrder, ...]
    limit: int


@dataclass(frozen=True, slots=True, eq=False)
class PlanParent:
    """The row a nested route starts from: it must exist and be visible."""

    source: Source
    step: Step
    key: tuple[tuple[Column, int], ...]


@dataclass(frozen=True, slots=True, eq=False)
class SelectPlan:
    """Rows, or with `key` one row; as they were at the instant of the slot `as_of`, if there is one."""

    source: Source
    filter: PlanFilter | None
    order: tuple[PlanOrder, ...]
    page: Page | None
    shape: PlanShape
    key: tuple[tuple[Column, int], ...]
    parent: PlanParent | None
    slots: tuple[Slot, ...]
    as_of: int | None = None


@dataclass(frozen=True, slots=True, eq=False)
class PlanMeasure:
    """One aggregate under its name."""

    name: str
    function: Function
    path: PlanPath | None
    distinct: bool


@dataclass(frozen=True, slots=True, eq=False)
class AggregatePlan:
    """Groups with their measures; an order key is the name of one of them."""

    source: Source
    group: tuple[tuple[str, PlanPath], ...]
    measures: tuple[PlanMeasure, ...]
    filter: PlanFilter | None
    order: tuple[tuple[str, bool], ...]
    page: Page
    parent: PlanParent | None
    slots: tuple[Slot, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Reference:
    """A foreign key of a new or changed row, `(local, remote)` by column, and the rows that it may refer to."""

    pairs: tuple[tuple[sa.Column[Any], sa.Column[Any]], ...]
    source: Source


@dataclass(frozen=True, slots=True, eq=False)
class InsertPlan:
    """One new row. `stamps` come from the principal; `check` must hold of the row."""

    source: Source
    columns: tuple[Column, ...]
    stamps: tuple[tuple[Column, Any], ...]
    check: Folded
    shape: PlanShape
    slots: tuple[Slot, ...]
    references: tuple[Reference, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class UpdatePlan:
    """New values for one row that the update rule admits; with `restored` one that was deleted is there again.

    With `touched` it has a new version, though no value is new.
    """

    source: Source
    columns: tuple[Column, ...]
    check: Folded
    key: tuple[tuple[Column, int], ...]
    shape: PlanShape
    slots: tuple[Slot, ...]
    references: tuple[Reference, ...] = ()
    restored: Column | None = None
    touched: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class DeletePlan:
    """One row that the delete rule admits; with `marked` it stays, and that column says when it was deleted."""

    source: Source
    key: tuple[tuple[Column, int], ...]
    slots: tuple[Slot, ...]
    marked: Column | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Referrer:
    """Rows that may be seen, `source`, and a foreign key of theirs, `(local, remote)` by column."""

    pairs: tuple[tuple[sa.Column[Any], sa.Column[Any]], ...]
    source: Source


@dataclass(frozen=True, slots=True, eq=False)
class ReferrersPlan:
    """Which of these refer to the row of a key."""

    source: Source
    key: tuple[tuple[Column, int], ...]
    referrers: tuple[Referrer, ...]
    slots: tuple[Slot, ...]


@dataclass(frozen=True, slots=True, eq=False)
class HistoryPlan:
    """The changes of one row.

    Attributes:
        source: whose row it is: the rule of the row as it is now, or of its last image when it is gone.
        images: what holds of an image that is shown.
        change: the slot of the number of the only change that is asked for, beside the row as it is now.
        kept: what is told of its images beside what is shown of them.
    """

    source: Source
    images: Source
    shape: PlanShape
    key: tuple[tuple[Column, int], ...]
    page: KeysetPage
    slots: tuple[Slot, ...]
    change: int | None = None
    kept: PlanShape | None = None


Plan = SelectPlan | AggregatePlan | InsertPlan | UpdatePlan | DeletePlan | ReferrersPlan | HistoryPlan


def both(left: Folded, right: Folded) -> Folded:
    """The conjunction of two folded rules."""
    if left is True:
        return right
    if right is True:
        return left
    if left is False or right is False:
        return False
    return sa.and_(left, right)
