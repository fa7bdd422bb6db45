"""One declared world per database; a database joins by one more name in `support.databases`."""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from backstay import Backstay
from backstay.testing import client
from support.api import WHO, Api
from support.databases import DATABASES
from support.office import OFFICE, PEOPLE_BY_NAME, office
from support.samples import Sample
from support.versioned import READERS, VERSIONED, versioned
from support.world import world
from support.worlds import WORLD


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """One event loop for everything that lives longer than a test."""
    return "asyncio"


@pytest.fixture(scope="session", params=DATABASES)
def database(request: pytest.FixtureRequest) -> str:
    """The database's name."""
    return request.param


@asynccontextmanager
async def served(
    database: str, urls: dict[str, str], make: Callable[[str], Backstay], people: dict[str, dict[str, str]]
) -> AsyncIterator[Api]:
    """The app over one database; that of PostgreSQL has one over SQLite as its twin."""
    async with AsyncExitStack() as stack:
        http, *twin = [
            await stack.enter_async_context(client(make(urls[name])))
            for name in (database, *(name for name in urls if name != database))
        ]
        yield Api(http, twin[0] if twin else None, people)


def whole(url: str) -> Backstay:
    """The world with the table of every kind."""
    return world(url, sample=Sample)


def names_of(database: str) -> tuple[str, ...]:
    """The databases that a test of one of them needs."""
    return (database,) if database == "sqlite" else DATABASES


@pytest.fixture(scope="module")
async def api(database: str, tmp_path_factory: pytest.TempPathFactory, anyio_backend: str) -> AsyncIterator[Api]:
    """The app for tests that change nothing."""
    folder = tmp_path_factory.mktemp("read")
    async with served(
        database, {name: WORLD.shared(name, folder) for name in names_of(database)}, whole, WHO
    ) as opened:
        yield opened


@pytest.fixture
async def fresh(database: str, tmp_path: Path, anyio_backend: str) -> AsyncIterator[Api]:
    """The app for one test that writes."""
    async with served(
        database, {name: WORLD.own(name, tmp_path) for name in names_of(database)}, whole, WHO
    ) as opened:
        yield opened


@pytest.fixture(scope="module")
async def rooms(database: str, tmp_path_factory: pytest.TempPathFactory, anyio_backend: str) -> AsyncIterator[Api]:
    """The world of rules, for tests that change nothing."""
    folder = tmp_path_factory.mktemp("rooms")
    urls = {name: OFFICE.shared(name, folder) for name in names_of(database)}
    async with served(database, urls, office, PEOPLE_BY_NAME) as opened:
        yield opened


@pytest.fixture
async def desk(database: str, tmp_path: Path, anyio_backend: str) -> AsyncIterator[Api]:
    """The world of rules, for one test that writes."""
    urls = {name: OFFICE.own(name, tmp_path) for name in names_of(database)}
    async with served(database, urls, office, PEOPLE_BY_NAME) as opened:
        yield opened


@pytest.fixture(scope="module")
async def editions(database: str, tmp_path_factory: pytest.TempPathFactory, anyio_backend: str) -> AsyncIterator[Api]:
    """The world of three versions, for tests that change nothing; their paths begin with the version."""
    folder = tmp_path_factory.mktemp("versions")
    urls = {name: VERSIONED.shared(name, folder) for name in names_of(database)}
    async with served(database, urls, versioned, READERS) as opened:
        opened.base = "/api"
        yield opened


@pytest.fixture
async def edition(database: str, tmp_path: Path, anyio_backend: str) -> AsyncIterator[Api]:
    """The world of three versions, for one test that writes."""
    urls = {name: VERSIONED.own(name, tmp_path) for name in names_of(database)}
    async with served(database, urls, versioned, READERS) as opened:
        opened.base = "/api"
        yield opened
