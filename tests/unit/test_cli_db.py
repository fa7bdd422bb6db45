"""`backstay db`: what it prints, its exit codes, and that it never asks a machine."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from backstay.cli.progress import progress_bars
from support.commands import Ran, ran

APP = """
import sqlalchemy as sa
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from backstay import Backstay, ModelBase, public

class Base(ModelBase, DeclarativeBase):
    pass

class Game(Base):
    name: Mapped[str]
    # more

app = Backstay("arcade")
app.resource(Game, read=public)

@app.seeder
def games(session, progress):
    session.add_all(Game(name=f"game {i}") for i in progress(range(3), "games"))
    # fail
"""


Run = Callable[..., Ran]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with an app; what a test imports is forgotten after it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delenv("BACKSTAY_DATABASE_URL", raising=False)
    (tmp_path / "app.py").write_text(APP)
    yield tmp_path
    sys.modules.pop("app", None)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs `backstay db` in this process."""

    def run(*arguments: str, typed: Any = "") -> Ran:
        return ran(["db", *arguments], monkeypatch, capsys, typed)

    return run


def edit(here: Path, mark: str, line: str) -> None:
    """Put a line into the app where its comment is."""
    path = here / "app.py"
    path.write_text(path.read_text().replace(f"# {mark}", line))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["migrate"], "error: There are no migrations yet: write the first with `backstay db new initial`."),
        (["rollback"], "error: No migration is applied: there is nothing to roll back."),
        (["seed"], "error: The seeder games failed (no such table: games): run `backstay db migrate` first."),
        (["status", "nowhere.py"], "error: There is no file nowhere.py."),
        (["status", "sqlite:///app.py"], "error: "),
        (["reset", "--yes"], "error: There are no migrations yet"),
    ],
)
def test_a_mistake_is_one_line_and_code_two(run: Run, arguments: list[str], message: str) -> None:
    """Nothing on standard output, no traceback."""
    ran = run(*arguments)
    assert (ran.code, ran.out, ran.err.count("\n")) == (2, "", 1)
    assert ran.err.startswith(message)


def test_an_existing_database_has_no_migrations(run: Run, here: Path) -> None:
    """There are no models to migrate by."""
    run("new", "initial")
    run("migrate")
    ran = run("status", "sqlite:///backstay.db")
    assert (ran.code, ran.err) == (
        *(2, "error: An existing database has no models to migrate by: name an app of declared models.\n"),
    )


def test_a_project_from_nothing(run: Run, here: Path) -> None:
    """Status says what to do next at each step, and its code whether there is something to do."""
    ran = run("status")
    assert ran.code == 1
    assert "missing  create table games" in ran.out
    assert "backstay db new NAME" in ran.out
    ran = run("new", "initial")
    assert ran.code == 0
    assert ran.out.startswith("wrote migrations/")
    ran = run("status")
    assert ran.code == 1
    assert "pending" in ran.out
    assert "backstay db migrate" in ran.out
    ran = run("migrate")
    assert ran.code == 0
    assert ran.out.startswith("applied ")
    assert run("migrate").out.startswith("Nothing to apply: the database is at ")
    assert run("status").code == 0
    assert run("seed").out == "ran games\n"
    assert "took back" in run("rollback", "--allow-destructive").out


def test_a_machine_reads_json(run: Run, here: Path) -> None:
    """Standard output is one JSON document, whatever happens."""
    assert run("status", "--json").json == {
        "current": None,
        "head": None,
        "pending": [],
        "changed": [{"text": "create table games", "risk": "safe", "why": ""}],
    }
    written = run("new", "initial", "--json").json
    revision = written["revision"]
    assert Path(written["file"]).is_file()
    assert run("status", "--json").json["pending"][0]["revision"] == revision
    assert run("migrate", "--json").json == {"applied": [revision], "current": revision, "adopted": False}
    assert run("seed", "--json").json == {"seeded": ["games"]}
    assert run("reset", "--json", "--yes").json == {"applied": [revision], "current": revision, "seeded": ["games"]}
    assert run("rollback", "--json", "--allow-destructive").json == {"rolled_back": [revision], "current": None}


def test_what_is_risky_is_said(run: Run, here: Path) -> None:
    """On the terminal and in the file; applying it needs a word."""
    run("new", "initial")
    run("migrate")
    run("seed")
    edit(here, "more", "rating: Mapped[int]")
    ran = run("new", "add rating")
    assert "add column games.rating NOT NULL  ATTENTION: it fails if there are rows" in ran.out
    ran = run("migrate")
    assert ran.code == 2
    assert "NOT NULL" in ran.err
    assert "Nothing was changed." in ran.err


def test_reset_does_not_drop_rows_that_nobody_gave_up(run: Run, here: Path) -> None:
    """Without a terminal to ask on it refuses; an empty database needs no word."""
    run("new", "initial")
    assert run("reset").out == "dropped everything, applied 1 migrations, ran 1 seeders\n"
    ran = run("reset")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err == "error: backstay.db has 3 rows in 1 tables: add --yes to drop them.\n"
    assert run("reset", "--json").code == 2
    assert run("reset", "--yes").code == 0


@pytest.mark.parametrize(("answer", "code"), [("n\n", 1), ("y\n", 0)])
def test_reset_asks_on_a_terminal(run: Run, answer: str, code: int) -> None:
    """And does nothing when the answer is no."""
    run("new", "initial")
    run("reset")
    assert run("reset", typed=Terminal(answer)).code == code


class Terminal:
    """Standard input at which somebody sits."""

    def __init__(self, answer: str) -> None:
        self._answer = answer

    def isatty(self) -> bool:
        """Yes."""
        return True

    def readline(self, size: int = -1) -> str:
        """What they type."""
        return self._answer


def test_a_failing_seeder_leaves_nothing(run: Run, here: Path) -> None:
    """Its transaction rolls back."""
    run("new", "initial")
    run("migrate")
    edit(here, "fail", "session.flush(); session.execute(sa.text('INSERT INTO nowhere VALUES (1)'))")
    ran = run("seed")
    assert (ran.code, ran.err.count("\n")) == (2, 1)
    assert "add --yes" not in run("reset").err


def test_progress_is_silent_without_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """It counts, or goes through what it is given."""
    progress = progress_bars()
    assert list(progress(3, "counting")) == [0, 1, 2]
    assert list(progress("ab")) == ["a", "b"]
    assert capsys.readouterr() == ("", "")


def test_progress_shows_on_a_terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """On standard error, so that standard output stays clean; not when a machine reads."""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert list(progress_bars(quiet=True)(2, "hidden")) == [0, 1]
    assert list(progress_bars()(2, "shown")) == [0, 1]
    out, err = capsys.readouterr()
    assert (out, "hidden" in err, "shown" in err) == ("", False, True)
