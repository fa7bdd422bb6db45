"""An import that is killed at any moment and resumed imports every row once, and reports every bad one once."""

import json
import random
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from support.asgi import sync_engine
from support.databases import DATABASES, empty_database
from support.depot import Base, Shelf, boxes, command, environment, write_lines

ROWS = {"sqlite": 30_000, "postgresql": 12_000}
KILLS = 5


@pytest.mark.parametrize("database", DATABASES)
def test_every_row_is_there_once_after_kills(database: str, tmp_path: Path) -> None:
    """Killed in the middle of its batches, `--resume` goes on behind the last one that was committed."""
    # Where the machine lets nobody kill it in time, the import gets longer.
    for times in (1, 4, 16):
        place = tmp_path / str(times)
        place.mkdir()
        if _import_under_kills(database, place, ROWS[database] * times) >= 2:
            return
    pytest.fail("it was never killed in the middle")


def _import_under_kills(database: str, place: Path, count: int) -> int:
    """How often the import was killed before it had everything; what must hold then holds."""
    url = empty_database(database, place, Base.metadata)
    engine = sync_engine(url)
    with engine.begin() as connection:
        connection.execute(sa.insert(Shelf).values(id=1, name="one"))
    lines: list[Any] = []
    for number, box in enumerate(boxes(count)):
        # Nothing but the resumption keeps rows without a unique column from coming twice: the log counts them.
        lines.append(box)
        if number % 500 == 0:
            lines.append({**box, "weight": -1})
    file = write_lines(place / "boxes.ndjson", lines)
    report = place / "errors.ndjson"
    line = command(place, "import", str(file), "--to", "boxes", "--batch", "100", "--errors", str(report))
    chance = random.Random(database)
    kills, in_the_middle, arguments = 0, 0, line
    while True:
        running = subprocess.Popen(arguments, cwd=place, env=environment(url), stderr=subprocess.PIPE)
        if kills < KILLS:
            _wait_for_rows(engine, running)
            time.sleep(chance.uniform(0.0, 0.15))
            running.kill()
        _, said = running.communicate(timeout=300)
        arguments = [*line, "--resume"]
        if running.returncode >= 0:
            break
        kills += 1
        in_the_middle += _position(engine) < file.stat().st_size
    assert running.returncode == 1, said
    with engine.connect() as connection:
        assert connection.scalar(sa.text("SELECT count(*) FROM boxes")) == count
        entries = "SELECT count(*), count(DISTINCT key) FROM backstay_changes WHERE table_name = 'boxes'"
        assert tuple(connection.execute(sa.text(entries)).one()) == (count, count)
    engine.dispose()
    said_lines = [json.loads(text)["line"] for text in report.read_text().splitlines()]
    assert len(said_lines) == len(set(said_lines)) == len(lines) - count
    return in_the_middle


def _wait_for_rows(engine: sa.Engine, running: "subprocess.Popen[bytes]") -> None:
    """Until the process has committed something."""
    before = _position(engine)
    deadline = time.monotonic() + 60
    while running.poll() is None and _position(engine) == before and time.monotonic() < deadline:
        time.sleep(0.01)


def _position(engine: sa.Engine) -> int:
    try:
        with engine.connect() as connection:
            return int(connection.scalar(sa.text("SELECT max(position) FROM backstay_imports")) or 0)
    except sa.exc.DBAPIError:
        return 0
