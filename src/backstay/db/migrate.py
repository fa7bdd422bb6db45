"""Migrations: write them from the models, apply them, take them back, say where a database stands.

A run is one transaction: it succeeds whole or changes nothing, and a second process waits for it. This is
the one module that needs Alembic, which takes a while to import: commands import it when they run.
"""

# pyright: reportPrivateUsage=false

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import sqlalchemy as sa

from ..errors import OperatorError
from .migration_database import broken_references, drop_everything, in_memory, place_of, reading, table_names, writing
from .migration_diff import Difference, Operation, Risk, code_of, differences, safe_part
from .migration_files import Draft, Migration, load_migrations, write_migration
from .migration_steps import Direction, Warn, run_step
from .pending import VERSION_TABLE

_VERSIONS = sa.Table(
    VERSION_TABLE,
    sa.MetaData(),
    sa.Column("version_num", sa.String(32), primary_key=True, nullable=False),
)


@dataclass(frozen=True, slots=True, eq=False)
class Project:
    """What is migrated: a database, the models it should agree with, and the folder of the files."""

    url: str
    metadata: sa.MetaData
    folder: Path

    @property
    def place(self) -> str:
        """What to call the database."""
        return place_of(self.url)


@dataclass(frozen=True, slots=True)
class Status:
    """Where a database stands.

    Attributes:
        pending: files that it has not had.
        changed: what the models say and no file does; known only when nothing is pending.
    """

    current: str | None
    head: str | None
    pending: tuple[Migration, ...]
    changed: tuple[Operation, ...]

    @property
    def clean(self) -> bool:
        """Nothing to do."""
        return not self.pending and not self.changed


@dataclass(frozen=True, slots=True)
class Migrated:
    """What a run did.

    Attributes:
        adopted: the database had every table already, and now counts as migrated.
    """

    applied: tuple[Migration, ...]
    current: str | None
    adopted: bool = False


@dataclass(frozen=True, slots=True)
class Written:
    """A new file, and what it does."""

    migration: Migration
    operations: tuple[Operation, ...] = ()


