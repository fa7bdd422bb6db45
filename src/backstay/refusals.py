"""What a caller is told of a write that the database refused: the fields at fault, never another row's content."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from typing import Any, cast

from .context import Context, Principal
from .db.database import ConstraintViolationError, Database, Violation
from .db.postgres_replicas import UNREACHED
from .errors import FieldError, ForbiddenError, Problem, ValidationError
from .query.plan import Form, PlanShape, ReferrersPlan, SelectPlan, Slot, Source
from .query.sight import Sight
from .schema.constrained import columns_about
from .schema.model import Column
from .schema.policy import Standing
from .schema.resource import Catalog, Resource
from .sql.compiler import compile_plan
from .sql.dialect import Dialect
from .sql.statement import Statement

_NAME = re.compile(r"\w+")


class Refusals:
    """Finds the words; see the module."""

    def __init__(
        self, catalog: Catalog, dialect: Dialect, database: Database, standing: Callable[[Principal], Standing]
    ) -> None:
        self._catalog, self._dialect, self._database, self._standing = catalog, dialect, database, standing

    def _at(self, context: Context) -> Database:
        """Where the refused write was: what its transaction did before counts."""
        return cast(Database, context.transaction or self._database)

    async def of(
        self,
        violation: ConstraintViolationError,
        statement: Statement,
        values: list[Any],
        resource: Resource,
        context: Context,
    ) -> Problem:
        """What the caller is told of a constraint: the fields, never another row's content."""
        sight = Sight(self._catalog, self._standing(context.principal))
        known = sight.known(resource)
        match violation.kind:
            case Violation.UNIQUE | Violation.EXCLUSION:
                if not await self._admitted(statement, values, context):
                    return await self.refused(statement, values, resource, context)
                names = _names_of(resource, violation, known, preferred=sight.settable(resource))
                return _taken(resource, names, violation.kind)
            case Violation.NOT_NULL if _from_principal(resource, violation.columns):
                return ForbiddenError(statement.action, resource.name, anonymous=context.principal.is_anonymous)
            case Violation.NOT_NULL:
                names = _names_of(resource, violation, known)
                return ValidationError([FieldError(n, "required", "must not be null.") for n in names])
            case Violation.FOREIGN_KEY if statement.action == "delete":
                return await self._still_referenced(statement, values, resource, context)
            case Violation.FOREIGN_KEY:
                if not await self._admitted(statement, values, context):
                    return await self.refused(statement, values, resource, context)
                if any(_leads(slot) and not slot.told for slot in statement.slots):
                    return await self._as_refused(statement, values, resource, context)
                missing = await self.missing_parents(statement, values, resource, context)
                if missing is None and statement.action == "create":
                    # What the server set from the principal leads nowhere: it is gone, or its tenant is.
                    return ForbiddenError("create", resource.name, anonymous=context.principal.is_anonymous)
                return missing or await self._still_referenced(statement, values, resource, context)
            case Violation.CHECK:
                return _broken(resource, violation, known)
            case Violation.TYPE:
                return ValidationError([FieldError("body", "invalid_value", "a value has the wrong type.")])

    async def _as_refused(
        self, statement: Statement, values: list[Any], resource: Resource, context: Context
    ) -> Problem:
        """What is told of references, some of which the caller may not find out: of those, what a rule would tell.

        The looks for the others are not counted, as they are not where a rule refuses.
        """
        refusal = await self.refused(statement, values, resource, context)
        counted = context.statements
        missing = await self.missing_parents(statement, values, resource, context)
        context.statements = counted
        return missing or refusal

    async def refused(self, statement: Statement, values: list[Any], resource: Resource, context: Context) -> Problem:
        """What the caller is told of a write whose row the rules do not admit."""
        missing = await self.missing_parents(statement, values, resource, context, ruled=True)
        if missing is not None:
            return missing
        action = f"{statement.action} this row of"
        return ForbiddenError(action, resource.name, anonymous=context.principal.is_anonymous)

    async def _admitted(self, statement: Statement, values: list[Any], context: Context) -> bool:
        """Whether the rules admit what the write would have made: who may not write it learns no more.

        It is not counted in the request, whose answer is that of a row that no other one kept out.
        """
        if statement.trial is None:
            return True
        own = Context(context.request_id, deadline=context.deadline)
        own.read_after = UNREACHED
        trial = statement.trial()
        found = self._at(context).read(trial, trial.parameters(values, context), own)
        return bool(found if isinstance(found, list) else await found)

    async def _still_referenced(
        self, statement: Statement, values: list[Any], resource: Resource, context: Context
    ) -> Problem:
        """Names the resources whose rows in sight refer to the row; of others no more than that there are some."""
        sight = Sight(self._catalog, self._standing(context.principal))
        referrers = tuple(sight.referrers(resource))
        slots = [
            (slot, value) for slot, value in zip(statement.slots, values, strict=True) if slot.form is Form.SCALAR
        ]
        named = [(slot, value) for slot, value in slots if slot.column in resource.key]
        names: list[str] = []
        if referrers and named:
            key = tuple((slot.column, i) for i, (slot, _) in enumerate(named) if slot.column is not None)
            plan = ReferrersPlan(Source(resource, True), key, referrers, tuple(slot for slot, _ in named))
            asked = compile_plan(plan, self._dialect)
            values = [value for _, value in named]
            found = self._at(context).read(asked, asked.parameters(values, context), context)
            rows = found if isinstance(found, list) else await found
            names = [r.source.resource.name for r, refers in zip(referrers, rows[0], strict=True) if refers]
        names = list(dict.fromkeys(names))
        errors = [FieldError(n, "still_referenced", "has rows that refer to this one.") for n in names]
        whose = f"Rows of {', '.join(names)}" if names else "Other rows"
        return Problem("STILL_REFERENCED", f"{whose} refer to this row of {resource.name}.", errors=errors)

    async def missing_parents(
        self, statement: Statement, values: list[Any], resource: Resource, context: Context, *, ruled: bool = False
    ) -> Problem | None:
        """Which references lead nowhere that the principal may know of; asked only after a write was refused.

        Args:
            ruled: only those whose rule can have refused it.
        """
        errors: list[FieldError] = []
        for slot, value in zip(statement.slots, values, strict=True):
            column = slot.column
            if column is None or not _leads(slot) or not slot.told or value is None:
                continue
            source = self._referable(resource, column, context)
            if source is None or (ruled and source.rule is True):
                continue
            if not await self._parent_exists(source, column, value, context):
                errors.append(FieldError(column.name, "not_found", "refers to a row that does not exist."))
        if not errors:
            return None
        hint = "Create the row that is referred to first, or refer to another."
        return Problem("CONFLICT", f"{errors[0].field}: {errors[0].message}", errors=errors, hint=hint)

    def _referable(self, resource: Resource, column: Column, context: Context) -> Source | None:
        """The rows that a reference may lead to."""
        target = next(iter(column.sql.foreign_keys)).column.table
        own = resource.policy.fields.get(column.name)
        sight = Sight(self._catalog, self._standing(context.principal))
        return sight.referable(target, own.refer if own is not None else None)

    async def _parent_exists(self, source: Source, column: Column, value: Any, context: Context) -> bool:
        """Whether a reference leads to one of these rows."""
        facts = source.resource.table.column_of(next(iter(column.sql.foreign_keys)).column)
        if facts is None:
            return True
        slots = (Slot(column.name, facts, Form.BODY),)
        plan = SelectPlan(source, None, (), None, PlanShape((facts,)), ((facts, 0),), None, slots)
        statement = compile_plan(plan, self._dialect)
        found = self._at(context).read(statement, statement.parameters([value], context), context)
        return bool(found if isinstance(found, list) else await found)


