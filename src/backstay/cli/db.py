"""`backstay db`: write, apply and take back migrations; fill and reset the database."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import OperatorError

if TYPE_CHECKING:
    from ..db.migrate import Operation, Project
    from .target import Loaded

#: The folder beside an app's file that holds its migrations.
MIGRATIONS = "migrations"

db_app = typer.Typer(
    name="db",
    help="Migrations: write them from the models, apply them, take them back; seed and reset.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

Target = Annotated[
    str, typer.Argument(help="module:app or a Python file. Default: app.py or main.py here.", show_default=False)
]
Database = Annotated[str | None, typer.Option("--database", help="Database URL; wins over BACKSTAY_DATABASE_URL.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for a machine.")]
AllowDestructive = Annotated[
    bool, typer.Option("--allow-destructive", help="Let tables and columns go that have rows.")
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


@db_app.command("new")
def new_command(
    name: Annotated[str, typer.Argument(help="What it does, in a few words: 'add ratings'.")],
    target: Target = "",
    empty: Annotated[bool, typer.Option("--empty", help="A bare file, to move data by hand.")] = False,
    database: Database = None,
    json: Json = False,
) -> None:
    """Write the next migration from what the models say and the database is not."""
    from ..db import migrate as migrations

    written = migrations.new(_project(_load(target, database)), name, empty=empty)
    path = written.migration.path
    if json:
        revision, operations = written.migration.revision, _plain(written.operations)
        _print_json({"file": str(path), "revision": revision, "operations": operations})
        return
    here = Path.cwd()
    typer.echo(f"wrote {path.relative_to(here) if path.is_relative_to(here) else path}")
    for operation in written.operations:
        typer.echo(f"  {operation.text}" + (f"  ATTENTION: {operation.why}" if operation.why else ""))
    typer.echo("Read it, then apply it: backstay db migrate")


@db_app.command("migrate")
def migrate_command(
    target: Target = "",
    allow_destructive: AllowDestructive = False,
    database: Database = None,
    json: Json = False,
) -> None:
    """Apply every pending migration, all or none."""
    from ..db import migrate as migrations
    from ..db.opened import prepare_recording

    loaded = _load(target, database)
    done = migrations.migrate(_project(loaded), allow_destructive=allow_destructive, warn=_warn)
    prepare_recording(loaded.app.config, loaded.app.recorded())
    if json:
        applied = [m.revision for m in done.applied]
        _print_json({"applied": applied, "current": done.current, "adopted": done.adopted})
        return
    for migration in done.applied:
        typer.echo(f"applied {migration.path.name}: {migration.title}")
    if done.adopted:
        typer.echo(f"The database had every table already: it counts as migrated to {done.current}.")
    elif not done.applied:
        typer.echo(f"Nothing to apply: the database is at {done.current or 'its beginning'}.")


@db_app.command("rollback")
def rollback_command(
    target: Target = "",
    steps: Annotated[int, typer.Option("--steps", "-n", min=1, help="How many to take back.")] = 1,
    allow_destructive: AllowDestructive = False,
    database: Database = None,
    json: Json = False,
) -> None:
    """Take back the last migration, or the last few."""
    from ..db import migrate as migrations

    project = _project(_load(target, database))
    undone = migrations.rollback(project, steps, allow_destructive=allow_destructive, warn=_warn)
    if json:
        _print_json({"rolled_back": [m.revision for m in undone], "current": undone[-1].follows})
        return
    for migration in undone:
        typer.echo(f"took back {migration.path.name}: {migration.title}")


@db_app.command("status")
def status_command(target: Target = "", database: Database = None, json: Json = False) -> None:
    """Say where the database stands. Exit code 1 when migrations are pending or missing."""
    from ..db import migrate as migrations

    found = migrations.status(_project(_load(target, database)))
    if json:
        pending = [{"revision": m.revision, "title": m.title, "file": str(m.path)} for m in found.pending]
        changed = _plain(found.changed)
        _print_json({"current": found.current, "head": found.head, "pending": pending, "changed": changed})
    else:
        typer.echo(f"database at {found.current or 'its beginning'}, files at {found.head or 'their beginning'}")
        for migration in found.pending:
            typer.echo(f"  pending  {migration.path.name}: {migration.title}")
        for operation in found.changed:
            typer.echo(f"  missing  {operation.text}")
        if found.pending:
            typer.echo("Apply what is pending: backstay db migrate")
        elif found.changed:
            typer.echo("The models changed: write a migration with `backstay db new NAME`")
    if not found.clean:
        raise typer.Exit(1)


@db_app.command("seed")
def seed_command(
    target: Target = "",
    if_empty: Annotated[bool, typer.Option("--if-empty", help="Do nothing when a table has rows.")] = False,
    database: Database = None,
    json: Json = False,
) -> None:
    """Run the app's seeders, each in one transaction."""
    from ..db import migrate as migrations

    loaded = _load(target, database)
    rows = migrations.contents(_project(loaded)) if if_empty else {}
    done = [] if rows else _seed(loaded, quiet=json)
    if json:
        _print_json({"seeded": done})
    elif rows:
        typer.echo(f"ran nothing: there are {sum(rows.values()):,} rows already")
    else:
        typer.echo(f"ran {', '.join(done)}")


