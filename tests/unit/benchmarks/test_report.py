"""Figures to tables: the right ratio of the right numbers."""

from pathlib import Path

from benchmarks import report
from benchmarks.process import ColdStart
from benchmarks.runner import Figures, Sample, Settings

SETTINGS = Settings(
    servers=["bare", "backstay"],
    cases=["A"],
    rounds=2,
    seconds=1.0,
    warmup_s=0.1,
    cold_starts=1,
    directory=Path("/"),
)


def figures(title: str, *cpu_us: float) -> Figures:
    """Return the figures of one server in case A."""
    samples = [Sample(cpu, 1_000.0, 2_000.0, 3_000.0) for cpu in cpu_us]
    return Figures(title, [ColdStart(10.0, 12.0)], 1 << 20, 2 << 20, {"A": samples})


MEASURED = {"backstay": figures("Backstay", 30.0, 50.0, 40.0), "bare": figures("bare", 25.0, 20.0, 60.0)}


def test_cpu_is_minimum_and_median_over_rounds() -> None:
    """One busy round changes neither."""
    assert (MEASURED["bare"].cpu_min("A"), MEASURED["bare"].median("A", "cpu_us")) == (20.0, 25.0)


def test_ratios_divide_minimum_by_minimum() -> None:
    """Backstay to bare, and every other server to Backstay."""
    tables = {title: rows for title, _, rows in report.sections(MEASURED, ["A"])}
    assert tables["CPU relative to bare"] == [["Backstay", "1.50 ×"]]
    assert tables["CPU relative to Backstay"] == [["bare", "0.67 ×"]]


def test_ratio_is_left_out_without_its_base() -> None:
    """A run of peers alone prints no ratio to a server that did not run."""
    titles = [title for title, _, _ in report.sections({"bare": MEASURED["bare"]}, ["A"])]
    assert not [title for title in titles if "relative" in title]


def test_markdown_has_one_row_per_server_and_says_how_it_was_measured() -> None:
    """The README's table carries its own method."""
    text = report.markdown(MEASURED, SETTINGS)
    assert "| bare | 20 (0.7×) | 2 | 10 |" in text
    assert "2 interleaved rounds of 1 s" in text


def test_json_keeps_every_round() -> None:
    """Nothing measured is lost."""
    servers = report.as_json(MEASURED, SETTINGS)["servers"]
    assert isinstance(servers, dict)
    assert servers["backstay"]["cases"]["A"]["cpu_us"] == [30.0, 50.0, 40.0]
