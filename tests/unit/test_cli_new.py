"""`backstay new`: what it refuses, and that what it makes serves, migrates and writes."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from backstay.cli.new import APP, create_project
from backstay.errors import OperatorError
from support.documents import Walk


@pytest.mark.parametrize("name", ["", "..", "1st", "a b", "-x", "a/.b", "ünï"])
def test_refuses_what_is_no_name(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The name becomes part of code and paths; nothing is made."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(OperatorError, match="no project name"):
        create_project(name)
    assert not list(tmp_path.iterdir())


def test_refuses_a_folder_with_something_in_it(tmp_path: Path) -> None:
    """What is there stays."""
    (tmp_path / "app.py").write_text("mine")
    command = [sys.executable, "-m", "backstay", "new", tmp_path.name]
    done = subprocess.run(command, cwd=tmp_path.parent, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"error: {tmp_path.name} is not empty: choose another name, or an empty folder.\n"
    assert (tmp_path / "app.py").read_text() == "mine"


def test_refuses_a_file_of_that_name(tmp_path: Path) -> None:
    """One line, no traceback."""
    (tmp_path / "shop").write_text("mine")
    with pytest.raises(OperatorError, match="Cannot make"):
        create_project(str(tmp_path / "shop"))


def test_app_is_short_and_formatted(tmp_path: Path) -> None:
    """It fits a screen, and passes the linter and the formatter of those who use one."""
    text = APP.format(name="shop")
    assert len(text.splitlines()) <= 25
    (tmp_path / "app.py").write_text(text)
    ruff = [str(Path(sys.executable).parent / "ruff")]
    rules = ["--isolated", "--line-length=118"]
    for command in (["check", "--select=E,F,I,N,UP", *rules], ["format", "--check", *rules]):
        done = subprocess.run([*ruff, *command, "app.py"], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout


@pytest.mark.skipif(not shutil.which("curl"), reason="the README's commands need curl")
def test_what_it_makes_does_what_its_readme_says(tmp_path: Path) -> None:
    """From an empty folder to a written row, and to a migrated server without --dev."""
    with Walk(tmp_path) as walk:
        walk.shell("backstay new shop")
        assert "backstay serve --dev" in walk.printed
        walk.folder = tmp_path / "shop"
        walk.page(tmp_path / "shop/README.md")
        walk.shell("backstay db status; curl 'http://127.0.0.1:8000/api/v1/books?fields=title'")
        assert '{"data":[{"title":"Emma"}]' in walk.printed
    project = tmp_path / "shop"
    assert (project / ".backstay/secret").stat().st_mode & 0o077 == 0
    subprocess.run(["git", "init", "-q"], cwd=project, check=True)
    listing = ["git", "ls-files", "--others", "--exclude-standard"]
    done = subprocess.run(listing, cwd=project, capture_output=True, text=True, check=True)
    tracked = {name for name in done.stdout.split() if not name.startswith("migrations/")}
    assert tracked == {".gitignore", "README.md", "app.py"}
