"""Run one migration inside a transaction that is not its own, and see what it does to rows."""

# pyright: reportPrivateUsage=false, reportUnknownMemberType=false

from __future__ import annotations

import traceback
import warnings
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import sqlalchemy as sa
from alembic.operations import BatchOperations, Operations, ops

from ..errors import OperatorError
from ..schema.indexes import is_special_method
from .migration_database import LOCK_MS, is_lock_timeout
from .migration_diff import migration_context
from .migration_files import Migration
from .migration_locks import lock_warning
from .migration_search import is_search_part

Direction = Literal["upgrade", "downgrade"]
#: Gets a sentence before a step that others may wait for.
Warn = Callable[[str], object]


@dataclass(frozen=True, slots=True)
class Shape:
    """The columns of every table, and which tables have rows."""

    columns: dict[str, set[str]]
    filled: frozenset[str]


@dataclass(slots=True)
class Renames:
    """What a migration gave new names, so that nothing of it is taken for dropped."""

    tables: dict[str, str] = field(default_factory=dict[str, str])
    columns: set[tuple[str, str]] = field(default_factory=set[tuple[str, str]])

    def note(self, operation: ops.MigrateOperation) -> None:
        """Remember a rename."""
        if isinstance(operation, ops.RenameTableOp):
            self.tables[operation.table_name] = operation.new_table_name
        elif isinstance(operation, ops.AlterColumnOp) and operation.modify_name is not None:
            self.columns.add((operation.table_name, operation.column_name))


def noting(operations: Operations, renames: Renames, warn: Warn) -> Operations:
    """Let Alembic's `op` note renames and locks on their way; its module proxies know no subclass."""
    batch_alter_table: Any = operations.batch_alter_table

    def watch(target: Operations | BatchOperations) -> None:
        invoke: Any = target.invoke

        def noted(operation: Any) -> Any:
            renames.note(operation)
            if operations.get_bind().dialect.name == "sqlite" and _is_special(operation):
                return None
            if waits := lock_warning(operations.get_bind(), operation):
                warn(waits)
            return invoke(operation)

        vars(target)["invoke"] = noted

    @contextmanager
    def watched_batch(*args: Any, **kw: Any) -> Generator[BatchOperations]:
        with batch_alter_table(*args, **kw) as batch:
            watch(batch)
            yield batch

    watch(operations)
    vars(operations)["batch_alter_table"] = watched_batch
    return operations


def _is_special(operation: Any) -> bool:
    """Whether it is about an index that only PostgreSQL has."""
    index = isinstance(operation, ops.CreateIndexOp | ops.DropIndexOp)
    return index and is_special_method(operation.kw.get("postgresql_using"))


def run_step(connection: sa.Connection, migration: Migration, direction: Direction, warn: Warn) -> list[str]:
    """Run a migration; returns what of tables with rows is gone: `table games`, `column games.rating`.

    Raises:
        OperatorError: it failed, with the file's line.
    """
    before = shape_of(connection)
    renames = Renames()
    operations = noting(Operations(migration_context(connection)), renames, warn)
    operations._install_proxy()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            # Alembic would go on and leave it out of the copied table.
            warnings.filterwarnings("error", message="Unnamed CHECK constraint")
            getattr(migration.module, direction)()
    except OperatorError:
        raise
    except Exception as error:
        raise OperatorError(f"{_place(migration, error)}: {_said(error)}. Nothing was changed.") from error
    finally:
        operations._remove_proxy()
    return _lost(before, shape_of(connection), renames)


def _place(migration: Migration, error: Exception) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    line = next((f.lineno for f in reversed(frames) if f.filename == str(migration.path)), None)
    return f"{migration.path.name}:{line}" if line else migration.path.name


def _said(error: Exception) -> str:
    if is_lock_timeout(getattr(error, "orig", None)):
        return f"a table was locked by others for more than {LOCK_MS // 1_000} s, try again when they are done"
    lines = str(getattr(error, "orig", None) or error).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(error).__name__


def shape_of(connection: sa.Connection) -> Shape:
    """What is there now."""
    inspector = sa.inspect(connection)
    columns: dict[str, set[str]] = {}
    filled: set[str] = set()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        names = inspector.get_table_names()
        for name in names:
            if is_search_part(name, names):
                continue
            columns[name] = {column["name"] for column in inspector.get_columns(name)}
            if connection.execute(sa.select(sa.literal(1)).select_from(sa.table(name)).limit(1)).first():
                filled.add(name)
    return Shape(columns, frozenset(filled))


def _lost(before: Shape, after: Shape, renames: Renames) -> list[str]:
    """What had rows and is gone. A new database loses nothing, whatever its history dropped."""
    lost: list[str] = []
    for table in sorted(before.filled):
        now = after.columns.get(renames.tables.get(table, table))
        if now is None:
            lost.append(f"table {table}")
            continue
        gone = {c for c in before.columns[table] - now if (table, c) not in renames.columns}
        lost += [f"column {table}.{column}" for column in sorted(gone)]
    return lost
