"""The commands and their options; what they do is in the modules beside this one."""

from __future__ import annotations

from typing import Annotated

import typer

from .audit import audit_app
from .auth import auth_app
from .auth_clients import client_app
from .db import db_app
from .rules import rules_app

cli = typer.Typer(
    name="backstay",
    help="Declare models and rules; get a production backend.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

auth_app.add_typer(client_app)
cli.add_typer(audit_app)
cli.add_typer(auth_app)
cli.add_typer(db_app)
cli.add_typer(rules_app)

Target = Annotated[
    str, typer.Argument(help="module:app, a Python file, or a database URL. Default: app.py or main.py here.")
]
Database = Annotated[str | None, typer.Option("--database", help="Database URL; wins over BACKSTAY_DATABASE_URL.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for a machine.")]


@cli.command()
def serve(
    target: Target = "",
    host: Annotated[str | None, typer.Option(help="Address to listen on. [127.0.0.1]")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on. [8000]")] = None,
    workers: Annotated[int | None, typer.Option(help="Number of processes. [1]")] = None,
    database: Database = None,
    dev: Annotated[bool, typer.Option("--dev", help="Reload on change, apply safe migrations.")] = False,
) -> None:
    """Serve an app, or an existing database read-only."""
    from .serve import serve_target

    serve_target(target, host=host, port=port, workers=workers, database=database, dev=dev)


@cli.command()
def routes(target: Target = "", json: Json = False) -> None:
    """List every endpoint and the rule that guards it."""
    from .inspect import print_routes

    print_routes(target, as_json=json)


@cli.command()
def openapi(
    target: Target = "",
    version: Annotated[str, typer.Option(help="An older version of the API, such as v1. [the current one]")] = "",
) -> None:
    """Print the OpenAPI 3.1 document."""
    from .inspect import print_openapi

    print_openapi(target, version)


@cli.command()
def versions(
    target: Target = "",
    log: Annotated[str, typer.Option(help="A log of the server, as JSON lines; - for standard input.")] = "",
    json: Json = False,
) -> None:
    """List the versions of the API, and by the server's log who still uses the older ones."""
    from .versions import print_versions

    print_versions(target, log, as_json=json)


@cli.command()
def token(
    subject: Annotated[str, typer.Argument(help="Id of the principal.")],
    role: Annotated[list[str] | None, typer.Option(help="A role; may be repeated.")] = None,
    permission: Annotated[list[str] | None, typer.Option(help="A permission; may be repeated.")] = None,
    scope: Annotated[list[str] | None, typer.Option(help="All that it is good for; may be repeated.")] = None,
    tenant: Annotated[str | None, typer.Option(help="The tenant that it acts for.")] = None,
    ttl: Annotated[int, typer.Option(help="Seconds until it expires.")] = 86_400,
) -> None:
    """Sign a token with BACKSTAY_SECRET, to try writes until people can sign in."""
    from .inspect import print_token

    print_token(subject, role or [], ttl, permissions=permission or [], scopes=scope, tenant=tenant)


@cli.command("import")
def import_rows(
    file: Annotated[str, typer.Argument(help="File of rows; - for standard input.")],
    to: Annotated[str, typer.Option("--to", help="The resource that takes them.")],
    *,
    app: Annotated[str, typer.Option("--app", help="module:app or a Python file. Default: the one here.")] = "",
    format: Annotated[str, typer.Option("--format", help="ndjson or csv. [by the file's name]")] = "",
    batch: Annotated[int, typer.Option(min=1, max=10_000, help="Rows of one transaction.")] = 1_000,
    resume: Annotated[bool, typer.Option("--resume", help="Go on where an earlier run stopped.")] = False,
    restart: Annotated[bool, typer.Option("--restart", help="Import it all again after a run that stopped.")] = False,
    errors: Annotated[str, typer.Option("--errors", help="File for what is wrong with refused rows.")] = "",
    max_errors: Annotated[int, typer.Option(min=0, help="Stop after so many refused rows; 0 never does.")] = 0,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check every row, and undo it all.")] = False,
    database: Database = None,
    json: Json = False,
) -> None:
    """Import rows as the operator: no rules apply. Exit code 1 when rows are refused."""
    from .importing import Options, format_of, import_command

    options = Options(format_of(format, file), batch, resume, dry_run, max_errors)
    code = import_command(
        file, to, app, database=database, options=options, restart=restart, errors=errors, as_json=json
    )
    if code:
        raise typer.Exit(code)


@cli.command("export")
def export_rows(
    resource: Annotated[str, typer.Argument(help="The resource whose rows are written.")],
    *,
    app: Annotated[str, typer.Option("--app", help="module:app or a Python file. Default: the one here.")] = "",
    to: Annotated[str, typer.Option("--to", help="The file. [standard output]")] = "-",
    format: Annotated[str, typer.Option("--format", help="ndjson or csv. [by the file's name]")] = "",
    query: Annotated[str, typer.Option("--query", help="Filters, fields and sort, as in a URL.")] = "",
    database: Database = None,
) -> None:
    """Export rows as the operator: no rules apply."""
    from .exporting import export_command

    export_command(resource, app, database=database, form=format, to=to, query=query)


@cli.command()
def new(name: Annotated[str, typer.Argument(help="Name of the project and its folder.")]) -> None:
    """Start a project: an app file, a README and nothing else."""
    from .new import create_project

    create_project(name)
