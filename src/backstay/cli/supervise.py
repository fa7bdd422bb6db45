"""Keeps copies of this command running: several that share a port, or one that restarts when a file changes.

A copy ends with whoever started it, however that ended: it holds the end of a pipe that nobody writes to, and whose
other end closes with the process that has it.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from .db import MIGRATIONS

#: What a copy is told that it is, and the number of its end of the pipe.
CHILD, PARENT = "BACKSTAY_CHILD", "BACKSTAY_PARENT"
FIRST, WORKER, DEV = "first", "worker", "dev"
#: A worker that stops so soon after the first start has a fault that starting it again does not mend.
STARTUP_S = 2.0
OPERATOR_ERROR = 2


class Copies:
    """Starts copies of this command that end when this process does."""

    def __init__(self) -> None:
        # The writing end stays open as long as this process lives; no copy inherits it.
        self._reads, self._writes = os.pipe()

    def start(self, kind: str) -> subprocess.Popen[bytes]:
        """One more."""
        return subprocess.Popen(
            [sys.executable, "-m", "backstay", *sys.argv[1:]],
            env=os.environ | {CHILD: kind, PARENT: str(self._reads)},
            pass_fds=[self._reads],
        )


def stop_with_parent(stop: Callable[[], object]) -> None:
    """Call `stop` in this event loop when the process that started this copy is gone; nothing for who is no copy."""
    number = os.environ.pop(PARENT, "")  # what this process starts is no copy
    if not number.isdigit():
        return
    loop, pipe = asyncio.get_running_loop(), int(number)

    def gone() -> None:
        loop.remove_reader(pipe)
        stop()

    os.set_inheritable(pipe, False)
    loop.add_reader(pipe, gone)


def supervise_workers(workers: int) -> None:
    """Run copies of this command that share the port; one that dies is started again."""
    stopping = False
    failure = 0
    children: list[subprocess.Popen[bytes]] = []
    start = Copies().start

    def stop(*_: object) -> None:
        nonlocal stopping
        stopping = True
        for child in children:
            child.terminate()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    children += [start(FIRST if i == 0 else WORKER) for i in range(workers)]
    started = time.monotonic()
    while not stopping:
        time.sleep(0.1)
        for i, child in enumerate(children):
            code = child.poll()
            if code is None or stopping:
                continue
            if code == OPERATOR_ERROR or time.monotonic() - started < STARTUP_S:
                failure = code or 1
                stop()
            else:
                sys.stderr.write(f"a worker stopped with code {code}: starting another\n")
                children[i] = start(WORKER)
    for child in children:
        child.terminate()  # a signal may have come before all of them were there
        child.wait()
    if failure:
        raise SystemExit(failure)


def supervise_dev(target: str) -> None:
    """Run a copy of this command and start it again when a Python file changes."""
    from watchfiles import PythonFilter, watch

    where = Path(target).parent if target.endswith(".py") else Path.cwd()
    stopping = False
    copies = Copies()
    child = copies.start(DEV)

    def stop(*_: object) -> None:
        nonlocal stopping
        stopping = True
        child.terminate()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    # The child writes migrations itself; those must not restart it.
    watched = PythonFilter(ignore_paths=[str(where.resolve() / MIGRATIONS)])
    for changes in watch(where, watch_filter=watched, rust_timeout=200, yield_on_timeout=True):
        if stopping:
            break
        if changes:
            names = ", ".join(sorted({Path(path).name for _, path in changes}))
            sys.stderr.write(f"{names} changed: restarting\n")
            child.terminate()
            child.wait()
            child = copies.start(DEV)
    child.terminate()  # a signal may have come while it was restarted
    child.wait()
