"""From the JSON of a row to the driver's parameters: the contract of a create, as the operator has it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import sqlalchemy as sa

from ..context import Context
from ..db.database import ConstraintViolationError, Violation
from ..errors import FieldError, OperatorError, Problem, ValidationError
from ..query.objects import is_plain, parse_object
from ..query.payload import Action, Contract
from ..query.plan import Form, InsertPlan, PlanShape, Slot, Source
from ..refusals import field_errors
from ..schema.resource import Resource
from ..sql.compiler import compile_plain_insert
from ..sql.dialect import Dialect
from ..sql.statement import Statement

#: A row, ready to be inserted.
Ready = tuple[Statement, Sequence[Any]]


class _Maker:
    """Makes the parameters of rows that name the same fields.

    Args:
        shared: which parameters the rows of a batch have in common.
        same: which values the driver takes as they are.
    """

    def __init__(self, statement: Statement, shared: Sequence[bool], same: Sequence[bool], context: Context) -> None:
        self.statement, self._context = statement, context
        #: The values that a batch's rows share, once one has been made.
        self.shared: tuple[Any, ...] | None = None
        self._readers = [(i, read) for i, read in enumerate(statement.readers) if not same[i]]
        own = len(statement.slots)
        in_order = statement.labels[:own] == tuple(slot.label for slot in statement.slots)
        #: The values come first, as they are, and all others are shared.
        self._simple = in_order and all(shared[own:])

    def parameters(self, values: tuple[Any, ...]) -> Sequence[Any]:
        """Of one row.

        Raises:
            ValueError: a value that its column cannot hold.
        """
        given: Sequence[Any] = values
        if self._readers:
            given = list(values)
            for i, read in self._readers:
                given[i] = read(given[i])
        if not self._simple:
            return self.statement.parameters(given, self._context)
        if self.shared is None:
            made = self.statement.parameters(given, self._context)
            self.shared = tuple(made[len(values) :])
        return (*given, *self.shared)


class Rows:
    """Makes the rows of one resource.

    Rules do not apply, and all columns may be given: also the key, the times and what the server sets otherwise.
    Only secret columns and computed ones may not.

    Raises:
        OperatorError: a resource that cannot be written.
    """

    def __init__(self, resource: Resource, dialect: Dialect, context: Context) -> None:
        if not isinstance(resource.table.sql, sa.Table) or resource.table.read_only:
            raise OperatorError(f"{resource.name} is read-only: {resource.table.note or 'it is no table.'}")
        self._resource, self._dialect, self._context = resource, dialect, context
        self.columns = {
            name: column
            for name, column in resource.table.columns.items()
            if not column.secret and column.sql.computed is None
        }
        self._contract = Contract(resource, Action.CREATE, self.columns, self.columns)
        #: What is null where a row is silent: rows that name it and rows that do not are of one statement.
        self._silent = {n: None for n, c in self.columns.items() if c.nullable and not c.has_default}
        self._made: dict[tuple[str, ...], _Maker] = {}

    def ready(self, body: bytes) -> Ready:
        """The row that a JSON object describes.

        Raises:
            Problem: it is no such object, or none that the resource takes.
        """
        if self._silent:
            given = self._contract.validate(body)
            members, found = len(given), self._silent | given
        else:
            found = self._contract.validate(body)
            members = len(found)
        if not is_plain(body, members):
            parse_object(body)
        names = tuple(found)
        made = self._made.get(names)
        if made is None:
            made = self._made[names] = self._make(names)
        values = tuple(found.values())
        try:
            return made.statement, made.parameters(values)
        except ValueError:
            raise ValidationError(_unreadable(made.statement, values)) from None

    def next_batch(self) -> None:
        """The rows from here on are of another moment."""
        for made in self._made.values():
            made.shared = None

    def _make(self, names: tuple[str, ...]) -> _Maker:
        columns = tuple(self.columns[name] for name in names)
        slots = tuple(Slot(column.name, column, Form.BODY) for column in columns)
        plan = InsertPlan(Source(self._resource, True), columns, (), True, PlanShape(()), slots)
        # Those readers alone that change anything: this runs for every value of every row.
        same = [self._dialect.reader(column) is None for column in columns]
        return _Maker(*compile_plain_insert(plan, self._dialect), same, self._context)

    def errors(
        self, refused: ConstraintViolationError | Problem, ready: Ready, exists: Callable[[str, Sequence[Any]], bool]
    ) -> Sequence[FieldError]:
        """What is wrong with a row that the database refused.

        Args:
            exists: whether a query has rows.
        """
        if isinstance(refused, Problem):
            return refused.errors or [FieldError("row", refused.code.lower(), refused.detail)]
        if refused.kind is Violation.FOREIGN_KEY:
            statement, parameters = ready
            values = dict(zip(statement.labels, parameters, strict=True))
            return [FieldError(name, "not_found", _NO_PARENT) for name in self._orphaned(values, exists)]
        return field_errors(self._resource, refused)

    def _orphaned(self, values: dict[str, Any], exists: Callable[[str, Sequence[Any]], bool]) -> list[str]:
        """The fields whose references lead nowhere."""
        by_column = {column.sql: name for name, column in self.columns.items()}
        table: Any = self._resource.table.sql
        found: list[str] = []
        for constraint in table.foreign_key_constraints:
            pairs = [(by_column.get(e.parent, ""), e.column) for e in constraint.elements]
            given = [values.get(name) for name, _ in pairs]
            if all(value is not None for value in given):
                where = [column == sa.bindparam(f"s{i}") for i, (_, column) in enumerate(pairs)]
                query: Any = sa.select(ONE).where(*where).limit(ONE)
                text = str(query.compile(dialect=self._dialect.core))
                if not exists(text, given):
                    found += [name for name, _ in pairs]
        return sorted(set(found)) or ["row"]


ONE: Any = sa.literal_column("1", sa.Integer())
_NO_PARENT = "refers to a row that does not exist."


def _unreadable(statement: Statement, values: Sequence[Any]) -> list[FieldError]:
    """The fields that their columns cannot hold."""
    errors: list[FieldError] = []
    for slot, reader, value in zip(statement.slots, statement.readers, values, strict=True):
        try:
            reader(value)
        except ValueError as error:
            errors.append(FieldError(slot.label, "invalid_value", f"{error}."))
    return errors