class DestructiveError(OperatorError):
    """A migration drops what has rows, and nobody said that it may."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """What development did by itself, and what it left for a person."""

    applied: tuple[Operation, ...] = ()
    files: tuple[Path, ...] = ()
    refused: tuple[Operation, ...] = ()


def _quiet(_: str) -> None:
    """Nobody is told."""


def status(project: Project) -> Status:
    """Compare files, models and database; changes nothing.

    Raises:
        OperatorError: as every function here, for what the operator has to mend.
    """
    history = load_migrations(project.folder)
    with reading(project.url) as connection:
        current = _current(connection)
        pending = _after(history, current)
        found: list[Difference] = [] if pending else _differences(connection, project, history)
    head = history[-1].revision if history else None
    return Status(current, head, tuple(pending), tuple(d.operation for d in found))


def plan(project: Project) -> tuple[Operation, ...]:
    """What differs between the models and the database now."""
    history = load_migrations(project.folder)
    with reading(project.url) as connection:
        return tuple(d.operation for d in _differences(connection, project, history))


def new(project: Project, title: str, *, empty: bool = False, now: datetime | None = None) -> Written:
    """Write the next migration from what differs; `empty` writes one to fill in by hand.

    The first is written against an empty database, so that it makes every table; a database that has them
    already is taken over by `migrate`.
    """
    history = load_migrations(project.folder)
    if empty:
        return Written(write_migration(project.folder, Draft(title), history, now=now or datetime.now(UTC)))
    with reading(project.url) if history else in_memory() as connection:
        pending = _after(history, _current(connection))
        if pending:
            first = f"{pending[0].path.name} is not applied yet"
            raise OperatorError(f"{first}: run `backstay db migrate` first, a new one is written against its result.")
        found = _differences(connection, project, history)
        if not found:
            raise OperatorError("The models and the database agree: nothing to write (--empty writes a bare one).")
        written = _write(connection, project, history, title, found, now=now)
    return Written(written, tuple(difference.operation for difference in found))


def migrate(
    project: Project, *, allow_destructive: bool = False, fresh: bool = False, warn: Warn = _quiet
) -> Migrated:
    """Apply every pending migration in one transaction; take over a database that is as the models say already.

    Args:
        allow_destructive: whether a table with rows, or a column of one, may go.
        fresh: drop everything first.
        warn: gets a sentence before each step on a big table that others will wait for.
    """
    history = load_migrations(project.folder)
    if not history and project.metadata.tables:
        raise OperatorError("There are no migrations yet: write the first with `backstay db new initial`.")
    with writing(project.url) as connection:
        if fresh:
            drop_everything(connection)
        current = _current(connection)
        pending = _after(history, current)
        adopted = current is None and bool(pending) and _agrees(connection, project, history)
        if not adopted:
            _run(connection, pending, "upgrade", allow_destructive=allow_destructive, warn=warn)
        if pending:
            _set_current(connection, pending[-1].revision)
    head = history[-1].revision if history else None
    return Migrated(() if adopted else tuple(pending), head, adopted)


def rollback(
    project: Project, steps: int = 1, *, allow_destructive: bool = False, warn: Warn = _quiet
) -> tuple[Migration, ...]:
    """Take back the last migrations, newest first, in one transaction."""
    history = load_migrations(project.folder)
    with writing(project.url) as connection:
        current = _current(connection)
        applied = history[: len(history) - len(_after(history, current))]
        if not applied:
            raise OperatorError("No migration is applied: there is nothing to roll back.")
        undone = applied[: -steps - 1 : -1] if steps < len(applied) else applied[::-1]
        _run(connection, undone, "downgrade", allow_destructive=allow_destructive, warn=warn)
        _set_current(connection, undone[-1].follows)
    return tuple(undone)


def prepare_dev(project: Project, *, now: datetime | None = None) -> Prepared:
    """What `serve --dev` does: apply pending files, then write and apply what is safe of the rest.

    Every change is a file, so that what development tried is what production gets.
    """
    applied: list[Operation] = []
    files: list[Path] = []
    history = load_migrations(project.folder)
    if history:
        try:
            had = migrate(project).applied
        except DestructiveError as error:
            return Prepared(refused=(Operation(str(error), Risk.LOSSY),))
        files += [migration.path for migration in had]
        applied += [Operation(f"{migration.title} ({migration.path.name})", Risk.SAFE) for migration in had]
    with reading(project.url) as connection:
        found = _differences(connection, project, history)
        safe = safe_part(found)
        if safe:
            title = safe[0].operation.text + (f" and {len(safe) - 1} more" if len(safe) > 1 else "")
            files.append(_write(connection, project, history, title, safe, now=now).path)
    if safe:
        migrate(project)
        applied += [difference.operation for difference in safe]
    refused = tuple(difference.operation for difference in found if difference not in safe)
    return Prepared(tuple(applied), tuple(files), refused)


def contents(project: Project) -> dict[str, int]:
    """The number of rows in each table that has some; empty for a database that is not there."""
    with reading(project.url) as connection:
        names = [name for name in table_names(connection) if name != VERSION_TABLE]
        counts = {n: connection.scalar(sa.select(sa.func.count()).select_from(sa.table(n))) or 0 for n in names}
    return {name: count for name, count in counts.items() if count}


def _write(
    connection: sa.Connection,
    project: Project,
    history: Sequence[Migration],
    title: str,
    found: Sequence[Difference],
    *,
    now: datetime | None,
) -> Migration:
    code = code_of(connection, project.metadata, found)
    risky = [d.operation for d in found if d.operation.risk is not Risk.SAFE]
    attention = [f"{o.text}: {o.why}." for o in risky]
    draft = Draft(title, code.upgrade, code.downgrade, code.imports, attention)
    return write_migration(project.folder, draft, history, now=now or datetime.now(UTC))


def _differences(connection: sa.Connection, project: Project, history: Sequence[Migration]) -> list[Difference]:
    """Tables that no migration made are none of ours to drop."""
    owned = frozenset[str]().union(*(migration.tables for migration in history))
    made = frozenset[str]().union(*(migration.indexes for migration in history))
    return differences(connection, project.metadata, owned, made)


def _after(history: Sequence[Migration], current: str | None) -> list[Migration]:
    if current is None:
        return list(history)
    place = next((i for i, migration in enumerate(history) if migration.revision == current), None)
    if place is None:
        raise OperatorError(f"The database is at {current}, which no file in migrations/ is: get the file back.")
    return list(history[place + 1 :])


def _run(
    connection: sa.Connection,
    migrations: Sequence[Migration],
    direction: Direction,
    *,
    allow_destructive: bool,
    warn: Warn,
) -> None:
    if not migrations:
        return
    before = broken_references(connection)
    for migration in migrations:
        lost = run_step(connection, migration, direction, warn)
        if lost and not allow_destructive:
            command = "migrate" if direction == "upgrade" else "rollback"
            mend = f"read it, then run `backstay db {command} --allow-destructive`"
            raise DestructiveError(f"{migration.path.name} drops {', '.join(lost)}: {mend}. Nothing was changed.")
    broken = broken_references(connection) - before
    if broken:
        table, target = min(broken)
        raise OperatorError(
            f"Rows of {table} would refer to rows of {target} that do not exist. Nothing was changed."
        )


def _agrees(connection: sa.Connection, project: Project, history: Sequence[Migration]) -> bool:
    """Whether a database without a revision has all that the models say."""
    there = set(sa.inspect(connection).get_table_names())
    wanted = {table.name for table in project.metadata.tables.values()}
    return bool(wanted) and wanted <= there and not _differences(connection, project, history)


def _current(connection: sa.Connection) -> str | None:
    if not sa.inspect(connection).has_table(VERSION_TABLE):
        return None
    found = list(connection.scalars(sa.select(_VERSIONS.c.version_num)))
    if len(found) > 1:
        raise OperatorError(f"The database is at several revisions ({', '.join(found)}): keep one.")
    return found[0] if found else None


def _set_current(connection: sa.Connection, revision: str | None) -> None:
    _VERSIONS.create(connection, checkfirst=True)
    connection.execute(_VERSIONS.delete())
    if revision is not None:
        connection.execute(_VERSIONS.insert().values(version_num=revision))
