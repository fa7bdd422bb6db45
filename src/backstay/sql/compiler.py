"""Plan → Statement: build the Core tree, compile it once, and work out what fills each parameter."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache, partial
from typing import Any, cast

import orjson
import sqlalchemy as sa
from sqlalchemy.sql.compiler import SQLCompiler

from ..context import Context
from ..query.ir import KeysetPage, Op
from ..query.plan import (
    AggregatePlan,
    DeletePlan,
    Form,
    HistoryPlan,
    InsertPlan,
    Plan,
    PlanShape,
    ReferrersPlan,
    SelectPlan,
    Slot,
    Source,
    UpdatePlan,
)
from ..schema.base import utc_now
from ..schema.kinds import facts_of, kind_of
from ..schema.model import Column, Kind, Table
from ..schema.policy import ME_PREFIX
from ..schema.resource import Resource
from .claims import CLAIM_FINGERPRINT, CLAIM_KEY, with_claim
from .dialect import BY, Dialect, Expression, fixed
from .history import build_history, past_rows
from .keysets import build_keyset_list
from .reads import build_aggregate, build_item, build_list
from .refused import build_referrers, build_trial
from .scope import Scope
from .statement import Binder, Output, Reader, Statement
from .writes import build_delete, build_insert, build_plain_insert, build_update

#: Values of principals that a statement remembers as its driver's.
PRINCIPALS_MAX = 256


def compile_plan(plan: Plan, dialect: Dialect, *, claimed: bool = False) -> Statement:
    """The Statement of a Plan in one dialect.

    Args:
        claimed: of a write: it records its answer, too.
    """
    scope = _scope(plan, dialect)
    action, (tree, outputs) = _build(scope, plan)
    if claimed and dialect.name == "postgresql":
        tree = with_claim(tree, outputs, action)
    statement = _compiled(scope, plan, action, tree, outputs)
    return replace(statement, claimed=True) if claimed else statement


def compile_plain_insert(plan: InsertPlan, dialect: Dialect) -> tuple[Statement, tuple[bool, ...]]:
    """The Statement of a create that returns nothing, and which of its parameters many rows can share.

    Those are constants and the time. It is for the rows of an operator: nobody's rules are asked.
    """
    scope = _scope(plan, dialect)
    tree = build_plain_insert(scope, plan)
    statement = _compiled(scope, plan, "import", tree, ())
    defaults: dict[str, Any] = {str(column.key): column.default for column in tree.table.columns}
    names: Sequence[str] = tree.compile(dialect=dialect.core).positiontup or ()
    return statement, tuple(not _is_slot(name) and _shared(defaults.get(name)) for name in names)


def compile_rule(resource: Resource, rule: Expression, dialect: Dialect) -> tuple[Statement, list[str]]:
    """The Statement of a rule alone, to be tried, and the names of other tables that it speaks of, as of its own."""
    plan = SelectPlan(Source(resource, rule), None, (), None, PlanShape(()), (), None, ())
    scope = _scope(plan, dialect)
    rows = scope.alias(resource.table.sql)
    tree = sa.select(fixed("1").label("holds")).select_from(rows).where(*scope.rule(plan.source, rows))
    others = [str(getattr(other, "name", "a subquery")) for other in tree.get_final_froms() if other is not rows]
    return _compiled(scope, plan, "rule", tree, ()), others


def _shared(default: Any) -> bool:
    """Whether rows of one moment have the same."""
    return default is None or not default.is_callable or _is_now(default)


def _is_slot(name: str) -> bool:
    return name.startswith("s") and name[1:].isdigit()


def _is_now(default: Any) -> bool:
    return getattr(default.arg, "__wrapped__", default.arg) is utc_now


def _compile_trial(plan: InsertPlan | UpdatePlan, dialect: Dialect) -> Statement:
    scope = _scope(plan, dialect)
    return _compiled(scope, plan, "trial", *build_trial(scope, plan))


def _scope(plan: Plan, dialect: Dialect) -> Scope:
    rows = plan.source.resource.table.sql
    taken = {table.name for table in rows.metadata.tables.values()} if isinstance(rows, sa.Table) else ()
    scope = Scope(dialect, plan.slots, taken)
    if isinstance(plan, SelectPlan) and plan.as_of is not None:
        scope.past = partial(past_rows, scope, plan.as_of)
    return scope


def _compiled(scope: Scope, plan: Plan, action: str, tree: Any, outputs: tuple[Output, ...]) -> Statement:
    dialect, guarded = scope.dialect, Output.ALLOWED in outputs
    compiled = cast(SQLCompiler, tree.compile(dialect=dialect.core))
    resource = plan.source.resource
    names = list(compiled.positiontup or ())
    clock = _Clock()
    binders = tuple(_binder(name, compiled, resource.table, dialect, clock) for name in names)
    identity = names == [f"s{i}" for i in range(len(plan.slots))]
    return Statement(
        text=compiled.string,
        resource=resource.origin.name,
        action=action,
        outputs=outputs,
        slots=plan.slots,
        readers=tuple(_reader(scope, i, slot) for i, slot in enumerate(plan.slots)),
        binders=None if identity else binders,
        guarded=guarded,
        repeatable=isinstance(plan, SelectPlan | AggregatePlan) and not any(n.startswith(ME_PREFIX) for n in names),
        many=Output.KEYS in outputs,
        labels=tuple(_label(name, plan.slots) for name in names),
        trial=partial(_compile_trial, cast("InsertPlan | UpdatePlan", plan), dialect) if guarded else None,
    )


class _Clock:
    """One reading of the time for all timestamps of a row; parameters are bound in order, on one thread."""

    def __init__(self) -> None:
        self.free = True
        self._value: Any = None

    def first(self, convert: Callable[[Any], Any]) -> Binder:
        """The binder that reads the time."""
        self.free = False

        def bind(given: Sequence[Any], context: Context) -> Any:
            self._value = convert(utc_now())
            return self._value

        return bind

    def again(self, given: Sequence[Any], context: Context) -> Any:
        """The binder that repeats it."""
        return self._value


def _build(scope: Scope, plan: Plan) -> tuple[str, tuple[Any, tuple[Output, ...]]]:
    match plan:
        case SelectPlan():
            if plan.key:
                return "item", build_item(scope, plan)
            keyset = isinstance(plan.page, KeysetPage)
            return "list", build_keyset_list(scope, plan) if keyset else build_list(scope, plan)
        case AggregatePlan():
            return "aggregate", build_aggregate(scope, plan)
        case InsertPlan():
            return "create", build_insert(scope, plan)
        case UpdatePlan():
            return "update", build_update(scope, plan)
        case DeletePlan():
            return "delete", build_delete(scope, plan)
        case ReferrersPlan():
            return "referrers", build_referrers(scope, plan)
        case HistoryPlan():
            return "history", build_history(scope, plan)


def _reader(scope: Scope, index: int, slot: Slot) -> Reader:
    """How the raw value of a slot becomes the driver's value."""
    dialect, column = scope.dialect, slot.column
    if slot.form is Form.SEARCH:
        return dialect.search.reader
    if column is None:
        return dialect.plain
    if slot.form is Form.BODY:
        return dialect.reader(column) or _same
    if slot.form is Form.CURSOR:
        scalar = dialect.slot_reader(column, Op.EQ)
        return lambda value: None if value is None else scalar(_text_of(value))
    return dialect.slot_reader(column, scope.operators.get(index, Op.EQ))


