"""Bulk writes: many rows in one request, all or nothing, by the rules of each row."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from support.asgi import Answer, Client, bearer, sync_engine
from support.databases import DATABASES, empty_database
from support.depot import Base, Box, Shelf, depot

SEVEN, EIGHT, ADMIN = bearer("7"), bearer("8"), bearer("1", roles=["admin"])
MOST = 20


@pytest.fixture(params=DATABASES)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A shelf, ten boxes of user 7 and five of user 8."""
    url = empty_database(request.param, tmp_path, Base.metadata)
    engine = sync_engine(url)
    with Session(engine) as session:
        session.add(Shelf(name="one"))
        session.flush()
        session.add_all(Box(shelf_id=1, owner_id=7, label=f"seven {n}", weight=n) for n in range(10))
        session.add_all(Box(shelf_id=1, owner_id=8, label=f"eight {n}", weight=n) for n in range(5))
        session.commit()
    engine.dispose()
    return url


@pytest.fixture
def client(url: str) -> Iterator[Client]:
    """The app, which writes at most twenty rows a request."""
    with Client(depot(url, bulk_max=MOST)) as opened:
        yield opened


def weights(client: Client, owner: str) -> dict[str, int]:
    """The boxes of one owner."""
    return {row["label"]: row["weight"] for row in client.get("/boxes", "limit=100", credential=owner).data}


def entries(client: Client) -> list[tuple[str, str]]:
    """The operations of the change log since the app began, with who made them."""
    found = client.loop.run_until_complete(client.app.changes.after(0, 1_000))
    return [(change.operation, change.actor) for change in found]


def errors(answer: Answer) -> list[tuple[str, str]]:
    """The fields at fault with their codes."""
    return [(error["field"], error["code"]) for error in answer.json["errors"]]


def box(label: str, **more: Any) -> dict[str, Any]:
    """A new box."""
    return {"shelf_id": 1, "label": label, **more}


def test_a_list_with_bad_rows_creates_none_and_names_every_error(client: Client) -> None:
    """By place and field; constraints too, and the one status of the first kind of refusal."""
    bad = [box("a"), box("b", weight=-1), box("c", colour="red"), 5, {"label": "d"}]
    answer = client.post("/boxes", bad, credential=SEVEN)
    assert (answer.status, answer.json["code"]) == (400, "VALIDATION_ERROR")
    assert errors(answer) == [
        ("[1].weight", "greater_than_equal"),
        ("[2].colour", "unknown_field"),
        ("[3]", "malformed"),
        ("[4].shelf_id", "required"),
    ]
    answer = client.post("/boxes", [box("a"), box("a"), box("seven 1"), box("z", shelf_id=99)], credential=SEVEN)
    assert answer.status == 409
    assert errors(answer) == [("[1].label", "unique"), ("[2].label", "unique"), ("[3].shelf_id", "not_found")]
    for body in (b"[]", b"[1", b"[" + b",".join([b"{}"] * (MOST + 1)) + b"]", b'[{"label":NaN}]'):
        assert client.request("POST", "/boxes", body=body, credential=SEVEN).status == 400
    assert client.post("/boxes", [box("a")]).status == 401
    assert client.post("/shelves", [{"name": "two"}], credential=SEVEN).status == 403
    assert len(weights(client, SEVEN)) == 10
    assert entries(client) == []


def test_a_list_creates_its_rows_in_order(client: Client) -> None:
    """Numbers stay exact; each row is recorded; a row alone is created as before."""
    raw = b' [ {"shelf_id":1,"label":"x","price":"0.1000"} , {"shelf_id":1,"label":"y","weight":9007199254740993}]'
    answer = client.request("POST", "/boxes", body=raw, credential=SEVEN)
    assert (answer.status, answer.meta) == (201, {"count": 2})
    assert [(row["label"], row["weight"], row["owner_id"]) for row in answer.data] == [
        ("x", 1, 7),
        ("y", 9007199254740993, 7),
    ]
    assert entries(client) == [("create", "user:7")] * 2
    assert client.post("/boxes", box("alone"), credential=SEVEN).data["label"] == "alone"


