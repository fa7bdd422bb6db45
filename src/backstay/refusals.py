"""What a caller is told of a write that the database refused: the fields at fault, never another row's content."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from .context import Context, Principal
from .db.database import ConstraintViolationError, Database, Violation
from .errors import FieldError, ForbiddenError, Problem, ValidationError
from .query.plan import Form, PlanShape, SelectPlan, Slot, Source
from .query.sight import Sight
from .schema.model import Column
from .schema.policy import Standing
from .schema.resource import Catalog, Resource
from .sql.compiler import compile_plan
from .sql.dialect import Dialect
from .sql.statement import Statement


class Refusals:
    """Finds the words; see the module."""

    def __init__(
        self, catalog: Catalog, dialect: Dialect, database: Database, standing: Callable[[Principal], Standing]
    ) -> None:
        self._catalog, self._dialect, self._database, self._standing = catalog, dialect, database, standing

    async def of(
        self,
        violation: ConstraintViolationError,
        statement: Statement,
        values: list[Any],
        resource: Resource,
        context: Context,
    ) -> Problem:
        """What the caller is told of a constraint: the fields, never another row's content."""
        known = Sight(self._catalog, self._standing(context.principal)).known(resource)
        match violation.kind:
            case Violation.UNIQUE:
                names = _names(resource, violation.columns, known)
                errors = [FieldError(n, "unique", "is taken by another row.") for n in names]
                return Problem("CONFLICT", f"Another row of {resource.name} has the same values.", errors=errors)
            case Violation.NOT_NULL if _from_principal(resource, violation.columns):
                return ForbiddenError(statement.action, resource.name, anonymous=context.principal.is_anonymous)
            case Violation.NOT_NULL:
                names = _names(resource, violation.columns, known)
                return ValidationError([FieldError(n, "required", "must not be null.") for n in names])
            case Violation.FOREIGN_KEY if statement.action == "delete":
                return Problem("STILL_REFERENCED", f"Other rows refer to this row of {resource.name}.")
            case Violation.FOREIGN_KEY:
                missing = await self.missing_parents(statement, values, resource, context)
                if missing is None and statement.action == "create":
                    # What the server set from the principal leads nowhere: it is gone, or its tenant is.
                    return ForbiddenError("create", resource.name, anonymous=context.principal.is_anonymous)
                detail = f"Other rows refer to this row of {resource.name}."
                return missing or Problem("STILL_REFERENCED", detail)
            case Violation.CHECK:
                named = [n for n, c in resource.table.columns.items() if _in(violation.constraint, n, c)]
                field = max((n for n in named if n in known), key=len, default="body")
                told = violation.constraint if violation.constraint and known.issuperset(named) else "of the table"
                message = f"breaks the constraint {told}."
                return ValidationError([FieldError(field, "check", message)])
            case Violation.TYPE:
                return ValidationError([FieldError("body", "invalid_value", "a value has the wrong type.")])

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
            if column is None or not column.sql.foreign_keys or value is None:
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
        found = self._database.read(statement, statement.parameters([value], context.principal), context)
        return bool(found if isinstance(found, list) else await found)


def _in(constraint: str, name: str, column: Column) -> bool:
    """Whether a constraint's name has that of a column; in another version of the API it is called otherwise."""
    return any(f"_{word}_" in f"_{constraint}_" for word in (name, column.sql.name))


def _from_principal(resource: Resource, columns: Sequence[str]) -> bool:
    """Whether the server sets all these from the principal."""
    stamped = {*resource.policy.stamp, *(() if resource.table.tenant is None else (resource.table.tenant,))}
    names = {resource.table.columns[name].sql.name for name in stamped}
    return bool(columns) and names.issuperset(columns)


def _names(resource: Resource, columns: Sequence[str], known: frozenset[str]) -> list[str]:
    by_sql = {column.sql.name: name for name, column in resource.columns.items() if name in known}
    return [by_sql[name] for name in columns if name in by_sql] or ["body"]
