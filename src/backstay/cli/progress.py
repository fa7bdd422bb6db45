"""A progress bar on a terminal, and silence elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from typing import Any


def progress_bars(*, quiet: bool = False) -> Any:
    """The `progress` that a seeder gets; see `db.seed.Progress`."""
    if quiet or not sys.stderr.isatty():
        return _silent
    return _shown


def _silent(items: int | Iterable[Any], description: str = "") -> Iterator[Any]:
    return iter(range(items) if isinstance(items, int) else items)


def _shown(items: int | Iterable[Any], description: str = "") -> Iterator[Any]:
    # Rich takes as long to import as a small command to run.
    from rich.console import Console
    from rich.progress import track

    sequence = range(items) if isinstance(items, int) else items
    yield from track(sequence, description or "Working", console=Console(stderr=True))
