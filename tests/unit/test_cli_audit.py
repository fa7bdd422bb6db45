"""`backstay audit`: what it refuses, proves, lists and drops; on both databases."""

import asyncio
import json
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from backstay import Backstay, Context, public, signed_in
from backstay.context import Principal, PrincipalKind
from backstay.events import changes
from support.asgi import quiet, sync_engine
from support.commands import Ran, ran
from support.databases import DATABASES, empty_database
from support.ledger import Account, Base

APP = """
import sys
from backstay import Backstay, signed_in, public
from support.commands import Ran, ran
from support.asgi import quiet
from support.ledger import Account, Entry
app = Backstay("ledger", config=quiet({url!r}))
app.resource(Account, name="people", read=public, write=signed_in)
app.resource(Entry, read=public, write=signed_in)
"""


Run = Callable[..., Ran]


@pytest.fixture(params=DATABASES)
def url(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A database with three changes, and a folder with an app over it."""
    made = empty_database(request.param, tmp_path, Base.metadata)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delenv("BACKSTAY_DATABASE_URL", raising=False)
    (tmp_path / "app.py").write_text(APP.format(url=made))
    asyncio.run(_write(made))
    return made


def app_of(url: str) -> Backstay:
    """The app in this process."""
    app = Backstay("ledger", config=quiet(url))
    app.resource(Account, read=public, write=signed_in)
    return app


async def _write(url: str) -> None:
    app = app_of(url)
    who = Context("r-1", Principal(PrincipalKind.USER, id="7"))
    async with app.transaction(who) as session:
        session.add_all([Account(id=1, name="ada"), Account(id=2, name="bob")])
    async with app.transaction(Context("r-2")) as session:
        found = await session.get(Account, 1)
        assert found is not None
        found.name = "Ada"
    await app.changes.seal()
    await app.stop()


@pytest.fixture
def run(url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Run]:
    """Runs `backstay audit`."""

    def run(*arguments: str) -> Ran:
        return ran(["audit", *arguments], monkeypatch, capsys)

    yield run
    sys.modules.pop("app", None)


def alter(url: str, statement: str) -> None:
    """What somebody with the database in their hands does."""
    engine = sync_engine(url)
    with engine.begin() as connection:
        connection.execute(sa.text(statement))
    engine.dispose()


def test_mistakes_are_one_line_that_names_the_mend(run: Run, url: str) -> None:
    """And nothing is dropped by them."""
    for arguments, said in (
        (("verify", "--position", "2"), "give --position and --hash together"),
        (("prune",), "--older-than 90d"),
        (("prune", "--before", "2026-01-01", "--older-than", "3d"), "Say what is old"),
        (("prune", "--before", "yesterday"), "'yesterday' is no date"),
        (("prune", "--older-than", "3 days"), "'3 days' is no age"),
        (("list", "--table", "acounts"), "Perhaps you meant 'accounts'."),
        (("list", "--key", "1"), "give --table too"),
    ):
        ran = run(*arguments)
        assert ran.code == 2, arguments
        assert ran.err.startswith("error: "), arguments
        assert said in ran.err, ran.err
        assert ran.err.count("\n") == 1, ran.err
    assert "whole: 3 entries" in run("verify").out


def test_what_was_changed_is_found(run: Run, url: str) -> None:
    """An entry that was rewritten, one that is gone, and a log that was made anew: the first position is named."""
    head = run("verify")
    assert head.code == 0
    first, second = head.out.splitlines()
    assert first == "whole: 3 entries"
    position, kept = second.split()[1::2]
    assert position == "3"
    assert run("verify", "--position", position, "--hash", kept).code == 0
    assert run("verify", "--position", position, "--hash", "0" * 64).out.startswith("broken at position 3:")
    assert run("verify", "--position", "9", "--hash", kept).out.startswith("broken at position 4:")
    alter(url, "UPDATE backstay_changes SET actor = 'user:8' WHERE position = 2")
    ran = run("verify")
    assert (ran.code, ran.out.count("\n")) == (1, 1)
    assert ran.out.startswith("broken at position 2:")
    alter(url, "DELETE FROM backstay_changes WHERE position = 2")
    ran = run("verify", "--json")
    assert (ran.code, json.loads(ran.out)["broken"]) == (1, 2)


def test_changes_are_listed(run: Run, url: str) -> None:
    """The newest first, by table or resource, key, actor and request."""
    lines = run("list").out.splitlines()
    assert [line.split()[0] for line in lines] == ["3", "2", "1"]
    assert lines[0].split("  ", 2)[2].startswith("update  accounts 1  -  r-2  ")
    assert "name" in lines[0].rpartition("  ")[2].split(", ")
    assert "user:7  r-1" in lines[1]

    def positions(*arguments: str) -> list[int]:
        return [json.loads(line)["position"] for line in run("list", "--json", *arguments).out.splitlines()]

    assert positions("--table", "people") == positions("--table", "accounts") == [3, 2, 1]
    assert positions("--table", "people", "--key", "1") == [3, 1]
    assert positions("--table", "entries") == []
    assert positions("--actor", "user:7") == [2, 1]
    assert positions("--request-id", "r-2", "--limit", "1") == [3]
    assert run("list", "--table", "people", "--key", "1,2").out == ""


def test_what_is_old_is_dropped(run: Run, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rest is proven by the hash of the last one; a position from before cannot be proven any more."""
    monkeypatch.setattr(changes, "PRUNED_MAX", 1)
    head = run("verify").out.split()
    assert run("prune", "--older-than", "1d").out.startswith("dropped 0 entries")
    tomorrow = (datetime.now(UTC) + timedelta(days=1)).date().isoformat()
    assert run("prune", "--before", tomorrow).out == f"dropped 3 entries from before {tomorrow} 00:00:00Z\n"
    assert run("prune", "--before", tomorrow).out.startswith("dropped 0 entries")
    asyncio.run(_write_more(url))
    assert run("verify", "--position", "3", "--hash", head[-1]).code == 0
    assert "Position 2 was pruned" in run("verify", "--position", "2", "--hash", "0" * 64).err
    assert [line.split()[0] for line in run("list").out.splitlines()] == ["4"]


async def _write_more(url: str) -> None:
    app = app_of(url)
    async with app.transaction() as session:
        session.add(Account(id=3, name="cyd"))
    await app.stop()
