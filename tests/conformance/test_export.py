"""Exports: every row that a list would show, of every page, and nothing else."""

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from support.asgi import Answer, Client, bearer, sync_engine
from support.databases import DATABASES, empty_database
from support.depot import Base, Box, Shelf, backstay, depot

ADMIN = bearer("1", roles=["admin"])
ODD = ['=HYPERLINK("x")', "+1", "-2", "@sum", "\ttab", 'a "quoted", one', "two\r\nlines", "é", ""]


@pytest.fixture(params=DATABASES)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Two shelves, 1,203 boxes of user 7 and one of user 8."""
    url = empty_database(request.param, tmp_path, Base.metadata)
    engine = sync_engine(url)
    with Session(engine) as session:
        session.add_all([Shelf(name="one"), Shelf(name="two")])
        session.flush()
        session.add_all(
            Box(shelf_id=1, owner_id=7, label=f"box {n:04}", weight=n % 10, note=ODD[n] if n < len(ODD) else None)
            for n in range(1_203)
        )
        session.add(Box(shelf_id=2, owner_id=8, label="secret", weight=0))
        session.commit()
    engine.dispose()
    return url


@pytest.fixture
def client(url: str) -> Iterator[Client]:
    """The app."""
    with Client(depot(url, export_max=1_204)) as opened:
        yield opened


def export(client: Client, query: str = "", credential: str | None = None) -> Answer:
    """The answer to an export of boxes."""
    return client.get("/boxes/export", query, credential=bearer("7") if credential is None else credential)


def lines(answer: Answer) -> list[Any]:
    """The rows of NDJSON."""
    assert answer.status == 200, answer.body
    return [json.loads(line) for line in answer.body.splitlines()]


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("format=xml", "format"),
        ("format=csv&format=csv", "format"),
        ("page=2", "page"),
        ("limit=5", "limit"),
        ("cursor=", "cursor"),
        ("colour=red", "colour"),
        ("sort=colour", "sort"),
        ("safe=maybe", "safe"),
        ("format=csv&include=shelf", "include"),
        ("weight=heavy", "weight"),
    ],
)
def test_what_no_list_would_show_is_refused(client: Client, query: str, field: str) -> None:
    """Before a byte is sent."""
    answer = export(client, query)
    assert (answer.status, answer.json["errors"][0]["field"]) == (400, field)


def test_who_may_not_read_gets_nothing(client: Client) -> None:
    """The rules of a list hold: rows of others are not there, and who is nobody has to sign in."""
    assert export(client, credential="").status == client.get("/boxes").status
    assert [row["label"] for row in lines(export(client, credential=bearer("8")))] == ["secret"]
    assert lines(export(client, credential=bearer("9"))) == []
    assert lines(export(client, "owner_id=8")) == []
    assert len(lines(export(client))) == 1_203
    assert len(lines(export(client, credential=ADMIN))) == 1_204


def test_more_than_the_limit_is_refused_with_the_number(url: str) -> None:
    """Nothing is cut off silently."""
    with Client(depot(url, export_max=100)) as client:
        answer = export(client)
        assert (answer.status, answer.json["code"]) == (400, "RESULT_TOO_LARGE")
        assert "1203 rows" in answer.json["detail"]
        assert len(lines(export(client, "weight=3&label[lt]=box 0900"))) == 90


@pytest.mark.parametrize("query", ["", "sort=-weight,label", "weight[gte]=5&sort=note", "fields=label,id&sort=-id"])
def test_it_has_the_rows_of_all_pages_of_the_list(client: Client, query: str) -> None:
    """In the order of the list, each once, in its shape."""
    listed: list[Any] = []
    page = 1
    while True:
        answer = client.get("/boxes", f"{query}&limit=100&page={page}", credential=bearer("7"))
        listed += answer.data
        if not answer.meta["has_next"]:
            break
        page += 1
    assert lines(export(client, query)) == listed


def test_csv_has_a_line_for_each_row_below_the_names(client: Client) -> None:
    """Quoted by RFC 4180; with `safe` no cell is a formula to a spreadsheet."""
    rows = {row["label"]: row for row in lines(export(client))}
    for query, mark in (("format=csv", ""), ("format=csv&safe=true", "'")):
        answer = export(client, query)
        assert answer.headers["content-type"] == "text/csv; charset=utf-8; header=present"
        assert answer.headers["content-disposition"] == 'attachment; filename="boxes.csv"'
        names, *found = list(csv.reader(io.StringIO(answer.body.decode(), newline=""), strict=True))
        assert names == list(rows["box 0000"])
        assert len(found) == len(rows)
        notes = {cells[names.index("label")]: cells[names.index("note")] for cells in found}
        assert notes["box 0000"] == f'{mark}=HYPERLINK("x")'
        assert notes["box 0004"] == f"{mark}\ttab"
        assert notes["box 0002"] == "-2"
        assert notes["box 0005"] == 'a "quoted", one'
        assert notes["box 0006"] == "two\r\nlines"
    empty = export(client, "format=csv&label=none&fields=id,label")
    assert empty.body == b"id,label\r\n"


def test_what_was_exported_can_be_imported(client: Client, url: str, tmp_path: Path) -> None:
    """All columns come back as they were."""
    for form in ("ndjson", "csv"):
        before = lines(export(client, "sort=id&label[ne]=box 0008"))
        answer = export(client, f"format={form}&sort=id&label[ne]=box 0008")
        file = tmp_path / f"boxes.{form}"
        file.write_bytes(answer.body)
        engine = sync_engine(url)
        with engine.begin() as connection:
            connection.execute(sa.delete(Box).where(Box.owner_id == 7))
        engine.dispose()
        done = backstay(url, tmp_path, "import", str(file), "--to", "boxes", "--json")
        assert (done.returncode, json.loads(done.stdout)["rows"]) == (0, 1_202), done.stderr
        assert lines(export(client, "sort=id&label[ne]=box 0008")) == before


def test_the_operator_exports_every_row(client: Client, url: str, tmp_path: Path) -> None:
    """Whatever the rules say; filters, fields and order are those of a URL. What cannot be is one line."""
    for arguments, words in [
        (["bxes"], b"Perhaps you meant 'boxes'"),
        (["boxes", "--format", "xml"], b"must be ndjson or csv"),
        (["boxes", "--query", "colour=red"], b"colour"),
    ]:
        done = backstay(url, tmp_path, "export", *arguments)
        assert (done.returncode, done.stdout, done.stderr.count(b"\n")) == (2, b"", 1)
        assert words in done.stderr
    everything = export(client, "sort=id", credential=ADMIN)
    assert backstay(url, tmp_path, "export", "boxes", "--query", "sort=id").stdout == everything.body
    done = backstay(url, tmp_path, "export", "boxes", "--to", "own.csv", "--query", "owner_id=8&fields=label")
    assert (done.returncode, (tmp_path / "own.csv").read_bytes()) == (0, b"label\r\nsecret\r\n")