def test_writes_without_a_filter_or_beyond_the_limit_are_refused(client: Client) -> None:
    """No parameter means no row, not every row; more than the limit says how many."""
    for method, body in (("PATCH", {"weight": 3}), ("DELETE", None)):
        for query, field in [("", "query"), ("colour=red", "colour"), ("limit=3", "limit"), ("weight=x", "weight")]:
            answer = client.request(method, "/boxes", query, body=body, credential=SEVEN)
            assert (answer.status, errors(answer)[0][0]) == (400, field)
        assert client.request(method, "/boxes", "weight=1", body=body).status == 401
        assert client.request(method, "/shelves", "id=1", body={"name": "x"}, credential=SEVEN).status == 403
    for bad in ({"weight": -1}, {"colour": "red"}, {"owner_id": 8}):
        assert client.request("PATCH", "/boxes", "weight=1", body=bad, credential=SEVEN).status == 400
    client.post("/boxes", [box(f"more {n}") for n in range(MOST)], credential=SEVEN)
    answer = client.request("DELETE", "/boxes", "id[gt]=0", credential=SEVEN)
    assert (answer.status, answer.json["code"]) == (400, "RESULT_TOO_LARGE")
    assert f"{10 + MOST} rows" in answer.json["detail"]
    assert len(weights(client, SEVEN)) == 10 + MOST


def test_a_filter_changes_and_deletes_only_what_the_principal_may(client: Client) -> None:
    """Others' rows are neither changed nor counted, also not where they can be seen."""
    answer = client.request("PATCH", "/boxes", "weight[gte]=3", body={"weight": 100}, credential=SEVEN)
    assert (answer.status, answer.json) == (200, {"data": {"count": 7}})
    assert sorted(weights(client, SEVEN).values()) == [0, 1, 2, *[100] * 7]
    assert sorted(weights(client, EIGHT).values()) == [0, 1, 2, 3, 4]
    assert client.request("PATCH", "/boxes", "id[gt]=0", body={"weight": 5}, credential=ADMIN).data == {"count": 0}
    assert client.request("DELETE", "/boxes", "weight=100", credential=EIGHT).data == {"count": 0}
    assert client.request("DELETE", "/boxes", "or=(weight=100,weight=0)", credential=SEVEN).data == {"count": 8}
    assert len(weights(client, SEVEN)) == 2
    assert len(weights(client, EIGHT)) == 5
    assert entries(client) == [("update", "user:7")] * 7 + [("delete", "user:7")] * 8


def test_a_change_that_one_row_cannot_take_changes_none(client: Client) -> None:
    """All or nothing."""
    answer = client.request("PATCH", "/boxes", "weight[gte]=0", body={"label": "same"}, credential=SEVEN)
    assert (answer.status, answer.json["code"]) == (409, "CONFLICT")
    answer = client.request("DELETE", "/shelves", "name=one", credential=ADMIN)
    assert (answer.status, answer.json["code"]) == (409, "STILL_REFERENCED")
    assert "same" not in weights(client, SEVEN)
    assert entries(client) == []


def test_a_file_creates_its_good_rows_and_reports_the_others(client: Client) -> None:
    """By line; as the caller, whose rules hold: what the server sets is not the file's to set."""
    lines = [box("f1"), box("f2", weight=-1), box("seven 1"), box("f3", owner_id=8), box("f4")]
    body = "\n".join([*map(json.dumps, lines), "{"]).encode()
    answer = send_file(client, body, b"application/x-ndjson")
    assert answer.status == 200, answer.body
    assert {k: v for k, v in answer.data.items() if k != "errors"} == {"rows": 2, "failed": 4}
    assert [(e["line"], e["field"], e["code"]) for e in answer.data["errors"]] == [
        (2, "weight", "greater_than_equal"),
        (3, "label", "unique"),
        (4, "owner_id", "read_only"),
        (6, "row", "malformed"),
    ]
    answer = send_file(client, b"shelf_id,label,weight\r\n1,g1,7\r\n1,g2,x\r\n", b"text/csv; charset=utf-8")
    assert (answer.data["rows"], answer.data["failed"]) == (1, 1)
    assert {"f1", "f4", "g1"} <= weights(client, SEVEN).keys()
    assert entries(client) == [("create", "user:7")] * 3


