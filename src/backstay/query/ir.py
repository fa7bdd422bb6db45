"""The IR of a read or write. It is structure only: a value is a slot number, so that an IR can be a cache key.

Front ends build these nodes together with a list of values; slot *i* stands for value *i*. Names are still
the caller's words: only the planner knows whether they exist.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Op(Enum):
    """Comparison operators of the filter grammar."""

    EQ = "eq"
    NE = "ne"
    LT = "lt"
    LTE = "lte"
    GT = "gt"
    GTE = "gte"
    IN = "in"
    NIN = "nin"
    LIKE = "like"
    ILIKE = "ilike"
    CONTAINS = "contains"


class Test(Enum):
    """What `is` can ask; part of the structure."""

    NULL = "null"
    NOT_NULL = "notnull"
    TRUE = "true"
    FALSE = "false"


class Deleted(Enum):
    """Which rows of a table whose rows are deleted softly."""

    HIDDEN = "hidden"
    INCLUDED = "true"
    ONLY = "only"


Path = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Compare:
    """`path op value`; a path through relations means "any related row"."""

    path: Path
    op: Op
    slot: int


@dataclass(frozen=True, slots=True)
class Is:
    """`path is test`."""

    path: Path
    test: Test


@dataclass(frozen=True, slots=True)
class Search:
    """`q`: rows that have these words."""

    slot: int


#: What to sort by that is no field: how well a row answers a Search.
RELEVANCE = "relevance"


@dataclass(frozen=True, slots=True)
class Group:
    """All (`any` false) or any of some filters."""

    any: bool
    items: tuple[Filter, ...]


Filter = Compare | Is | Search | Group


@dataclass(frozen=True, slots=True)
class OrderKey:
    """One sort key."""

    path: Path
    descending: bool = False


@dataclass(frozen=True, slots=True)
class OffsetPage:
    """`limit` rows from an offset, with or without the total of all.

    The first page has no slot: PostgreSQL plans a statement with an unknown offset anew each time.
    """

    limit: int
    offset_slot: int | None = None
    total: bool = True


@dataclass(frozen=True, slots=True)
class KeysetPage:
    """`limit` rows after (or before) a row, named by its order values; no slots: the first page.

    `nulls` says which of the values are null: it is structure, because SQL compares null differently.
    """

    limit: int
    slots: tuple[int, ...] = ()
    nulls: tuple[bool, ...] = ()
    backward: bool = False


Page = OffsetPage | KeysetPage


@dataclass(frozen=True, slots=True)
class Shape:
    """Which fields and related rows the answer has; `fields` None means all visible ones."""

    fields: tuple[str, ...] | None = None
    includes: tuple[Include, ...] = ()


@dataclass(frozen=True, slots=True)
class Include:
    """Related rows inside the answer. `limit` is per parent and has no meaning for a to-one way."""

    relation: str
    shape: Shape = Shape()
    order: tuple[OrderKey, ...] = ()
    limit: int = 20


@dataclass(frozen=True, slots=True)
class Parent:
    """The row that a nested route starts from: `/games/{key}/scores`."""

    resource: str
    relation: str
    key: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Select:
    """Rows of a resource: a page of them, or with `key` the one row; `as_of` is the slot of an instant.

    With `may` they are those that the principal may see and `update` or `delete`.
    """

    resource: str
    filter: Group | None = None
    order: tuple[OrderKey, ...] = ()
    page: Page | None = None
    shape: Shape = Shape()
    key: tuple[int, ...] = ()
    parent: Parent | None = None
    deleted: Deleted = Deleted.HIDDEN
    may: str = ""
    as_of: int | None = None


class Function(Enum):
    """Aggregate functions."""

    COUNT = "count"
    SUM = "sum"
    AVG = "avg"
    MIN = "min"
    MAX = "max"


@dataclass(frozen=True, slots=True)
class Measure:
    """One aggregate; an empty path counts rows."""

    function: Function
    path: Path = ()
    distinct: bool = False
    alias: str = ""

    @property
    def name(self) -> str:
        """Its name in the answer: the alias, else `max_value`, `count_distinct_player_id`, `count`."""
        parts = [self.function.value, *(["distinct"] if self.distinct else []), *self.path]
        return self.alias or "_".join(parts)


@dataclass(frozen=True, slots=True)
class Aggregate:
    """Groups of rows with their measures; without measures, the distinct groups."""

    resource: str
    group: tuple[Path, ...] = ()
    measures: tuple[Measure, ...] = ()
    filter: Group | None = None
    order: tuple[OrderKey, ...] = ()
    page: OffsetPage | None = None
    parent: Parent | None = None
    deleted: Deleted = Deleted.HIDDEN


@dataclass(frozen=True, slots=True)
class Insert:
    """One new row; value *i* belongs to column *i*. The values of `kept`, which no body names, follow.

    `unseen` are those of the columns whose values the caller has not given, and may not find out.
    """

    resource: str
    columns: tuple[str, ...]
    kept: tuple[str, ...] = ()
    unseen: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Update:
    """New values for some columns of one row: column *i* takes value *i*, the key's slots follow.

    `version` is the slot of the version that the row must have. With `touch` the row counts as changed, even if none
    of its columns is: what belongs to it is. `unseen` are as in `Insert`.
    """

    resource: str
    columns: tuple[str, ...]
    key: tuple[int, ...]
    version: int | None = None
    touch: bool = False
    unseen: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Delete:
    """One row less; `version` as in `Update`."""

    resource: str
    key: tuple[int, ...]
    version: int | None = None


@dataclass(frozen=True, slots=True)
class Restore:
    """One row more: it was deleted softly."""

    resource: str
    key: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class History:
    """The recorded changes of one row, the newest first.

    Attributes:
        primary: the key is the table's primary key, whatever the resource is addressed by.
        change: the slot of the number of one change, with all that is needed to undo it.
    """

    resource: str
    key: tuple[int, ...]
    page: KeysetPage
    primary: bool = False
    change: int | None = None


Query = Select | Aggregate | Insert | Update | Delete | Restore | History
