"""One declared world per database; a database joins by one more name here."""

import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from backstay.testing import client
from support import seed
from support.api import Api
from support.asgi import sync_engine
from support.samples import ROWS, Sample
from support.world import sqlite_url, world

DATABASES = ("sqlite",)


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """One event loop for everything that lives longer than a test."""
    return "asyncio"


@pytest.fixture(scope="session", params=DATABASES)
def database(request: pytest.FixtureRequest) -> str:
    """The database's name."""
    return request.param


@pytest.fixture(scope="session")
def filled(database: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with the seed's rows that nobody opens; copies of it are served."""
    assert database == "sqlite"
    path = tmp_path_factory.mktemp("filled") / "world.db"
    engine = sync_engine(path)
    seed.fill(engine, [(Sample.__table__, ROWS)])
    engine.dispose()
    return path


@pytest.fixture
def copy(filled: Path, tmp_path: Path) -> Path:
    """A database of the test's own."""
    path = tmp_path / "world.db"
    shutil.copy(filled, path)
    return path


@pytest.fixture(scope="module")
async def api(filled: Path, tmp_path_factory: pytest.TempPathFactory, anyio_backend: str) -> AsyncIterator[Api]:
    """The app for tests that change nothing."""
    path = tmp_path_factory.mktemp("read") / "world.db"
    shutil.copy(filled, path)
    async with client(world(sqlite_url(path), sample=Sample)) as http:
        yield Api(http)


@pytest.fixture
async def fresh(copy: Path, anyio_backend: str) -> AsyncIterator[Api]:
    """The app for one test that writes."""
    async with client(world(sqlite_url(copy), sample=Sample)) as http:
        yield Api(http)
