"""Service clients: what gets no token first, then client credentials, on both databases."""

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
import sqlalchemy as sa

from backstay.auth.accounts import Caller
from backstay.auth.clients import MadeClient, disable_client, make_client
from backstay.auth.roles import set_role
from backstay.context import Context
from support.asgi import Answer
from support.databases import DATABASES
from support.people import People, people

FORM = (b"content-type", b"application/x-www-form-urlencoded")
OPERATOR = Caller("", "", Context("test"))


@pytest.fixture(params=DATABASES)
def client(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[People]:
    """The app on each database."""
    with people(request.param, tmp_path) as opened:
        yield opened


def made(client: People, *scopes: str, roles: tuple[str, ...] = ()) -> MadeClient:
    """A new client; its role moderates."""

    async def make() -> MadeClient:
        async with client.app.transaction() as session:
            if roles:
                await set_role(session, client.accounts().tables, roles[0], ["notes.moderate"])
            return await make_client(client.accounts(), session, OPERATOR, "worker", scopes=scopes, roles=roles)

    return client.loop.run_until_complete(make())


def disable(client: People, name: str) -> None:
    """Disable a client."""

    async def disabled() -> None:
        async with client.app.transaction() as session:
            assert await disable_client(client.accounts(), session, OPERATOR, name)

    client.loop.run_until_complete(disabled())


def basic(name: str, secret: str) -> tuple[bytes, bytes]:
    """An Authorization header."""
    return b"authorization", b"Basic " + base64.b64encode(f"{name}:{secret}".encode())


def token(client: People, *headers: tuple[bytes, bytes], body: bytes | None = None, **form: str) -> Answer:
    """Ask for a token."""
    content = urlencode({"grant_type": "client_credentials", **form}).encode() if body is None else body
    return client.request("POST", "/auth/token", headers=[(b"host", b"test"), FORM, *headers], body=content)


def test_refused_clients(client: People) -> None:
    """Each with the error that RFC 6749 names, and never a 5xx."""
    one = made(client, "notes:read")
    good = basic(one.id, one.secret)
    cases: list[tuple[str, int, Answer]] = [
        ("invalid_client", 401, token(client)),
        ("invalid_client", 401, token(client, basic(one.id, "wrong"))),
        ("invalid_client", 401, token(client, basic(one.id, ""))),
        ("invalid_client", 401, token(client, basic("nobody", one.secret))),
        ("invalid_client", 401, token(client, basic("nobody\0", one.secret))),
        ("invalid_client", 401, token(client, (b"authorization", b"Basic ???"))),
        ("invalid_client", 401, token(client, (b"authorization", b"Bearer x"))),
        ("invalid_client", 401, token(client, client_id=one.id, client_secret="wrong")),
        ("invalid_client", 401, token(client, client_id=one.id)),
        ("invalid_request", 400, token(client, good, client_secret=one.secret)),
        ("invalid_request", 400, token(client, good, body=b"")),
        ("invalid_request", 400, token(client, good, body=b"grant_type=client_credentials&grant_type=x")),
        ("invalid_request", 400, token(client, good, body=b"\xff\xfe=%ff")),
        ("invalid_request", 400, token(client, good, body=b"scope=" + b"x" * 9_000)),
        ("unsupported_grant_type", 400, token(client, good, grant_type="password")),
        ("invalid_scope", 400, token(client, good, scope="notes:write")),
        ("invalid_scope", 400, token(client, good, scope="*")),
        ("invalid_scope", 400, token(client, good, scope="notes:read  ")),
    ]
    for code, status, answer in cases:
        assert (answer.json["error"], answer.status) == (code, status), answer.body
        assert (answer.headers.get("www-authenticate") is not None) == (status == 401)
        assert one.secret not in answer.body.decode()
    assert client.post("/auth/token", {"grant_type": "client_credentials"}).json["error"] == "invalid_request"
    disable(client, one.id)
    assert token(client, good).json["error"] == "invalid_client"


def test_a_client_signs_in(client: People) -> None:
    """By Basic or by the form; its token says what it is good for, and does no more."""
    one = made(client, "notes:*", "people:read", roles=("moderator",))
    answer = token(client, basic(one.id, one.secret))
    assert (answer.status, answer.headers["cache-control"]) == (200, "no-store")
    assert {**answer.json, "access_token": ""} == {
        "access_token": "",
        "token_type": "Bearer",
        "expires_in": 900,
        "scope": "notes:* people:read",
    }
    narrow = token(client, client_id=one.id, client_secret=one.secret, scope="notes:read").json
    assert narrow["scope"] == "notes:read"
    wide, read = "Bearer " + answer.json["access_token"], "Bearer " + narrow["access_token"]
    assert client.get("/people", credential=wide).status == 200
    assert client.get("/people", credential=read).json["code"] == "INSUFFICIENT_SCOPE"
    mine = client.signed_in("ada@example.org")
    note = client.post("/notes", {"text": "a"}, credential=mine).data["id"]
    assert client.request("DELETE", f"/notes/{note}", credential=read).status == 403
    assert client.request("DELETE", f"/notes/{note}", credential=wide).status == 204, "its role permits it"
    claims = json.loads(base64.urlsafe_b64decode(wide.split(".")[1] + "=="))
    assert (claims["sub"], claims["client_id"], claims["scope"]) == (one.id, one.id, "notes:* people:read")


def test_a_client_is_no_user(client: People) -> None:
    """What belongs to people is not its: neither their endpoints nor rows of theirs."""
    client.register("ada@example.org")
    one = made(client, "*")
    credential = "Bearer " + token(client, basic(one.id, one.secret)).json["access_token"]
    for method, path in (("GET", "me"), ("GET", "sessions"), ("GET", "keys"), ("POST", "logout-all")):
        assert client.request(method, f"/auth/{path}", credential=credential).status == 401, path
    body: Any = {"nickname": "x"}
    assert client.request("PATCH", "/people/1", body=body, credential=credential).status in (403, 404)
    assert client.post("/notes", {"text": "x"}, credential=credential).status < 500


def test_a_disabled_client_is_out_at_once(client: People) -> None:
    """Its tokens too."""
    one = made(client, "*")
    credential = "Bearer " + token(client, basic(one.id, one.secret)).json["access_token"]
    assert client.get("/people", credential=credential).status == 200
    disable(client, one.id)
    assert client.get("/people", credential=credential).status == 401


def test_a_secret_is_kept_as_its_hash(client: People) -> None:
    """And is in no event."""
    one = made(client, "*")
    token(client, basic(one.id, one.secret))
    token(client, basic(one.id, one.secret + "x"))
    tables = client.accounts().tables
    assert one.secret not in str([client.run(sa.select(t)) for t in (tables.clients, tables.events)])
    kinds = ("client_created", "client_token", "client_refused")
    assert [len(client.events(kind)) for kind in kinds] == [1, 1, 1]
