"""The arcade's queries on 200,000 scores: PostgreSQL answers each by the indexes that its models declare.

`python -m benchmarks.growth` does the same with five million scores, and times it.
"""

from collections.abc import Iterator

import pytest
from benchmarks.growth import ARCADE, QUERIES, Run, arcade, faults

from backstay.cli.target import load_app
from support.postgres import postgres_server

SCORES = 200_000


@pytest.fixture(scope="module")
def run() -> Iterator[Run]:
    """The arcade, filled."""
    made = arcade(postgres_server(), load_app(str(ARCADE)), SCORES)
    yield made
    postgres_server().drop_database(f"arcade_{SCORES}")


@pytest.mark.anyio
async def test_every_query_is_answered_by_its_indexes(run: Run) -> None:
    """No plan scans the scores, and each uses the indexes made for it."""
    found = {name: faults(query, await run.plan(query)) for name, query in QUERIES.items()}
    await run.app.stop()
    assert found == {name: [] for name in QUERIES}


def test_a_plan_without_its_index_is_a_fault() -> None:
    """The judge sees a scan, and an index that is not there."""
    scan = {"Node Type": "Parallel Seq Scan", "Relation Name": "scores"}
    query = QUERIES["B: top scores of a game"]
    assert faults(query, [scan]) == [
        "does not use ix_scores_game_id_value",
        "does not use pk_users",
        "scans every score",
    ]
