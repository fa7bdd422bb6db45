"""API keys: what they cannot do first, then what they are good for, on both databases."""

import asyncio
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from backstay.auth.api_keys import KEYS_MAX
from backstay.auth.roles import grant_role, set_role
from backstay.schema.base import utc_now
from support.asgi import Answer
from support.databases import DATABASES
from support.people import PASSWORD, People, people, people_app


@pytest.fixture(params=DATABASES)
def client(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[People]:
    """The app on each database."""
    with people(request.param, tmp_path) as opened:
        yield opened


def make(client: People, credential: str, *scopes: str, **more: Any) -> Answer:
    """Make a key."""
    return client.post("/auth/keys", {"name": "ci", "scopes": scopes or ("*",), **more}, credential=credential)


def key_of(client: People, credential: str, *scopes: str, **more: Any) -> str:
    """The Authorization header of a new key."""
    made = make(client, credential, *scopes, **more)
    assert made.status == 201, made.body
    return "Bearer " + made.data["key"]


def write(client: People, credential: str) -> Answer:
    """Write a note."""
    return client.post("/notes", {"text": "by key"}, credential=credential)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"scopes": ["*"]}, "name"),
        ({"name": "", "scopes": ["*"]}, "name"),
        ({"name": "x" * 101, "scopes": ["*"]}, "name"),
        ({"name": "ci"}, "scopes"),
        ({"name": "ci", "scopes": []}, "scopes"),
        ({"name": "ci", "scopes": ["notes"]}, "scopes"),
        ({"name": "ci", "scopes": ["notes:delete"]}, "scopes"),
        ({"name": "ci", "scopes": ["notes:read notes:write"]}, "scopes"),
        ({"name": "ci", "scopes": ["é:read"]}, "scopes"),
        ({"name": "ci", "scopes": [f"n{n}:read" for n in range(60)]}, "scopes"),
        ({"name": "ci", "scopes": ["*"], "expires_at": "2020-01-01T00:00:00Z"}, "expires_at"),
        ({"name": "ci", "scopes": ["*"], "expires_at": "2099-01-01T00:00:00"}, "expires_at"),
        ({"name": "ci", "scopes": ["*"], "user_id": 2}, "user_id"),
    ],
)
def test_bad_keys_are_not_made(client: People, body: dict[str, Any], field: str) -> None:
    """Each is told with its field."""
    answer = client.post("/auth/keys", body, credential=client.signed_in("ada@example.org"))
    assert answer.status == 400, answer.body
    assert {e["field"].partition(".")[0] for e in answer.json["errors"]} == {field}
    assert client.run(sa.select(client.accounts().tables.api_keys)) == []


def test_nobody_makes_keys_without_signing_in(client: People) -> None:
    """Neither who is anonymous nor who has only a key."""
    key = key_of(client, client.signed_in("ada@example.org"))
    assert make(client, "").json["code"] == "UNAUTHENTICATED"
    for method, path, body in (
        ("POST", "/auth/keys", {"name": "more", "scopes": ["*"]}),
        ("GET", "/auth/keys", None),
        ("DELETE", "/auth/keys/1", None),
        ("GET", "/auth/sessions", None),
        ("POST", "/auth/logout-all", None),
        ("POST", "/auth/password", {"current_password": PASSWORD, "new_password": "another fine phrase"}),
        ("POST", "/auth/email", {"email": "eve@example.org", "password": PASSWORD}),
        ("POST", "/auth/me/delete", {"password": PASSWORD}),
    ):
        answer = client.request(method, path, body=body, credential=key)
        assert (answer.status, answer.json["code"]) == (403, "FORBIDDEN"), path
    assert client.me(key).data["email"] == "ada@example.org"


def test_keys_that_are_none_are_refused(client: People) -> None:
    """Changed, cut, of another prefix; in either header."""
    key = key_of(client, client.signed_in("ada@example.org")).removeprefix("Bearer ")
    other = key_of(client, client.signed_in("bob@example.org")).removeprefix("Bearer ")
    bad = [key[:-1], key + "A", key[:-1] + ("A" if key[-1] != "A" else "B"), key.upper(), "bsk_", "bsk_\xe9"]
    bad += [other[:16] + key[16:], key.replace("bsk_", "bsk_0"), "bsk_" + "0" * 12 + key[16:]]
    for wrong in bad:
        for name, value in ((b"authorization", f"Bearer {wrong}"), (b"x-api-key", wrong)):
            answer = client.get("/people", more=[(name, value.encode("latin-1"))])
            assert (answer.status, answer.json["code"]) == (401, "INVALID_TOKEN"), value
    token = client.signed_in("eve@example.org").removeprefix("Bearer ")
    assert client.get("/people", more=[(b"x-api-key", token.encode())]).status == 401
    assert client.get("/people", more=[(b"x-api-key", key.encode())]).status == 200


