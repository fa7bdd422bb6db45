"""`backstay audit`: prove the change log, look into it, drop what is old."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import orjson
import sqlalchemy as sa
import typer

from ..errors import OperatorError, perhaps
from .progress import counted

if TYPE_CHECKING:
    from ..app import Backstay
    from ..db.recording import Recorded
    from ..events.changes import Change, Changes, Verdict

T = TypeVar("T")
Work = Callable[["Changes"], Awaitable[T]]

audit_app = typer.Typer(
    name="audit",
    help="The change log: prove that nothing was replaced, look into it, drop what is old.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

App = Annotated[str, typer.Option("--app", help="module:app or a Python file. Default: app.py or main.py here.")]
Database = Annotated[str | None, typer.Option("--database", help="Database URL; wins over BACKSTAY_DATABASE_URL.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for a machine.")]
_AGE = re.compile(r"(\d{1,6})([smhdw])\Z")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


@audit_app.command("verify")
def verify_command(
    position: Annotated[int, typer.Option(help="A position whose hash was kept elsewhere.", min=0)] = 0,
    known: Annotated[str, typer.Option("--hash", help="That hash.")] = "",
    app: App = "",
    database: Database = None,
    as_json: Json = False,
) -> None:
    """Compute every hash again, and print the newest, to be kept elsewhere. Exit code 1 when the log was changed."""
    if bool(position) != bool(known):
        raise OperatorError("A kept position has its hash: give --position and --hash together.")

    async def work(changes: Changes) -> Verdict:
        first, last = await changes.bounds()
        if 0 < position < first:
            raise OperatorError(f"Position {position} was pruned: the log begins at {first}.")
        with counted(last - first + 1 if last else 0, "Verifying") as progress:
            return await changes.verify(position=position, known=known.lower(), progress=progress)

    verdict = with_changes(_loaded(app, database), work)
    if as_json:
        sys.stdout.write(_json(asdict(verdict)))
    elif verdict.broken is not None:
        sys.stdout.write(f"broken at position {verdict.broken}: from there on, it is not what was written\n")
    else:
        sys.stdout.write(f"whole: {verdict.entries} entries\nposition {verdict.position} hash {verdict.hash}\n")
    raise typer.Exit(0 if verdict.broken is None else 1)


@audit_app.command("prune")
def prune_command(
    before: Annotated[str, typer.Option(help="A date or an instant (ISO 8601); UTC unless it says.")] = "",
    older_than: Annotated[str, typer.Option(help="An age: 90d, 12h, 4w.")] = "",
    app: App = "",
    database: Database = None,
) -> None:
    """Drop old entries. The hash of the last one stays, so that the rest can be verified."""
    moment = _moment(before, older_than)

    async def work(changes: Changes) -> int:
        with counted(await changes.older(moment), "Pruning") as progress:
            return await changes.prune(moment, progress)

    dropped = with_changes(_loaded(app, database), work)
    typer.echo(f"dropped {dropped} {'entry' if dropped == 1 else 'entries'} from before {_shown(moment)}")


@audit_app.command("list")
def list_command(
    *,
    table: Annotated[str | None, typer.Option(help="Only changes of this table or resource.")] = None,
    key: Annotated[str | None, typer.Option(help="Only of the row with this primary key: 17, or 1,de.")] = None,
    actor: Annotated[str | None, typer.Option(help="Only by user:7, service:3.")] = None,
    request_id: Annotated[str | None, typer.Option(help="Only of one request.")] = None,
    limit: Annotated[int, typer.Option(help="So many of the newest.", min=1, max=10_000)] = 50,
    app: App = "",
    database: Database = None,
    as_json: Json = False,
) -> None:
    """Print changes, the newest first: when, what, by whom, and which columns."""
    from ..events.changes import Wanted

    if key is not None and table is None:
        raise OperatorError("A key is of a table: give --table too.")

    loaded = _loaded(app, database)
    recorded = None if table is None else _recorded(loaded, table)
    name = None if recorded is None else recorded.table.name
    wanted = Wanted(name, () if key is None or recorded is None else _keys(recorded, key), actor, request_id)
    for change in with_changes(loaded, lambda changes: changes.find(wanted, limit)):
        sys.stdout.write(_json(asdict(change), indent=False) if as_json else _line(change))


def with_changes(app: Backstay, work: Work[T]) -> T:
    """Do something with the change log of an app.

    Raises:
        OperatorError: it has none, or what the work refuses.
    """
    from .target import run_with

    return run_with(app, lambda: work(app.changes))


def _loaded(target: str, database: str | None) -> Backstay:
    from .secret import kept_secret
    from .target import load_app

    app = load_app(target, database=database)
    app.configure(secret=app.config.secret or kept_secret(), log_level="error")
    return app


def _moment(before: str, older_than: str) -> datetime:
    """The instant that is meant.

    Raises:
        OperatorError: none or two of them, or one that cannot be read.
    """
    if bool(before) == bool(older_than):
        raise OperatorError("Say what is old: --before 2026-01-31, or --older-than 90d.")
    if older_than:
        match = _AGE.match(older_than)
        if match is None:
            raise OperatorError(f"{older_than!r} is no age: write a number and s, m, h, d or w, as in 90d.")
        return datetime.now(UTC) - timedelta(**{_UNITS[match[2]]: int(match[1])})
    try:
        moment = datetime.fromisoformat(before)
    except ValueError:
        raise OperatorError(f"{before!r} is no date: write 2026-01-31 or 2026-01-31T12:00:00Z.") from None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _recorded(app: Backstay, name: str) -> Recorded:
    """A recorded table by its name or by that of its resource.

    Raises:
        OperatorError: there is none.
    """
    found = {recorded.table.name: recorded for recorded in app.recorded()}
    tables = {r.name: found[r.table.name] for r in app.catalog().declared.values() if r.table.name in found}
    known = tables | found
    if name not in known:
        raise OperatorError(f"No table {name!r} is recorded. {perhaps(name, known, noun='table')}".rstrip())
    return known[name]


def _keys(recorded: Recorded, text: str) -> tuple[str, ...]:
    """What the log may call a key: databases write JSON and UUIDs each in their way.

    Raises:
        OperatorError: it has too few parts or too many.
    """
    columns = [recorded.table.c[name] for name in recorded.key]
    parts = text.split(",", len(columns) - 1)
    if len(parts) != len(columns):
        raise OperatorError(f"The primary key of {recorded.table.name} is {','.join(recorded.key)}.")
    values: list[Any] = [
        int(part) if isinstance(column.type, sa.Integer) and part.lstrip("-").isdecimal() else part
        for column, part in zip(columns, parts, strict=True)
    ]
    bare = [
        value.replace("-", "") if isinstance(c.type, sa.Uuid) else value
        for c, value in zip(columns, values, strict=True)
    ]
    forms = ((values, (",", ":")), (values, None), (bare, (",", ":")))
    return tuple(dict.fromkeys(json.dumps(v, ensure_ascii=False, separators=by) for v, by in forms))


def _line(change: Change) -> str:
    """A change in words: when, what, by whom, and the columns that are other than before."""
    before, after = (None if image is None else orjson.loads(image) for image in (change.before, change.after))
    touched = [n for n in after if before.get(n) != after[n]] if before and after else []
    row = f"{change.table} {','.join(str(part) for part in orjson.loads(change.key))}"
    words = [str(change.position), _shown(change.at), f"{change.operation:6}", row, change.actor or "-"]
    return "  ".join([*words, change.request_id or "-", ", ".join(touched)]).rstrip() + "\n"


def _shown(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def _json(value: Any, *, indent: bool = True) -> str:
    return orjson.dumps(value, option=orjson.OPT_INDENT_2 if indent else 0).decode() + "\n"
