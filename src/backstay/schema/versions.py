"""Older versions of the API as data: what has changed since, and the Catalog that such a version has.

The models are the current version. An older one is the same tables and rules under other names: fields and
resources that were added since are not there, those that were removed are there still. Nothing is translated
afterwards: the planner resolves the names of a version in its own Catalog, and the database builds its JSON by them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from enum import Enum
from typing import Any, Literal

from ..errors import OperatorError

#: `v1`, `v1.2` or a date; a segment of the path.
_NAME = re.compile(r"[a-z0-9][a-z0-9.-]{0,31}\Z")


class Unset(Enum):
    """That nothing was given, where None is a value."""

    UNSET = "unset"


UNSET: Literal[Unset.UNSET] = Unset.UNSET


@dataclass(frozen=True, slots=True, eq=False)
class Renamed:
    """A field, a relation or a resource has another name since.

    Args:
        what: the mapped attribute or class; `"scores.value"` or `"scores"` where there is none.
        was: its name in this version.

    Example:
        >>> Renamed("scores.value", was="points").was
        'points'
    """

    what: Any
    was: str


@dataclass(frozen=True, slots=True, eq=False)
class Added:
    """A field, a relation or a resource is there since; this version does not know it.

    Args:
        what: as in `Renamed`.
        default: of a field, what a new row has in it that is made in this version; by default the column's own.
    """

    what: Any
    default: Any = UNSET


@dataclass(frozen=True, slots=True, eq=False)
class Removed:
    """A field, a relation or a resource is there no more since; this version has it still.

    Args:
        what: as in `Renamed`. A column stays in its model, and only older versions show it. A field that is in no
            model any more is named as text: `"scores.rank"`.
        answer: what such a field always is: a text, a number, a boolean or None. Bodies may have it; nothing is kept.
    """

    what: Any
    answer: Any = UNSET


@dataclass(frozen=True, slots=True, eq=False)
class Required:
    """A new row must have a field since; in this version it may be left out.

    Args:
        what: as in `Renamed`.
        default: what the row has then.
    """

    what: Any
    default: Any


Change = Renamed | Added | Removed | Required


@dataclass(frozen=True, slots=True, eq=False)
class Version:
    """An older version of the API, said as what has changed after it.

    Args:
        name: its path segment, such as `v1`.
        changes: what the version after it changed. A version has the changes of all newer ones, too.
        deprecated: since when, or from when on, nobody should start to use it (RFC 9745); a date is its midnight UTC.
        sunset: when it ends (RFC 8594).
        gone_after_sunset: answer 410 from then on; else it is answered until it is taken out of the program.
        guide: the URL of a page that says how to move on.

    Raises:
        OperatorError: a name that is no path segment, or an end before the deprecation.

    Example:
        >>> Version("v1", [Renamed("scores.value", was="points")], deprecated=date(2026, 11, 1)).name
        'v1'
    """

    name: str
    changes: Sequence[Change] = ()
    deprecated: date | None = None
    sunset: date | None = None
    gone_after_sunset: bool = False
    guide: str = ""

    def __post_init__(self) -> None:
        check_name(self.name)
        start, end = self.deprecated_at, self.sunset_at
        if start is not None and end is not None and end < start:
            raise OperatorError(f"version {self.name}: sunset is before deprecated.")
        if self.gone_after_sunset and end is None:
            raise OperatorError(f"version {self.name}: gone_after_sunset needs a sunset.")
        if not self.guide.isascii() or not self.guide.isprintable() or set(self.guide) & set("<> "):
            raise OperatorError(f"version {self.name}: guide={self.guide!r} is no URL.")

    @property
    def deprecated_at(self) -> datetime | None:
        """The instant."""
        return _instant(self.deprecated)

    @property
    def sunset_at(self) -> datetime | None:
        """The instant."""
        return _instant(self.sunset)


def check_name(name: str) -> None:
    """See that a version's name can be in a path.

    Raises:
        OperatorError: it cannot.
    """
    if not _NAME.match(name) or name.endswith("."):
        raise OperatorError(f"version {name!r}: a name is like v1, of small letters, digits, points and dashes.")


def _instant(given: date | None) -> datetime | None:
    if given is None:
        return None
    found = given if isinstance(given, datetime) else datetime.combine(given, time())
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)
