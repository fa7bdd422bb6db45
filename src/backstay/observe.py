"""Observations: counts and times that the hot path adds up as plain numbers, and the log's sink.

Nothing here formats or exports on the hot path: `console.metrics` renders the numbers when it is asked, and
log lines are joined and written a few times a second.
"""

from __future__ import annotations

import sys
import threading
import time
from bisect import bisect_left
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, TextIO

import orjson

from .context import Context

#: Callers of one version that a process tells apart, and what the others are together.
CALLERS_MAX = 1_000
OTHERS = "others"
#: How often the log says who used an older version.
REPORT_S = 3_600.0
#: Upper bounds of the latency histogram, in seconds.
BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
LEVELS = ("debug", "info", "warning", "error")
WAITING_MAX = 64
_COLORS = {"debug": "\x1b[2m", "info": "", "warning": "\x1b[33m", "error": "\x1b[31m"}


class Series:
    """Counts and a latency histogram of one route."""

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


class Tally:
    """How many, and how long altogether."""

    __slots__ = ("count", "seconds")

    def __init__(self) -> None:
        self.count = 0
        self.seconds = 0.0


class Usage:
    """Requests to an older version of the API, by whose they were.

    Attributes:
        count: of all.
        callers: of each; those beyond `CALLERS_MAX` count as `OTHERS`. Half of the places are for who is signed in:
            addresses are cheap.
    """

    __slots__ = ("_addresses", "_reported", "_swept", "callers", "count")

    def __init__(self) -> None:
        self.count = 0
        self.callers: dict[str, int] = {}
        self._addresses = 0
        self._reported: dict[str, int] = {}
        self._swept = time.monotonic()

    def add(self, caller: str) -> dict[str, int]:
        """One more request; what to report now: a new caller, and every hour the requests of all."""
        self.count += 1
        known = self.callers.get(caller)
        if known is None:
            address = caller.startswith("ip:")
            if len(self.callers) >= CALLERS_MAX or (address and self._addresses >= CALLERS_MAX // 2):
                caller = OTHERS
                known = self.callers.get(caller)
            else:
                self._addresses += address
        self.callers[caller] = (known or 0) + 1
        if time.monotonic() - self._swept > REPORT_S:
            return self.unreported()
        if known is not None:
            return {}
        self._reported[caller] = 1
        return {caller: 1}

    def unreported(self) -> dict[str, int]:
        """The requests of each caller that were not reported yet."""
        self._swept = time.monotonic()
        found = {caller: count - self._reported.get(caller, 0) for caller, count in self.callers.items()}
        self._reported = dict(self.callers)
        return {caller: count for caller, count in found.items() if count}


class Observations:
    """All series of one process. The label sets are bounded by the catalog, never by callers."""

    def __init__(self) -> None:
        self.requests: dict[tuple[str, str], Series] = {}
        self.statements: dict[tuple[str, str], Tally] = {}
        self.versions: dict[str, Usage] = {}
        self.in_flight = 0
        self.started = datetime.now(UTC)

    def request(self, method: str, route: str) -> Series:
        """The series of a route template."""
        return self.requests.setdefault((method, route), Series())

    def statement(self, resource: str, action: str) -> Tally:
        """The tally of a resource's statements."""
        return self.statements.setdefault((resource, action), Tally())


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
        self._readable = readable
        self._render = self._text if readable else _json
        self._render_request = self._request_text if readable else _json
        self._millisecond = 0
        self._stamped = ""
        self._from = LEVELS.index(level) if level in LEVELS else 1
        self._waiting: list[bytes] = []
        self._lock = threading.Lock()
        #: Set by whoever has an event loop: arranges for `flush` to be called soon.
        self.later: Callable[[], None] | None = None

    def enabled(self, level: str) -> bool:
        """Whether lines of that level are written."""
        return LEVELS.index(level) >= self._from

    def event(self, level: str, event: str, **fields: Any) -> None:
        """Write one line now, with whatever waits before it."""
        if self.enabled(level):
            self.flush()
            self._write([self._render({"timestamp": _now(), "level": level, "event": event, **fields})])

    def request(self, context: Context, method: str, path: bytes, status: int, seconds: float, size: int) -> None:
        """Add a request's line; it is written within a fraction of a second.

        It is rendered at once: what waits is small, and the memory of the request can be used again.
        """
        fields: dict[str, Any] = {
            "timestamp": self._stamp(time.time()),
            "level": "info" if status < 500 else "error",
            "event": "request",
            "method": method,
            "path": path.decode("utf-8", "replace"),
            "status": status,
            "ms": int(seconds * 1e6) / 1e3,
            "db_ms": int(context.database_s * 1e6) / 1e3,
            "statements": context.statements,
            "bytes": size,
            "principal": context.principal.id,
            "ip": context.ip,
            "request_id": context.request_id,
        }
        waiting = self._waiting
        waiting.append(self._render_request(fields))
        if self.later is None or len(waiting) >= WAITING_MAX:
            self.flush()
        elif len(waiting) == 1:
            self.later()

    def flush(self) -> None:
        """Write what waits."""
        waiting, self._waiting = self._waiting, []
        if waiting:
            self._write(waiting)

    def _stamp(self, timestamp: float) -> str:
        """ISO 8601 with milliseconds; many requests end in one."""
        millisecond = int(timestamp * 1000)
        if millisecond != self._millisecond:
            self._millisecond = millisecond
            moment = datetime.fromtimestamp(millisecond // 1000, UTC)
            self._stamped = f"{moment:%Y-%m-%dT%H:%M:%S}.{millisecond % 1000:03d}Z"
        return self._stamped

    def _request_text(self, fields: dict[str, Any]) -> bytes:
        status = fields["status"]
        color = (
            "" if not self._color else _COLORS["error" if status >= 500 else "warning" if status >= 400 else "info"]
        )
        who = "" if fields["principal"] is None else f" principal={fields['principal']}"
        shown = fields["path"].encode("ascii", "backslashreplace").decode()
        text = (
            f"{fields['timestamp'][11:23]} {status} {fields['method']:6} {shown} {fields['ms']:.1f} ms "
            f"(db {fields['db_ms']:.1f} ms, {fields['statements']} statements, {fields['bytes']} bytes)"
            f"{who} {fields['request_id']}"
        )
        return (f"{color}{text}\x1b[0m\n" if color else f"{text}\n").encode()

    def _write(self, lines: list[bytes]) -> None:
        try:
            with self._lock:
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
