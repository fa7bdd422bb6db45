"""The files in `migrations/`: read in order, written to be read. One line of history, no branches.

A file names itself (`revision`) and the one it follows (`down_revision`), as Alembic's do.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import ModuleType

from ..errors import OperatorError

_STAMP = "%Y%m%d_%H%M%S"
#: Which argument of an operation is the name that it makes.
_TABLES = {"create_table": 0, "rename_table": 1}
_INDEXES = {"create_index": 0}
_SLUG_CHARS_MAX = 60


@dataclass(frozen=True, slots=True, eq=False)
class Migration:
    """One file.

    Attributes:
        tables: the tables that it makes.
        indexes: the indexes that it makes beside them.
    """

    revision: str
    follows: str | None
    title: str
    path: Path
    module: ModuleType
    tables: frozenset[str] = frozenset()
    indexes: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Draft:
    """What a new file says: rendered bodies, the imports they need, and warnings for its reader."""

    title: str
    upgrade: str = "pass"
    downgrade: str = "pass"
    imports: Sequence[str] = ()
    warnings: Sequence[str] = ()


def load_migrations(folder: Path) -> list[Migration]:
    """Every migration, oldest first; none when the folder does not exist.

    Raises:
        OperatorError: a file that does not run, or a history that is not one line.
    """
    if not folder.is_dir():
        return []
    files = sorted(path for path in folder.glob("*.py") if not path.name.startswith("_"))
    return _in_order([_load(path) for path in files])


def _load(path: Path) -> Migration:
    module = ModuleType(path.stem)
    module.__file__ = str(path)
    try:
        # Compiled here and not imported: no bytecode beside the files, no module that a name could shadow.
        tree = ast.parse(path.read_bytes(), path)
        exec(compile(tree, path, "exec"), module.__dict__)
    except SyntaxError as error:
        raise OperatorError(f"{path}:{error.lineno}: {error.msg}.") from None
    except Exception as error:
        raise OperatorError(f"{path}: {type(error).__name__}: {error}.") from None
    found = module.__dict__
    missing = [name for name in ("revision", "down_revision", "upgrade", "downgrade") if name not in found]
    if missing:
        raise OperatorError(f"{path} has no {missing[0]}: it is not a migration; move it out of {path.parent.name}/.")
    follows = found["down_revision"]
    if not isinstance(found["revision"], str) or not (follows is None or isinstance(follows, str)):
        raise OperatorError(f"{path}: revision must be text, down_revision text or None (merges are not supported).")
    title = (module.__doc__ or path.stem).strip().splitlines()[0]
    return Migration(found["revision"], follows, title, path, module, _made(tree, _TABLES), _made(tree, _INDEXES))


def _made(tree: ast.AST, places: Mapping[str, int]) -> frozenset[str]:
    """The names that operations make: `create_table("name", …)`, `create_index(op.f("name"), …)`."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            place = places.get(node.func.attr, len(node.args))
            for argument in node.args[place : place + 1]:
                name = argument.args[0] if isinstance(argument, ast.Call) and argument.args else argument
                if isinstance(name, ast.Constant) and isinstance(name.value, str):
                    found.add(name.value)
    return frozenset(found)


def _in_order(found: Sequence[Migration]) -> list[Migration]:
    revisions: dict[str, Migration] = {}
    after: dict[str | None, Migration] = {}
    for migration in found:
        other = revisions.setdefault(migration.revision, migration)
        if other is not migration:
            names = f"{other.path.name} and {migration.path.name}"
            raise OperatorError(f"{names} have one revision, {migration.revision}: give the later one another.")
        rival = after.setdefault(migration.follows, migration)
        if rival is not migration:
            start = f"follow {migration.follows}" if migration.follows else "are the first"
            mend = f'set down_revision = "{rival.revision}" in {migration.path.name}, if it comes later'
            raise OperatorError(f"{rival.path.name} and {migration.path.name} both {start}: {mend}.")
    ordered: list[Migration] = []
    while (next_one := after.pop(ordered[-1].revision if ordered else None, None)) is not None:
        ordered.append(next_one)
    if after:
        lost = next(iter(after.values()))
        raise OperatorError(f"{lost.path.name} follows {lost.follows}, which no file in the history is.")
    return ordered


def write_migration(folder: Path, draft: Draft, history: Sequence[Migration], *, now: datetime) -> Migration:
    """Write the next file and load it, which proves that it runs.

    Raises:
        OperatorError: the folder cannot be written.
    """
    taken = {migration.revision for migration in history}
    while (revision := now.strftime(_STAMP)) in taken:
        now += timedelta(seconds=1)
    follows = history[-1].revision if history else None
    path = folder / f"{revision}_{slug(draft.title)}.py"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        path.write_text(_text(draft, revision, follows, now), encoding="utf-8")
    except OSError as error:
        raise OperatorError(f"Cannot write {path} ({error.strerror}).") from None
    return _load(path)


def slug(title: str) -> str:
    """A title as part of a file name.

    Example:
        >>> slug("Add games & scores!")
        'add_games_scores'
    """
    words = re.sub(r"\W+", "_", title.lower(), flags=re.UNICODE).strip("_")
    return words[:_SLUG_CHARS_MAX].rstrip("_") or "migration"


def _text(draft: Draft, revision: str, follows: str | None, now: datetime) -> str:
    title = " ".join(draft.title.replace("\\", "/").replace('"""', "'''").split()).rstrip('"')
    own: dict[str, list[str]] = {}
    for line in sorted(set(draft.imports)):
        module, _, name = line.removeprefix("from ").partition(" import ")
        own.setdefault(module, []).append(name)
    lines = [
        f'"""{title}',
        "",
        f"Written {now.astimezone(UTC):%Y-%m-%d %H:%M} UTC by `backstay db`. Read it before you apply it.",
        '"""',
        "",
        "import sqlalchemy as sa",
        "from alembic import op",
        *(f"from {module} import {', '.join(names)}" for module, names in own.items()),
        "",
        f'revision = "{revision}"',
        f'down_revision = "{follows}"' if follows else "down_revision = None",
        "",
        "",
        "def upgrade() -> None:",
        '    """Bring the database to this revision."""',
        *(f"    # ATTENTION: {warning}" for warning in draft.warnings),
        *_indented(draft.upgrade),
        "",
        "",
        "def downgrade() -> None:",
        '    """Take it back to the revision before."""',
        *_indented(draft.downgrade),
    ]
    return "\n".join(lines) + "\n"


def _indented(body: str) -> list[str]:
    return [f"    {line}" if line.strip() else "" for line in body.strip("\n").splitlines()]
