"""The checks before a measurement: the right answers pass, each kind of wrong answer is named."""

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import apsw
import pytest
from benchmarks import checks, data
from benchmarks.database import SQLiteFile
from benchmarks.process import ServerError
from benchmarks.target import Target
from benchmarks.workload import GAMES, PAGE_ROWS, Request, creates, rest_requests

STAMPS = {"created_at": "t", "updated_at": "t", "version": 1}
Spoil = Callable[[str, Any], Any]


def game(number: int) -> dict[str, Any]:
    """Return a game as a server shows it."""
    return {"id": number, "slug": f"game-{number:03d}", "name": "x", **STAMPS}


class FakeServer:
    """Answers like a right server, except for what `spoil` changes."""

    name = "fake"
    port = 0

    def __init__(self, database: Path, tops: dict[int, list[int]], spoil: Spoil) -> None:
        self.tops, self.spoil = tops, spoil
        self.connection = apsw.Connection(str(database))
        self.connection.execute("create table scores (value)")

    def exchange(self, _port: int, raw: bytes) -> tuple[int, bytes, bytes]:
        """Answer one request."""
        method, path = raw.split(b" ")[:2]
        status, body = self.answer(method.decode(), path.decode(), raw)
        return status, b"HTTP/1.1\r\nContent-Type: application/json", json.dumps(body).encode()

    def answer(self, method: str, path: str, raw: bytes) -> tuple[int, Any]:
        """Return status and body."""
        if method == "POST":
            signed = any(f"Bearer {r.token}\r\n".encode() in raw for r in rest_requests()["C"][:1])
            if not self.spoil("signed", signed):
                return 401, {}
            number, player, value = creates()[0]
            for _ in range(self.spoil("stored", 1)):
                self.connection.execute("insert into scores values (1)")
            row = {"id": 1, "game_id": number, "player_id": player, "value": value, **STAMPS}
            return 201, {"data": self.spoil("C", row)}
        if path.startswith("/api/v1/games/"):
            return 200, {"data": self.spoil("A", game(int(path.rpartition("/")[2])))}
        if path.startswith("/api/v1/games"):
            page = int(path.partition("page=")[2].partition("&")[0])
            rows = [game((page - 1) * PAGE_ROWS + number) for number in range(1, PAGE_ROWS + 1)]
            return 200, self.spoil("D", {"data": rows, "meta": {"total": GAMES}})
        if path.startswith("/api/v1/scores"):
            number = int(path.partition("game_id=")[2].partition("&")[0])
            rows = [
                {"id": at, "game_id": number, "player_id": at, "value": value, **STAMPS}
                | {"player": {"id": at, "username": "u"}}
                for at, value in enumerate(self.tops[number])
            ]
            return 200, self.spoil("B", {"data": rows, "meta": {}})
        return 200, {"status": "ok"}


@pytest.fixture(scope="module")
def tops() -> dict[int, list[int]]:
    """The expected best values."""
    return data.top_values()


@pytest.fixture
def verify(tmp_path: Path, tops: dict[int, list[int]], monkeypatch: pytest.MonkeyPatch) -> Callable[[Spoil], None]:
    """Return a function that checks a server spoilt in one way."""

    def run(spoil: Spoil) -> None:
        database = tmp_path / "fake.sqlite"
        monkeypatch.setattr("benchmarks.workload.token", lambda *_: "h.p.signature")
        requests = rest_requests()
        server = FakeServer(database, tops, spoil)
        monkeypatch.setattr(checks, "exchange", server.exchange)
        target = Target("fake", "Fake", SQLiteFile(database), lambda port: [str(port)], requests)
        checks.verify(target, server, tops)  # type: ignore[arg-type]

    return run


def at(where: str, change: Callable[[Any], Any]) -> Spoil:
    """Return a spoiler that changes one kind of answer."""

    def spoil(name: str, value: Any) -> Any:
        return change(copy.deepcopy(value)) if name == where else value

    return spoil


def without_last_row(body: Any) -> Any:
    """Drop a row."""
    body["data"].pop()
    return body


def with_total(body: Any) -> Any:
    """Claim another total."""
    body["meta"]["total"] = 20
    return body


def with_other_player(body: Any) -> Any:
    """Nest the wrong player."""
    body["data"][3]["player"]["id"] = 999
    return body


def test_right_answers_pass(verify: Callable[[Spoil], None]) -> None:
    """A server that answers what the data says may be measured."""
    verify(lambda _name, value: value)


@pytest.mark.parametrize(
    ("spoil", "named"),
    [
        (at("A", lambda row: row | {"slug": "game-000"}), "case A: slug"),
        (at("A", lambda row: row | {"secret": 1}), "case A: fields"),
        (at("B", without_last_row), "case B: values"),
        (at("B", with_other_player), "case B: player"),
        (at("B", lambda body: {**body, "data": body["data"][::-1]}), "case B: values"),
        (at("C", lambda row: row | {"player_id": 9_999}), "case C: player"),
        (at("D", with_total), "case D: total"),
        (at("signed", lambda _signed: True), "without a valid token"),
        (at("stored", lambda _rows: 0), "rows stored"),
    ],
)
def test_wrong_answer_is_refused_and_named(verify: Callable[[Spoil], None], spoil: Spoil, named: str) -> None:
    """A server that cuts a corner is not measured."""
    with pytest.raises(ServerError, match=named):
        verify(spoil)


def test_request_is_rendered_with_its_length() -> None:
    """The body's length is in the head, and the token where servers look for it."""
    raw = Request("POST", "/x", "t", {"value": 1}).render()
    head, _, body = raw.partition(b"\r\n\r\n")
    assert head.split(b"\r\n")[0] == b"POST /x HTTP/1.1"
    assert b"Content-Length: %d" % len(body) in head
    assert b"Authorization: Bearer t" in head
