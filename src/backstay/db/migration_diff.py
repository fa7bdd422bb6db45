"""What differs between models and a database: as operations with their risk, and as the code of a migration."""

# pyright: reportPrivateUsage=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false
# (Alembic renders a whole script or, by one underscore, a part of it)

from __future__ import annotations

import re
import warnings
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

import sqlalchemy as sa
from alembic.autogenerate import produce_migrations, render
from alembic.autogenerate.api import AutogenContext
from alembic.operations import ops
from alembic.runtime.migration import MigrationContext
from sqlalchemy.sql import elements, functions
from sqlalchemy.types import TypeDecorator, TypeEngine

from ..schema.base import UtcDateTime, current_instant
from ..schema.indexes import is_special
from ..schema.kinds import kind_of, plain
from ..schema.types import Array
from . import apsw_alembic, postgres_alembic
from .migration_enums import enum_changes
from .migration_search import CreateSearchOp, DropSearchOp, is_search_index, search_changes
from .postgres_types import BYTES

#: How PostgreSQL shows a literal default: `'1'::bigint`.
_CAST = re.compile(r"(?<=')::[a-z ]+\Z")
#: How SQLite shows the default of an instant.
_CLOCK = "strftime('%Y-%m-%dT%H:%M:%f000+00:00', 'now')"
_OWN_TYPES = "from backstay.schema.base import UtcDateTime"
_OWN_ARRAY = "from backstay.schema.types import Array"
_OWN_CLOCK = "from backstay.schema.base import current_instant"
_PORTABLE: tuple[tuple[Any, str], ...] = (
    (functions.now, "sa.func.now()"),
    (elements.True_, "sa.true()"),
    (elements.False_, "sa.false()"),
)
_PLUGINS = ["alembic.autogenerate.*", "alembic.ext.checkconstraint_byname"]


class Risk(Enum):
    """What an operation can do to rows that are there."""

    SAFE = "safe"
    RISKY = "risky"
    LOSSY = "lossy"


@dataclass(frozen=True, slots=True)
class Operation:
    """One difference in words.

    Attributes:
        why: what is risky about it.
    """

    text: str
    risk: Risk
    why: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Difference:
    """One Alembic operation with the table it is for, and what it means."""

    table: str
    op: ops.MigrateOperation
    operation: Operation


def migration_context(
    connection: sa.Connection, *, owned: Collection[str] | None = None, made: Collection[str] = ()
) -> MigrationContext:
    """Alembic's view of a connection.

    Args:
        owned: tables that migrations made; the database's other tables are none of ours and stay as they are.
        made: indexes that migrations made; on SQLite those for PostgreSQL only are known by nothing else.
    """
    apsw_alembic.register()
    postgres_alembic.register()
    lacks_special = connection.dialect.name == "sqlite"

    def include(item: Any, name: str | None, type_: str, reflected: bool, compare_to: Any) -> bool:
        if lacks_special and isinstance(item, sa.Index) and not reflected and is_special(item):
            return name not in made
        if isinstance(item, sa.Index) and reflected and is_search_index(item):
            return False
        foreign = type_ == "table" and reflected and compare_to is None
        return not foreign or owned is None or name in owned

    options: dict[str, Any] = {
        "compare_type": True,
        "compare_server_default": True,
        "include_object": include,
        "autogenerate_plugins": _PLUGINS,
        "render_item": _render_item,
    }
    return MigrationContext.configure(connection, opts=options)


