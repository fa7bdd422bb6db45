"""Copy a whole database into another, of the same kind or not: schema, rows in the order of their keys, and proof.

Rows are committed in batches in the order of the key, so that what the target has is always a beginning, and a
copy that was killed goes on from there. Foreign keys and indexes come last, in the transaction that ends the copy.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from ..errors import OperatorError
from ..schema.change_log import CHANGES
from ..schema.indexes import is_special
from ..schema.kinds import plain
from .copy_tables import INTERNAL, tables_found, tables_of_models
from .copy_values import Checksum, carrier
from .engines import backend_of, create_sync_engine, display_url
from .identities import advance_identities
from .migration_database import broken_references, drop_everything, sqlite_file, table_names
from .postgres_types import BYTES
from .seed import Progress

BATCH_ROWS = 5_000
#: Where a copy that has not ended says what it is a copy of.
_STATE = sa.Table("backstay_copy", sa.MetaData(), sa.Column("source", sa.Text(), primary_key=True))
_VERSIONS = sa.Table("alembic_version", sa.MetaData(), sa.Column("version_num", sa.String(32), primary_key=True))


@dataclass(frozen=True, slots=True)
class Copied:
    """One table after the copy.

    Attributes:
        rows: in the source.
        new: rows that this run copied; those of a run before are not among them.
        equal: the target has the same rows, by number and checksum.
    """

    name: str
    rows: int
    new: int
    checksum: str
    equal: bool


@dataclass(frozen=True, slots=True)
class Report:
    """What a copy did.

    Attributes:
        changes: entries of the change log, which stay there: they tell rows as that database stores them, sealed
            by hashes of those bytes.
    """

    source: str
    target: str
    resumed: bool
    tables: tuple[Copied, ...]
    changes: int = 0

    @property
    def verified(self) -> bool:
        """Every table of the target has the rows of the source."""
        return all(table.equal for table in self.tables)


def copy_database(
    source: str,
    target: str,
    progress: Progress,
    *,
    metadata: sa.MetaData | None = None,
    resume: bool = False,
    replace: bool = False,
) -> Report:
    """Copy everything, and compare both sides.

    Args:
        metadata: an app's models; without, the tables are those found in the source.
        resume: go on where the target's rows end, whoever put them there.
        replace: drop what the target has.

    Raises:
        OperatorError: a target with tables of others, or a source that the target cannot hold.
    """
    if display_url(source) == display_url(target) and backend_of(source) == backend_of(target):
        raise OperatorError("The source and the target are one database.")
    path = sqlite_file(source) if backend_of(source) == "sqlite" else None
    if backend_of(source) == "sqlite" and (path is None or not path.is_file()):
        raise OperatorError(f"There is no database file {path}.")
    with _reading(source) as reader:
        tables = tables_found(reader) if metadata is None else tables_of_models(reader, metadata)
        writer = create_sync_engine(target, write=True, poolclass=NullPool)
        started = _prepare(writer, tables, display_url(source), resume=resume, replace=replace)
        new = {table.name: _copy_table(reader, writer, table, progress) for table in tables}
        if started is not None:
            _finish(reader, writer, tables)
        with _one_line("Cannot verify the copy"), writer.connect() as other:
            copied = tuple(_compared(reader, other, table, new[table.name], progress) for table in tables)
        writer.dispose()
        changes = 0
        if CHANGES.name in table_names(reader):
            changes = int(reader.scalar(sa.select(sa.func.count()).select_from(CHANGES)) or 0)
    return Report(display_url(source), display_url(target), bool(started) or resume, copied, changes)


@contextmanager
def _reading(url: str) -> Generator[sa.Connection]:
    """One snapshot for the whole copy, whatever is written meanwhile."""
    options: dict[str, Any] = {"isolation_level": "REPEATABLE READ"} if backend_of(url) == "postgresql" else {}
    engine = create_sync_engine(url, poolclass=NullPool, **options)
    with _one_line("Cannot read the source"), engine.connect() as connection:
        yield connection
    engine.dispose()


@contextmanager
def _one_line(what: str) -> Generator[None]:
    try:
        yield
    except DBAPIError as error:
        said = (str(error.orig).strip() or type(error.orig).__name__).splitlines()[0].rstrip(".")
        raise OperatorError(f"{what}: {said}.") from error
    except (SQLAlchemyError, ValueError) as error:
        raise OperatorError(f"{what}: {' '.join(str(error).split())[:300]}") from error


def _prepare(
    writer: sa.Engine, tables: Sequence[sa.Table], source: str, *, resume: bool, replace: bool
) -> bool | None:
    """Make the tables; True for a copy that goes on, False for a new one, None where there is nothing to finish."""
    with _one_line("Cannot make the tables"), writer.begin() as connection:
        there = set(table_names(connection))
        state = connection.scalar(sa.select(_STATE.c.source)) if _STATE.name in there else None
        if replace:
            drop_everything(connection)
        elif state is not None and state != source:
            raise OperatorError(f"The target is half a copy of {state}: add --replace to drop it.")
        elif state is not None:
            return True
        elif there and resume:
            missing = [table.name for table in tables if table.name not in there]
            if missing:
                raise OperatorError(
                    f"The target has no table {missing[0]!r} to go on with: add --replace to start over."
                )
            return None
        elif there - INTERNAL:
            named = f"{min(there - INTERNAL)!r} and {len(there - INTERNAL) - 1} more"
            raise OperatorError(f"The target has tables already ({named}): add --replace to drop them, or --resume.")
        _STATE.create(connection, checkfirst=True)
        connection.execute(_STATE.insert().values(source=source))
        for table in tables:
            _create(connection, table)
    return False


def _create(connection: sa.Connection, table: sa.Table) -> None:
    """The bare table; SQLite can add foreign keys to no table, and does not enforce them here."""
    for column in table.columns:
        kind = plain(column.type)
        if isinstance(kind, sa.Enum) and kind.native_enum:
            kind.create(connection, checkfirst=True)
    later: dict[str, Any] = {"include_foreign_key_constraints": []} if connection.dialect.name == "postgresql" else {}
    connection.execute(sa.schema.CreateTable(table, **later))


def _copy_table(reader: sa.Connection, writer: sa.Engine, table: sa.Table, progress: Progress) -> int:
    """Copy the rows that the target has not; returns their number."""
    light = sa.table(table.name, *(carrier(column) for column in table.columns))
    key = [light.c[column.name] for column in table.primary_key.columns]
    query = sa.select(*light.columns)
    with _one_line(f"Cannot copy {table.name}"):
        with writer.begin() as connection:
            if key:
                last = connection.execute(
                    sa.select(*key).order_by(*(_by_bytes(c, connection).desc() for c in key)).limit(1)
                )
                row = last.first()
                ordered = [_by_bytes(column, reader) for column in key]
                query = query.order_by(*ordered)
                if row is not None:
                    given = [sa.bindparam(None, value, type_=c.type) for c, value in zip(key, row, strict=True)]
                    query = query.where(sa.tuple_(*ordered) > sa.tuple_(*given))
            else:
                # Without a key nobody can say which rows are there: they are copied together or not at all.
                connection.execute(sa.delete(light))
        waiting = int(reader.scalar(sa.select(sa.func.count()).select_from(query.order_by(None).subquery())) or 0)
        if not waiting:
            return 0
        if not key:
            with writer.begin() as connection:
                for rows in _batches(reader, query, waiting, table.name, progress):
                    connection.execute(sa.insert(light), rows)
        else:
            for rows in _batches(reader, query, waiting, table.name, progress):
                with writer.begin() as connection:
                    connection.execute(sa.insert(light), rows)
    return waiting


def _batches(
    reader: sa.Connection, query: Any, count: int, name: str, progress: Progress
) -> Generator[list[dict[str, Any]]]:
    found = reader.execution_options(yield_per=BATCH_ROWS).execute(query)
    try:
        for _ in progress(range(0, count, BATCH_ROWS), name):
            rows = found.mappings().fetchmany(BATCH_ROWS)
            yield [dict(row) for row in rows]
    finally:
        found.close()


def _by_bytes(column: Any, connection: sa.Connection) -> Any:
    """Both databases in one order, whatever the collation of a PostgreSQL that others made."""
    if connection.dialect.name == "postgresql" and isinstance(plain(column.type), sa.String):
        return sa.collate(column, BYTES)
    return column


def _finish(reader: sa.Connection, writer: sa.Engine, tables: Sequence[sa.Table]) -> None:
    """Indexes, foreign keys, numbers and the revision; all at once, so that the copy ends whole."""
    with _one_line("Cannot end the copy"), writer.begin() as connection:
        special = connection.dialect.name == "postgresql"
        for table in tables:
            for index in sorted(table.indexes, key=lambda index: str(index.name)):
                if special or not is_special(index):
                    connection.execute(sa.schema.CreateIndex(index))
        if special:
            for table in tables:
                for key in sorted(table.foreign_key_constraints, key=lambda key: str(key.name)):
                    connection.execute(sa.schema.AddConstraint(key, isolate_from_table=False))
        broken = broken_references(connection)
        if broken:
            table_name, other = min(broken)
            raise OperatorError(f"Rows of {table_name} refer to rows of {other} that do not exist: mend the source.")
        advance_identities(connection)
        if _VERSIONS.name in table_names(reader):
            _VERSIONS.create(connection, checkfirst=True)
            for version in reader.scalars(sa.select(_VERSIONS.c.version_num)):
                connection.execute(_VERSIONS.insert().values(version_num=version))
        _STATE.drop(connection)


def _compared(reader: sa.Connection, other: sa.Connection, table: sa.Table, new: int, progress: Progress) -> Copied:
    one, two = _checksum(reader, table, progress), _checksum(other, table, progress)
    equal = (one.rows, one.text) == (two.rows, two.text)
    return Copied(table.name, one.rows, new, one.text, equal)


def _checksum(connection: sa.Connection, table: sa.Table, progress: Progress) -> Checksum:
    columns = [carrier(column) for column in table.columns]
    light = sa.table(table.name, *columns)
    made = Checksum(columns)
    found = connection.execution_options(yield_per=BATCH_ROWS).execute(sa.select(*light.columns))
    for rows in progress(found.partitions(), f"{table.name}: compare"):
        made.add(rows)
    return made
