"""`backstay serve`: one process in this one, several as children, or one that restarts when a file changes."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..config import Config
from ..errors import OperatorError
from ..observe import Observations
from .db import MIGRATIONS, apply_safe_migrations
from .target import Loaded, load_target

if TYPE_CHECKING:
    from ..app import Backstay

CHILD = "BACKSTAY_CHILD"
DRAIN_POLL_S = 0.02


def serve_target(target: str, *, workers: int | None = None, dev: bool = False, **settings: Any) -> None:
    """Serve until a signal arrives.

    Raises:
        OperatorError: a target, port or database that cannot be used.
    """
    config = Config.from_environment(workers=workers, dev=dev or None)
    child = os.environ.get(CHILD)
    if config.dev and not child:
        _supervise_dev(target)
    elif config.workers > 1 and not child:
        _supervise_workers(config.workers)
    else:
        loaded = load_target(target, database=settings.pop("database", None))
        app = loaded.app
        app.configure(workers=workers, dev=dev or None, **settings)
        if app.config.dev:
            _prepare_dev(loaded)
        run(app, shared_port=child == "worker", quiet=child == "worker")


def run(app: Backstay, *, shared_port: bool = False, quiet: bool = False) -> None:
    """Serve an app in this process."""
    _check_port(app.config, shared=shared_port)
    try:
        import uvloop
    except ImportError:
        asyncio.run(_serve(app, quiet=quiet))
    else:
        uvloop.run(_serve(app, quiet=quiet))


def _check_port(config: Config, *, shared: bool) -> None:
    """A taken port is one line that names it, before anything else starts."""
    with socket.socket(socket.AF_INET6 if ":" in config.host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        try:
            probe.bind((config.host, config.port))
        except OSError as error:
            where = f"{config.host}:{config.port}"
            raise OperatorError(f"Cannot listen on {where} ({error.strerror}): choose another --port.") from None


async def _serve(app: Backstay, *, quiet: bool) -> None:
    from granian.constants import Interfaces
    from granian.http import HTTP1Settings
    from granian.server.embed import Server

    logging.getLogger("_granian").setLevel(logging.ERROR)
    config = app.config
    runtime = app.start()
    # What was imported and built lives for ever: the collector need not look at it again.
    gc.collect()
    gc.freeze()
    server = Server(
        runtime.frame,
        address=config.host,
        port=config.port,
        interface=Interfaces.ASGINL,
        http1_settings=HTTP1Settings(header_read_timeout=10_000),
        backlog=1_024,
        websockets=True,
        log_enabled=False,
    )
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    serving = asyncio.ensure_future(server.serve())
    if not quiet:
        _announce(app)
    waiting = asyncio.ensure_future(stop.wait())
    await asyncio.wait({serving, waiting}, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    # Finish what is in flight while the listener still answers it, then close.
    runtime.health.draining = True
    deadline = time.monotonic() + config.shutdown_timeout_s
    await _drained(runtime.observations, deadline)
    server.stop()
    await serving
    await _drained(runtime.observations, deadline)
    await app.stop()


async def _drained(observations: Observations, deadline: float) -> None:
    """Return when nothing is in flight, or at the deadline; the hot path only counts, so this asks."""
    while observations.in_flight and time.monotonic() < deadline:  # noqa: ASYNC110
        await asyncio.sleep(DRAIN_POLL_S)


def _announce(app: Backstay) -> None:
    runtime = app.start()
    base = f"http://{app.config.host}:{app.config.port}"
    path = app.config.base_path
    names = list(runtime.engine.catalog.resources)
    lines = [f"{app.name} is at {base}", f"  reference  {base}/docs", "  try"]
    lines += [f"    curl '{base}{path}/{name}?limit=2'" for name in names[:3]]
    lines += [f"  note: {note}" for note in app.schema.notes]
    sys.stderr.write("\n".join(lines) + "\n")
    sys.stderr.flush()


def _prepare_dev(loaded: Loaded) -> None:
    """What development gives for free: a secret for this run, and the safe migrations."""
    app = loaded.app
    if not app.config.secret:
        app.configure(secret=secrets.token_urlsafe(32))
        sys.stderr.write("  no BACKSTAY_SECRET: made one for this run\n")
    if loaded.folder is not None:
        apply_safe_migrations(loaded)


def _supervise_workers(workers: int) -> None:
    """Run copies of this command that share the port; one that dies is started again."""
    stopping = False
    children: list[subprocess.Popen[bytes]] = []

    def start(kind: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen([sys.executable, "-m", "backstay", *sys.argv[1:]], env=os.environ | {CHILD: kind})

    def stop(*_: object) -> None:
        nonlocal stopping
        stopping = True
        for child in children:
            child.terminate()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    children += [start("first" if i == 0 else "worker") for i in range(workers)]
    started = time.monotonic()
    while not stopping:
        time.sleep(0.1)
        for i, child in enumerate(children):
            code = child.poll()
            if code is None or stopping:
                continue
            if time.monotonic() - started < 2:
                stop()
                raise SystemExit(code or 1)
            sys.stderr.write(f"a worker stopped with code {code}: starting another\n")
            children[i] = start("worker")
    for child in children:
        child.wait()


def _supervise_dev(target: str) -> None:
    """Run a copy of this command and start it again when a Python file changes."""
    from watchfiles import PythonFilter, watch

    where = Path(target).parent if target.endswith(".py") else Path.cwd()
    stopping = False

    def start() -> subprocess.Popen[bytes]:
        return subprocess.Popen([sys.executable, "-m", "backstay", *sys.argv[1:]], env=os.environ | {CHILD: "dev"})

    child = start()

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
            child = start()
    child.wait()