@db_app.command("reset")
def reset_command(target: Target = "", yes: Yes = False, database: Database = None, json: Json = False) -> None:
    """Drop everything, migrate and seed."""
    from ..db import migrate as migrations

    loaded = _load(target, database)
    project = _project(loaded)
    rows = migrations.contents(project)
    if rows and not yes:
        _confirm(f"{project.place} has {sum(rows.values()):,} rows in {len(rows)} tables", asked=not json)
    done = migrations.migrate(project, fresh=True)
    seeded = _seed(loaded, quiet=json) if loaded.app.seeders else []
    if json:
        _print_json({"applied": [m.revision for m in done.applied], "current": done.current, "seeded": seeded})
    else:
        typer.echo(f"dropped everything, applied {len(done.applied)} migrations, ran {len(seeded)} seeders")


@db_app.command("copy")
def copy_database_command(
    source: Annotated[str, typer.Argument(help="URL of the database to read, such as sqlite:///arcade.db.")],
    target: Annotated[str, typer.Argument(help="URL of the database to fill, such as postgresql://host/arcade.")],
    *,
    app: Annotated[str, typer.Option("--app", help="App whose models say the schema. Default: the one here.")] = "",
    no_app: Annotated[bool, typer.Option("--no-app", help="Take the schema from the source.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a target that has tables.")] = False,
    replace: Annotated[bool, typer.Option("--replace", help="Drop what the target has.")] = False,
    json: Json = False,
) -> None:
    """Copy a database into another and compare both. Exit code 1 when they differ; run it again after a crash."""
    from .copy import copy_command

    code = copy_command(source, target, app=app, no_app=no_app, resume=resume, replace=replace, as_json=json)
    if code:
        raise typer.Exit(code)


def apply_safe_migrations(loaded: Loaded) -> None:
    """What `serve --dev` does before it serves: one line for each change made, and for each refused."""
    from ..db.migrate import prepare_dev

    done = prepare_dev(_project(loaded))
    lines = [f"  migrated: {operation.text}" for operation in done.applied]
    lines += [f"  wrote {MIGRATIONS}/{path.name}" for path in done.files]
    for operation in done.refused:
        mend = "" if "`backstay db" in operation.text else ": run `backstay db new NAME`, then `backstay db migrate`"
        lines.append(f"  NOT migrated: {operation.text}{mend}")
    for line in lines:
        typer.echo(line, err=True)


def _load(target: str, database: str | None) -> Loaded:
    from .target import load_target

    return load_target(target, database=database)


def _project(loaded: Loaded) -> Project:
    from ..db.migrate import Project

    if loaded.folder is None:
        raise OperatorError("An existing database has no models to migrate by: name an app of declared models.")
    return Project(loaded.app.config.database_url, loaded.app.schema.metadata, loaded.folder / MIGRATIONS)


def _seed(loaded: Loaded, *, quiet: bool) -> list[str]:
    from ..db.seed import seed
    from .progress import progress_bars

    app = loaded.app
    if not app.seeders:
        raise OperatorError(f"{app.name} has no seeders: decorate a function with @app.seeder.")
    return seed(app.config.database_url, app.seeders, progress_bars(quiet=quiet))


def _confirm(what: str, *, asked: bool) -> None:
    if not asked or not sys.stdin.isatty():
        raise OperatorError(f"{what}: add --yes to drop them.")
    typer.confirm(f"{what}. Drop them?", abort=True, err=True)


def _warn(sentence: str) -> None:
    """On standard error, while the operator can still press Ctrl-C."""
    typer.echo(f"warning: {sentence}", err=True)


def _plain(operations: Sequence[Operation]) -> list[dict[str, str]]:
    return [{"text": o.text, "risk": o.risk.value, "why": o.why} for o in operations]


def _print_json(value: Any) -> None:
    import orjson

    typer.echo(orjson.dumps(value, option=orjson.OPT_INDENT_2).decode())
