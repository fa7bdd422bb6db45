"""`backstay db copy`: a database into another, with a report."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import orjson
import sqlalchemy as sa

from ..db.copy import Report, copy_database
from .progress import progress_bars
from .target import DEFAULTS, load_target


def copy_command(
    source: str, target: str, *, app: str, no_app: bool, resume: bool, replace: bool, as_json: bool
) -> int:
    """Copy, report, and return the exit code: 1 when the target differs from the source."""
    started = time.monotonic()
    report = copy_database(
        source,
        target,
        progress_bars(quiet=as_json),
        metadata=None if no_app else _models(app),
        resume=resume,
        replace=replace,
    )
    seconds = time.monotonic() - started
    if as_json:
        sys.stdout.write(orjson.dumps(_plain(report, seconds), option=orjson.OPT_INDENT_2).decode() + "\n")
    else:
        _say(report, seconds)
    return 0 if report.verified else 1


def _models(app: str) -> sa.MetaData | None:
    """Of the app that is named, or that is in this folder."""
    if not app and not any(Path(name).is_file() for name in DEFAULTS):
        return None
    loaded = load_target(app).app
    return None if loaded.existing else loaded.schema.metadata


def _plain(report: Report, seconds: float) -> dict[str, object]:
    tables = [
        {"name": t.name, "rows": t.rows, "copied": t.new, "checksum": t.checksum, "equal": t.equal}
        for t in report.tables
    ]
    facts = {"source": report.source, "target": report.target, "resumed": report.resumed}
    rest = {"changes_left": report.changes, "verified": report.verified, "seconds": round(seconds, 3)}
    return {**facts, "tables": tables, **rest}


def _say(report: Report, seconds: float) -> None:
    for table in report.tables:
        mark = "" if table.equal else "  DIFFERS"
        before = f" ({table.new:,} in this run)" if table.new != table.rows else ""
        sys.stdout.write(f"{table.name}: {table.rows:,} rows{before}{mark}\n")
    if report.changes:
        said = f"the change log stays behind ({report.changes:,} entries): keep the source for its history"
        sys.stdout.write(f"{said}\n")
    rows = sum(table.rows for table in report.tables)
    end = "both sides are equal" if report.verified else "the target DIFFERS: drop it with --replace and copy again"
    sys.stdout.write(f"{len(report.tables)} tables, {rows:,} rows in {seconds:.1f} s; {end}\n")
