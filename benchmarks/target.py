"""What the runner knows of a server: how to start it, what to send, how to read its answers."""

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from benchmarks.database import Database
from benchmarks.workload import SECRET, Case, Request, rest_requests

PYTHON = sys.executable
BIN = Path(sys.executable).parent
BACKSTAY_APP = "benchmarks/apps/backstay_app.py"
UNRECORDED_APP = "benchmarks/apps/unrecorded_app.py"
UNRECORDED, KEYED = "backstay-unrecorded", "backstay-keyed"
BACKSTAYS = {
    "backstay": "Backstay",
    UNRECORDED: "Backstay without a change log",
    KEYED: "Backstay with Idempotency-Keys",
}


@dataclass(frozen=True, slots=True)
class Target:
    """One server, ready to be started on its own copy of the data."""

    name: str
    title: str
    database: Database
    command: Callable[[int], Sequence[str]]
    requests: Mapping[Case, list[Request]]
    env: Mapping[str, str] = field(default_factory=dict)
    pocketbase: bool = False  # its JSON uses PocketBase's own names instead of data and meta


def backstay(database: Database, name: str = "backstay") -> Target:
    """Return Backstay, on a database made as its own models declare.

    Args:
        database: the one to serve.
        name: one of `BACKSTAYS`, which differ in what a create writes beside its row.
    """
    app = UNRECORDED_APP if name == UNRECORDED else BACKSTAY_APP
    requests = rest_requests("&count=false&include=player&fields[player]=id,username")
    if name == KEYED:
        requests["C"] = [replace(request, keyed=True) for request in requests["C"]]
    return Target(
        name=name,
        title=BACKSTAYS[name],
        database=database,
        command=lambda port: [str(BIN / "backstay"), "serve", app, "--port", str(port)],
        requests=requests,
        # Counted like in production, and never reached.
        env={
            "BACKSTAY_DATABASE_URL": database.url,
            "BACKSTAY_SECRET": SECRET,
            "BACKSTAY_RATE_LIMIT": "1000000000/minute",
        },
    )


def bare(database: Database, *, module: str = "bare_app", driver: str = "apsw") -> Target:
    """Return the ceiling: one hand-written program per database engine."""
    return Target(
        name="bare",
        title=f"bare ASGI + {driver} (the ceiling)",
        database=database,
        command=lambda port: [PYTHON, "-m", f"benchmarks.apps.{module}", str(port)],
        requests=rest_requests(),
        env=peer_env(database),
    )


def fastapi(database: Database) -> Target:
    """Return FastAPI + SQLAlchemy."""
    return _uvicorn_target(database, "fastapi", "FastAPI + SQLAlchemy + Pydantic")


def litestar(database: Database) -> Target:
    """Return Litestar + advanced-alchemy."""
    return _uvicorn_target(database, "litestar", "Litestar + advanced-alchemy")


def _uvicorn_target(database: Database, name: str, title: str) -> Target:
    options = ["--loop", "uvloop", "--http", "httptools", "--no-access-log", "--log-level", "warning"]
    return Target(
        name=name,
        title=title,
        database=database,
        command=lambda port: [
            *(PYTHON, "-m", "uvicorn", f"benchmarks.apps.{name}_app:app", "--port", str(port)),
            *options,
        ],
        requests=rest_requests(),
        env=peer_env(database),
    )


def django(database: Database) -> Target:
    """Return Django REST Framework under gunicorn's threads."""
    return Target(
        name="django",
        title="Django REST Framework",
        database=database,
        command=lambda port: [
            *(PYTHON, "-m", "gunicorn", "benchmarks.apps.django_app:application", "-b", f"127.0.0.1:{port}"),
            *("--worker-class", "gthread", "--workers", "1", "--threads", "4", "--log-level", "warning"),
        ],
        requests=rest_requests(),
        env=peer_env(database),
    )


def peer_env(database: Database) -> dict[str, str]:
    """Return what every peer's program reads."""
    return {"BENCH_DATABASE": database.url, "BENCH_SECRET": SECRET}
