"""`backstay versions`: the versions of the API of an app, and by a server's log who still uses the older ones."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from ..errors import OperatorError
from ..versions import Edition
from .target import load_app


@dataclass(slots=True)
class Used:
    """How often one caller used a version, and when it was last reported."""

    requests: int = 0
    last: str = ""


@dataclass(slots=True)
class UsedBy:
    """Who used one version."""

    callers: dict[str, Used] = field(default_factory=dict[str, Used])


def print_versions(target: str, log: str, *, as_json: bool) -> None:
    """The versions, the current one first; with a log, each older one's callers, the busiest first.

    Raises:
        OperatorError: a log that cannot be read.
    """
    editions = load_app(target).editions()
    usage = _usage(log) if log else {}
    rows = [_row(edition, usage.get(edition.name), asked=bool(log)) for edition in editions]
    if as_json:
        sys.stdout.write(orjson.dumps(rows, option=orjson.OPT_INDENT_2).decode() + "\n")
        return
    for row in rows:
        state = ", ".join(f"{word} {row[word]}" for word in ("deprecated", "sunset") if row[word]) or row["state"]
        sys.stdout.write(f"{row['version']:10}{row['path']:16}{state}\n")
        for caller in row["callers"]:
            last = caller["last"][:16].replace("T", " ")
            sys.stdout.write(
                f"          {caller['caller']:24}{caller['requests']:>10,} requests, last reported {last}\n"
            )


def _row(edition: Edition, used: UsedBy | None, *, asked: bool) -> dict[str, Any]:
    version = edition.version
    start, end = (None, None) if version is None else (version.deprecated_at, version.sunset_at)
    callers = used.callers if used is not None and asked else {}
    busiest = sorted(callers.items(), key=lambda item: (-item[1].requests, item[0]))
    path = edition.config.base_path
    return {
        "version": edition.name or path.rpartition("/")[2],
        "path": path,
        "state": "current" if version is None else "older",
        "deprecated": "" if start is None else f"{start:%Y-%m-%d}",
        "sunset": "" if end is None else f"{end:%Y-%m-%d}",
        "callers": [{"caller": name, "requests": one.requests, "last": one.last} for name, one in busiest],
    }


def _usage(log: str) -> dict[str, UsedBy]:
    """What a log of JSON lines says of older versions; other lines are of no concern."""
    found: dict[str, UsedBy] = {}
    try:
        with nullcontext(sys.stdin) if log == "-" else Path(log).open(encoding="utf-8", errors="replace") as lines:
            for event in _events(lines):
                used = found.setdefault(str(event["version"]), UsedBy())
                one = used.callers.setdefault(str(event["caller"]), Used())
                one.requests += int(event["requests"])
                one.last = max(one.last, str(event["timestamp"]))
    except OSError as error:
        raise OperatorError(f"The log {log} cannot be read: {error.strerror}.") from None
    return found


def _events(lines: Iterable[str]) -> Iterable[dict[str, Any]]:
    for line in lines:
        if '"version_used"' in line:
            try:
                event: dict[str, Any] = orjson.loads(line)
            except orjson.JSONDecodeError:
                continue
            if event.get("event") == "version_used":
                yield event
