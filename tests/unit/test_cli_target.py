"""From a TARGET to an app: every mistake is one line that says where it is and what to do."""

import sys
from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest

from backstay.cli.target import load_app, load_target
from backstay.errors import OperatorError

APP = "from backstay import Backstay\napp = Backstay('arcade')\n"


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty current directory; what a test imports is forgotten after it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]


@pytest.mark.parametrize(
    ("files", "target", "message"),
    [
        ({}, "", "No app.py or main.py here: name a file, module:app or a database URL."),
        ({}, "nowhere.py", "There is no file nowhere.py."),
        ({}, "nowhere:app", "There is no module 'nowhere': name a file, module:app or a database URL."),
        ({"app.py": "x = 1\ny = (\n"}, "", "app.py:2: '(' was never closed."),
        ({"app.py": "import models\n", "models.py": "\ndef (:\n"}, "", "models.py:2: invalid syntax."),
        ({"app.py": "\n\nx = 1 / 0\n"}, "", "app.py:3: ZeroDivisionError: division by zero."),
        (
            {"app.py": "import models\n", "models.py": "raise ValueError('a\\nb')\n"},
            "",
            "models.py:1: ValueError: a b.",
        ),
        ({"app.py": "import nothing\n"}, "", "app.py:1: ModuleNotFoundError: No module named 'nothing'."),
        ({"app.py": "import nothing\n"}, "app", "app.py:1: ModuleNotFoundError: No module named 'nothing'."),
        ({"app.py": "raise SystemExit(3)\n"}, "", "app.py:1: SystemExit: 3."),
        ({"app.py": "x = 1\n"}, "", "app.py has no Backstay app. Assign one: app = Backstay(...)."),
        ({"app.py": APP}, "app.py:ap", "app.py has no Backstay app 'ap'. Perhaps you meant 'app'."),
        (
            {"app.py": APP.replace("app =", "a =") + "b = Backstay('b')\n"},
            "app.py",
            "app.py has several apps (a, b): write app.py:a.",
        ),
        ({}, "mysql://host/name", "mysql:// is not supported: write sqlite:///file.db or postgresql://"),
        ({}, "postgresql://127.0.0.1:1/name", "Cannot reach PostgreSQL at 127.0.0.1:1/name"),
        ({}, "sqlite:///nowhere.db", "There is no database file"),
        ({"x.db": "x" * 5_000}, "sqlite:///x.db", "file is not a database"),
        ({"x.db": ""}, "sqlite:///x.db", "x.db has no tables to serve."),
    ],
)
def test_a_mistake_is_one_line(here: Path, files: dict[str, str], target: str, message: str) -> None:
    """It names the file and the line of the program, or what exists instead."""
    for name, text in files.items():
        (here / name).write_text(text)
    with pytest.raises(OperatorError) as caught:
        load_app(target)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("target", ["", "app.py", "app.py:app", "app", "app:app"])
def test_an_app_is_found(here: Path, target: str) -> None:
    """By default, by file and by module; its folder is that of the file."""
    (here / "app.py").write_text(APP)
    loaded = load_target(target)
    assert (loaded.app.name, loaded.folder) == ("arcade", here)


def test_the_only_app_needs_no_name(here: Path) -> None:
    """Also under two names."""
    (here / "main.py").write_text(APP.replace("app =", "backend = other ="))
    assert load_app().name == "arcade"


def test_a_file_finds_its_neighbours(here: Path) -> None:
    """From wherever the command runs, and whatever its own name."""
    (here / "deep").mkdir()
    (here / "deep" / "neighbour.py").write_text("NAME = 'near'\n")
    (here / "deep" / "json.py").write_text(
        APP.replace("'arcade'", "neighbour.NAME").replace("from", "import neighbour\nfrom", 1)
    )
    loaded = load_target("deep/json.py")
    assert (loaded.app.name, loaded.folder) == ("near", here / "deep")
    assert sys.modules["json"].__file__ != str(here / "deep" / "json.py")


def test_a_database_is_an_app_that_everybody_reads(here: Path) -> None:
    """Each table with its name; nothing can be written."""
    connection = apsw.Connection(str(here / "shop.db"))
    connection.execute("CREATE TABLE items (id INTEGER PRIMARY KEY); CREATE VIEW all_items AS SELECT * FROM items")
    connection.close()
    loaded = load_target("sqlite:///shop.db")
    assert (loaded.app.name, loaded.folder) == ("shop", None)
    assert set(loaded.app.catalog().resources) == {"items", "all_items"}
    assert loaded.app.config.database_url == "sqlite:///shop.db"


def test_the_database_can_be_another(here: Path) -> None:
    """`--database` wins over what the app says."""
    (here / "app.py").write_text(APP)
    assert load_app(database="sqlite:///other.db").config.database_url == "sqlite:///other.db"
