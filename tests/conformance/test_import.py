"""`backstay import`: every good row of a file is there once, recorded, and every bad one is reported."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest
import sqlalchemy as sa

from support.asgi import sync_engine
from support.databases import DATABASES, Filled, dump
from support.depot import Base, Box, Shelf, backstay, boxes, write_lines

Run = Callable[..., "CompletedProcess[bytes]"]


def fill(engine: sa.Engine) -> None:
    """One shelf."""
    Base.metadata.create_all(engine)
    with engine.begin() as connection:
        connection.execute(sa.insert(Shelf).values(id=1, name="one"))


DEPOT = Filled("depot", fill)


@pytest.fixture(params=DATABASES)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A database with a shelf."""
    return DEPOT.copied(request.param, tmp_path)


@pytest.fixture
def run(url: str, tmp_path: Path) -> Run:
    """Runs `backstay import` of a file into boxes."""

    def run(*arguments: str, to: str = "boxes", given: bytes = b"") -> "CompletedProcess[bytes]":
        return backstay(url, tmp_path, "import", *arguments, "--to", to, given=given)

    return run


def rows(url: str, *columns: Any) -> list[tuple[Any, ...]]:
    """What boxes there are, by their labels."""
    engine = sync_engine(url)
    with engine.connect() as connection:
        found = connection.execute(sa.select(*(columns or (Box.label, Box.weight))).order_by(Box.label)).all()
    engine.dispose()
    return [tuple(row) for row in found]


def changes(url: str) -> list[tuple[Any, ...]]:
    """Whose changes of boxes the log has, and how many."""
    query = "SELECT request_id, actor, operation, count(*) FROM backstay_changes"
    engine = sync_engine(url)
    with engine.connect() as connection:
        found = connection.exec_driver_sql(
            f"{query} WHERE table_name = 'boxes' GROUP BY request_id, actor, operation"
        ).all()
    engine.dispose()
    return [tuple(row) for row in found]


BAD: list[Any] = [
    {"shelf_id": 1, "owner_id": 7, "label": "good 1"},
    {"shelf_id": 9, "owner_id": 7, "label": "no shelf"},
    {"shelf_id": 1, "owner_id": 7, "label": "good 1"},
    {"shelf_id": 1, "owner_id": 7, "label": "light", "weight": -1},
    {"shelf_id": 1, "label": "nobody's", "colour": "red"},
    '{"shelf_id": 1, "owner_id": 7, "label": "twice", "label": "again"}',
    '{"shelf_id": 1, "owner_id": 7, "label": "nul\\u0000"}',
    "[1]",
    "{",
    "",
    {"shelf_id": 1, "owner_id": 7, "label": "good 2", "note": "last"},
]
REPORT = {
    (2, "shelf_id", "not_found"),
    (3, "label", "unique"),
    (4, "weight", "greater_than_equal"),
    (5, "owner_id", "required"),
    (5, "colour", "unknown_field"),
    (6, "label", "duplicate"),
    (7, "label", "invalid_value"),
    (8, "body", "dict_type"),
    (9, "body", "json_invalid"),
}


@pytest.mark.parametrize("batch", ["1", "3", "1000"])
def test_refused_rows_are_reported_one_by_one_and_the_others_are_there(
    url: str, run: Run, tmp_path: Path, batch: str
) -> None:
    """Line, field and code of each error, in the order of lines, whatever the batches; the exit code is 1."""
    file = write_lines(tmp_path / "boxes.ndjson", BAD)
    report = tmp_path / "errors.ndjson"
    done = run(str(file), "--errors", str(report), "--batch", batch, "--json")
    assert done.returncode == 1, done.stderr
    said = [json.loads(line) for line in report.read_text().splitlines()]
    assert {(e["line"], e["field"], e["code"]) for e in said} == REPORT
    assert [e["line"] for e in said] == sorted(e["line"] for e in said)
    assert rows(url) == [("good 1", 1), ("good 2", 1)]
    outcome = json.loads(done.stdout)
    assert (outcome["rows"], outcome["failed"]) == (2, 8)


def test_what_cannot_begin_changes_nothing(url: str, run: Run, tmp_path: Path) -> None:
    """A file, a resource, a format or a header that is not there is one line that says so."""
    before = dump(url)
    file = write_lines(tmp_path / "boxes.ndjson", boxes(1))
    headed = tmp_path / "boxes.csv"
    headed.write_text("shelf_id,colour\n1,red\n")
    for arguments, to, words in [
        (["nowhere.ndjson"], "boxes", b"Cannot read nowhere.ndjson"),
        ([str(file)], "bxes", b"Perhaps you meant 'boxes'"),
        ([str(file), "--format", "xml"], "boxes", b"write ndjson or csv"),
        ([str(headed)], "boxes", b"colour: is not a field"),
        (["-", "--resume"], "boxes", b"A stream cannot be resumed"),
    ]:
        done = run(*arguments, to=to)
        assert (done.returncode, done.stderr.count(b"\n")) == (2, 1), done.stderr
        assert words in done.stderr
    assert rows(url) == []
    assert [row for row in dump(url) if row[0] in ("boxes", "shelves")] == [
        row for row in before if row[0] in ("boxes", "shelves")
    ]


