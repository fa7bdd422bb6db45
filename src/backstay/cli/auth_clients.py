"""`backstay auth client`: service clients from the command line."""

from __future__ import annotations

from typing import Annotated

import typer

from ..errors import OperatorError
from .auth import App, Database, in_transaction

client_app = typer.Typer(name="client", help="Make, list and disable service clients.", no_args_is_help=True)


@client_app.command("create")
def create_command(
    name: Annotated[str, typer.Argument(help="What it is, for people.", show_default=False)],
    scope: Annotated[list[str], typer.Option(help="What it may do, as scores:read; may be repeated.")],
    role: Annotated[list[str] | None, typer.Option(help="A role; may be repeated.")] = None,
    tenant: Annotated[str | None, typer.Option(help="The tenant that it acts for.")] = None,
    app: App = "",
    database: Database = None,
) -> None:
    """Make a client; its secret is printed this once."""
    from ..auth.administer import operator
    from ..auth.clients import make_client

    made = in_transaction(
        app,
        database,
        lambda a, s: make_client(a, s, operator(), name, scopes=scope, roles=role or [], tenant=tenant),
    )
    typer.echo(f"client_id={made.id}\nclient_secret={made.secret}")


@client_app.command("list")
def list_command(app: App = "", database: Database = None) -> None:
    """List the clients, without their secrets."""
    from ..auth.clients import clients_of

    for row in in_transaction(app, database, clients_of):
        state = "disabled" if row.disabled_at is not None else " ".join(row.scopes)
        typer.echo(f"{row.id}  {row.name}: {state}")


@client_app.command("disable")
def disable_command(
    client: Annotated[str, typer.Argument(help="Its client_id.", show_default=False)],
    app: App = "",
    database: Database = None,
) -> None:
    """Let a client sign in no more, and end its tokens."""
    from ..auth.administer import operator
    from ..auth.clients import disable_client

    if not in_transaction(app, database, lambda a, s: disable_client(a, s, operator(), client)):
        raise OperatorError(f"There is no client {client!r} that could sign in: backstay auth client list")
    typer.echo(f"{client} is disabled")
