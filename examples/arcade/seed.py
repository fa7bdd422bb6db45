"""Sample data, the same on every run: 100 games, 10,000 players, 200,000 scores."""

from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

from sqlalchemy import insert
from sqlalchemy.orm import Session

from backstay import Model

GAMES, PLAYERS, SCORES = 100, 10_000, 200_000
SCORE_MAX = 1_000_000
ROWS_AT_ONCE = 5_000
OPENED = datetime(2026, 1, 1, tzinfo=UTC)
FIRST = ("Astro", "Bubble", "Cosmic", "Dragon", "Electric", "Final", "Galaxy", "Hyper", "Iron", "Jungle")
SECOND = ("Blaster", "Chase", "Drift", "Escape", "Fighter", "Golf", "Heist", "Invaders", "Jumper", "Knights")
PEOPLE = ("ada", "alan", "barbara", "edsger", "frances", "grace", "hedy", "john", "katherine", "linus")

Row = dict[str, Any]
Progress = Callable[[Iterable[int], str], Iterable[int]]


def fill(session: Session, progress: Progress) -> None:
    """Insert everything in one transaction, thousands of rows a statement."""
    random = Random(7)
    names = [f"{first} {second}" for first in FIRST for second in SECOND]

    def game(number: int) -> Row:
        return {"name": names[number - 1], "slug": names[number - 1].lower().replace(" ", "-")}

    def player(number: int) -> Row:
        name = PEOPLE[number % len(PEOPLE)]
        return {"username": f"{name}{number // len(PEOPLE)}" if number > len(PEOPLE) else name}

    def score(number: int) -> Row:
        """High scores are rare; some games and players are busier than others."""
        busy = random.random() ** 2, random.random() ** 2
        ids = {"game_id": 1 + int(GAMES * busy[0]), "player_id": 1 + int(PLAYERS * busy[1])}
        return ids | {"value": int(SCORE_MAX * random.random() ** 3)}

    for table, row, count in (("games", game, GAMES), ("users", player, PLAYERS), ("scores", score, SCORES)):
        for start in progress(range(1, count + 1, ROWS_AT_ONCE), table):
            numbers = range(start, min(start + ROWS_AT_ONCE, count + 1))
            rows = [{"id": number, **stamps(number), **row(number)} for number in numbers]
            session.execute(insert(Model.metadata.tables[table]), rows)


def stamps(number: int) -> Row:
    """Row after row, half a minute apart."""
    moment = OPENED + timedelta(seconds=30 * number)
    return {"created_at": moment, "updated_at": moment}