def test_a_dry_run_says_what_would_be_and_leaves_nothing(url: str, run: Run, tmp_path: Path) -> None:
    """Errors of constraints across batches are among them."""
    file = write_lines(tmp_path / "boxes.ndjson", [*boxes(5), *boxes(1)])
    done = run(str(file), "--dry-run", "--batch", "2", "--json")
    outcome = json.loads(done.stdout)
    assert (done.returncode, outcome["rows"], outcome["failed"]) == (1, 5, 1)
    assert rows(url) == changes(url) == []
    assert run(str(file)).returncode == 1
    assert len(rows(url)) == 5


def test_it_stops_at_so_many_errors_and_goes_on_from_there(url: str, run: Run, tmp_path: Path) -> None:
    """Without --resume it does not begin again by itself."""
    file = write_lines(tmp_path / "boxes.ndjson", [*boxes(2), "{", *boxes(2, first=3)])
    done = run(str(file), "--batch", "1", "--max-errors", "1")
    assert done.returncode == 1
    assert b"stopped" in done.stdout
    assert len(rows(url)) == 2
    refused = run(str(file))
    assert refused.returncode == 2
    assert b"stopped at line 4: add --resume" in refused.stderr
    assert run(str(file), "--resume").returncode == 1
    assert len(rows(url)) == 4


def test_another_file_is_not_resumed(url: str, run: Run, tmp_path: Path) -> None:
    """What came before the place must be what was imported; a file that has grown is the same one."""
    file = write_lines(tmp_path / "boxes.ndjson", boxes(2))
    assert run(str(file)).returncode == 0
    write_lines(file, boxes(3))
    assert run(str(file), "--resume").returncode == 0
    assert len(rows(url)) == 3
    write_lines(file, [{"label": "other"}, *boxes(3)])
    done = run(str(file), "--resume")
    assert done.returncode == 2
    assert b"not the one" in done.stderr
    assert len(rows(url)) == 3


def test_every_row_is_recorded_as_the_imports(url: str, run: Run, tmp_path: Path) -> None:
    """One entry for each row, under the request id that the command names, of no actor."""
    file = write_lines(tmp_path / "boxes.ndjson", boxes(7))
    done = run(str(file), "--batch", "2", "--json")
    assert changes(url) == [(json.loads(done.stdout)["request_id"], None, "create", 7)]


def test_keys_go_on_behind_those_that_were_given(url: str, run: Run, tmp_path: Path) -> None:
    """The operator may give keys and what the server sets; the next row gets a key of its own."""
    first = [{"id": 40, "created_at": "2020-01-01T00:00:00Z", "version": 3, **box} for box in boxes(1)]
    file = write_lines(tmp_path / "boxes.ndjson", [*first])
    assert run(str(file)).returncode == 0
    assert run("-", given=json.dumps(boxes(1, first=2)[0]).encode()).returncode == 0
    found = rows(url, Box.label, Box.id, Box.version, sa.func.extract("year", Box.created_at))
    assert [(label, key, version, year == 2020) for label, key, version, year in found] == [
        ("box 1", 40, 3, True),
        ("box 2", 41, 1, False),
    ]


def test_cells_of_csv_are_what_their_columns_say(url: str, run: Run, tmp_path: Path) -> None:
    """Quotes, lines within cells, empty cells and a byte order mark; a bad cell is its row's alone."""
    file = tmp_path / "boxes.csv"
    lines = [
        "\ufeffshelf_id,owner_id,label,weight,price,note,tags,fragile",
        '1,7,"a ""big"" one",3,12.5000,"two\r\nlines","[""x"",""y""]",true',
        "1,7,plain,,,,,",
        "1,7,heavy,many,,,,",
        "1,7,short",
        "1,7,last,0,-1.5,,[],0",
    ]
    file.write_text("\r\n".join(lines) + "\r\n", newline="")
    done = run(str(file))
    assert done.returncode == 1
    assert b"line 5: weight: " in done.stderr
    assert b"line 6: row: has 3 cells and the header 8." in done.stderr
    found = rows(url, Box.label, Box.weight, Box.price, Box.note, Box.tags, Box.fragile)
    assert [(a, b, None if c is None else float(c), *rest) for a, b, c, *rest in found] == [
        ('a "big" one', 3, 12.5, "two\r\nlines", ["x", "y"], True),
        ("last", 0, -1.5, None, [], False),
        ("plain", 1, None, None, None, False),
    ]


def test_rows_of_any_fields_in_one_file(url: str, run: Run, tmp_path: Path) -> None:
    """Each row names what it has; the others get their defaults."""
    extra: list[dict[str, Any]] = [{}, {"note": "n"}, {"price": "1.5"}, {"fragile": True}, {"tags": ["a"]}]
    file = write_lines(tmp_path / "boxes.ndjson", [{**box, **extra[n % 5]} for n, box in enumerate(boxes(50))])
    assert run(str(file), "--batch", "20").returncode == 0
    assert len(rows(url)) == 50
    assert sum(row[0] == "n" for row in rows(url, Box.note)) == 10


@pytest.mark.alone
def test_an_import_is_fast_and_small(tmp_path: Path) -> None:
    """20,000 rows a second with their change entries would be 1 s here; ten times that is a mistake, not noise."""
    url = DEPOT.copied("sqlite", tmp_path)
    file = write_lines(tmp_path / "boxes.ndjson", boxes(20_000))
    began = time.monotonic()
    done = backstay(url, tmp_path, "import", str(file), "--to", "boxes")
    assert done.returncode == 0, done.stderr
    assert time.monotonic() - began < 10
    assert len(rows(url)) == 20_000