def test_files_that_cannot_be_are_refused(client: Client) -> None:
    """Another kind of file, columns that are not there, too many rows, nobody."""
    many = b'{"shelf_id":1,"label":"a"}\n' * (MOST + 1)
    for body, media, credential, status in [
        (b"{}", b"application/json", SEVEN, 415),
        (b"label,colour\r\n", b"text/csv", SEVEN, 400),
        (b"", b"text/csv", SEVEN, 400),
        (many, b"application/x-ndjson", SEVEN, 400),
        (b'{"shelf_id":1,"label":"a"}', b"application/x-ndjson", "", 401),
        (b"", b"application/x-ndjson", "", 401),
        (b"{", b"application/x-ndjson", "", 401),
    ]:
        assert send_file(client, body, media, credential).status == status
    assert client.get("/boxes/import", credential=SEVEN).status == 405
    assert entries(client) == []


def send_file(client: Client, body: bytes, media: bytes, credential: str = SEVEN) -> Answer:
    """`POST /boxes/import`."""
    return client.request(
        "POST", "/boxes/import", body=body, credential=credential, headers=[(b"content-type", media)]
    )


@pytest.mark.parametrize("kind", ["list", "change", "delete", "file"])
def test_sent_again_with_its_key_it_has_its_effect_once(client: Client, kind: str) -> None:
    """The answer is that of the first time."""
    method, path, query, body, media = {
        "list": ("POST", "/boxes", "", json.dumps([box("once")]).encode(), b"application/json"),
        "change": ("PATCH", "/boxes", "weight=4", b'{"weight":40}', b"application/json"),
        "delete": ("DELETE", "/boxes", "weight=4", b"", b"application/json"),
        "file": ("POST", "/boxes/import", "", json.dumps(box("once")).encode(), b"application/x-ndjson"),
    }[kind]
    headers = [(b"content-type", media), (b"idempotency-key", b"k1")]
    first, again = (
        client.request(method, path, query, body=body, credential=SEVEN, headers=headers) for _ in range(2)
    )
    assert (first.status, first.body) == (again.status, again.body)
    assert again.headers["idempotency-replayed"] == "true"
    assert len(entries(client)) == 1


def test_the_file_of_an_export_is_no_part_of_a_batch(client: Client) -> None:
    """A batch answers JSON; writes by a filter are parts of it."""
    operations: list[Any] = [{"method": "PATCH", "path": "/boxes?weight=4", "body": {"weight": 44}}]
    answer = client.post("/batch", {"operations": operations}, credential=SEVEN)
    assert answer.data[0]["body"] == {"data": {"count": 1}}
    operations.append({"method": "GET", "path": "/boxes/export"})
    operations[0]["body"]["weight"] = 45
    operations[0]["path"] = "/boxes?weight=44"
    assert client.post("/batch", {"operations": operations}, credential=SEVEN).status == 400
    assert 45 not in weights(client, SEVEN).values()


def test_rows_are_as_they_were_on_disk(client: Client, url: str) -> None:
    """Counted in the database itself."""
    client.request("PATCH", "/boxes", "weight=1", body={"note": "n"}, credential=SEVEN)
    engine = sync_engine(url)
    with engine.connect() as connection:
        query = sa.select(Box.label, Box.version).where(Box.note == "n")
        assert connection.execute(query).all() == [("seven 1", 2)]
    engine.dispose()