def _same(value: Any) -> Any:
    return value


def _text_of(value: Any) -> str:
    """A cursor's JSON value as the text that its column's parser reads."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return repr(value)
    if not isinstance(value, (str, int)):
        raise ValueError("is malformed")
    return str(value)


def _label(name: str, slots: Sequence[Slot]) -> str:
    """What a parameter is to the caller."""
    return slots[int(name[1:])].label if _is_slot(name) else ""


def _binder(name: str, compiled: SQLCompiler, table: Table, dialect: Dialect, clock: _Clock) -> Binder:
    if _is_slot(name):
        slot = int(name[1:])
        return lambda given, context: given[slot]
    if name in (CLAIM_KEY, CLAIM_FINGERPRINT):
        return _claim_binder(name)
    if name == BY:
        return lambda given, context: orjson.dumps(context.attribution())
    if name.startswith(ME_PREFIX):
        attribute = name.removeprefix(ME_PREFIX).partition("_")[0]
        return _principal_binder(attribute, compiled.binds[name], dialect)
    generated = {column.key: column for column in (*compiled.insert_prefetch, *compiled.update_prefetch)}
    if name in generated:
        return _default_binder(generated[name], compiled, table, dialect, clock)
    constant = compiled.params[name]
    convert = _stored(compiled.binds[name].type, dialect)
    value = convert(constant) if constant is not None else None
    return lambda given, context: value


def _claim_binder(name: str) -> Binder:
    def bind(given: Sequence[Any], context: Context) -> Any:
        claim = context.claim
        assert claim is not None, "a claimed statement runs for a request with a claim"
        return (claim.key if name == CLAIM_KEY else claim.fingerprint).encode()

    return bind


def _stored(sql_type: Any, dialect: Dialect) -> Callable[[Any], Any]:
    if isinstance(sql_type, sa.JSON.JSONElementType):
        written = sql_type.dialect_impl(dialect.core).bind_processor(dialect.core)
        return lambda value: dialect.plain(value if written is None else written(value))
    if kind_of(sql_type) in (None, Kind.ANY):
        return dialect.plain
    column = _column_like(sql_type)
    store, normal = dialect.reader(column) or dialect.plain, column.normal
    if isinstance(sql_type, sa.Enum):
        normal = partial(_member, sql_type, dialect)
    return store if normal is None else lambda value: store(normal(value))


def _member(sql_type: Any, dialect: Dialect, value: Any) -> Any:
    """The text that stands for a member of an enum."""
    named: Callable[[Any], Any] | None = sql_type.bind_processor(dialect.core)
    return value if named is None else named(value)


def _column_like(sql_type: Any) -> Column:
    """A column of a type, for converting values that belong to no declared column."""
    kind = kind_of(sql_type)
    assert kind is not None, "a rule compares columns that the API can carry"
    facts = dict(facts_of(sql_type, loose=False))
    return Column(name="value", sql=sa.Column("value", sql_type), kind=kind, nullable=True, **facts)


def _principal_binder(attribute: str, bound: sa.BindParameter[Any], dialect: Dialect) -> Binder:
    """`me.id` in the form of the column it is compared with; what cannot be that column equals nothing."""
    column = _column_like(bound.type)
    parse = dialect.slot_reader(column, Op.EQ)

    @lru_cache(maxsize=PRINCIPALS_MAX)
    def read(text: str) -> Any:
        try:
            return parse(text)
        except ValueError:
            return None

    def bind(given: Sequence[Any], context: Context) -> Any:
        value = getattr(context.principal, attribute)
        return None if value is None else read(str(value))

    return bind


def _default_binder(
    column: sa.Column[Any], compiled: SQLCompiler, table: Table, dialect: Dialect, clock: _Clock
) -> Binder:
    """A Python-side default (or onupdate) of a column that the caller did not give."""
    inserting = column in compiled.insert_prefetch
    default: Any = column.default if inserting else column.onupdate
    known = table.column_of(column)
    convert = (dialect.reader(known) if known is not None else None) or _same
    if isinstance(column.type, sa.Enum):
        convert = _stored(column.type, dialect)
    if default.is_callable and _is_now(default):
        return clock.first(convert) if clock.free else clock.again
    if default.is_callable:
        return lambda given, context: convert(default.arg(None))
    constant = convert(default.arg)
    return lambda given, context: constant