def _leads(slot: Slot) -> bool:
    """Whether a value is a reference to a row."""
    return slot.column is not None and bool(slot.column.sql.foreign_keys)


def _from_principal(resource: Resource, columns: Sequence[str]) -> bool:
    """Whether the server sets all these from the principal."""
    stamped = {*resource.policy.stamp, *(() if resource.table.tenant is None else (resource.table.tenant,))}
    names = {resource.table.columns[name].sql.name for name in stamped}
    return bool(columns) and names.issuperset(columns)


def field_errors(resource: Resource, violation: ConstraintViolationError) -> Sequence[FieldError]:
    """What an operator is told of a constraint other than a reference."""
    known = resource.table.columns
    names = _names_of(resource, violation, known)
    match violation.kind:
        case Violation.UNIQUE | Violation.EXCLUSION:
            return _taken(resource, names, violation.kind).errors
        case Violation.NOT_NULL:
            return [FieldError(name, "required", "must not be null.") for name in names]
        case Violation.CHECK:
            return _broken(resource, violation, known).errors
        case _:
            return [FieldError("row", "invalid_value", "a value has the wrong type.")]


def _taken(resource: Resource, names: Sequence[str], kind: Violation) -> Problem:
    """Another row has the values, or conflicts with them."""
    if kind is Violation.UNIQUE:
        errors = [FieldError(name, "unique", "is taken by another row.") for name in names]
        return Problem("CONFLICT", f"Another row of {resource.name} has the same values.", errors=errors)
    errors = [FieldError(name, "exclusion", "conflicts with another row.") for name in names]
    hint = "Another row does not allow these values: change them or that row."
    return Problem("CONFLICT", f"Another row of {resource.name} conflicts.", errors=errors, hint=hint)


def _broken(resource: Resource, violation: ConstraintViolationError, known: Collection[str]) -> Problem:
    """A CHECK does not hold: each field that it is about, and its name unless that may tell of a hidden one."""
    about = set(_columns_of(resource, violation))
    every = [name for name, column in resource.table.columns.items() if column.sql.name in about]
    names = [name for name in every if name in known]
    sayable = _NAME.fullmatch(violation.constraint) and len(names) == len(every)
    told = violation.constraint if sayable else "of the table"
    return ValidationError([FieldError(n, "check", f"breaks the constraint {told}.") for n in names or ["body"]])


def _names_of(
    resource: Resource,
    violation: ConstraintViolationError,
    known: Collection[str],
    *,
    preferred: Collection[str] = (),
) -> list[str]:
    """The fields of a violation that may be named; those that a body can mend, where there are any."""
    by_sql = {column.sql.name: name for name, column in resource.columns.items() if name in known}
    names = [by_sql[column] for column in _columns_of(resource, violation) if column in by_sql]
    return [name for name in names if name in preferred] or names or ["body"]


def _columns_of(resource: Resource, violation: ConstraintViolationError) -> Sequence[str]:
    """The database's names of the columns that a violation is about: as it tells, else as the constraint does."""
    columns = {column.sql.name for column in resource.table.columns.values()}
    if violation.columns and columns.issuperset(violation.columns):
        return violation.columns
    return columns_about(resource.table, violation.constraint, " ".join(violation.columns))