def differences(
    connection: sa.Connection, metadata: sa.MetaData, owned: Collection[str], made: Collection[str] = ()
) -> list[Difference]:
    """What must be done to the database so that it agrees with the models."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        script = produce_migrations(migration_context(connection, owned=owned, made=made), metadata)
    assert script.upgrade_ops is not None, "produce_migrations always sets them"
    flat = list(_flat(script.upgrade_ops.ops))
    created = {op.table_name for _, op in flat if isinstance(op, ops.CreateTableOp)}
    added = {
        (op.table_name, op.column.name)
        for _, op in flat
        if isinstance(op, ops.AddColumnOp) and _rows_can_have(op.column)
    }
    drops, creates = search_changes(connection, metadata)
    found = [Difference(op.table_name, op, describe(op, created, added)) for op in drops]
    found += [Difference(table, op, describe(op, created, added)) for table, op in flat]
    for change in enum_changes(connection, metadata):
        risk, why = (Risk.SAFE, "") if change.grows else (Risk.RISKY, "it fails if rows have one that is gone")
        words = Operation(f"let {change.table}.{change.column} be {', '.join(change.values)}", risk, why)
        found += [Difference(change.table, step, words) for step in change.steps]
    return found + [Difference(op.table_name, op, describe(op, created, added)) for op in creates]


def _flat(operations: Sequence[ops.MigrateOperation], table: str = "") -> Iterator[tuple[str, ops.MigrateOperation]]:
    for op in operations:
        if isinstance(op, ops.ModifyTableOps):
            yield from _flat(op.ops, op.table_name)
        else:
            yield table or str(getattr(op, "table_name", "")), op


def _rows_can_have(column: sa.Column[Any]) -> bool:
    """Whether the column can be added to a table that has rows."""
    return bool(column.nullable) or column.server_default is not None


def describe(op: ops.MigrateOperation, created: Collection[str], added: Collection[tuple[str, str]]) -> Operation:
    """An operation in words, with its risk.

    Args:
        created: tables that the same script makes; they have no rows.
        added: (table, column) that the same script adds without harm.
    """
    match op:
        case ops.CreateTableOp():
            return Operation(f"create table {op.table_name}", Risk.SAFE)
        case ops.DropTableOp():
            return Operation(f"drop table {op.table_name}", Risk.LOSSY, "its rows are lost")
        case ops.AddColumnOp():
            return _added_column(op)
        case ops.DropColumnOp():
            return Operation(f"drop column {op.table_name}.{op.column_name}", Risk.LOSSY, "its values are lost")
        case ops.AlterColumnOp():
            return _altered_column(op)
        case ops.CreateIndexOp():
            return _created_index(op, created)
        case ops.DropIndexOp():
            return Operation(f"drop index {op.index_name}", Risk.RISKY, "queries that used it become slow")
        case ops.CreateForeignKeyOp():
            names = [str(name) for name in op.local_cols]
            text = f"add foreign key {op.source_table}({', '.join(names)}) to {op.referent_table}"
            if all((op.source_table, name) in added for name in names):
                return Operation(text, Risk.SAFE)
            return Operation(text, Risk.RISKY, "it fails if rows break it")
        case ops.AddConstraintOp():
            constraint: Any = op
            name = constraint.constraint_name or constraint.constraint_type
            text = f"add constraint {name} to {getattr(op, 'table_name', '?')}"
            return Operation(text, Risk.RISKY, "it fails if rows break it")
        case ops.DropConstraintOp():
            text = f"drop constraint {op.constraint_name} of {op.table_name}"
            return Operation(text, Risk.RISKY, "what it prevented can happen")
        case CreateSearchOp():
            return Operation(f"search {op.table_name} by {', '.join(op.columns)}", Risk.SAFE)
        case DropSearchOp():
            return Operation(f"drop search of {op.table_name} by {', '.join(op.columns)}", Risk.SAFE)
        case ops.CreateTableCommentOp() | ops.DropTableCommentOp():
            return Operation(f"change the comment of {op.table_name}", Risk.SAFE)
        case _:
            return Operation(type(op).__name__, Risk.RISKY, "look at it")


def _added_column(op: ops.AddColumnOp) -> Operation:
    column = op.column
    text = f"add column {op.table_name}.{column.name}"
    if _rows_can_have(column):
        return Operation(text, Risk.SAFE)
    return Operation(
        f"{text} NOT NULL", Risk.RISKY, "it fails if there are rows: give it a server_default, or fill it in steps"
    )


def _altered_column(op: ops.AlterColumnOp) -> Operation:
    name = f"{op.table_name}.{op.column_name}"
    if op.modify_type is not None:
        text = f"change type of {name} from {op.existing_type} to {op.modify_type}"
        before = kind_of(op.existing_type) if op.existing_type is not None else None
        if before is not kind_of(op.modify_type):
            return Operation(text, Risk.LOSSY, "values that do not convert are lost")
        if _only_longer(op.existing_type, op.modify_type):
            return Operation(text, Risk.SAFE)
        return Operation(text, Risk.RISKY, "values may not fit")
    if op.modify_nullable is False:
        return Operation(f"make {name} NOT NULL", Risk.RISKY, "it fails if rows have NULL there")
    if op.modify_nullable is True:
        return Operation(f"allow NULL in {name}", Risk.SAFE)
    if op.modify_server_default is not False:
        return Operation(f"change the default of {name}", Risk.SAFE)
    return Operation(f"change {name}", Risk.SAFE if op.modify_name is None else Risk.RISKY)


def _only_longer(before: Any, after: Any) -> bool:
    """Whether every text that fitted still does."""
    before, after = plain(before), plain(after)
    if not isinstance(before, sa.String) or not isinstance(after, sa.String):
        return False
    return after.length is None or (before.length is not None and after.length >= before.length)


def _created_index(op: ops.CreateIndexOp, created: Collection[str]) -> Operation:
    text = f"create {'unique ' if op.unique else ''}index {op.index_name} on {op.table_name}"
    if op.unique and op.table_name not in created:
        return Operation(text, Risk.RISKY, "it fails if values repeat")
    return Operation(text, Risk.SAFE)


def safe_part(found: Sequence[Difference]) -> list[Difference]:
    """The safe differences that do not need one of the others first."""
    refused = {
        (d.table, str(d.op.column.name))
        for d in found
        if isinstance(d.op, ops.AddColumnOp) and d.operation.risk is not Risk.SAFE
    }

    unmade = {
        d.table
        for d in found
        if isinstance(d.op, CreateSearchOp) and any((d.table, name) in refused for name in d.op.columns)
    }

    def possible(difference: Difference) -> bool:
        if isinstance(difference.op, CreateSearchOp | DropSearchOp):
            return difference.table not in unmade
        if not isinstance(difference.op, ops.CreateIndexOp):
            return True
        columns = {c.name for c in difference.op.to_index().columns}
        return not any((difference.table, name) in refused for name in columns)

    return [d for d in found if d.operation.risk is Risk.SAFE and possible(d)]


@dataclass(frozen=True, slots=True)
class Code:
    """The bodies of `upgrade` and `downgrade`, and the imports they need."""

    upgrade: str
    downgrade: str
    imports: Sequence[str]


def code_of(connection: sa.Connection, metadata: sa.MetaData, found: Sequence[Difference]) -> Code:
    """Python code that does the differences, and undoes them."""
    up = ops.UpgradeOps(_grouped(found))
    down = ops.DowngradeOps([])
    up.reverse_into(down)
    context = migration_context(connection)
    options = {
        "sqlalchemy_module_prefix": "sa.",
        "alembic_module_prefix": "op.",
        "user_module_prefix": None,
        "render_as_batch": True,
        "render_item": _render_item,
    }
    autogen = AutogenContext(context, metadata=metadata, opts=options)
    autogen.imports = set()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        bodies = [_readable(render._render_cmd_body(part, autogen)) for part in (up, down)]
    return Code(bodies[0], bodies[1], sorted(autogen.imports))


def _generic(type_: TypeEngine[Any]) -> TypeEngine[Any]:
    """A type that a database told, such as BIGINT or JSONB, as both databases have it; others are what they are."""
    if not type(type_).__name__.isupper():
        return type_
    try:
        generic = type_.as_generic()
    except NotImplementedError:
        return type_
    if isinstance(generic, sa.String) and generic.collation == BYTES:
        generic.collation = None
    return type_ if type(generic).__name__.isupper() else generic


def _is_found_instant(type_: Any) -> bool:
    """A database does not say that a time is an instant of ours; most are."""
    return isinstance(type_, sa.DateTime) and type(type_).__name__.isupper()


def _grouped(found: Sequence[Difference]) -> list[ops.MigrateOperation]:
    """Changes of one table together, so that it is copied once."""
    grouped: list[ops.MigrateOperation] = []
    for difference in found:
        if isinstance(difference.op, ops.CreateTableOp | ops.DropTableOp | CreateSearchOp | DropSearchOp):
            grouped.append(difference.op)
            continue
        last = grouped[-1] if grouped else None
        if not isinstance(last, ops.ModifyTableOps) or last.table_name != difference.table:
            last = ops.ModifyTableOps(difference.table, [])
            grouped.append(last)
        last.ops.append(difference.op)
    return grouped


def _readable(body: str) -> str:
    """Alembic's code without its notices, the parts of a table indented."""
    lines: list[str] = []
    inside = False
    for line in body.splitlines():
        if line.lstrip().startswith("# ### "):
            continue
        inside = inside and line != ")"
        lines.append(("    " if inside else "") + line.replace(", schema=None) as batch_op:", ") as batch_op:"))
        inside = inside or (line.startswith("op.create_table(") and not line.endswith(")"))
    return "\n".join(lines).strip("\n")


def _render_item(type_: str, item: Any, context: AutogenContext) -> Any:
    """Types and defaults of ours by import; those of a program by what they are stored as, since its code moves."""
    if type_ == "type" and (isinstance(item, UtcDateTime) or _is_found_instant(item)):
        context.imports.add(_OWN_TYPES)
        return "UtcDateTime()"
    if type_ == "type" and isinstance(item, Array):
        context.imports.add(_OWN_ARRAY)
        return f"Array({render._repr_type(item.item, context)})"
    if type_ == "type" and isinstance(item, TypeDecorator):
        return render._repr_type(plain(item), context)
    if type_ == "type":
        generic = _generic(item)
        return False if generic is item else render._repr_type(generic, context)
    argument = getattr(item, "arg", None) if type_ == "server_default" else None
    found = argument.text if isinstance(argument, sa.TextClause) else ""
    if found and (text := _CAST.sub("", found)) != found:
        return f"sa.text({text!r})"
    if isinstance(argument, current_instant) or found in (_CLOCK, f"({_CLOCK})"):
        context.imports.add(_OWN_CLOCK)
        return "current_instant()"
    # Alembic would write what this database calls them, which another may not understand.
    return next((code for kind, code in _PORTABLE if isinstance(argument, kind)), False)
