"""Which migrations are not applied, as a serving process sees it: never a reason not to serve."""

import asyncio
from pathlib import Path

import apsw
import psycopg
import pytest

from backstay.config import Config
from backstay.db.opened import open_database
from backstay.db.pending import VERSION_TABLE, pending_files
from support.postgres import fresh_database

FILE = """'''{title}'''
revision = {revision!r}
down_revision = {follows!r}
"""
CREATE = f"CREATE TABLE {VERSION_TABLE} (version_num VARCHAR(32) NOT NULL)"


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database of each kind."""
    return f"sqlite:///{tmp_path}/own.db" if request.param == "sqlite" else fresh_database()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three files whose names are not in the order of their history."""
    folder = tmp_path / "migrations"
    folder.mkdir()
    for name, follows in (("b", None), ("a", "b"), ("c", "a")):
        (folder / f"{name}.py").write_text(FILE.format(title=name, revision=name, follows=follows))
    return folder


def run(url: str, *statements: str) -> None:
    """Run statements on either database."""
    if url.startswith("sqlite"):
        connection = apsw.Connection(url.removeprefix("sqlite:///"))
        for statement in statements:
            connection.execute(statement)
        connection.close()
        return
    with psycopg.connect(url, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement.encode())


def pending(folder: Path, url: str) -> list[str]:
    """What a process finds."""

    async def find() -> list[str]:
        dialect, database = open_database(Config(database_url=url), read_only=False)
        try:
            return await pending_files(folder, database, dialect)
        finally:
            await database.close()

    return asyncio.run(find())


def at(revision: str) -> str:
    """The statement that says where a database is."""
    return f"INSERT INTO {VERSION_TABLE} VALUES ('{revision}')"


def test_files_that_are_no_history_tell_nothing(folder: Path, url: str) -> None:
    """One that does not parse, one without names, one that follows nothing, a revision that no file has."""
    run(url, CREATE, at("c"))
    (folder / "broken.py").write_text("revision = (")
    (folder / "nameless.py").write_text("'''Notes.'''")
    (folder / "stray.py").write_text(FILE.format(title="stray", revision="s", follows="gone"))
    assert pending(folder, url) == []
    run(url, f"UPDATE {VERSION_TABLE} SET version_num = 'unknown'")
    assert pending(folder, url) == []
    assert pending(folder / "none", url) == []


def test_a_table_that_one_may_not_read_tells_nothing(folder: Path) -> None:
    """Whoever migrates may be another role than the server's."""
    url = fresh_database()
    run(url, CREATE, at("b"), "CREATE ROLE told_nothing LOGIN")
    limited = "postgresql://told_nothing@" + url.partition("@")[2]
    assert pending(folder, limited) == []


@pytest.mark.parametrize(("revision", "files"), [("b", ["a.py", "c.py"]), ("a", ["c.py"]), ("c", [])])
def test_what_follows_the_revision_is_pending(folder: Path, url: str, revision: str, files: list[str]) -> None:
    """In the order of the history, whatever the files are called."""
    run(url, CREATE, at(revision))
    assert pending(folder, url) == files


def test_a_database_without_a_revision_has_had_none(folder: Path, url: str) -> None:
    """Also where the table of revisions is empty."""
    assert pending(folder, url) == ["b.py", "a.py", "c.py"]
    run(url, CREATE)
    assert pending(folder, url) == ["b.py", "a.py", "c.py"]
