"""The arcade's queries on 200,000 scores: PostgreSQL answers each by the indexes that its models declare.

`python -m benchmarks.growth` does the same with five million scores, and times it.
"""

import subprocess
import sys
from pathlib import Path

from benchmarks.growth import QUERIES, faults

ROOT = Path(__file__).parents[3]
SCORES = 200_000


def test_every_query_is_answered_by_its_indexes() -> None:
    """No plan scans the scores, and each uses the indexes made for it."""
    command = [sys.executable, "-m", "benchmarks.growth", "--plans", "--sizes", str(SCORES)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    lines = done.stdout.splitlines()
    assert [line for line in lines if not line.endswith("by its indexes")] == [], done.stderr
    assert len(lines) == len(QUERIES), done.stderr
    assert done.returncode == 0


def test_a_plan_without_its_index_is_a_fault() -> None:
    """The judge sees a scan, and an index that is not there."""
    scan = {"Node Type": "Parallel Seq Scan", "Relation Name": "scores"}
    query = QUERIES["B: top scores of a game"]
    assert faults(query, [scan]) == [
        "does not use ix_scores_game_id_value",
        "does not use pk_users",
        "scans every score",
    ]
