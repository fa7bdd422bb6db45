"""The prepared statements of one connection, by their text: so many at most, and none forgotten on the server."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

PREPARED_MAX = 256
FAILURES_MAX = 64


@dataclass(frozen=True, slots=True)
class Prepare:
    """A place in a connection's queue: a statement is prepared here."""

    text: str
    name: bytes


@dataclass(frozen=True, slots=True)
class Close:
    """A place in a connection's queue: a prepared statement is let go of here."""

    name: bytes


class Prepared:
    """See the module."""

    def __init__(self) -> None:
        self._names: OrderedDict[str, bytes] = OrderedDict()
        self._count = 0
        #: Names that the server still has and nobody will use.
        self.unused: list[bytes] = []
        #: Why names could not be prepared: what was sent under them meanwhile fails for that reason.
        self.failures: dict[bytes, Any] = {}
        self.get = self._names.get

    def __contains__(self, text: str) -> bool:
        return text in self._names

    def add(self, text: str) -> bytes:
        """A new name; the statement that was prepared first gives way when there are too many."""
        if len(self._names) >= PREPARED_MAX:
            self.unused.append(self._names.popitem(last=False)[1])
        self._count += 1
        name = b"b%d" % self._count
        self._names[text] = name
        return name

    def forget(self, text: str, name: bytes, *, exists: bool = False) -> None:
        """Use a name no more, nor, where the server still has it, leave it there."""
        if self._names.get(text) == name:
            del self._names[text]
            if exists:
                self.unused.append(name)

    def not_done(self, what: Prepare | Close, failure: Any) -> None:
        """The server refused it, or skipped it, which is no `failure`."""
        if isinstance(what, Close):
            if failure is None:
                self.unused.append(what.name)
            return
        self.forget(what.text, what.name)
        if failure is not None:
            if len(self.failures) >= FAILURES_MAX:
                del self.failures[next(iter(self.failures))]
            self.failures[what.name] = failure
