"""`backstay auth`: users, roles and signing keys from the command line."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from ..errors import OperatorError

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession

    from ..auth.accounts import Accounts

T = TypeVar("T")
#: What a command does in one transaction.
Work = Callable[["Accounts", "AsyncSession"], Awaitable[T]]

auth_app = typer.Typer(
    name="auth",
    help="Accounts: make and disable users, give roles, rotate signing keys.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
user_app = typer.Typer(name="user", help="Make, disable and sign out users.", no_args_is_help=True)
auth_app.add_typer(user_app)

App = Annotated[str, typer.Option("--app", help="module:app or a Python file. Default: app.py or main.py here.")]
Database = Annotated[str | None, typer.Option("--database", help="Database URL; wins over BACKSTAY_DATABASE_URL.")]
User = Annotated[str, typer.Argument(help="E-mail address, user name or id.", show_default=False)]
Role = Annotated[str, typer.Argument(help="Name of the role.", show_default=False)]
Permissions = Annotated[list[str] | None, typer.Option("--permission", help="What it permits; may be repeated.")]


@user_app.command("create")
def create_command(
    email: Annotated[str, typer.Argument(help="E-mail address; it counts as proven.", show_default=False)],
    username: Annotated[str | None, typer.Option(help="User name.")] = None,
    role: Annotated[list[str] | None, typer.Option(help="A role; may be repeated.")] = None,
    password_stdin: Annotated[bool, typer.Option("--password-stdin", help="Read the password; do not ask.")] = False,
    app: App = "",
    database: Database = None,
) -> None:
    """Make a user, who can sign in at once."""
    from ..auth.administer import create_user

    password = sys.stdin.readline().rstrip("\n") if password_stdin else _ask_password()
    roles = role or []
    key = in_transaction(
        app, database, lambda a, s: create_user(a, s, email, password, username=username, roles=roles)
    )
    typer.echo(f"made user {key}")


@user_app.command("disable")
def disable_command(user: User, app: App = "", database: Database = None) -> None:
    """Let a user sign in no more, and end their sessions."""
    from ..auth.administer import disable_user

    in_transaction(app, database, lambda a, s: disable_user(a, s, user, disabled=True))
    typer.echo(f"{user} is disabled")


@user_app.command("enable")
def enable_command(user: User, app: App = "", database: Database = None) -> None:
    """Let a disabled user sign in again."""
    from ..auth.administer import disable_user

    in_transaction(app, database, lambda a, s: disable_user(a, s, user, disabled=False))
    typer.echo(f"{user} is enabled")


@user_app.command("logout")
def logout_command(user: User, app: App = "", database: Database = None) -> None:
    """End every session of a user."""
    from ..auth.administer import logout_user

    in_transaction(app, database, lambda a, s: logout_user(a, s, user))
    typer.echo(f"{user} is signed out everywhere")


@auth_app.command("grant")
def grant_command(user: User, role: Role, app: App = "", database: Database = None) -> None:
    """Give a user a role."""
    from ..auth.administer import change_role

    changed = in_transaction(app, database, lambda a, s: change_role(a, s, user, role, given=True))
    typer.echo(f"{user} {'has now' if changed else 'had already'} the role {role}")


@auth_app.command("revoke")
def revoke_command(user: User, role: Role, app: App = "", database: Database = None) -> None:
    """Take a role from a user."""
    from ..auth.administer import change_role

    changed = in_transaction(app, database, lambda a, s: change_role(a, s, user, role, given=False))
    typer.echo(f"{user} {'has no more' if changed else 'did not have'} the role {role}")


@auth_app.command("role")
def role_command(role: Role, permission: Permissions = None, app: App = "", database: Database = None) -> None:
    """Make a role, or say anew what it permits."""
    from ..auth.administer import define_role

    permissions = permission or []
    in_transaction(app, database, lambda a, s: define_role(a, s, role, permissions))
    typer.echo(f"{role}: {', '.join(permissions) or 'no permissions'}")


@auth_app.command("roles")
def roles_command(app: App = "", database: Database = None) -> None:
    """List the roles and what they permit."""
    from ..auth.roles import permissions_of

    for name, permissions in in_transaction(app, database, lambda a, s: permissions_of(s, a.tables)).items():
        typer.echo(f"{name}: {', '.join(permissions) or 'no permissions'}")


@auth_app.command("rotate-keys")
def rotate_command(
    forget: Annotated[bool, typer.Option("--forget", help="Refuse tokens of old keys at once.")] = False,
    app: App = "",
    database: Database = None,
) -> None:
    """Sign with a new key from now on; tokens of the old one are good until they expire."""
    from ..auth.administer import rotate_keys

    kid = in_transaction(app, database, lambda a, s: rotate_keys(a, s, forget=forget))
    typer.echo(f"signing with {kid}")


def _ask_password() -> str:
    if not sys.stdin.isatty():
        raise OperatorError("Nobody can be asked for the password here: pipe it in with --password-stdin.")
    asked: str = typer.prompt("Password", hide_input=True, confirmation_prompt=True)
    return asked


def in_transaction(target: str, database: str | None, work: Work[T]) -> T:
    """Do something in one transaction of the app's database.

    Raises:
        OperatorError: no accounts, no secret, no tables, or what the work refuses.
    """
    from ..db.opened import check_tables
    from .secret import kept_secret
    from .target import load_app, run_with

    app = load_app(target, database=database)
    app.configure(secret=app.config.secret or kept_secret(), log_level="error")

    async def run() -> T:
        runtime = app.start()
        accounts = runtime.accounts
        if accounts is None:
            raise OperatorError(f"{app.name} has no accounts: call app.accounts(User).")
        await check_tables(runtime.database, runtime.dialect, accounts.tables.all())
        async with accounts.sessions.begin() as session:
            return await work(accounts, session)

    return run_with(app, run)
