"""Which migrations a database has not had, found without Alembic: a serving process need not load it to say so."""

from __future__ import annotations

import ast
import time
from pathlib import Path

import sqlalchemy as sa

from ..context import Context
from ..errors import Problem
from ..sql.dialect import Dialect
from .database import Database
from .lookups import Lookups
from .opened import CHECK_S_MAX, is_there
from .postgres_errors import PostgresError

#: Alembic's own: where a database says which revision it is at.
VERSION_TABLE = "alembic_version"
_VERSION: sa.Column[str] = sa.Column("version_num", sa.String)
_VERSIONS = sa.Table(VERSION_TABLE, sa.MetaData(), _VERSION)


async def pending_files(folder: Path, database: Database, dialect: Dialect) -> list[str]:
    """The names of the files that are not applied, oldest first; none where that cannot be told.

    Files that are no history, and a table that the server's role may not read, are no reason not to serve: the
    command that applies them says what is wrong.
    """
    history = _history(folder)
    if not history:
        return []
    context = Context("", deadline=time.monotonic() + CHECK_S_MAX)
    if not await is_there(database, dialect, _VERSIONS, context):
        return list(history.values())
    lookups = Lookups(database, dialect)
    try:
        rows = await lookups.rows(lookups.prepare("revision", sa.select(_VERSION)), (), context)
    except (Problem, PostgresError):
        return []
    revisions = list(history)
    if rows and rows[0][0] not in history:
        return []
    return list(history.values())[revisions.index(rows[0][0]) + 1 if rows else 0 :]


def _history(folder: Path) -> dict[str, str]:
    """The name of each file by its revision, in their order; what follows nothing here is left out."""
    after: dict[str | None, tuple[str, str]] = {}
    for path in sorted(folder.glob("[!_]*.py")):
        names = _names_of(path)
        if isinstance(names.get("revision"), str):
            after[names.get("down_revision")] = (str(names["revision"]), path.name)
    ordered: dict[str, str] = {}
    revision: str | None = None
    while (found := after.pop(revision, None)) is not None:
        revision = found[0]
        ordered[revision] = found[1]
    return ordered


def _names_of(path: Path) -> dict[str, str | None]:
    """What a file says that it is and follows; the file is read and not run."""
    try:
        body = ast.parse(path.read_bytes()).body
    except (OSError, ValueError, SyntaxError):
        return {}
    return {
        node.targets[0].id: node.value.value
        for node in body
        if isinstance(node, ast.Assign)
        and isinstance(node.targets[0], ast.Name)
        and isinstance(node.value, ast.Constant)
        and (node.value.value is None or isinstance(node.value.value, str))
    }
