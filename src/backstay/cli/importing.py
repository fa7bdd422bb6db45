"""`backstay import`: a file of rows into a resource, with progress, a report of what was refused, and resumption."""

from __future__ import annotations

import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO

import orjson
from uuid_utils import uuid7

from ..bulk.importing import Import, Options, Outcome, open_report
from ..bulk.records import Format
from ..bulk.rows import Rows
from ..context import Context
from ..db.bulk import Sink, open_sink
from ..db.engines import backend_of
from ..db.imports import Mark
from ..errors import OperatorError, ValidationError, perhaps
from ..schema.resource import Resource
from ..sql.postgresql import PostgresDialect
from ..sql.sqlite import SqliteDialect
from .target import Loaded, load_target

SHOWN_EVERY_S = 10.0
#: Refused rows that are shown where no file takes them.
SHOWN_MAX = 20


def import_command(
    path: str,
    resource: str,
    target: str,
    *,
    database: str | None,
    options: Options,
    restart: bool,
    errors: str,
    as_json: bool,
) -> int:
    """Import, report, and return the exit code: 1 when rows were refused."""
    loaded = load_target(target, database=database)
    found = _resource(loaded, resource)
    context = Context(f"import:{uuid7()}")
    config = loaded.app.config
    dialect = SqliteDialect() if backend_of(config.database_url) == "sqlite" else PostgresDialect()
    rows = Rows(found, dialect, context)
    with ExitStack() as stack:
        stream = _stream(path, stack)
        sink = open_sink(config, loaded.app.recorded(), context)
        imported = 0
        try:
            report = open_report(errors, resume=options.resume) if errors else None
            if report is not None:
                stack.enter_context(report)
            source = f"{found.name} {Path(path).resolve()}"
            if restart:
                _forget(sink, source)
            watch = _Progress(sys.stderr.isatty())
            work = Import(
                rows, sink, source, stream, options=options, report=report, say=_Shown().say, watch=watch.show
            )
            outcome = work.run()
            watch.end()
            imported = outcome.new
        except ValidationError as error:
            raise OperatorError(f"{path}: {error.detail} {error.hint}".rstrip()) from None
        finally:
            sink.close(changed=imported > 0 and not options.dry_run)
    _report(outcome, context, options, errors, as_json=as_json)
    return 1 if outcome.failed else 0


def format_of(named: str, path: str) -> Format:
    """The format that is named, or that the file's name says.

    Raises:
        OperatorError: neither is one.
    """
    if not named:
        return "csv" if path.lower().endswith(".csv") else "ndjson"
    if named not in ("ndjson", "csv"):
        raise OperatorError(f"--format {named}: write ndjson or csv.")
    return named


def _resource(loaded: Loaded, name: str) -> Resource:
    resources = loaded.app.catalog().resources
    if name not in resources:
        raise OperatorError(f"There is no resource {name!r}. {perhaps(name, resources, noun='resource')}")
    return resources[name]


def _stream(path: str, stack: ExitStack) -> BinaryIO:
    if path == "-":
        return sys.stdin.buffer
    try:
        return stack.enter_context(open(path, "rb", buffering=1 << 20))
    except OSError as error:
        raise OperatorError(f"Cannot read {path}: {error.strerror}.") from None


def _forget(sink: Sink, source: str) -> None:
    """Begin anew: what an earlier run committed stays, and is imported again."""
    found = sink.find(source)
    if found is not None:
        sink.begin()
        sink.save(Mark(source, found.digest, found.size, done=1), found.position)
        sink.commit()


class _Progress:
    """Rows, rows per second, and the part of the file, on standard error."""

    def __init__(self, terminal: bool) -> None:
        self._terminal = terminal
        self._began = self._last = time.monotonic()
        self._first: Mark | None = None
        self._shown = False

    def show(self, mark: Mark) -> None:
        """Show it, on a terminal always, elsewhere now and then."""
        now = time.monotonic()
        if self._first is None:
            self._first = mark
        if not self._terminal and now - self._last < SHOWN_EVERY_S:
            return
        self._last = now
        self._shown = True
        done = mark.rows + mark.failed - self._first.rows - self._first.failed
        rate = done / max(now - self._began, 1e-9)
        part = f"{mark.position / mark.size:4.0%}, " if mark.size else ""
        refused = f", {mark.failed:,} refused" if mark.failed else ""
        line = f"{part}{mark.rows:,} rows, {rate:,.0f} rows/s{refused}"
        sys.stderr.write(f"\r\x1b[K{line}" if self._terminal else f"{line}\n")
        sys.stderr.flush()

    def end(self) -> None:
        """Leave the last line."""
        if self._shown and self._terminal:
            sys.stderr.write("\n")


class _Shown:
    """The first refused rows, where no file takes them."""

    def __init__(self) -> None:
        self._left = SHOWN_MAX

    def say(self, lines: bytes) -> None:
        """Show what is left to show."""
        for line in lines.splitlines()[: self._left]:
            self._left -= 1
            said = orjson.loads(line)
            sys.stderr.write(f"line {said['line']}: {said['field']}: {said['message']}\n")
            if not self._left:
                sys.stderr.write("more rows are refused; --errors FILE has them all\n")


def _report(outcome: Outcome, context: Context, options: Options, errors: str, *, as_json: bool) -> None:
    if as_json:
        facts = {
            "rows": outcome.rows,
            "failed": outcome.failed,
            "new": outcome.new,
            "seconds": round(outcome.seconds, 3),
            "resumed": outcome.resumed,
            "stopped": outcome.stopped,
            "dry_run": options.dry_run,
            "request_id": context.request_id,
        }
        sys.stdout.write(orjson.dumps(facts, option=orjson.OPT_INDENT_2).decode() + "\n")
        return
    rate = outcome.new / max(outcome.seconds, 1e-9)
    verb = "would import" if options.dry_run else "imported"
    here = f" ({outcome.new:,} in this run)" if outcome.resumed else ""
    sys.stdout.write(f"{verb} {outcome.rows:,} rows{here} in {outcome.seconds:.1f} s, {rate:,.0f} rows/s\n")
    if outcome.failed:
        where = f"; see {errors}" if errors else ""
        sys.stdout.write(f"refused {outcome.failed:,} rows{where}\n")
    if outcome.stopped:
        sys.stdout.write("stopped: too many rows are refused; mend the file or raise --max-errors, then --resume\n")
    if not options.dry_run:
        sys.stdout.write(f"the change log has them with the request id {context.request_id}\n")
