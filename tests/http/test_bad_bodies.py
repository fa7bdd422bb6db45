"""Bodies that are no JSON, or JSON that no column could hold: refused, named, and without effect."""

import json
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from support import hostile_json
from support.databases import DATABASES
from support.hostile import ADMIN, JSON, Target
from support.worlds import WORLD

#: What a body would write if it were taken.
WRITES = [
    ("POST", "/games"),
    ("PATCH", "/games/pong"),
    ("PUT", "/games/pong"),
    ("POST", "/shelves/1,attic/books"),
]
FAMILIES = [
    hostile_json.truncated,
    hostile_json.structure,
    hostile_json.numbers_and_words,
    hostile_json.strings,
    hostile_json.encodings,
    hostile_json.deep,
    hostile_json.twice,
]
Family = Callable[[], Iterator[tuple[str, bytes]]]


@pytest.fixture(scope="module", params=DATABASES)
def target(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    """One app for all of them: what they leave behind would be seen."""
    with Target(WORLD.copied(request.param, tmp_path_factory.mktemp("bodies"))) as opened:
        yield opened


def test_there_are_many_documents() -> None:
    """At least 300, no two alike, and the document that they spoil is a valid one."""
    bodies = [body for family in FAMILIES for _, body in family()]
    assert len(bodies) >= 300
    assert json.loads(hostile_json.TEXT) == hostile_json.VALID


@pytest.mark.parametrize("database", DATABASES)
def test_the_spoilt_document_is_taken(database: str, tmp_path: Path) -> None:
    """Otherwise the refusals would prove nothing."""
    with Target(WORLD.own(database, tmp_path)) as opened:
        answer = opened.send("POST", "/games", body=hostile_json.RAW)
        assert answer.status == 201
        assert answer.data["name"] == hostile_json.VALID["name"]


@pytest.mark.parametrize(("method", "path"), WRITES)
@pytest.mark.parametrize("family", FAMILIES)
def test_a_hostile_document_is_refused(target: Target, family: Family, method: str, path: str) -> None:
    """400 with a complete problem for each; nothing changes, and no failure is logged."""
    for name, body in family():
        answer = target.send(method, path, body=body)
        assert answer.status == 400, f"{name}: {answer.status} {answer.body[:300]!r}"
        problem = target.refuse(answer)
        assert problem["code"] in ("MALFORMED_JSON", "VALIDATION_ERROR"), name
        assert problem["errors"] or problem["code"] == "MALFORMED_JSON", name
    target.unharmed()


@pytest.mark.parametrize("name", [name for name, _ in hostile_json.twice() if "twice" in name])
def test_a_member_twice_is_named(target: Target, name: str) -> None:
    """Whichever of the two a parser would have kept."""
    problem = target.refuse(target.send("POST", "/games", body=dict(hostile_json.twice())[name]))
    assert {error["code"] for error in problem["errors"]} == {"duplicate"}
    assert all(
        error["field"] in ("slug", "name", "price", "released", "owner_id", "x", "a") for error in problem["errors"]
    )


def test_an_unknown_member_is_named_with_the_nearest(target: Target) -> None:
    """The hint is computed from the resource's fields."""
    for wrong, right in (("slgu", "slug"), ("Name", "name"), ("relased", "released"), ("owner", "owner_id")):
        body = json.dumps(hostile_json.VALID | {wrong: 1}).encode()
        problem = target.refuse(target.send("POST", "/games", body=body))
        assert [error["field"] for error in problem["errors"]] == [wrong]
        assert f"'{right}'" in problem["hint"]


def test_nul_in_a_string_is_named(target: Target) -> None:
    """In a text, deep inside a JSON value, and in a name."""
    for path, body, field in (
        ("/games", {"slug": "x", "name": "a\x00b"}, "name"),
        ("/settings", {"name": "x\x00", "value": {}}, "name"),
        ("/settings", {"name": "x", "value": {"a": [1, {"b": "\x00"}]}}, "value.a.1.b"),
        ("/settings", {"name": "x", "value": {"a\x00": 1}}, "value.a"),
    ):
        problem = target.refuse(target.send("POST", path, body=json.dumps(body).encode()))
        assert [error["field"] for error in problem["errors"]] == [field]
    target.unharmed()


#: Values that JSON has and a JSON column must keep or refuse, but never spoil.
JSON_VALUES = [
    b"[" * 60 + b"]" * 60,
    b"[" * 900 + b"]" * 900,
    b'{"a":' * 900 + b"1" + b"}" * 900,
    b"[" * 1_020 + b"]" * 1_020,
    b"1e400",
    b"1e308",
    b"123456789012345678901234567890",
    b'{"n":123456789012345678901234567890}',
    b"[18446744073709551616,-9223372036854775809]",
    b"-9223372036854775808",
    b"18446744073709551615",
    b"0.1e-400",
    b'"\\ud83d\\ude00"',
    b'"\\ud83d"',
    b'"\\u0000"',
    b'{"a":1,"a":2}',
    b'{"a":{"b":1,"b":2}}',
    b"NaN",
    b'"\xff"',
]


@pytest.mark.parametrize("database", DATABASES)
@pytest.mark.parametrize("raw", JSON_VALUES, ids=lambda raw: raw[:24])
def test_a_json_value_is_kept_or_refused(database: str, tmp_path: Path, raw: bytes) -> None:
    """201 and the very same value from every later read, or 400; never a failure, then or later."""
    with Target(WORLD.own(database, tmp_path)) as opened:
        answer = opened.send("POST", "/settings", body=b'{"name":"new","value":' + raw + b"}")
        assert answer.status in (201, 400), answer.body[:300]
        if answer.status == 400:
            opened.unharmed()
            return
        for path, query in (
            ("/settings/new", b""),
            ("/settings", b""),
            ("/settings", b"cursor="),
            ("/settings", b"value[contains]=1"),
        ):
            found = opened.send("GET", path, query)
            assert found.status in (200, 400), found.body[:300]
        kept = opened.send("GET", "/settings/new")
        assert kept.data["name"] == "new"
        # As decimals too: JSONB writes 1e308 with all its digits.
        assert kept.data["value"] == json.loads(raw) or decimals(kept.body)["data"]["value"] == decimals(raw)
        assert opened.log.getvalue() == ""


def decimals(raw: bytes) -> Any:
    """JSON with its numbers as they are, whatever their size."""
    return json.loads(raw, parse_int=Decimal, parse_float=Decimal)


SIZES = [
    ("declared", lambda limit: [(b"content-length", b"%d" % (limit + 1))]),
    ("declared beyond any number", lambda _: [(b"content-length", b"9" * 50)]),
    ("not declared", lambda _: []),
    ("declared wrongly", lambda _: [(b"content-length", b"2")]),
    ("declared as no number", lambda _: [(b"content-length", b"x")]),
    ("declared as a negative number", lambda _: [(b"content-length", b"-1")]),
    ("declared in other digits", lambda _: [(b"content-length", "²".encode("latin-1"))]),
]


@pytest.mark.parametrize(("name", "headers"), SIZES)
def test_a_huge_body_is_413(target: Target, name: str, headers: Callable[[int], list[tuple[bytes, bytes]]]) -> None:
    """Before it is parsed, whatever its length says."""
    limit = target.app.config.body_bytes_max
    body = b'{"slug":"' + b"x" * limit + b'"}'
    for method, path in WRITES:
        answer = target.send(method, path, headers=[JSON, *headers(limit)], body=body)
        assert target.refuse(answer, [413])["code"] == "PAYLOAD_TOO_LARGE"
    target.unharmed()


@pytest.mark.parametrize("chunk", [b" " * 65_536, b"x" * 1_048_577])
def test_a_body_in_many_parts_is_413_at_the_limit(target: Target, chunk: bytes) -> None:
    """No more of it is asked for than the limit allows."""
    asked = 0

    async def receive() -> dict[str, Any]:
        nonlocal asked
        asked += 1
        assert asked < 100, "the body is read without end"
        return {"type": "http.request", "body": chunk, "more_body": True}

    status, body = stream(target, receive)
    assert (status, json.loads(body)["code"]) == (413, "PAYLOAD_TOO_LARGE")
    assert asked <= 1_048_576 // len(chunk) + 1
    target.unharmed()


def test_a_body_that_ends_early_is_refused(target: Target) -> None:
    """A client that goes away in the middle of a valid body has not written."""
    messages = iter(
        [
            {"type": "http.request", "body": hostile_json.RAW, "more_body": True},
            {"type": "http.disconnect"},
        ]
    )

    async def receive() -> Any:
        return next(messages)

    status, _ = stream(target, receive)
    assert 400 <= status < 500
    target.unharmed()


def test_a_client_that_leaves_before_its_body_has_not_written(target: Target) -> None:
    """The very first message may say so."""

    async def receive() -> Any:
        return {"type": "http.disconnect"}

    status, _ = stream(target, receive)
    assert 400 <= status < 500
    target.unharmed()


def stream(target: Target, receive: Any) -> tuple[int, bytes]:
    """A create whose body comes message by message."""
    seen: dict[str, Any] = {"body": b""}

    async def send(message: Any) -> None:
        seen.setdefault("status", message.get("status"))
        seen["body"] += message.get("body", b"")

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/api/v1/games",
        "raw_path": b"/api/v1/games",
        "query_string": b"",
        "headers": [JSON, (b"authorization", ADMIN)],
    }
    target.client.loop.run_until_complete(target.app(scope, receive, send))
    return seen["status"], seen["body"]
