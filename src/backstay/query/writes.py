"""Plans of writes: who may change which rows and fields, and what rows they may refer to."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

import sqlalchemy as sa

from ..errors import Problem
from ..schema.model import Column
from ..schema.policy import Folded, fold, fold_write, me
from ..schema.resource import Resource
from .ir import Delete, Deleted, Insert, Update
from .names import Names
from .payload import default_of, unsettable
from .plan import DeletePlan, Form, InsertPlan, PlanShape, Reference, Slot, Source, UpdatePlan, both


def key_of(resource: Resource, slots: tuple[int, ...], names: Names) -> tuple[tuple[Column, int], ...]:
    """The columns of a resource's key with the slots of their values.

    Raises:
        Problem: `NOT_FOUND` where there is no such key.
    """
    if not resource.key:
        raise Problem("NOT_FOUND", f"{resource.name} has no key: its rows are only listed.")
    if len(slots) != len(resource.key):
        words = ",".join(column.name for column in resource.key)
        raise Problem("NOT_FOUND", f"The key of {resource.name} is {words}.")
    for column, slot in zip(resource.key, slots, strict=True):
        names.slots[slot] = Slot(column.name, column, Form.SCALAR)
    return tuple(zip(resource.key, slots, strict=True))


def plan_insert(resource: Resource, query: Insert, names: Names) -> InsertPlan:
    """One new row, in the principal's tenant where rows have one."""
    given = query.columns
    _writable(resource)
    policy = resource.policy
    rule = fold_write(policy.create, names.standing)
    names.require(resource, "create", rule)
    columns = _columns(resource, given, names, query.unseen)
    kept = _kept(resource, query, names)
    stamps = tuple((resource.table.columns[n], value) for n, value in policy.stamp.items() if n not in query.kept)
    if resource.table.tenant is not None:
        stamps += ((resource.table.columns[resource.table.tenant], me.tenant),)
    silent = [name for name in resource.defaults if name not in (*given, *query.kept)]
    stamps += tuple((resource.table.columns[name], default_of(resource, name)) for name in silent)
    # A constant has its column's type wherever it stands.
    stamps = tuple((c, v if isinstance(v, sa.ClauseElement) else sa.literal(v, c.sql.type)) for c, v in stamps)
    check = both(rule, fold_write(policy.check, names.standing))
    for own in _field_rules(resource, columns, names):
        check = both(check, own)
    names.require(resource, "create", check)
    references = tuple(_references(resource, columns, names))
    shape = names.shape(resource, None, ())
    return InsertPlan(Source(resource, rule), columns + kept, stamps, check, shape, names.finish(), references)


def plan_update(resource: Resource, query: Update, names: Names) -> UpdatePlan:
    """New values in a row that the principal may see and change, and may have changed."""
    _writable(resource)
    policy = resource.policy
    rule = _write_rule(resource, "update", policy.update, names)
    columns = _columns(resource, query.columns, names, query.unseen)
    for own in _field_rules(resource, columns, names):
        rule = both(rule, own)
    found = key_of(resource, query.key, names) + _version_of(resource, query.version, names)
    check = both(fold_write(policy.update, names.standing), fold_write(policy.check, names.standing))
    names.require(resource, "update", check)
    references = tuple(_references(resource, columns, names))
    shape = _answer(resource, names)
    source, slots = Source(resource, rule), names.finish()
    return UpdatePlan(source, columns, check, found, shape, slots, references, touched=query.touch)


def plan_delete(resource: Resource, query: Delete, names: Names) -> DeletePlan:
    """One row less, or one that is marked as deleted."""
    _writable(resource)
    rule = _write_rule(resource, "delete", resource.policy.delete, names)
    found = key_of(resource, query.key, names) + _version_of(resource, query.version, names)
    marked = None if resource.table.deleted is None else resource.table.columns[resource.table.deleted]
    return DeletePlan(Source(resource, rule), found, names.finish(), marked)


def plan_restore(resource: Resource, key: tuple[int, ...], names: Names) -> UpdatePlan:
    """A row that was deleted softly, for who may restore it."""
    _writable(resource)
    if resource.table.deleted is None:
        raise Problem("NOT_FOUND", f"Rows of {resource.name} are deleted for good.")
    rule = fold_write(resource.policy.restore, names.standing)
    names.require(resource, "restore", rule)
    source = Source(resource, both(names.sight.source(resource, Deleted.ONLY).rule, rule))
    column = resource.table.columns[resource.table.deleted]
    found = key_of(resource, key, names)
    return UpdatePlan(source, (), True, found, _answer(resource, names), names.finish(), restored=column)


