"""Why somebody may do something to a row, or may not: each term of the rules, asked of the database by itself.

The verdict is that of the plan which the server would run. The terms explain it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import unquote

import sqlalchemy as sa
from sqlalchemy.sql import elements, operators

from ..config import Config
from ..context import Context, Principal
from ..db.database import Database, Row
from ..db.opened import is_there
from ..errors import ForbiddenError, OperatorError, Problem, ValidationError, perhaps
from ..query.plan import Form, HistoryPlan, PlanShape, SelectPlan, Slot, Source
from ..query.planner import Planner
from ..query.sight import in_tenant
from ..schema.change_log import CHANGES
from ..schema.policy import Folded, Standing, fold, fold_write, me, standing_of
from ..schema.resource import Catalog, Resource
from ..sql.compiler import compile_plan
from ..sql.dialect import Dialect
from .matrix import ACTIONS, query_of
from .words import words

#: The scopes of actions that have none of their own.
_SCOPES = {"restore": "update", "history": "read"}
_Fold = Callable[[sa.ColumnElement[bool], Standing], Folded]


@dataclass(frozen=True, slots=True)
class Term:
    """A part of what is asked.

    Attributes:
        holds: `None` where only a row that is yet to be written could tell.
        decides: whether the verdict depends on it; a field's rule hides the field, not the row.
    """

    text: str
    holds: bool | None
    terms: tuple[Term, ...] = ()
    decides: bool = True

    def plain(self) -> dict[str, Any]:
        """As JSON has it."""
        return {"text": self.text, "holds": self.holds, "terms": [term.plain() for term in self.terms]}

    def lines(self, indent: str = "") -> Iterator[str]:
        """As a tree of text."""
        mark = "?" if self.holds is None else "✓" if self.holds else "✗"
        yield f"{indent}{mark} {self.text}"
        for term in self.terms:
            yield from term.lines(indent + "  ")


class Why:
    """Explains decisions over one database."""

    def __init__(self, catalog: Catalog, config: Config, dialect: Dialect, database: Database) -> None:
        self._catalog = catalog
        self._planner = Planner(catalog, config)
        self._dialect = dialect
        self._database = database

    async def explain(self, principal: Principal, question: Question) -> Term:
        """The verdict, with its reasons below.

        Raises:
            OperatorError: no row can have that key.
        """
        resource, action, key = question.resource, question.action, question.key
        path = "/".join((resource.name, *([",".join(key)] if key else [])))
        standing = standing_of(principal, self._catalog.roles, self._catalog.permissions)
        asked = _Asked(self, resource, action, key, principal, standing)
        try:
            plan = self._planner.plan(query_of(resource, action), standing)
        except ForbiddenError:
            admitted = False
        except Problem as problem:
            return Term(f"{action} {path}: {problem.detail}", holds=False, terms=tuple(await asked.reasons()))
        else:
            admitted = await asked.holds(plan.source.rule) if key else True
            if isinstance(plan, HistoryPlan) and not await asked.holds(rule=True):
                admitted = await self._was_seen(plan, key, principal)
                asked = replace(asked, gone=admitted)
        reasons = tuple(await asked.reasons())
        return Term(f"{action} {path}", holds=admitted, terms=reasons)

    async def found(self, source: Source, key: Sequence[str], principal: Principal) -> bool:
        """Whether the row with that key is among the source's."""
        columns = source.resource.key
        slots = tuple(Slot(column.name, column, Form.SCALAR) for column in columns)
        keyed = tuple((column, slot) for slot, column in enumerate(columns))
        plan = SelectPlan(source, None, (), None, PlanShape(columns), keyed, None, slots)
        return bool(await self._rows(plan, key, principal))

    async def _was_seen(self, plan: HistoryPlan, key: Sequence[str], principal: Principal) -> bool:
        """Whether a row that is gone has a history: the log has what it last was, and they could have read it."""
        if not await is_there(self._database, self._dialect, CHANGES, Context("", principal)):
            return False
        rows = await self._rows(plan, key, principal)
        return bool(rows) and rows[0][-1] is not None

    async def _rows(self, plan: SelectPlan | HistoryPlan, key: Sequence[str], principal: Principal) -> list[Row]:
        statement = compile_plan(plan, self._dialect)
        try:
            values = [read(raw) for read, raw in zip(statement.readers, key, strict=True)]
            asks = Context("", principal)
            found = self._database.read(statement, statement.parameters(values, asks), asks)
            return found if isinstance(found, list) else await found
        except ValueError as error:
            raise OperatorError(
                f"No row of {plan.source.resource.name} can have the key {','.join(key)}: {error}."
            ) from None
        except ValidationError:
            return []


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked of a row; without a key it is yet to be written."""

    resource: Resource
    action: str
    key: Sequence[str]


def question_of(catalog: Catalog, action: str, path: str) -> Question:
    """The question of a command line.

    Args:
        path: a resource and a key, as in a URL: `scores/17`; to create, the resource alone.

    Raises:
        OperatorError: no such action or resource, or not its key.
    """
    name, _, key_text = path.strip("/").partition("/")
    resource = catalog.resources.get(name)
    if resource is None:
        raise OperatorError(f"There is no resource {name!r}. {perhaps(name, catalog.resources)}")
    if action not in ACTIONS:
        raise OperatorError(f"There is no action {action!r}. {perhaps(action, ACTIONS)}")
    key = [unquote(part) for part in key_text.split(",")] if key_text else []
    if len(key) != (0 if action == "create" else len(resource.key)):
        shown = ",".join(column.name for column in resource.key)
        wanted = resource.name if action == "create" else f"{resource.name}/{shown}"
        raise OperatorError(f"Say which: `--action {action} {wanted}`.")
    return Question(resource, action, key)


@dataclass(frozen=True, slots=True)
class _Asked:
    """One question; without a key the row is yet to be written.

    Attributes:
        gone: of a row that is not there, whether what it last was has a history; `None` of any other.
    """

    why: Why
    resource: Resource
    action: str
    key: Sequence[str]
    principal: Principal
    standing: Standing
    gone: bool | None = None

    async def holds(self, rule: Folded) -> bool | None:
        """Whether a folded rule holds of the row; `None` when there is no row yet, or no longer."""
        if not self.key or self.gone is not None:
            return rule if isinstance(rule, bool) else None
        return await self.why.found(Source(self.resource, rule), self.key, self.principal)

    async def reasons(self) -> list[Term]:
        """The terms of the verdict, in the order in which the server's plan has them."""
        policy, action = self.resource.policy, self.action
        found = await self._of_the_row() if self.key else []
        if self.principal.scopes is not None:
            covered = self.standing.covers(self.resource.name, _SCOPES.get(action, action))
            found.append(Term(f"the credential's scopes cover {action}", covered))
        if action != "create":
            found.append(await self._labelled("read", policy.read, fold))
        if action != "read":
            own = fold if action == "history" else fold_write
            found.append(await self._labelled(action, getattr(policy, action), own))
        if action == "create" or action == "update":
            label = "check of the new row" if action == "create" else "check, of the row as it is"
            found.append(await self._labelled(label, policy.check, fold_write))
        for name, own in policy.fields.items():
            if action in ("read", "create", "update", "history") and name in self.resource.columns:
                reads = action in ("read", "history")
                if reads or own.write is None:
                    rule, folded = own.read, fold
                else:
                    rule, folded = own.write, fold_write
                verb = "read" if reads else "write"
                term = await self._labelled(f"{verb} the field {name}", rule, folded)
                found.append(replace(term, decides=False))
        return found

    async def _of_the_row(self) -> list[Term]:
        """That it is there, in the caller's tenant, and not deleted."""
        table = self.resource.table
        if self.gone is not None:
            text = "the change log has what it last was, which they could have read"
            return [Term("the row is in the table", holds=False), Term(text, self.gone)]
        found = [Term("the row is in the table", await self.holds(rule=True))]
        if table.tenant is not None:
            said = words(table.columns[table.tenant].sql == me.tenant)
            found.append(Term(f"tenant: {said}", await self.holds(in_tenant(table, self.standing))))
        if table.deleted is not None:
            moment = table.columns[table.deleted].sql
            rule = moment.is_not(None) if self.action == "restore" else moment.is_(None)
            label = "deleted" if self.action == "restore" else "not deleted"
            if self.action == "history":
                label, rule = "not deleted, or theirs to restore", sa.or_(rule, self.resource.policy.restore)
            text = f"{label}: {words(rule, table.sql)}"
            found.append(Term(text, await self.holds(fold(rule, self.standing))))
        return found

    async def _labelled(self, label: str, rule: sa.ColumnElement[bool], folded: _Fold) -> Term:
        term = await self._term(rule, folded)
        return replace(term, text=f"{label}: {term.text}")

    async def _term(self, rule: Any, folded: _Fold) -> Term:
        """A rule as a tree: what holds of each part is asked apart, as three truth values do not add up in Python."""
        while isinstance(rule, elements.Grouping):
            rule = rule.element  # type: ignore[reportUnknownMemberType]
        holds = await self.holds(folded(rule, self.standing))
        parts: list[Any] = []
        text = words(rule, self.resource.table.sql)
        if isinstance(rule, elements.BooleanClauseList):
            parts, text = list(rule.clauses), "all of" if rule.operator is operators.and_ else "any of"
        elif isinstance(rule, elements.UnaryExpression) and rule.operator is operators.inv:  # type: ignore[reportUnknownMemberType]
            parts, text = [rule.element], "not"  # type: ignore[reportUnknownMemberType]
        return Term(text, holds, tuple([await self._term(part, folded) for part in parts]))
