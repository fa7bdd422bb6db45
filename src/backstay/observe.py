"""Observations: counts and times that the hot path adds up as plain numbers, and the log's sink.

Nothing here formats or exports on the hot path: `console.metrics` renders the numbers when it is asked, and
log lines are joined and written a few times a second.
"""

from __future__ import annotations

import sys
import threading
from bisect import bisect_left
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, TextIO

import orjson

#: Upper bounds of the latency histogram, in seconds.
BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
LEVELS = ("debug", "info", "warning", "error")
_BUFFER_BYTES = 65_536
_COLORS = {"debug": "\x1b[2m", "info": "", "warning": "\x1b[33m", "error": "\x1b[31m"}


class Series:
    """Counts and a latency histogram of one route or one kind of statement."""

    __slots__ = ("buckets", "count", "outcomes", "seconds")

    def __init__(self) -> None:
        self.count = 0
        self.seconds = 0.0
        self.buckets = [0] * (len(BUCKETS) + 1)
        self.outcomes: dict[int, int] = {}

    def add(self, seconds: float, outcome: int = 0) -> None:
        """One more observation."""
        self.count += 1
        self.seconds += seconds
        self.buckets[bisect_left(BUCKETS, seconds)] += 1
        self.outcomes[outcome] = self.outcomes.get(outcome, 0) + 1


class Observations:
    """All series of one process. The label sets are bounded by the catalog, never by callers."""

    def __init__(self) -> None:
        self.requests: dict[tuple[str, str], Series] = {}
        self.statements: dict[tuple[str, str], Series] = {}
        self.in_flight = 0
        self.started = datetime.now(UTC)

    def request(self, method: str, route: str) -> Series:
        """The series of a route template."""
        return self.requests.setdefault((method, route), Series())

    def statement(self, resource: str, action: str) -> Series:
        """The series of a resource's statements."""
        series = self.statements.get((resource, action))
        if series is None:
            series = self.statements[resource, action] = Series()
        return series


class Log:
    """Structured lines to a stream: one JSON object a line, or readable text.

    Example:
        >>> Log("json", "info").event("info", "started", port=8000)  # doctest: +SKIP
        {"timestamp":"…","level":"info","event":"started","port":8000}
    """

    def __init__(self, style: str = "auto", level: str = "info", stream: TextIO | None = None) -> None:
        self._stream = stream if stream is not None else sys.stderr
        readable = style == "text" or (style == "auto" and self._stream.isatty())
        self._color = readable and self._stream.isatty()
        self._render = self._text if readable else _json
        self._from = LEVELS.index(level) if level in LEVELS else 1
        self._lines: list[bytes] = []
        self._size = 0
        self._lock = threading.Lock()
        self.later: Callable[[], None] | None = None

    def enabled(self, level: str) -> bool:
        """Whether lines of that level are written."""
        return LEVELS.index(level) >= self._from

    def event(self, level: str, event: str, **fields: Any) -> None:
        """Write one line now, with whatever waits before it."""
        if self.enabled(level):
            self.line({"timestamp": _now(), "level": level, "event": event, **fields})
            self.flush()

    def line(self, fields: dict[str, Any]) -> None:
        """Add one line; it is written by the next `flush`, which `later` schedules."""
        rendered = self._render(fields)
        with self._lock:
            waiting = bool(self._lines)
            self._lines.append(rendered)
            self._size += len(rendered)
        if self._size > _BUFFER_BYTES or self.later is None:
            self.flush()
        elif not waiting:
            self.later()

    def flush(self) -> None:
        """Write what waits."""
        with self._lock:
            lines, self._lines, self._size = self._lines, [], 0
        if lines:
            try:
                self._stream.write(b"".join(lines).decode())
                self._stream.flush()
            except (OSError, ValueError):
                pass  # a log nobody reads any more must not stop the server

    def _text(self, fields: dict[str, Any]) -> bytes:
        level = str(fields.get("level", "info"))
        head = f"{str(fields['timestamp'])[11:23]} {level:7} {fields['event']}"
        rest = " ".join(f"{k}={v}" for k, v in fields.items() if k not in ("timestamp", "level", "event"))
        line = f"{head} {rest}"
        color = _COLORS.get(level, "") if self._color else ""
        return (f"{color}{line}\x1b[0m\n" if color else f"{line}\n").encode()


def _json(fields: dict[str, Any]) -> bytes:
    return orjson.dumps(fields, default=str, option=orjson.OPT_APPEND_NEWLINE)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
