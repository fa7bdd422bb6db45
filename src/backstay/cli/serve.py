"""`backstay serve`: one process in this one; `supervise` has several, and the one that restarts."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..config import Config
from ..db.opened import check_tables
from ..db.pending import pending_files
from ..errors import OperatorError
from ..observe import Observations
from .db import MIGRATIONS, apply_safe_migrations
from .secret import FILE, kept_secret, make_secret
from .supervise import CHILD, FIRST, WORKER, stop_with_parent, supervise_dev, supervise_workers
from .target import Loaded, load_target

if TYPE_CHECKING:
    from ..app import Backstay
    from ..auth.accounts import Accounts
    from ..services.mail import Mail

#: Requests leave no cycles behind, so looking for them every 700 allocations finds nothing.
GC_ALLOCATIONS = 50_000
DRAIN_POLL_S = 0.02
#: How long the headers of a request may take, and a connection may rest between two.
HEADERS_MS = 10_000
#: The headers of one request.
HEADER_BYTES_MAX = 65_536
#: Requests at once on one HTTP/2 connection.
STREAMS_MAX = 128


def serve_target(target: str, *, workers: int | None = None, dev: bool = False, **settings: Any) -> None:
    """Serve until a signal arrives.

    Raises:
        OperatorError: a target, port or database that cannot be used.
    """
    child = os.environ.get(CHILD)
    if Config.from_environment(dev=dev or None).dev and not child:
        supervise_dev(target)
        return
    loaded = load_target(target, database=settings.pop("database", None))
    app = loaded.app
    app.configure(workers=workers, dev=dev or None, **settings)
    if app.config.workers > 1 and not child:
        # Here and not in the workers, which share the port: they would share another server's too.
        _check_port(app.config, shared=False)
        supervise_workers(app.config.workers)
        return
    if app.config.dev:
        _prepare_dev(loaded)
    folder = None if loaded.folder is None or app.config.dev else loaded.folder / MIGRATIONS
    run(app, shared_port=child in (FIRST, WORKER), quiet=child == WORKER, migrations=folder)


def run(app: Backstay, *, shared_port: bool = False, quiet: bool = False, migrations: Path | None = None) -> None:
    """Serve an app in this process.

    Args:
        shared_port: whether other processes listen on it too.
        quiet: whether another process says where it is.
        migrations: the folder of files that the database should have had.
    """
    _check_port(app.config, shared=shared_port)
    try:
        import uvloop
    except ImportError:
        asyncio.run(_serve(app, quiet=quiet, migrations=migrations))
    else:
        uvloop.run(_serve(app, quiet=quiet, migrations=migrations))


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


async def _serve(app: Backstay, *, quiet: bool, migrations: Path | None) -> None:
    from granian.constants import HTTPModes, Interfaces
    from granian.http import HTTP1Settings, HTTP2Settings
    from granian.server.embed import Server

    logging.getLogger("_granian").setLevel(logging.ERROR)
    config = app.config
    runtime = app.start()
    if not app.existing:
        tables = [resource.table.sql for resource in runtime.engine.catalog.resources.values()]
        tables += runtime.accounts.tables.all() if runtime.accounts is not None else []
        await check_tables(runtime.database, runtime.dialect, tables)
    if runtime.accounts is not None:
        await runtime.accounts.keys.load_once()  # made with another secret, they are better found now
    runtime.work()
    # What was imported and built lives for ever: the collector need not look at it again.
    gc.collect()
    gc.freeze()
    gc.set_threshold(GC_ALLOCATIONS, 20, 20)
    server = Server(
        runtime.frame,
        address=config.host,
        port=config.port,
        interface=Interfaces.ASGINL,
        # Where it may be either, a connection is given all the time in the world to say which it speaks.
        http=HTTPModes.auto if config.http2 else HTTPModes.http1,
        http1_settings=HTTP1Settings(header_read_timeout=HEADERS_MS, max_buffer_size=HEADER_BYTES_MAX),
        http2_settings=HTTP2Settings(
            max_headers_size=HEADER_BYTES_MAX, max_concurrent_streams=STREAMS_MAX, keep_alive_interval=HEADERS_MS
        ),
        backlog=1_024,
        websockets=True,
        log_enabled=False,
    )
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    stop_with_parent(stop.set)
    serving = asyncio.ensure_future(server.serve())
    if not quiet:
        _announce(app)
        _warn_of_mail(runtime.accounts)
        if migrations is not None:
            _warn_of_migrations(await pending_files(migrations, runtime.database, runtime.dialect))
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


def _warn_of_mail(accounts: Accounts | None) -> None:
    if accounts is not None and accounts.post.mailer is None and accounts.options.verify_email:
        hint = "declare @app.mailer, or AccountOptions(verify_email=False)"
        sys.stderr.write(f"  warning: nobody can register, because no mail can be sent: {hint}\n")


def _warn_of_migrations(pending: Sequence[str]) -> None:
    if pending:
        names = pending[0] + (f" and {len(pending) - 1} more" if len(pending) > 1 else "")
        sys.stderr.write(f"  warning: migrations/{names} not applied: run `backstay db migrate`\n")
        sys.stderr.flush()


async def _print_mail(mail: Mail) -> None:
    sys.stderr.write(f"  mail to {mail.to}: {mail.subject}\n    " + mail.text.strip().replace("\n", "\n    ") + "\n")
    sys.stderr.flush()


def _prepare_dev(loaded: Loaded) -> None:
    """What development gives for free: a secret, mail on the terminal, and the safe migrations."""
    app = loaded.app
    if not app.config.secret:
        secret = kept_secret()
        if not secret:
            secret = make_secret()
            sys.stderr.write(f"  no BACKSTAY_SECRET: made one in {FILE}; `backstay token NAME` signs with it\n")
        app.configure(secret=secret)
    if app.mail_sender is None:
        app.mailer(_print_mail)
    if loaded.folder is not None:
        apply_safe_migrations(loaded)
