"""`python -m benchmarks.changes`: what a create's change entry, and its Idempotency-Key, cost on both databases.

Three servers of the same app, case C: one without a change log, one as it is, one whose requests have a key each.
"""

import argparse
import sys

from rich.console import Console
from rich.table import Table

from benchmarks import runner
from benchmarks.load import ROOT
from benchmarks.process import ServerError
from benchmarks.target import BACKSTAYS, KEYED, UNRECORDED

SERVERS = (UNRECORDED, "backstay", KEYED)
#: Most that both together may cost, relative to a create without them.
RATIO_MAX = 1.6


def measured(*, postgres: bool, rounds: int, seconds: float) -> dict[str, tuple[float, float]]:
    """Return (CPU µs of the server, of PostgreSQL beside it) per create, by server."""
    settings = runner.Settings(
        servers=SERVERS,
        cases=["C"],
        rounds=rounds,
        seconds=seconds,
        warmup_s=1.0,
        cold_starts=1,
        directory=ROOT / ".data" / "benchmarks" / "changes",
        postgres=postgres,
    )
    with Console(stderr=True).status("starting") as status:
        found = runner.run(settings, say=status.update)
    return {name: (figures.cpu_min("C"), figures.database_min("C")) for name, figures in found.items()}


def main() -> int:
    """Run; return the exit code: 1 when it costs more than it may."""
    made = argparse.ArgumentParser(prog="python -m benchmarks.changes", description=__doc__)
    made.add_argument("--rounds", type=int, default=5, help="rounds, of which the cheapest counts (default 5)")
    made.add_argument("--seconds", type=float, default=2.0, help="seconds per round (default 2)")
    options = made.parse_args()
    table = Table("a create", "SQLite", "PostgreSQL", "CPU of PostgreSQL", title="CPU µs of the server per create")
    try:
        columns = [
            measured(postgres=postgres, rounds=options.rounds, seconds=options.seconds) for postgres in (False, True)
        ]
    except (ServerError, OSError) as failure:
        print(f"benchmark failed: {failure}", file=sys.stderr)
        return 1
    bases = [column[UNRECORDED][0] for column in columns]
    for name in SERVERS:
        cells = [
            f"{column[name][0]:.0f} ({column[name][0] / base:.2f} ×)"
            for column, base in zip(columns, bases, strict=True)
        ]
        table.add_row(BACKSTAYS[name], *cells, f"{columns[1][name][1]:.0f}")
    Console().print(table)
    worst = max(column[KEYED][0] / base for column, base in zip(columns, bases, strict=True))
    print(f"at most {RATIO_MAX} ×: {'held' if worst <= RATIO_MAX else 'missed'}")
    return int(worst > RATIO_MAX)


if __name__ == "__main__":
    sys.exit(main())
