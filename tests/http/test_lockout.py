"""Guessing gets slower with each failure, in all processes together, whether there is an account or not."""

import asyncio
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from backstay.auth.attempts import FORGET_S, WAIT_S_MAX, Limit, begin_attempt
from backstay.errors import Problem
from backstay.schema.base import utc_now
from support.databases import DATABASES
from support.people import PASSWORD, People, people, people_app

FREE = 5


@pytest.fixture(params=DATABASES)
def client(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[People]:
    """The app on each database, with an account."""
    with people(request.param, tmp_path) as opened:
        opened.register("ada@example.org", username="ada")
        yield opened


def rest(client: People) -> None:
    """Let so much time pass that nobody waits, and failures still count."""
    attempts = client.accounts().tables.attempts
    client.run(sa.update(attempts).values(locked_until=utc_now()))


@pytest.mark.parametrize("login", ["ada@example.org", "nobody@example.org", "ada", "nobody"])
def test_failures_make_the_next_one_wait(client: People, login: str) -> None:
    """So many are free; then each doubles the wait, also for who knows the password. It says how long."""
    statuses = [client.login(login, "wrong password").status for _ in range(FREE + 1)]
    assert statuses == [401] * FREE + [429]
    waits: list[int] = []
    for _ in range(14):
        answer = client.login(login, "wrong password")
        assert answer.json["code"] == "TOO_MANY_ATTEMPTS"
        waits.append(int(answer.headers["retry-after"]))
        rest(client)
        assert client.login(login, "wrong password").status == 401
    assert waits[:5] == [1, 2, 4, 8, 16]
    assert waits[-1] == WAIT_S_MAX
    assert client.login(login).status == 429
    assert [dict(event.details)["of"] for event in client.events("lockout")][:1] == ["account"]


def test_the_right_password_starts_anew(client: People) -> None:
    """What came before it does not count any more."""
    for _ in range(FREE - 1):
        client.login("ada@example.org", "wrong password")
    assert client.login("ada@example.org").status == 200
    statuses = [client.login("ada@example.org", "wrong password").status for _ in range(FREE + 1)]
    assert statuses == [401] * FREE + [429]
    assert client.login("ada").status == 200, "the name has a count of its own"


def test_old_failures_are_forgotten(client: People) -> None:
    """After an hour without one they are free again."""
    for _ in range(FREE + 3):
        client.login("ada@example.org", "wrong password")
    long_ago = utc_now() - timedelta(seconds=FORGET_S + 1)
    client.run(sa.update(client.accounts().tables.attempts).values(failed_at=long_ago, locked_until=long_ago))
    assert [client.login("ada@example.org", "wrong password").status for _ in range(FREE)] == [401] * FREE


def test_many_at_once_do_not_get_around_it(client: People) -> None:
    """Twenty guesses in the same moment, in two processes, are no more than the free ones."""
    other = People(people_app(client.app.config.database_url))

    async def burst() -> list[int]:
        body = {"login": "ada@example.org", "password": "wrong password"}
        sent = [c.send("POST", "/auth/login", body=body) for c in (client, other) for _ in range(10)]
        return [answer.status for answer in await asyncio.gather(*sent)]

    try:
        assert sorted(client.loop.run_until_complete(burst())) == [401] * FREE + [429] * (20 - FREE)
    finally:
        client.loop.run_until_complete(other.app.stop())
        other.loop.close()


def test_one_address_cannot_try_many_accounts(client: People) -> None:
    """Failures of an address count too, whichever accounts it tries; signing in takes nothing off."""
    client.login("ada@example.org")
    statuses = [client.login(f"nobody{i}@example.org", "wrong password").status for i in range(52)]
    assert statuses == [401] * 50 + [429] * 2
    assert client.login("ada@example.org").status == 429


def test_passwords_are_not_guessed_from_within(client: People) -> None:
    """Who holds a stolen session cannot try passwords any faster."""
    credential = "Bearer " + client.login("ada@example.org").data["access_token"]
    body = {"current_password": "wrong password", "new_password": "another phrase"}
    statuses = [client.post("/auth/password", body, credential=credential).status for _ in range(FREE + 1)]
    assert statuses == [401] * FREE + [429]
    assert client.post("/auth/me/delete", {"password": PASSWORD}, credential=credential).status == 429


def test_nothing_is_kept_of_what_was_typed(client: People) -> None:
    """Somebody may type a password as a login: the table has neither."""
    client.login("my secret password", "wrong password")
    assert "secret" not in str(client.run(sa.select(client.accounts().tables.attempts)))


def test_a_refused_attempt_counts_for_nobody(client: People) -> None:
    """Where one limit makes an attempt wait, the other is not counted either."""
    tables = client.accounts().tables
    locked, free = Limit("ip", "192.0.2.9", 1), Limit("account", "eve", 3)

    async def attempt(*limits: Limit) -> None:
        async with client.app.transaction() as session:
            await begin_attempt(session, tables, limits)

    client.loop.run_until_complete(attempt(locked))
    with pytest.raises(Problem):
        client.loop.run_until_complete(attempt(free, locked))
    rows = client.run(sa.select(tables.attempts.c.subject))
    assert free.subject not in {row.subject for row in rows}
