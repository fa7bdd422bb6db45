"""The frame stays within its budget: what surrounds an endpoint must cost little beside it."""

import pytest
from benchmarks.frame import BUDGET_US, ROUNDS, measure, parts


@pytest.mark.alone
def test_the_whole_frame_stays_within_its_budget() -> None:
    """Id, cached token, rate limit, headers, log line, CORS and a trusted proxy: at most 20 µs of CPU a request."""
    given = parts()
    found = measure([given[0], given[-1]])
    assert ROUNDS > 1
    cost = found[given[-1].name] - found[given[0].name]
    assert cost <= BUDGET_US, f"{cost:.1f} µs"


def test_each_part_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """None of them waits for anything, and each has its figure."""
    monkeypatch.setattr("benchmarks.frame.CALLS", 2)
    monkeypatch.setattr("benchmarks.frame.ROUNDS", 1)
    given = parts()
    found = measure(given)
    assert list(found) == [part.name for part in given]
    assert all(0 <= us < 1e6 for us in found.values())
