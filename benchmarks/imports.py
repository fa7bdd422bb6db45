# apsw's stubs name `Buffer`, which typing has from Python 3.12 on.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
"""`python -m benchmarks.imports`: an import beside raw `executemany` of the same rows into the same tables.

Raw is apsw with rows that are Python tuples already, the pragmas of the product, and a commit for each batch; with
change entries it writes those rows too, ready-made. The import reads, parses, validates and converts NDJSON.
"""

import argparse
import json
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import apsw

from backstay.bulk.importing import Import, Options
from backstay.bulk.rows import Rows
from backstay.context import Context
from backstay.db.bulk import SqliteSink, open_file
from backstay.db.engines import create_sync_engine
from backstay.db.recording_sqlite import make_tables
from backstay.db.sqlite_connection import open_connection
from backstay.sql.sqlite import SqliteDialect
from benchmarks.apps.backstay_app import app
from benchmarks.data import game_rows, iso_stamp, moment_of, user_rows
from benchmarks.workload import GAMES, SEED, USERS, VALUE_MAX

BATCH = 1_000
INSERT = "INSERT INTO scores (game_id, player_id, value, created_at, updated_at, version) VALUES (?, ?, ?, ?, ?, ?) "
ENTRY = (
    "INSERT INTO backstay_changes (at, request_id, table_name, key, operation, after) "
    "VALUES (?, 'raw', 'scores', ?, 'create', ?)"
)
Row = tuple[int, int, int]


def rows_of(count: int) -> Iterator[Row]:
    """Yield (game_id, player_id, value)."""
    pick = random.Random(SEED).random
    for _ in range(count):
        yield 1 + int(pick() * GAMES), 1 + int(pick() * USERS), int(pick() * VALUE_MAX)


def write_file(path: Path, count: int) -> None:
    """Write the rows as NDJSON."""
    with path.open("w") as file:
        for game, player, value in rows_of(count):
            file.write(json.dumps({"game_id": game, "player_id": player, "value": value}) + "\n")


def make_database(path: Path) -> None:
    """Make the tables of the app, with games and players."""
    engine = create_sync_engine(f"sqlite:///{path}", write=True)
    app.schema.metadata.create_all(engine)
    engine.dispose()
    connection = open_connection(str(path), write=True)
    make_tables(connection)
    moment = iso_stamp(moment_of(0))
    with connection:
        many = connection.executemany
        users = ((*row, moment, moment, 1) for row in user_rows())
        many("INSERT INTO users (id, username, created_at, updated_at, version) VALUES (?, ?, ?, ?, ?)", users)
        games = ((*row, moment, moment, 1) for row in game_rows())
        many("INSERT INTO games (id, slug, name, created_at, updated_at, version) VALUES (?, ?, ?, ?, ?, ?)", games)
    connection.close()


def raw(path: Path, count: int, *, changes: bool) -> float:
    """Return the seconds of raw `executemany`; making the rows does not count."""
    connection: apsw.Connection = open_file(str(path))
    now = iso_stamp(moment_of(1))
    rows = rows_of(count)
    batches: list[list[tuple[Any, ...]]] = []
    while batch := [(*row, now, now, 1) for row in islice(rows, BATCH)]:
        batches.append(batch)
    entries: list[list[tuple[Any, ...]]] = [[] for _ in batches]
    if changes:
        names = ("game_id", "player_id", "value", "created_at", "updated_at", "version")
        for place, batch in enumerate(batches):
            for number, row in enumerate(batch, place * BATCH + 1):
                after = json.dumps({"id": number, **dict(zip(names, row, strict=True))}, separators=(",", ":"))
                entries[place].append((now, f"[{number}]", after))
    began = time.perf_counter()
    for batch, of_batch in zip(batches, entries, strict=True):
        with connection:
            connection.executemany(INSERT, batch)
            if changes:
                connection.executemany(ENTRY, of_batch)
    seconds = time.perf_counter() - began
    connection.close()
    return seconds


def imported(path: Path, file: Path, *, changes: bool) -> float:
    """Return the seconds of an import."""
    context = Context("import:benchmark")
    rows = Rows(app.catalog().resources["scores"], SqliteDialect(), context)
    began = time.perf_counter()
    sink = SqliteSink(str(path), app.recorded() if changes else (), context)
    with file.open("rb") as stream:
        Import(rows, sink, "benchmark", stream, options=Options(batch=BATCH)).run()
    sink.close(changed=True)
    return time.perf_counter() - began


def measured(way: str, count: int, file: Path, *, changes: bool) -> float:
    """Return the seconds of one way, in this process, into a new file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "bench.db"
        make_database(path)
        return raw(path, count, changes=changes) if way == "raw" else imported(path, file, changes=changes)


def main() -> int:
    """Measure in turns, each in a process of its own, and print medians."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.imports", description=__doc__)
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--one", nargs=3, metavar=("WAY", "CHANGES", "FILE"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        way, changes, file = options.one
        seconds = measured(way, options.rows, Path(file), changes=changes == "changes")
        print(seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1_024)
        return 0
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "scores.ndjson"
        write_file(file, options.rows)
        found: dict[tuple[str, str], list[float]] = {}
        memory = 0.0
        for _ in range(options.rounds):
            for changes in ("changes", "plain"):
                for way in ("raw", "import"):
                    command = [sys.executable, "-m", "benchmarks.imports", "--rows", str(options.rows)]
                    command += ["--one", way, changes, str(file)]
                    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
                    seconds, used = map(float, said.split())
                    found.setdefault((way, changes), []).append(seconds)
                    memory = max(memory, used) if way == "import" else memory
    rate = {key: options.rows / statistics.median(seconds) for key, seconds in found.items()}
    for changes, words in (("changes", "with change entries"), ("plain", "without")):
        fast, ours = rate["raw", changes], rate["import", changes]
        print(f"{words:20}  raw {fast:10,.0f} rows/s  import {ours:10,.0f} rows/s  ratio {ours / fast:.2f}")
    print(f"import with change entries to raw without: {rate['import', 'changes'] / rate['raw', 'plain']:.2f}")
    print(f"largest memory of an import: {memory:.0f} MiB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
