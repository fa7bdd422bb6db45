"""Cursors that nobody was given: refused by name, whatever they hold."""

import base64
import json
import random
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest

from support.databases import DATABASES
from support.hostile import Target, fields_of
from support.worlds import WORLD

LISTS = ["/scores", "/games/tetris/scores"]


@pytest.fixture(scope="module", params=DATABASES)
def target(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    """One app, checked after each test."""
    with Target(WORLD.copied(request.param, tmp_path_factory.mktemp("cursors"))) as opened:
        yield opened


@pytest.fixture(autouse=True)
def harmless(target: Target) -> Iterator[None]:
    """Whatever was sent, nothing changed and nothing failed."""
    yield
    target.unharmed()


def cursor_of(payload: str | bytes) -> str:
    """A cursor's text with any content."""
    raw = payload if isinstance(payload, bytes) else payload.encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def content_of(cursor: str) -> list[Any]:
    """What a cursor holds."""
    return json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))


def bad_cursors(digest: str) -> Iterator[str]:
    """Cursors that nobody was given for `sort=-value,id`."""
    noise = random.Random(7)
    for length in (1, 2, 3, 4, 8, 16, 64, 600):
        yield cursor_of(noise.randbytes(length))
        yield quote(noise.randbytes(length).decode("latin-1"))
    yield from ("x", "null", "1", "-1", "[]", "%20", "====", "a=b", "é", "AAAA", "A", "x" * 5_000, "..", "%2B%2F")
    for rest in (
        "", "0", "0,1", "0,1,2,3", "0,1,2,null", "2,1,2", "-1,1,2", '"0",1,2', "null,1,2", "0,[1],2", '0,{"a":1},2',
        "0,null,null", "0,1,null", '0,"x",2', '0,1,"x"', "0,1.5,2", "0,true,2", "0,9223372036854775808,2",
        "0,-9223372036854775809,2", f"0,{10**40},2", r'0,"\u0000",2', f'0,"{"9" * 1000}",2', '0,"",2', "0,1e999,2",
        r'0,"\ud800",2', "0,NaN,2", "[0],1,2", "true,1,2", "0.0,1,2",
    ):  # fmt: skip
        yield cursor_of(f'["{digest}",{rest}]')
    for first in ('"other"', '""', "null", "0", f'["{digest}"]', f'"{digest}x"', f'"{digest.upper()} "'):
        yield cursor_of(f"[{first},0,1,2]")
    for raw in ("[]", "{}", "1", '"x"', "null", "[" * 500, "[" * 900 + "]" * 900):
        yield cursor_of(raw)


@pytest.mark.parametrize("path", LISTS)
def test_a_cursor_that_nobody_was_given_is_refused(target: Target, path: str) -> None:
    """Random bytes, other types, too many or too few values, nulls where there are none, another order's."""
    query = "sort=-value,id&limit=1"
    given = target.send("GET", path, f"{query}&cursor=").meta["next_cursor"]
    digest = content_of(given)[0]
    taken: list[str] = []
    for cursor in bad_cursors(digest):
        answer = target.send("GET", path, f"{query}&cursor={cursor}")
        if answer.status == 200:
            taken.append(cursor)
            continue
        problem = target.refuse(answer)
        assert fields_of(problem) == ["cursor"] or problem["code"] == "MALFORMED_REQUEST"
    assert [content_of(cursor)[1:] for cursor in taken] == []


@pytest.mark.parametrize("sort", ["", "value,id", "-value", "-value,-id", "note", "-player.rank,id"])
def test_a_cursor_of_another_order_or_resource_is_refused(target: Target, sort: str) -> None:
    """The message says so."""
    given = target.send("GET", "/scores", "sort=-value,id&limit=1&cursor=").meta["next_cursor"]
    query = f"limit=1&cursor={given}" + (f"&sort={sort}" if sort else "")
    problem = target.refuse(target.send("GET", "/scores", query))
    assert fields_of(problem) == ["cursor"]
    assert "another" in problem["errors"][0]["message"]
    given = target.send("GET", "/users", "limit=1&cursor=").meta["next_cursor"]
    target.refuse(target.send("GET", "/scores", f"limit=1&cursor={given}"))


@pytest.mark.parametrize("path", ["/samples"])
def test_a_spoilt_cursor_is_refused_for_every_kind(target: Target, path: str) -> None:
    """The values of a cursor are read as its columns' kinds; what they cannot be is refused."""
    for column in ("small", "big", "real", "money", "moment", "local", "day", "hour", "token", "flag", "color"):
        query = f"sort={column}&limit=1"
        given = target.send("GET", path, f"{query}&cursor=").meta["next_cursor"]
        digest, backward, _, key = content_of(given)
        for value in ("", "x", "\x00", "9" * 50, "1e999", "NaN", "2026-02-30", 1e308, 10**30, "𝄞"):
            answer = target.send(
                "GET", path, f"{query}&cursor={cursor_of(json.dumps([digest, backward, value, key]))}"
            )
            if answer.status == 400:
                assert fields_of(target.refuse(answer)) == ["cursor"]
            else:
                assert answer.status == 200, (column, value, answer.body)
