"""Figures to text: a table for the terminal, Markdown for the README, JSON for machines."""

import os
import platform
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks import process
from benchmarks.runner import Figures, Settings
from benchmarks.workload import CASES, CLIENTS, Case

MIB = 1024 * 1024


def machine() -> str:
    """Return what the figures depend on."""
    model = "unknown processor"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    cores = len(os.sched_getaffinity(0))
    kernel = platform.release().split("-")[0]
    return f"{model}, {cores} cores, Linux {kernel}, Python {platform.python_version()}"


def method(settings: Settings) -> str:
    """Return one line on how it was measured."""
    return (
        f"{CLIENTS} keep-alive clients, {settings.rounds} interleaved rounds of {settings.seconds:g} s, "
        f"{pinning(settings)}, data on {file_system(settings.directory)}; "
        f"CPU = user + system time of the server's process tree{database_note(settings)}"
    )


def pinning(settings: Settings) -> str:
    """Return who ran on which core."""
    if not settings.pin or process.cores() is None:
        return "cores not pinned"
    if settings.postgres:
        return "the server on one core, the load generator and PostgreSQL together on another"
    return "server and load generator on one core each"


def database_note(settings: Settings) -> str:
    """Return what the second figure is."""
    if not settings.postgres:
        return ""
    return (
        ", and beside it that of all PostgreSQL processes; "
        "one PostgreSQL 18 for all, durable commits, a copy of the same database each"
    )


def file_system(directory: Path) -> str:
    """Return the kind of file system that holds `directory`: on tmpfs a durable write costs nothing."""
    kinds = {line.split()[1]: line.split()[2] for line in Path("/proc/mounts").read_text().splitlines()}
    return next((kinds[str(path)] for path in (directory, *directory.parents) if str(path) in kinds), "unknown")


def show(figures: Mapping[str, Figures], settings: Settings, console: Console) -> None:
    """Print all tables."""
    for title, header, rows in sections(figures, settings.cases, postgres=settings.postgres):
        table = Table(title=title, title_justify="left")
        for number, name in enumerate(header):
            table.add_column(name, justify="left" if number == 0 else "right")
        for row in rows:
            table.add_row(*row)
        console.print(table)
    console.print(f"{method(settings)}\n{machine()}", highlight=False)
    console.print("; ".join(f"{case} = {CASES[case]}" for case in settings.cases), highlight=False)


Section = tuple[str, list[str], list[list[str]]]


def sections(figures: Mapping[str, Figures], cases: Sequence[Case], *, postgres: bool = False) -> list[Section]:
    """Return (title, header, rows) of each table; a ratio is left out when what it divides by was not run."""
    found: list[Section] = [
        ("Server CPU µs per request, min / median over rounds", ["server", *cases], _cpu_rows(figures, cases))
    ]
    if postgres:
        title = "PostgreSQL CPU µs per request, min / median over rounds"
        found.append((title, ["server", *cases], _database_rows(figures, cases)))
    if "bare" in figures and len(figures) > 1:
        found.append(("CPU relative to bare", ["server", *cases], _ratio_rows(figures, cases, "bare")))
    if "backstay" in figures and len(figures) > 1:
        found.append(("CPU relative to Backstay", ["server", *cases], _ratio_rows(figures, cases, "backstay")))
    found.append(
        ("Requests per second (median over rounds)", ["server", *cases], _rate_rows(figures, cases)),
    )
    found.append(("Latency p50 / p99 in ms", ["server", *cases], _latency_rows(figures, cases)))
    header = ["server", "cold start: health", "cold start: first row", "RSS idle MiB", "RSS after load MiB"]
    found.append(("Start and memory", header, _start_rows(figures)))
    return found


def _cpu_rows(figures: Mapping[str, Figures], cases: Sequence[Case]) -> list[list[str]]:
    return [
        [one.title, *(f"{one.cpu_min(case):,.0f} / {one.median(case, 'cpu_us'):,.0f}" for case in cases)]
        for one in figures.values()
    ]


