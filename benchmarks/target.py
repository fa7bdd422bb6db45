"""What the runner knows of a server: how to start it, what to send, how to read its answers."""

import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.data import DDL, Stamp, create_database, iso_stamp, orm_stamp
from benchmarks.process import ServerError
from benchmarks.workload import SECRET, Case, Request, rest_requests

PYTHON = sys.executable
BIN = Path(sys.executable).parent
BACKSTAY_APP = "benchmarks/apps/backstay_app.py"


@dataclass(frozen=True, slots=True)
class Target:
    """One server, ready to be started on its own copy of the data."""

    name: str
    title: str
    database: Path
    command: Callable[[int], Sequence[str]]
    requests: Mapping[Case, list[Request]]
    env: Mapping[str, str] = field(default_factory=dict)
    pocketbase: bool = False  # its JSON uses PocketBase's own names instead of data and meta


class Templates:
    """Database files made once and copied for each server."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def copy(self, flavour: str, name: str, *, ddl: str, stamp: Stamp) -> Path:
        """Return a fresh copy for the server `name`."""
        template = self._directory / f"template-{flavour}.sqlite"
        if not template.exists():
            create_database(template, ddl=ddl, stamp=stamp)
        copied = self._directory / f"{name}.sqlite"
        shutil.copyfile(template, copied)
        return copied


def bare(templates: Templates) -> Target:
    """Return the ceiling."""
    database = templates.copy("iso", "bare", ddl=DDL, stamp=iso_stamp)
    return Target(
        name="bare",
        title="bare ASGI + apsw (the ceiling)",
        database=database,
        command=lambda port: [PYTHON, "-m", "benchmarks.apps.bare_app", str(port)],
        requests=rest_requests(),
        env=_peer_env(database),
    )


def backstay(templates: Templates) -> Target:
    """Return Backstay, on a database made from its own models."""
    ddl, stamp = backstay_schema()
    database = templates.copy("backstay", "backstay", ddl=ddl, stamp=stamp)
    return Target(
        name="backstay",
        title="Backstay",
        database=database,
        command=lambda port: [str(BIN / "backstay"), "serve", BACKSTAY_APP, "--port", str(port)],
        requests=rest_requests("&count=false&include=player&fields[player]=id,username"),
        env={"BACKSTAY_DATABASE_URL": f"sqlite:///{database}", "BACKSTAY_SECRET": SECRET},
    )


def backstay_schema() -> tuple[str, Stamp]:
    """Return the tables Backstay's models declare, and how their timestamp columns store a moment.

    Imported here, late: Backstay need not be importable to measure the others.
    """
    try:
        from sqlalchemy import create_mock_engine
        from sqlalchemy.dialects.sqlite import dialect as sqlite_dialect

        from benchmarks.apps.backstay_app import Game
    except ImportError as error:
        raise ServerError(f"backstay cannot be imported: {error}") from error
    dialect = sqlite_dialect()
    statements: list[str] = []
    engine = create_mock_engine(
        "sqlite://", lambda ddl, *_, **__: statements.append(str(ddl.compile(dialect=dialect)))
    )
    Game.metadata.create_all(engine, checkfirst=False)
    store = Game.__table__.c.created_at.type.dialect_impl(dialect).bind_processor(dialect)
    return ";\n".join(statements), store or (lambda moment: moment)


def fastapi(templates: Templates) -> Target:
    """Return FastAPI + SQLAlchemy."""
    return _uvicorn_target(templates, "fastapi", "FastAPI + SQLAlchemy + Pydantic")


def litestar(templates: Templates) -> Target:
    """Return Litestar + advanced-alchemy."""
    return _uvicorn_target(templates, "litestar", "Litestar + advanced-alchemy")


def _uvicorn_target(templates: Templates, name: str, title: str) -> Target:
    database = templates.copy("orm", name, ddl=DDL, stamp=orm_stamp)
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
        env=_peer_env(database),
    )


def django(templates: Templates) -> Target:
    """Return Django REST Framework under gunicorn's threads."""
    database = templates.copy("orm", "django", ddl=DDL, stamp=orm_stamp)
    return Target(
        name="django",
        title="Django REST Framework",
        database=database,
        command=lambda port: [
            *(PYTHON, "-m", "gunicorn", "benchmarks.apps.django_app:application", "-b", f"127.0.0.1:{port}"),
            *("--worker-class", "gthread", "--workers", "1", "--threads", "4", "--log-level", "warning"),
        ],
        requests=rest_requests(),
        env=_peer_env(database),
    )


def _peer_env(database: Path) -> dict[str, str]:
    return {"BENCH_DATABASE": str(database), "BENCH_SECRET": SECRET}
