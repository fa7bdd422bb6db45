"""Group commit: writes that share a transaction do not share a failure."""

import asyncio
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from backstay import Backstay, public, signed_in
from support.asgi import Answer, Client, bearer, quiet, sync_engine
from support.ledger import Account, Base, Entry

CREDENTIAL = bearer("writer")
#: How a write fails, what its body has to that end, and what it is answered.
BAD: dict[str, tuple[dict[str, Any], int]] = {
    "unique": ({"code": "taken"}, 409),
    "check": ({"amount": 13}, 400),
    "foreign key": ({"account_id": 999}, 409),
    "refused row": ({"amount": 5_000}, 403),
    "deferred foreign key": ({"late_id": 999}, 409),
    "lost transaction": ({"copy": "give up"}, 400),
    "lost guarded transaction": ({"copy": "give up", "amount": 5_000}, 400),
    "body": ({"amount": "many"}, 400),
}
#: SQLite gives up the whole transaction, not only the statement.
TRIGGER = """
CREATE TRIGGER give_up AFTER INSERT ON entries WHEN NEW.copy = 'give up'
BEGIN SELECT RAISE(ROLLBACK, 'gave up'); END
"""


@pytest.fixture(params=[True, False], ids=["guarded", "unguarded"])
def client(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Client]:
    """The ledger, with the row check that needs savepoints and without, and a trigger that rolls back."""
    path = tmp_path / "ledger.db"
    engine = sync_engine(path)
    Base.metadata.create_all(engine)
    with engine.begin() as connection:
        connection.exec_driver_sql(TRIGGER)
    engine.dispose()
    app = Backstay("ledger", config=quiet(path))
    app.resource(Account, read=public, write=signed_in)
    app.resource(Entry, read=public, write=signed_in, check=Entry.amount < 1_000 if request.param else None)
    with Client(app) as opened:
        assert opened.post("/accounts", {"name": "a"}, credential=CREDENTIAL).status == 201
        assert opened.post("/entries", body_of("taken"), credential=CREDENTIAL).status == 201
        opened.guarded = request.param  # type: ignore[attr-defined]
        yield opened


def body_of(code: str) -> dict[str, Any]:
    """A good entry."""
    return {"code": code, "copy": code, "amount": 1, "account_id": 1}


def burst(client: Client, bodies: list[dict[str, Any]]) -> list[Answer]:
    """All at once, so that they share groups."""

    async def send() -> list[Answer]:
        calls = (client.send("POST", "/entries", body=body, credential=CREDENTIAL) for body in bodies)
        return list(await asyncio.gather(*calls))

    return client.loop.run_until_complete(send())


def codes(client: Client) -> set[str]:
    """The codes of all rows."""
    found: set[str] = set()
    cursor: str | None = ""
    while cursor is not None:
        answer = client.get("/entries", f"fields=code&limit=100&cursor={cursor}")
        found |= {row["code"] for row in answer.data}
        cursor = answer.meta["next_cursor"]
    return found


def kinds_for(client: Client) -> dict[str, tuple[dict[str, Any], int]]:
    """The failures that this app has: without a row check, a large amount is no failure."""
    guarded = client.guarded  # type: ignore[attr-defined]
    return {
        kind: bad for kind, bad in BAD.items() if guarded or kind not in ("refused row", "lost guarded transaction")
    }


@pytest.mark.parametrize("kind", BAD)
def test_one_failing_write_harms_no_other(client: Client, kind: str) -> None:
    """A failure of each kind among 60 good writes: it is 4xx and absent, they are 201 and present."""
    if kind not in kinds_for(client):
        return
    change, status = BAD[kind]
    bodies = [body_of(f"good {i}") for i in range(60)]
    for position in (0, 20, 40, 62):
        bodies.insert(position, body_of(f"bad {position}") | change)
    answers = burst(client, bodies)
    for body, answer in zip(bodies, answers, strict=True):
        expected = 201 if body["code"].startswith("good") else status
        assert answer.status == expected, (body, answer.body)
    assert codes(client) == {"taken"} | {f"good {i}" for i in range(60)}


@pytest.mark.parametrize("seed", range(6))
def test_any_mixture_of_failures_harms_no_good_write(client: Client, seed: int) -> None:
    """Bursts of good and bad writes of all kinds in random order: each gets what it would get alone."""
    chance = random.Random(seed)
    kinds = kinds_for(client)
    if seed % 2:
        # Without the kinds that undo a group, so that the groups stay whole.
        kinds = {kind: bad for kind, bad in kinds.items() if "lost" not in kind and "deferred" not in kind}
    expected = {"taken"}
    for turn in range(3):
        plan: list[tuple[dict[str, Any], int]] = []
        for i in range(100):
            code = f"{seed} {turn} {i}"
            change, status = kinds[chance.choice(sorted(kinds))] if chance.random() < 0.4 else ({}, 201)
            plan.append((body_of(code) | change, status))
            if status == 201:
                expected.add(code)
        answers = burst(client, [body for body, _ in plan])
        wrong = [(b, s, a.status, a.body[:300]) for (b, s), a in zip(plan, answers, strict=True) if a.status != s]
        assert wrong == []
    assert codes(client) == expected


def test_writers_of_one_row_are_all_counted(client: Client) -> None:
    """Fifty updates of one row in a burst leave its version fifty higher, next to writes that fail."""
    key = client.get("/entries", "code=taken").data[0]["id"]

    async def send() -> list[Answer]:
        calls = []
        for i in range(50):
            calls.append(client.send("PATCH", f"/entries/{key}", body={"amount": 100 + i}, credential=CREDENTIAL))
            bad = body_of(f"bad {i}") | {"copy": "give up"}
            calls.append(client.send("POST", "/entries", body=bad, credential=CREDENTIAL))
        return list(await asyncio.gather(*calls))

    answers = client.loop.run_until_complete(send())
    assert [answer.status for answer in answers] == [200, 400] * 50
    row = client.get(f"/entries/{key}").data
    assert (row["version"], row["amount"]) == (51, 149)
    assert codes(client) == {"taken"}
