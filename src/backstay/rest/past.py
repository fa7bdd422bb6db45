"""`as_of`: that the change log goes back as far as a read of the past asks."""

from __future__ import annotations

from collections.abc import Awaitable

import orjson

from ..context import Context
from ..engine import Engine, Rows
from ..errors import Problem
from ..query import values
from ..query.history import INSTANT


async def remembered(engine: Engine, found: Rows | Awaitable[Rows], as_of: str, context: Context) -> Rows:
    """The rows of a read of the past, unless what it would have needed was dropped from the log.

    It is looked after the read: what is pruned between the two is missed then.

    Raises:
        Problem: `HISTORY_PRUNED`, with the instant from which on the past is known.
    """
    rows = found if isinstance(found, list) else await found
    start = engine.read(engine.log_start, [], context)
    pruned = start if isinstance(start, list) else await start
    if pruned:
        (known,) = orjson.loads(pruned[0][0])
        if values.parse(INSTANT, as_of) < values.parse(INSTANT, known):
            raise Problem("HISTORY_PRUNED", f"What changed before {known} is not kept.")
    return rows
