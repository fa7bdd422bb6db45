"""`backstay rules`: who may do what, why, and what a change of rules changes."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer
from typer.core import TyperGroup

from ..errors import OperatorError


class _MatrixFirst(TyperGroup):
    """`backstay rules app.py` shows the matrix: what is no command is its target."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if not args or (args[0] not in self.commands and args[0] not in ("-h", "--help")):
            args = ["show", *args]
        return super().parse_args(ctx, args)


rules_app = typer.Typer(
    name="rules",
    cls=_MatrixFirst,
    help="Rules: who may do what, why, what a change changes, and tests of it.",
    rich_markup_mode=None,
)

Target = Annotated[str, typer.Argument(help="module:app or a Python file. Default: app.py or main.py here.")]
Database = Annotated[str | None, typer.Option("--database", help="Database URL; wins over BACKSTAY_DATABASE_URL.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for a machine.")]
Matrix = Annotated[Path, typer.Argument(help="What `backstay rules --json` printed.", show_default=False)]


@rules_app.command()
def show(target: Target = "", json: Json = False) -> None:
    """Print who may do what: roles × resources × actions. `backstay rules TARGET` does the same."""
    from ..check.matrix import matrix_of
    from .rules_table import table_of
    from .target import load_app

    app = load_app(target)
    matrix = matrix_of(app.name, app.catalog(), app.config, app.declared_tenants)
    sys.stdout.write(_json(matrix.plain()) if json else table_of(matrix))


@rules_app.command()
def why(
    words: Annotated[list[str], typer.Argument(help="Perhaps a TARGET; then a resource and a key: scores/17.")],
    *,
    who: Annotated[str, typer.Option("--as", help="Id of the user; without it, nobody is signed in.")] = "",
    role: Annotated[list[str] | None, typer.Option(help="A role of theirs; may be repeated.")] = None,
    permission: Annotated[list[str] | None, typer.Option(help="A permission of theirs; may be repeated.")] = None,
    scope: Annotated[list[str] | None, typer.Option(help="A scope of their credential; may be repeated.")] = None,
    tenant: Annotated[str | None, typer.Option(help="Key of the tenant that they act for.")] = None,
    action: Annotated[str, typer.Option(help="read, create, update, delete, restore or history.")] = "read",
    database: Database = None,
    json: Json = False,
) -> None:
    """Say which term of a rule refuses somebody a row, or admits them. Exit code 1 when they are refused."""
    from .rules_why import Asker, explained

    *targets, path = words
    if len(targets) > 1:
        raise OperatorError("Say: backstay rules why [TARGET] --as USER --action read scores/17")
    asker = Asker(
        who, frozenset(role or ()), frozenset(permission or ()), frozenset(scope) if scope else None, tenant
    )
    term = explained("".join(targets), asker, action, path, database=database)
    sys.stdout.write(_json(term.plain()) if json else "\n".join(term.lines()) + "\n")
    raise typer.Exit(0 if term.holds else 1)


@rules_app.command()
def diff(old: Matrix, new: Matrix, json: Json = False) -> None:
    """Say who sees or does more than before, and who less. Exit code 1 when anybody may do more."""
    from ..check.rules_diff import differences

    try:
        found = differences(_read(old), _read(new))
    except (KeyError, TypeError, AttributeError):
        raise OperatorError("That is no matrix: make both with `backstay rules --json`.") from None
    plain = [{"where": d.where, "before": d.before, "after": d.after, "widens": d.widens} for d in found]
    text = "".join(f"{difference}\n" for difference in found) or "The rules are the same.\n"
    sys.stdout.write(_json(plain) if json else text)
    raise typer.Exit(1 if any(difference.widens for difference in found) else 0)


@rules_app.command("tests")
def write_tests(
    target: Target = "",
    output: Annotated[
        str, typer.Option(help="Where to write them; - prints them.")
    ] = "tests/test_rules_generated.py",
) -> None:
    """Write pytest tests that hold the app to its matrix: what each standing is allowed and denied."""
    from ..check.matrix import matrix_of
    from ..check.rule_tests import tests_of
    from .target import found_target, load_app

    target = found_target(target)
    app = load_app(target)
    path = Path(output)
    base, custom = app.config.base_path, {(r.method, r.path) for r in app.routes() if r.action == "custom"}
    made = {(name, "create") for name in app.catalog().resources if ("POST", f"{base}/{name}") in custom}
    text = tests_of(matrix_of(app.name, app.catalog(), app.config, app.declared_tenants), _named(target, path), made)
    if output == "-":
        sys.stdout.write(text)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    typer.echo(f"wrote {path}")


def _named(target: str, output: Path) -> str:
    """The expression that names a target in a file: a Python file is found from that file."""
    name, colon, variable = target.partition(":")
    if not name.endswith(".py") or str(output) == "-":
        return repr(target)
    way = Path(os.path.relpath(Path(name).resolve(), output.resolve().parent)).as_posix()
    found = f"str(Path(__file__).parent / {way!r})"
    return f"{found} + {colon + variable!r}" if colon else found


def _read(path: Path) -> Any:
    try:
        return orjson.loads(path.read_bytes())
    except OSError as error:
        raise OperatorError(f"{path} cannot be read: {error.strerror}.") from None
    except ValueError:
        raise OperatorError(f"{path} is no JSON: make it with `backstay rules --json`.") from None


def _json(value: Any) -> str:
    return orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_NON_STR_KEYS).decode() + "\n"
