"""A progress bar on a terminal, and silence elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
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


@contextmanager
def counted(total: int, description: str) -> Generator[Callable[[int], object]]:
    """What is told how many of `total` are done."""
    if not sys.stderr.isatty():
        yield lambda done: None
        return
    from rich.console import Console
    from rich.progress import MofNCompleteColumn, Progress

    with Progress(*Progress.get_default_columns(), MofNCompleteColumn(), console=Console(stderr=True)) as shown:
        task = shown.add_task(description, total=total)
        yield lambda done: shown.update(task, completed=done)
