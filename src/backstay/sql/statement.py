"""Statement: compiled SQL text and what fills its parameters. It never holds a caller's value."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from ..context import Context
from ..observe import Tally
from ..query.plan import Slot

#: Makes one driver parameter from the values of a query and its request.
Binder = Callable[[Sequence[Any], Context], Any]
#: Reads one raw value of a slot (text of a URL, JSON of a cursor, Python of a body) for the driver.
Reader = Callable[[Any], Any]


class Output(Enum):
    """The columns that a statement's one row can have."""

    DATA = "data"
    TOTAL = "total"
    COUNT = "count"
    MORE = "more"
    KEYS = "keys"
    PARENT = "parent"
    VERSION = "version"
    KEY = "key"
    ALLOWED = "allowed"
    ATTRIBUTED = "attributed"


_WHOLE = frozenset({Output.TOTAL, Output.VERSION, Output.COUNT, Output.ALLOWED})


@dataclass(frozen=True, slots=True, eq=False)
class Statement:
    """Compiled SQL.

    Attributes:
        resource: whose rows it is about, for metrics.
        outputs: what its columns are, in order.
        readers: one for each slot, from the caller's form to the driver's.
        slots: what each slot is, for messages.
        binders: one for each parameter; `None` when the parameters are exactly the slots in order.
        repeatable: its parameters depend on the values alone, neither on the principal nor on the time.
        many: it returns a row for each object; otherwise one row, or none.
        labels: what each parameter is to the caller; empty for those that are not the caller's.
        tally: where its runs are counted; shared by the statements of a resource's action.
        whole: for each column, whether it is a number to whoever reads the row.
        claimed: it records its answer for the context's claim, with itself.
        guarded: a row check may refuse it after the fact, so that it needs a savepoint.
        trial: makes the statement, of the same values, that returns a row if that check admits what this one would
            write.
    """

    text: str
    resource: str
    action: str
    outputs: tuple[Output, ...]
    slots: tuple[Slot, ...]
    readers: tuple[Reader, ...]
    binders: tuple[Binder, ...] | None
    guarded: bool = False
    claimed: bool = False
    repeatable: bool = False
    many: bool = False
    labels: tuple[str, ...] = ()
    trial: Callable[[], Statement] | None = None
    tally: Tally = field(default_factory=Tally)
    whole: tuple[bool, ...] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "whole", tuple(output in _WHOLE for output in self.outputs))

    def parameters(self, values: Sequence[Any], context: Context) -> Sequence[Any]:
        """The driver's parameters."""
        if self.binders is None:
            return values
        return [bind(values, context) for bind in self.binders]

    def position(self, output: Output) -> int:
        """The index of an output column."""
        return self.outputs.index(output)
