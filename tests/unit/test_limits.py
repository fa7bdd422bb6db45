"""Rates and the sliding window: what is no rate, then that no window ever holds more, and that both stores agree."""

import asyncio
import io
import time
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backstay.errors import OperatorError
from backstay.observe import Log
from backstay.stores import memory, valkey
from backstay.stores.limits import SLOTS, Limiter, Rate, Verdict, parse_rate
from backstay.stores.memory import MemoryLimiter
from backstay.stores.valkey import ValkeyLimits
from support.valkey import Valkey

EPOCH = 1_000_000.0


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", "100", "100/", "/minute", "0/minute", "-1/minute", "1.5/minute", "1e3/minute", "many/minute"),
        *("100/fortnight", "100 per minute", "100/minute/user", "100/0 minutes", "9" * 13 + "/day", "٣/minute"),
        *("100/minutely", "1/40 days", "none", "unlimited", "100/minute;", "100\n/minute"),
    ],
)
def test_what_is_no_rate_is_told_with_the_mend(text: str) -> None:
    """One line, that names the place and shows how a rate is written."""
    with pytest.raises(OperatorError, match=r"BACKSTAY_RATE_LIMIT=.*100/minute"):
        parse_rate(text, "BACKSTAY_RATE_LIMIT")


@pytest.mark.parametrize(
    ("text", "count", "seconds", "shown"),
    [
        ("100/minute", 100, 60, "100 requests a minute"),
        (" 5/10 Seconds ", 5, 10, "5 requests in 10 seconds"),
        ("1000/2hours", 1000, 7_200, "1000 requests in 2 hours"),
        ("1/day", 1, 86_400, "1 requests a day"),
        ("90/90 seconds", 90, 90, "90 requests in 90 seconds"),
    ],
)
def test_rates_are_read_and_shown(text: str, count: int, seconds: int, shown: str) -> None:
    """Whatever the unit, a count and seconds; a refusal says it in words."""
    rate = parse_rate(text)
    assert rate == Rate(count, seconds)
    assert str(rate) == shown
    assert parse_rate("Off") is None


class Clock:
    """Seconds that a test decides."""

    def __init__(self) -> None:
        self.now = EPOCH

    def __call__(self) -> float:
        """Now."""
        return self.now


RATES = st.builds(Rate, st.integers(1, 7), st.sampled_from([1, 10, 60]))
#: Pauses between requests, in windows, some at the very edge of a slot or of a window.
PAUSES = st.lists(
    st.one_of(st.floats(0, 0.4), st.sampled_from([0.0, 0.01, 0.5, 0.99, 1.0, 1.01, 1.02, 3.0])), max_size=60
)


@given(rate=RATES, pauses=PAUSES)
def test_no_window_holds_more_and_nobody_is_refused_who_has_a_place(rate: Rate, pauses: list[float]) -> None:
    """Of any requests: in no window more than the count; a refusal only while the last 1.01 windows held so many."""
    clock = Clock()
    limiter = MemoryLimiter(rate, clock=clock)
    taken: list[float] = []
    for pause in pauses:
        clock.now += pause * rate.seconds
        left, wait = limiter.hit("ada")
        width = rate.seconds * (1 + 1 / SLOTS)
        recent = [at for at in taken if at > clock.now - width - 1e-3]
        if left < 0:
            assert len(recent) >= rate.count
            assert 1 <= wait <= width + 1
        else:
            taken.append(clock.now)
            assert left <= rate.count - 1
    for at in taken:
        assert sum(at <= other < at + rate.seconds - 1e-6 for other in taken) <= rate.count


@given(rate=RATES, pauses=PAUSES)
def test_after_the_told_wait_there_is_a_place(rate: Rate, pauses: list[float]) -> None:
    """Who waits for the seconds that a refusal names is not refused again."""
    clock = Clock()
    limiter = MemoryLimiter(rate, clock=clock)
    for pause in pauses:
        clock.now += pause * rate.seconds
        left, wait = limiter.hit("ada")
        if left < 0:
            clock.now += wait
            assert limiter.hit("ada")[0] >= 0


def test_callers_count_apart_and_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some time after its last request a caller costs nothing; a flood of callers holds no more than two lots."""
    monkeypatch.setattr(memory, "CALLERS_MAX", 50)
    clock = Clock()
    limiter = MemoryLimiter(Rate(1, 60), clock=clock)
    for number in range(1_000):
        assert limiter.hit(f"caller {number}")[0] == 0
        assert len(limiter) <= 100
    assert limiter.hit("caller 999")[0] == -1
    for _ in range(2):
        clock.now += 70
        limiter.hit("ada")
    assert len(limiter) == 1


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a busy machine an answer may take its time; only the test of an absent server is in a hurry."""
    monkeypatch.setattr(valkey, "ANSWER_S", 20.0)


@pytest.fixture(scope="module")
def server() -> Iterator[Valkey]:
    """A Valkey for tests that leave it as it is."""
    with Valkey() as running:
        yield running


