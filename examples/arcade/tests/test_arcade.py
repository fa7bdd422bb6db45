"""The arcade as `make run` serves it: its README's commands, its limits, and what its data is."""

import json
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.documents import ROOT, Walk, blocks_of, copied

README = ROOT / "examples/arcade/README.md"

pytestmark = pytest.mark.skipif(not shutil.which("curl"), reason="the README's commands need curl")


@pytest.fixture(scope="module")
def arcade(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Walk]:
    """A served copy, migrated and seeded by run.sh."""
    root = tmp_path_factory.mktemp("clone")
    copied("arcade", root / "examples/arcade")
    environment = {"BIN": str(Path(sys.executable).parent), "BACKSTAY_RATE_LIMIT": "off"}
    with Walk(root, skip={"make run": "the fixture did"}, environment=environment) as walk:
        walk.serve("sh examples/arcade/run.sh")
        yield walk


def get(arcade: Walk, path: str) -> Any:
    """The answer's JSON."""
    with urllib.request.urlopen(f"{arcade.base}/api/v1{path}") as answer:
        return json.load(answer)


def test_unknown_game_has_no_leaderboard(arcade: Walk) -> None:
    """A custom endpoint refuses in the same words as a generated one."""
    with pytest.raises(urllib.error.HTTPError) as refused:
        get(arcade, "/games/nope/leaderboard")
    with refused.value as answer:
        problem = json.load(answer)
    assert (problem["status"], problem["code"]) == (404, "NOT_FOUND")


def test_data_is_the_same_on_every_run(arcade: Walk) -> None:
    """The seeder's promise: the numbers of rows, and one row deep inside."""
    totals = {name: get(arcade, f"/{name}?limit=1")["meta"]["total"] for name in ("games", "users", "scores")}
    assert totals == {"games": 100, "users": 10_000, "scores": 200_000}
    score = get(arcade, "/scores/123456?fields=game_id,player_id,value,created_at")["data"]
    assert score == {
        "game_id": 33,
        "player_id": 3076,
        "value": 246_730,
        "created_at": "2026-02-12T20:48:00.000000+00:00",
    }


READS = [
    "/games",
    "/games?count=false&limit=5",
    "/games/astro-blaster",
    "/games?q=invaders+-galaxy&sort=-relevance&include=scores&limit[scores]=1",
    "/scores/aggregate?select=count&game.slug=astro-blaster",
    "/games/astro-blaster/scores?include=player,game&sort=-value",
    "/games?include=scores.player.scores&limit=2&limit[scores]=2&limit[scores.player.scores]=2",
    "/games/astro-blaster?include=scores.player&limit[scores]=3",
    "/scores?cursor=&sort=player.username,-value&limit=5&include=player",
    "/scores?player.username=ada&game.slug[in]=astro-blaster,iron-golf&sort=-value&page=2",
    "/users?scores.value[gte]=999990&limit=3",
    "/scores?or=(value[lt]=10,and(value[gt]=999990,player.username=ada))&fields=value",
    "/scores/aggregate?group=game.slug&select=count,best:max(value)&sort=-best&limit=3",
]


@pytest.mark.parametrize("path", READS)
def test_every_read_is_one_statement(arcade: Walk, path: str) -> None:
    """Whatever it includes, filters and counts: `Server-Timing` says one, as often as it is asked."""
    for _ in range(2):
        with urllib.request.urlopen(f"{arcade.base}/api/v1{path}") as answer:
            assert 'statements;desc="1"' in answer.headers["server-timing"]
            assert json.load(answer)["data"]


def test_second_run_seeds_nothing(arcade: Walk) -> None:
    """run.sh may be started again: what is there stays."""
    command = ["backstay", "db", "seed", "--if-empty"]
    folder = arcade.folder / "examples/arcade"
    url = {"BACKSTAY_DATABASE_URL": "sqlite:///.data/arcade.db"}
    done = subprocess.run(
        command, cwd=folder, env=arcade.environment | url, capture_output=True, text=True, check=True
    )
    assert "there are 210,100 rows already" in done.stdout


def test_readme_says_what_happens(arcade: Walk) -> None:
    """Every command of the README runs, and prints what the README says."""
    arcade.page(README)
    assert len(blocks_of(README)) > 10
