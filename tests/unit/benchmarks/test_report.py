"""Figures to tables: the right ratio of the right numbers."""

from dataclasses import replace
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


ON_POSTGRES = replace(SETTINGS, postgres=True)


def with_database(figures: Figures, *database_us: float) -> Figures:
    """Return the figures with what PostgreSQL used beside the server."""
    samples = [
        replace(sample, database_us=used) for sample, used in zip(figures.samples["A"], database_us, strict=True)
    ]
    return replace(figures, samples={"A": samples})


BESIDE = {
    "backstay": with_database(MEASURED["backstay"], 22.0, 21.0, 90.0),
    "bare": with_database(MEASURED["bare"], 40.0, 44.0, 50.0),
}


def test_postgres_has_a_table_of_its_own() -> None:
    """What PostgreSQL used stands beside what the server used, and never without --postgres."""
    tables = {title: rows for title, _, rows in report.sections(BESIDE, ["A"], postgres=True)}
    name = "PostgreSQL CPU µs per request, min / median over rounds"
    assert tables[name] == [["Backstay", "21 / 22"], ["bare", "40 / 44"]]
    assert name not in {title for title, _, _ in report.sections(BESIDE, ["A"])}


def test_postgres_markdown_shows_both_sides_and_the_ratio_of_the_server() -> None:
    """A cell is "server + PostgreSQL"; moving work into the database is not hidden, nor counted as the server's."""
    text = report.markdown(BESIDE, ON_POSTGRES)
    assert "| Backstay | 30 + 21 | 2 | 10 |" in text
    assert "| bare | 20 + 40 (0.7×) | 2 | 10 |" in text
    assert "Server + PostgreSQL CPU µs per request" in text
    assert "the server on one core, the load generator and PostgreSQL together on another" in text or (
        "cores not pinned" in text
    )


def test_postgres_json_keeps_every_round_of_both_sides() -> None:
    """Nothing measured is lost, and a SQLite run has no figure of a database server."""
    servers = report.as_json(BESIDE, ON_POSTGRES)["servers"]
    assert isinstance(servers, dict)
    assert servers["bare"]["cases"]["A"]["database_cpu_us"] == [40.0, 44.0, 50.0]
    servers = report.as_json(MEASURED, SETTINGS)["servers"]
    assert isinstance(servers, dict)
    assert "database_cpu_us" not in servers["bare"]["cases"]["A"]
