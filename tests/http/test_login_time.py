"""How long a refused login takes says nothing of whether there is an account."""

import random
import statistics
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa

from backstay import Hashing
from support.databases import DATABASES
from support.people import OPTIONS, People, people

LOGINS = 200
ROUNDS_MAX = 4
DIFFERENCE_MAX = 0.05
#: Some milliseconds: dear enough to be seen, cheap enough to be run so often.
HASHING = Hashing(passes=1, memory_kib=8_192, lanes=1, at_once=1)


@pytest.fixture(params=DATABASES)
def client(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[People]:
    """The app on each database, with an account."""
    with people(request.param, tmp_path, replace(OPTIONS, hashing=HASHING)) as opened:
        opened.register("ada@example.org", username="ada")
        yield opened


def medians(client: People, known: str, unknown: str) -> tuple[float, float]:
    """Seconds that logins with a wrong password take, a pair of them at a time."""
    attempts = client.accounts().tables.attempts
    took: dict[str, list[float]] = {known: [], unknown: []}
    chance = random.Random(0)  # an order that nothing else of the machine keeps time with
    for _ in range(LOGINS):
        for login in chance.sample((known, unknown), 2):
            started = time.perf_counter()
            answer = client.login(login, "wrong password")
            took[login].append(time.perf_counter() - started)
            assert answer.status == 401
        client.run(sa.delete(attempts))  # nobody has to wait here
    return statistics.median(took[known]), statistics.median(took[unknown])


@pytest.mark.alone
@pytest.mark.parametrize(("known", "unknown"), [("ada@example.org", "bob@example.org"), ("ada", "bob")])
def test_unknown_and_known_accounts_take_as_long(client: People, known: str, unknown: str) -> None:
    """The medians are within a twentieth; what the machine does meanwhile may spoil a round, but not all of them."""
    rounds: list[tuple[float, float]] = []
    for _ in range(ROUNDS_MAX):
        rounds.append(medians(client, known, unknown))
        if abs(rounds[-1][0] / rounds[-1][1] - 1) < DIFFERENCE_MAX:
            return
    pytest.fail(f"known and unknown took {rounds}")
