"""The two blocks of servers that are compared with each other: on SQLite files, and on one PostgreSQL server."""

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benchmarks import target
from benchmarks.data import DDL, Stamp, create_database, iso_stamp, orm_stamp
from benchmarks.database import SQLiteFile
from benchmarks.fastify import fastify
from benchmarks.pocketbase import pocketbase
from benchmarks.postgres import Cluster
from benchmarks.process import ServerError
from benchmarks.target import Target

Say = Callable[[str], None]
Make = Callable[[], Target]

MAIN = ("backstay", "bare")
SQLITE_PEERS = ("fastapi", "litestar", "django", "pocketbase", "pocketbase-nolog")
POSTGRES_PEERS = ("fastapi", "litestar", "django", "fastify", "fastify-pipelined")


@dataclass(frozen=True, slots=True)
class Block:
    """Servers ready to be started, and what their common database server uses beside them."""

    targets: list[Target]
    database_cpu_s: Callable[[], float] | None = None  # None: the database runs inside each server


def names(*, postgres: bool) -> tuple[str, ...]:
    """Return the servers of a block."""
    return (*MAIN, *(POSTGRES_PEERS if postgres else SQLITE_PEERS))


def known(*, postgres: bool) -> tuple[str, ...]:
    """Return all that can be asked for by name in a block."""
    return tuple(dict.fromkeys([*names(postgres=postgres), *target.BACKSTAYS]))


def opened(
    asked: Sequence[str], directory: Path, say: Say, *, postgres: bool, cpus: set[int] | None
) -> AbstractContextManager[Block]:
    """Empty the directory and make the data of each server anew; `cpus` are for PostgreSQL."""
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    return _postgres(asked, directory, say, cpus) if postgres else _sqlite(asked, directory, say)


@contextmanager
def _sqlite(asked: Sequence[str], directory: Path, say: Say) -> Iterator[Block]:
    files = Templates(directory)
    makers: dict[str, Make] = {
        **{name: partial(_on_file, files, name) for name in target.BACKSTAYS},
        "bare": lambda: target.bare(files.copy("iso", "bare", ddl=DDL, stamp=iso_stamp)),
        "fastapi": lambda: target.fastapi(files.copy("orm", "fastapi", ddl=DDL, stamp=orm_stamp)),
        "litestar": lambda: target.litestar(files.copy("orm", "litestar", ddl=DDL, stamp=orm_stamp)),
        "django": lambda: target.django(files.copy("orm", "django", ddl=DDL, stamp=orm_stamp)),
        "pocketbase": lambda: pocketbase(directory, name="pocketbase", request_log=True),
        "pocketbase-nolog": lambda: pocketbase(directory, name="pocketbase-nolog", request_log=False),
    }
    yield Block(_made(asked, makers, say))


@contextmanager
def _postgres(asked: Sequence[str], directory: Path, say: Say, cpus: set[int] | None) -> Iterator[Block]:
    say("data for PostgreSQL")
    node = directory / "node"
    with Cluster(directory / "postgres", cpus) as cluster:
        makers: dict[str, Make] = {
            **{name: partial(_on_cluster, cluster, name) for name in target.BACKSTAYS},
            "bare": lambda: target.bare(cluster.copy("bare"), module="bare_postgres_app", driver="asyncpg"),
            "fastapi": lambda: target.fastapi(cluster.copy("fastapi")),
            "litestar": lambda: target.litestar(cluster.copy("litestar")),
            "django": lambda: target.django(cluster.copy("django")),
            "fastify": lambda: fastify(cluster.copy("fastify"), node),
            "fastify-pipelined": lambda: fastify(cluster.copy("fastify-pipelined"), node, pipelined=True),
        }
        yield Block(_made(asked, makers, say), cluster.cpu_s)


def _on_file(files: "Templates", name: str) -> Target:
    return target.backstay(files.copy_of_models(name), name)


def _on_cluster(cluster: Cluster, name: str) -> Target:
    return target.backstay(cluster.copy(name.replace("-", "_")), name)


def _made(asked: Sequence[str], makers: dict[str, Make], say: Say) -> list[Target]:
    made: list[Target] = []
    for name in asked:
        say(f"data for {name}")
        made.append(makers[name]())
    return made


class Templates:
    """SQLite files made once and copied for each server."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def copy(self, flavour: str, name: str, *, ddl: str, stamp: Stamp) -> SQLiteFile:
        """Return a fresh copy for the server `name`."""
        template = self._directory / f"template-{flavour}.sqlite"
        if not template.exists():
            create_database(template, ddl=ddl, stamp=stamp)
        copied = self._directory / f"{name}.sqlite"
        shutil.copyfile(template, copied)
        return SQLiteFile(copied)

    def copy_of_models(self, name: str) -> SQLiteFile:
        """Return a file with the tables that Backstay's own models declare."""
        ddl, stamp = backstay_schema()
        return self.copy(name, name, ddl=ddl, stamp=stamp)


def backstay_schema() -> tuple[str, Stamp]:
    """Return the tables Backstay's models declare, and how their timestamp columns store a moment.

    Imported here, late: Backstay's app need not be importable to measure the others.
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
