"""The existing database as its README serves it, and one that nobody here made."""

import json
import shutil
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.documents import ROOT, Walk, blocks_of, copied

HERE = ROOT / "examples/existing_database"
CHINOOK = ROOT.parent / "shared/data/chinook.sqlite"
CHINOOK_ROWS = {
    "Album": 347,
    "Artist": 275,
    "Customer": 59,
    "Employee": 8,
    "Genre": 25,
    "Invoice": 412,
    "InvoiceLine": 2240,
    "MediaType": 5,
    "Playlist": 18,
    "PlaylistTrack": 8715,
    "Track": 3503,
}


@pytest.mark.skipif(not shutil.which("curl"), reason="the README's commands need curl")
def test_readme_says_what_happens(tmp_path: Path) -> None:
    """From the script to a refused loan, every command prints what the README says."""
    with Walk(copied("existing_database", tmp_path / "library")) as walk:
        walk.page(HERE / "README.md")


def test_readme_shows_the_file() -> None:
    """The rules in the README are those of app.py."""
    shown = next(block for block in blocks_of(HERE / "README.md") if block.title == "app.py")
    assert shown.text == (HERE / "app.py").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def chinook(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Walk]:
    """A copy of the Chinook music store, served."""
    if not CHINOOK.is_file():
        pytest.skip("the Chinook sample database is not beside the repository")
    folder = tmp_path_factory.mktemp("chinook")
    shutil.copy(CHINOOK, folder / "chinook.db")
    with Walk(folder) as walk:
        walk.serve("backstay serve sqlite:///chinook.db")
        yield walk


def get(walk: Walk, path: str) -> Any:
    """The answer's JSON."""
    with urllib.request.urlopen(f"{walk.base}/api/v1{path}") as answer:
        return json.load(answer)


def test_every_table_of_chinook_is_served(chinook: Walk) -> None:
    """All tables list all their rows."""
    assert {name: get(chinook, f"/{name}?limit=1")["meta"]["total"] for name in CHINOOK_ROWS} == CHINOOK_ROWS


def test_chinook_is_included_both_ways(chinook: Walk) -> None:
    """Three relations deep, up and down, in one answer."""
    path = "/Artist/1?include=Album.Track.Genre&fields=Name&fields[Album]=Title&fields[Album.Track]=Name"
    artist = get(chinook, path)["data"]
    assert artist["Name"] == "AC/DC"
    assert [album["Title"] for album in artist["Album"]] == [
        "For Those About To Rock We Salute You",
        "Let There Be Rock",
    ]
    assert artist["Album"][0]["Track"][0]["Genre"] == {"GenreId": 1, "Name": "Rock"}
