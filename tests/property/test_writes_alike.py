"""Writes: SQLite and PostgreSQL take and refuse the same, in the same words, and then hold the same rows."""

from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

from support.asgi import Client, bearer
from support.databases import DATABASES, number_on
from support.samples import Sample
from support.twins import same_text
from support.world import world
from support.worlds import WORLD

WHO = {"": "", "ada": bearer(1), "bob": bearer(2), "admin": bearer(900, roles=["admin"])}
REFERENCES = st.sampled_from([1, 2, 3, 99, None])
TEXTS = st.sampled_from(["", "a", "new", "𝄞", "x" * 81, "tab\there", "null", None])
#: Resource to its keys, and its fields with values that it takes or refuses.
FIELDS: dict[str, tuple[list[str], dict[str, st.SearchStrategy[Any]]]] = {
    "games": (
        ["tetris", "pong", "empty", "nope"],
        {
            "slug": st.sampled_from(["tetris", "pong", "fresh", "fresh-2", "Bad Slug", None]),
            "name": TEXTS,
            "price": st.sampled_from(["1.50", 2, 0.1, "0.001", "999999.99", "1000000", "-0.00", None]),
            "released": st.sampled_from(["2026-02-28", "2026-02-30", "0001-01-01", None]),
            "owner_id": REFERENCES,
        },
    ),
    "scores": (
        ["1", "2", "5", "99", "x"],
        {"game_id": REFERENCES, "value": st.sampled_from([0, 5, -1, 2**63 - 1, 2**63, 1.5, None]), "note": TEXTS},
    ),
    "tags": (["1", "4", "99"], {"label": st.sampled_from(["classic", "sport", "new", "newer", "", None])}),
    "comments": (
        ["1", "5", "6", "99"],
        {"body": TEXTS, "game_id": REFERENCES, "author_id": REFERENCES, "parent_id": REFERENCES},
    ),
    "payments": (
        ["1"],
        {"payer_id": REFERENCES, "amount": st.sampled_from(["0.0001", "99999999999.9999", "1e3", "0.00001"])},
    ),
    "shelves": (
        ["1,attic", "2,attic", "9,x"],
        {"user_id": REFERENCES, "place": st.sampled_from(["attic", "cellar", "", None]), "title": TEXTS},
    ),
    "books": (
        ["111", "444", "nope"],
        {
            "isbn": st.sampled_from(["111", "555", "666", None]),
            "user_id": REFERENCES,
            "place": st.sampled_from(["attic", "nowhere", None]),
        },
    ),
    "settings": (
        ["theme", "aggregate", "nope"],
        {
            "name": st.sampled_from(["theme", "new", "newer"]),
            "value": st.sampled_from([{}, {"b": 1, "a": [0.5]}, None]),
        },
    ),
}


#: A method, a path, a body and who asks.
Write = tuple[str, str, Any, str]


@st.composite
def writes(draw: st.DrawFn) -> Write:
    """A write that may be taken, or refused for any reason."""
    resource = draw(st.sampled_from(sorted(FIELDS)))
    keys, fields = FIELDS[resource]
    method = draw(st.sampled_from(["POST", "POST", "PATCH", "PUT", "DELETE"]))
    path = f"/{resource}" if method == "POST" else f"/{resource}/{draw(st.sampled_from(keys))}"
    if resource == "scores" and method == "POST" and draw(st.booleans()):
        path = draw(st.sampled_from(["/games/tetris/scores", "/games/nope/scores"]))
    names = draw(st.lists(st.sampled_from(sorted(fields)), unique=True)) if method == "PATCH" else sorted(fields)
    dropped = draw(st.sampled_from([None, None, None, *sorted(fields)]))
    body = {name: draw(fields[name]) for name in names if name != dropped}
    return method, path, None if method == "DELETE" else body, draw(st.sampled_from(sorted(WHO)))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the file is."""
    return tmp_path_factory.mktemp("writes")


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(asked=st.lists(writes(), min_size=1, max_size=6))
def test_writes_are_taken_and_refused_alike(folder: Path, asked: list[Write]) -> None:
    """The same status and bytes of every write, and then of every list that it could have changed."""
    note(repr(asked))
    with ExitStack() as stack:
        pair = [stack.enter_context(Client(world(WORLD.own(name, folder), sample=Sample))) for name in DATABASES]
        for method, path, body, who in asked:
            answers = [client.request(method, path, body=body, credential=WHO[who]) for client in pair]
            assert same_text(answers[0].body) == same_text(answers[1].body)
            assert answers[0].status == answers[1].status
            assert answers[0].status < 500
            # PostgreSQL does not give a number again that a refused or deleted row had.
            number_on(pair[1].app.config.database_url)
        for resource in (*FIELDS, "users", "samples"):
            found = [client.get(f"/{resource}", "limit=100", credential=WHO["admin"]) for client in pair]
            assert same_text(found[0].body) == same_text(found[1].body)
