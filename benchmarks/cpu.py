"""CPU time of a process tree, read from /proc: of what runs, and of what has ended and was reaped.

A PostgreSQL server is such a tree: the postmaster and its backends, of which some end at any time. What a
process used is then found in the "children" times of the parent that waited for it, so the sum over the
tree never falls and loses nothing.
"""

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
TICK_S = 1 / os.sysconf("SC_CLK_TCK")
READS_MAX = 20


@dataclass(frozen=True, slots=True)
class Usage:
    """CPU seconds of one process itself, and of its children that ended; `ended_s` is None when it is gone."""

    own_s: float
    ended_s: float | None


GONE = Usage(0.0, None)


def tree(root: int, proc: Path = PROC) -> list[int]:
    """Return the process and all its descendants."""
    found = [root]
    for pid in found:
        for children in sorted((proc / str(pid) / "task").glob("*/children")):
            with contextlib.suppress(OSError):  # it ended after it was listed
                found.extend(int(child) for child in children.read_text().split())
    return found


def usage(pid: int, *, single: bool, proc: Path = PROC) -> Usage:
    """Return what a process used.

    Args:
        pid: its id.
        single: it never had more than one thread (PostgreSQL's have not): then schedstat holds its time in
            nanoseconds. Otherwise, and where the kernel has none, `stat` holds it in ticks of 10 ms, the threads
            that ended included.
        proc: where /proc is.
    """
    try:
        fields = (proc / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return GONE
    own_s, ended_s = ((int(fields[at]) + int(fields[at + 1])) * TICK_S for at in (11, 13))
    if single:
        with contextlib.suppress(OSError, IndexError):
            own_s = int((proc / str(pid) / "schedstat").read_text().split()[0]) / 1e9
    return Usage(own_s, ended_s)


def tree_cpu_s(root: int, *, single: bool = False, proc: Path = PROC) -> float:
    """Return user and system seconds used so far by the tree, ended processes included.

    Read until two looks in a row see the same processes and the same ended time: a process that ends during
    one look would be counted twice or not at all.
    """
    known: dict[int, float | None] = {}
    total_s = 0.0
    for _ in range(READS_MAX):
        seen = {pid: usage(pid, single=single, proc=proc) for pid in tree(root, proc)}
        total_s = sum(one.own_s + (one.ended_s or 0.0) for one in seen.values())
        ended = {pid: one.ended_s for pid, one in seen.items()}
        if ended == known and None not in ended.values():
            break
        known = ended
    return total_s