def test_a_key_ends(client: People) -> None:
    """When it is revoked, when it expires, and with its user; another's cannot be revoked."""
    mine, other = client.signed_in("ada@example.org"), client.signed_in("bob@example.org")
    keys = [key_of(client, mine) for _ in range(3)]
    assert [client.me(key).status for key in keys] == [200] * 3
    numbers = [row["id"] for row in client.get("/auth/keys", credential=mine).data]
    assert client.request("DELETE", f"/auth/keys/{numbers[2]}", credential=other).status == 404
    assert client.request("DELETE", f"/auth/keys/{numbers[2]}", credential=mine).status == 204
    assert client.request("DELETE", f"/auth/keys/{numbers[2]}", credential=mine).status == 404
    assert [client.me(key).status for key in keys] == [401, 200, 200]
    client.change(1, disabled_at=utc_now())
    assert [client.me(key).status for key in keys] == [401] * 3
    client.change(1, disabled_at=None)
    table = client.accounts().tables.api_keys
    client.run(sa.update(table).values(expires_at=utc_now() - timedelta(seconds=1)))
    assert [client.me(key).status for key in keys] == [401] * 3


def test_an_expired_key_is_not_kept(client: People) -> None:
    """What a process remembers of a key ends with it."""
    mine = client.signed_in("ada@example.org")
    soon = utc_now() + timedelta(seconds=0.6)
    key = key_of(client, mine, expires_at=soon.isoformat())
    assert client.me(key).status == 200
    client.loop.run_until_complete(asyncio.sleep(0.7))
    assert client.me(key).status == 401


def test_other_processes_hear_of_a_revoked_key(client: People) -> None:
    """Within the time that they may trust what they know."""
    mine = client.signed_in("ada@example.org")
    key = key_of(client, mine)
    with People(people_app(client.app.config.database_url, revocation_check_ms=0)) as other:
        assert other.me(key).status == 200
        client.request("DELETE", "/auth/keys/1", credential=mine)
        assert other.me(key).status == 401


def test_scopes_narrow(client: People) -> None:
    """A key does what its scopes and its user's rules allow, never more."""
    mine = client.signed_in("ada@example.org")
    read, other, all_ = (key_of(client, mine, scope) for scope in ("notes:read", "people:*", "*"))
    refused = write(client, read)
    assert (refused.status, refused.json["code"]) == (403, "INSUFFICIENT_SCOPE")
    assert write(client, other).status == 403
    assert write(client, all_).data["author_id"] == 1
    assert write(client, key_of(client, mine, "notes:write")).status == 201
    assert client.get("/notes", credential=read).meta["total"] == 2
    assert client.get("/people", credential=read).status == 403
    assert client.request("DELETE", "/notes/1", credential=all_).status in (403, 404), "its user may not either"


def test_roles_are_the_users(client: People) -> None:
    """As they are now."""
    mine = client.signed_in("ada@example.org")
    key = key_of(client, mine)
    note = write(client, key).data["id"]
    tables = client.accounts().tables

    async def promoted() -> None:
        async with client.app.transaction() as session:
            await set_role(session, tables, "moderator", ["notes.moderate"])
            await grant_role(session, tables, 1, "moderator")

    client.loop.run_until_complete(promoted())
    assert client.me(key).data["roles"] == ["moderator"]
    assert client.request("DELETE", f"/notes/{note}", credential=key).status == 204


def test_a_key_is_shown_once(client: People) -> None:
    """Not in the list, not in the table, not in an event; its last use is kept."""
    mine = client.signed_in("ada@example.org")
    made = make(client, mine, "notes:read")
    assert made.headers["cache-control"] == "no-store"
    key = made.data["key"]
    [shown] = client.get("/auth/keys", credential=mine).data
    assert (shown["name"], shown["scopes"], shown["used_at"]) == ("ci", ["notes:read"], None)
    assert key.startswith(shown["prefix"])
    for _ in range(3):
        assert client.me(f"Bearer {key}").status == 200
    client.loop.run_until_complete(client.accounts().later.close())
    [shown] = client.get("/auth/keys", credential=mine).data
    assert shown["used_at"] is not None
    tables = client.accounts().tables
    assert key not in str([client.run(sa.select(table)) for table in (tables.api_keys, tables.events)])
    assert [len(client.events(kind)) for kind in ("key_created", "key_used")] == [1, 1]


def test_keys_are_bounded(client: People) -> None:
    """Nobody fills the table."""
    mine = client.signed_in("ada@example.org")
    row = {"user_id": 1, "name": "x", "hash": "x", "scopes": ["*"]}
    rows = [row | {"prefix": f"bsk_{n}"} for n in range(KEYS_MAX)]
    client.run(sa.insert(client.accounts().tables.api_keys).values(rows))
    assert make(client, mine).json["errors"][0]["code"] == "too_many"