@given(rate=RATES, pauses=PAUSES, callers=st.lists(st.sampled_from("ab"), min_size=60, max_size=60))
def test_valkey_counts_as_memory_does(server: Valkey, rate: Rate, pauses: list[float], callers: list[str]) -> None:
    """The script, told the time, answers any requests with the very verdicts of the memory."""
    client = server.client()
    client.flushdb()
    script = client.register_script(valkey.SCRIPT.replace("redis.call('TIME')", "{ARGV[#ARGV - 1], ARGV[#ARGV]}"))
    clock = Clock()
    limiter = MemoryLimiter(rate, clock=clock)
    for pause, caller in zip(pauses, callers, strict=False):
        # Never at the very edge of a slot, where seconds and milliseconds are not rounded alike.
        clock.now = round(clock.now + pause * rate.seconds, 3) + 0.0003
        seconds = int(clock.now)
        microseconds = round((clock.now - seconds) * 1e6)
        found = script([caller], [rate.count, rate.seconds * 1000, seconds, microseconds])
        assert tuple(found) == limiter.hit(caller)


async def verdicts(limiter: Limiter, *callers: str) -> list[Verdict]:
    """The verdicts on requests that come at once."""
    found = [limiter.hit(caller) for caller in callers]
    return [one if isinstance(one, tuple) else await one for one in found]


def test_many_at_once_travel_together(server: Valkey) -> None:
    """Requests of one turn of the loop are one call of the script, and each has its own verdict."""

    async def talk() -> tuple[list[Verdict], int]:
        limits = ValkeyLimits(server.url, "together", Log("json", "error"))
        client = server.client()
        await verdicts(limits.limiter("warm", Rate(1, 60)), "x")
        before = client.info("commandstats").get("cmdstat_evalsha", {"calls": 0})["calls"]
        found = await verdicts(limits.limiter("default", Rate(3, 60)), *["ada"] * 5, *["bob"] * 2)
        after = client.info("commandstats")["cmdstat_evalsha"]["calls"]
        await limits.close()
        return found, after - before

    found, calls = asyncio.run(talk())
    assert [left for left, _ in found] == [2, 1, 0, -1, -1, 2, 1]
    assert calls == 1


def test_nothing_is_left_behind(server: Valkey) -> None:
    """Each key expires when its window has passed."""
    client = server.client()
    client.flushdb()

    async def talk() -> None:
        limits = ValkeyLimits(server.url, "left", Log("json", "error"))
        await verdicts(limits.limiter("default", Rate(10, 1)), *[f"ada {i}" for i in range(300)])
        await limits.close()

    asyncio.run(talk())
    assert client.dbsize() == 300
    assert all(0 < client.pttl(key) <= 1_030 for key in client.scan_iter())
    deadline = time.monotonic() + 10
    while client.dbsize():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_apps_and_names_count_apart(server: Valkey) -> None:
    """Two apps on one Valkey, and two limits of one app, never take each other's places."""

    async def talk() -> list[int]:
        log = Log("json", "error")
        first, second = (ValkeyLimits(server.url, app, log) for app in ("shop", "blog"))
        rate = Rate(1, 60)
        asked = [(first, "default"), (first, "orders"), (second, "default"), (first, "default")]
        found = [(await verdicts(limits.limiter(name, rate), "ada"))[0][0] for limits, name in asked]
        await first.close()
        await second.close()
        return found

    assert asyncio.run(talk()) == [0, 0, 0, -1]


def test_valkey_away_lets_requests_through_and_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stopped, started, paused: memory counts meanwhile, without a wait; the log has one line for each change."""
    monkeypatch.setattr(valkey, "REST_S", 0.1)
    monkeypatch.setattr(valkey, "ANSWER_S", 0.3)
    lines = io.StringIO()

    async def until_shared(limiter: Limiter) -> None:
        deadline = time.monotonic() + 5
        while lines.getvalue().count("limits_shared_again") < lines.getvalue().count("limits_not_shared"):
            assert time.monotonic() < deadline, lines.getvalue()
            await verdicts(limiter, "knock")
            await asyncio.sleep(0.02)

    async def left(limiter: Limiter, *callers: str) -> list[int]:
        started = time.monotonic()
        found = await verdicts(limiter, *callers)
        assert time.monotonic() - started < 1, "nobody waits longer than for an answer"
        return [places for places, _ in found]

    async def talk(running: Valkey) -> None:
        limits = ValkeyLimits(running.url, "away", Log("json", "info", lines))
        limiter = limits.limiter("default", Rate(3, 60))
        assert await left(limiter, *["ada"] * 4) == [2, 1, 0, -1]
        running.stop()
        assert await left(limiter, *["ada"] * 4) == [2, 1, 0, -1]
        assert await left(limiter, "ada") == [-1]
        running.start()
        await until_shared(limiter)
        assert await left(limiter, *["ada"] * 4) == [2, 1, 0, -1]
        with running.pause():
            started = time.monotonic()
            assert await left(limiter, "bob") == [2]
            for _ in range(20):
                assert await left(limiter, "eve") != []
                await asyncio.sleep(0.02)
            assert time.monotonic() - started < 1.5
        await until_shared(limiter)
        assert await left(limiter, "ada") == [-1]
        await limits.close()

    with Valkey() as running:
        asyncio.run(talk(running))
    assert lines.getvalue().count("limits_not_shared") == 2
    assert lines.getvalue().count("limits_shared_again") == 2