def _database_rows(figures: Mapping[str, Figures], cases: Sequence[Case]) -> list[list[str]]:
    return [
        [one.title, *(f"{one.database_min(case):,.0f} / {one.median(case, 'database_us'):,.0f}" for case in cases)]
        for one in figures.values()
    ]


def _ratio_rows(figures: Mapping[str, Figures], cases: Sequence[Case], base: str) -> list[list[str]]:
    return [
        [one.title, *(f"{one.cpu_min(case) / figures[base].cpu_min(case):.2f} ×" for case in cases)]
        for name, one in figures.items()
        if name != base
    ]


def _rate_rows(figures: Mapping[str, Figures], cases: Sequence[Case]) -> list[list[str]]:
    return [[one.title, *(f"{one.median(case, 'requests_s'):,.0f}" for case in cases)] for one in figures.values()]


def _latency_rows(figures: Mapping[str, Figures], cases: Sequence[Case]) -> list[list[str]]:
    return [
        [
            one.title,
            *(f"{one.median(case, 'p50_us') / 1e3:,.1f} / {one.median(case, 'p99_us') / 1e3:,.1f}" for case in cases),
        ]
        for one in figures.values()
    ]


def _start_rows(figures: Mapping[str, Figures]) -> list[list[str]]:
    return [
        [
            one.title,
            f"{statistics.median(cold.health_ms for cold in one.cold_starts):,.0f} ms",
            f"{statistics.median(cold.first_read_ms for cold in one.cold_starts):,.0f} ms",
            f"{one.idle_rss / MIB:,.0f}",
            f"{one.loaded_rss / MIB:,.0f}",
        ]
        for one in figures.values()
    ]


def markdown(figures: Mapping[str, Figures], settings: Settings) -> str:
    """Return the README's table: CPU µs per request with the ratio to Backstay, memory and start.

    On PostgreSQL a cell says "server + PostgreSQL", and the ratio is the server's.
    """
    cases = settings.cases
    lines = [
        "| server | " + " | ".join(f"{case}: {CASES[case]}" for case in cases) + " | RSS MiB | cold start ms |",
        "|---|" + "---:|" * (len(cases) + 2),
    ]
    base = figures.get("backstay")
    for name, one in figures.items():
        cells: list[str] = []
        for case in cases:
            text = f"{one.cpu_min(case):,.0f}"
            if settings.postgres:
                text += f" + {one.database_min(case):,.0f}"
            if base is not None and name != "backstay":
                text += f" ({one.cpu_min(case) / base.cpu_min(case):.1f}×)"
            cells.append(text)
        start_ms = statistics.median(cold.health_ms for cold in one.cold_starts)
        cells += [f"{one.loaded_rss / MIB:,.0f}", f"{start_ms:,.0f}"]
        lines.append(f"| {one.title} | " + " | ".join(cells) + " |")
    what = "Server + PostgreSQL" if settings.postgres else "Server"
    lines += ["", f"{what} CPU µs per request, minimum over rounds. {method(settings)}. {machine()}."]
    return "\n".join(lines)


def as_json(figures: Mapping[str, Figures], settings: Settings) -> dict[str, object]:
    """Return everything measured, every round of it."""
    return {
        "machine": machine(),
        "method": method(settings),
        "servers": {
            name: {
                "title": one.title,
                "cold_starts_ms": [[cold.health_ms, cold.first_read_ms] for cold in one.cold_starts],
                "rss_idle_bytes": one.idle_rss,
                "rss_loaded_bytes": one.loaded_rss,
                "cases": {
                    case: {
                        "cpu_us_min": one.cpu_min(case),
                        "cpu_us_median": one.median(case, "cpu_us"),
                        "requests_s": one.median(case, "requests_s"),
                        "p50_us": one.median(case, "p50_us"),
                        "p99_us": one.median(case, "p99_us"),
                        "cpu_us": [sample.cpu_us for sample in samples],
                        **(
                            {"database_cpu_us": [sample.database_us for sample in samples]}
                            if settings.postgres
                            else {}
                        ),
                    }
                    for case, samples in one.samples.items()
                },
            }
            for name, one in figures.items()
        },
    }
