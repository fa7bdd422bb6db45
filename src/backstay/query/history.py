"""Plans of the past: which changes of a row may be seen, and which of its images."""

from __future__ import annotations

import sqlalchemy as sa

from ..errors import Problem
from ..schema.change_log import CHANGES
from ..schema.kinds import column_like
from ..schema.model import Column
from ..schema.policy import fold
from ..schema.resource import Resource
from .ir import Deleted, History
from .names import Names
from .plan import Form, HistoryPlan, PlanShape, Slot, Source, both
from .writes import key_of

#: What `as_of` is.
INSTANT = column_like(CHANGES.c.at.type, nullable=False)
#: What numbers the changes.
CHANGE_ID = column_like(sa.BigInteger(), nullable=False)


def plan_history(resource: Resource, query: History, names: Names) -> HistoryPlan:
    """The changes of one row, for who may see its history and could have read what it was."""
    images = names.sight.source(resource, _deleted(resource, names))
    names.require(resource, "read", images.rule)
    history = fold(resource.policy.history, names.standing)
    names.require(resource, "see the history of", history)
    if query.primary:
        key = tuple(resource.table.columns[name] for name in resource.table.key)
        if len(key) != len(query.key):
            raise Problem("NOT_FOUND", f"The key of {resource.name} is {','.join(c.name for c in resource.key)}.")
        for column, slot in zip(key, query.key, strict=True):
            names.slots[slot] = Slot(column.name, column, Form.SCALAR)
        found = tuple(zip(key, query.key, strict=True))
    else:
        found = key_of(resource, query.key, names)
    for slot in query.page.slots:
        names.slots[slot] = Slot("cursor", CHANGE_ID, Form.CURSOR)
    if len(query.page.slots) > 1 or any(query.page.nulls):
        names.refuse("cursor", "cursor", "is malformed.", "Start without a cursor.")
    shape, kept = names.shape(resource, None, ()), None
    if query.change is not None:
        names.slots[query.change] = Slot("change", CHANGE_ID, Form.BODY)
        kept = PlanShape(tuple(kept_columns(resource)))
    source = Source(resource, both(images.rule, history))
    return HistoryPlan(source, images, shape, found, query.page, names.finish(), query.change, kept)


def kept_columns(resource: Resource) -> list[Column]:
    """What changes keep of a row, shown or not: all but secrets."""
    return [column for column in resource.table.columns.values() if not column.secret]


def _deleted(resource: Resource, names: Names) -> Deleted:
    """Who may restore rows sees what they were like while they were deleted."""
    if resource.table.deleted is None or fold(resource.policy.restore, names.standing) is False:
        return Deleted.HIDDEN
    return Deleted.INCLUDED