def writable_rows(resource: Resource, action: str, names: Names) -> Source:
    """The rows that the principal may see and `update` or `delete`."""
    _writable(resource)
    policy = resource.policy
    own = policy.update if action == "update" else policy.delete
    return Source(resource, _write_rule(resource, action, own, names))


def _answer(resource: Resource, names: Names) -> PlanShape:
    """The row as it is now; its key alone to a credential that may change it and not read it."""
    covered = names.standing.covers(resource.origin.name, "read")
    return names.shape(resource, None, ()) if covered else PlanShape(resource.key)


def _version_of(resource: Resource, slot: int | None, names: Names) -> tuple[tuple[Column, int], ...]:
    """The column of a row's version with the slot of the one that it must have, as if it were part of the key.

    Raises:
        Problem: `PRECONDITION_FAILED` where rows have no version.
    """
    if slot is None:
        return ()
    if resource.table.version is None:
        raise Problem("PRECONDITION_FAILED", f"Rows of {resource.name} have no version to compare.")
    column = resource.table.columns[resource.table.version]
    names.slots[slot] = Slot("if-match", column, Form.SCALAR)
    return ((column, slot),)


def _writable(resource: Resource) -> None:
    if not resource.writable:
        reason = resource.table.note or "it has no key."
        raise Problem("READ_ONLY", f"{resource.name} is read-only: {reason}")


def _write_rule(resource: Resource, action: str, own: sa.ColumnElement[bool], names: Names) -> Folded:
    """A row can be changed only by who may both see it and change it."""
    rule = fold_write(own, names.standing)
    names.require(resource, action, rule)
    return both(both(fold(resource.policy.read, names.standing), names.sight.scope(resource)), rule)


def _columns(resource: Resource, given: tuple[str, ...], names: Names, unseen: Collection[str]) -> tuple[Column, ...]:
    """The fields of a body; what may be read and not set is read-only, anything else unknown."""
    found: list[Column] = []
    settable = names.sight.settable(resource)
    for position, name in enumerate(given):
        column = settable.get(name)
        if column is not None:
            names.slots[position] = Slot(name, column, Form.BODY, told=name not in unseen)
            found.append(column)
        elif names.column(resource, name, name) is not None:
            names.refuse(name, "read_only", unsettable(resource, name))
    return tuple(found)


def _kept(resource: Resource, query: Insert, names: Names) -> tuple[Column, ...]:
    """The columns of a row that was there before, as far as no body sets them."""
    columns = tuple(resource.table.columns[name] for name in query.kept)
    for slot, column in enumerate(columns, len(query.columns)):
        names.slots[slot] = Slot(column.name, column, Form.BODY, told=column.name not in query.unseen)
    return columns


def _field_rules(resource: Resource, columns: Iterable[Column], names: Names) -> Iterator[Folded]:
    """What the fields' own rules demand of the row that they are set in."""
    for column in columns:
        own = resource.policy.fields.get(column.name)
        rule = True if own is None or own.write is None else fold_write(own.write, names.standing)
        if rule is not True:
            yield rule


def _references(resource: Resource, columns: tuple[Column, ...], names: Names) -> Iterator[Reference]:
    """What the given references have to lead to: rows in sight, whose existence may be known.

    Without this, a reference to another tenant's row, or to a hidden one, would tell that it is there.
    """
    given = {column.sql for column in columns}
    table = resource.table.sql
    constraints = table.foreign_key_constraints if isinstance(table, sa.Table) else ()
    for constraint in sorted(constraints, key=lambda c: [column.name for column in c.columns]):
        pairs = tuple((element.parent, element.column) for element in constraint.elements)
        local = [column for column, _ in pairs if column in given]
        if not local:
            continue
        own = resource.policy.fields.get(next(c.name for c in columns if c.sql is local[0]))
        source = names.sight.referable(pairs[0][1].table, own.refer if own is not None else None)
        if source is not None and source.rule is not True:
            yield Reference(pairs, source)
